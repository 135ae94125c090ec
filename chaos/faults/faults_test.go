package faults_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/chaos/faults"
)

// root is the product's module.
const root = "../.."

// Whoever changes the product so that a patch fits no more makes the patch fit again: `git apply --reject`, and a
// new diff.
func TestEveryPatchAppliesToThisSource(t *testing.T) {
	t.Parallel()
	all, err := faults.All()
	if err != nil || len(all) != 10 {
		t.Fatalf("%d faults, %v", len(all), err)
	}
	for _, f := range all {
		dir := t.TempDir()
		if err := f.Apply(t.Context(), root, dir); err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(f.Files()) == 0 || f.Title() == "" {
			t.Errorf("%s: changes %v, is called %q", f.Name, f.Files(), f.Title())
		}
		for _, name := range f.Files() {
			before, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			after, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || bytes.Equal(before, after) {
				t.Errorf("%s leaves %s as it is (%v)", f.Name, name, err)
			}
		}
	}
}

// A patch may apply to a function that has other parameters now.
func TestEveryPatchCompiles(t *testing.T) {
	t.Parallel()
	all, err := faults.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if err := f.Compile(t.Context(), root); err != nil {
			t.Error(err)
		}
	}
}

func TestAPatchOfOtherSourceIsRefused(t *testing.T) {
	t.Parallel()
	all, err := faults.All()
	if err != nil {
		t.Fatal(err)
	}
	f := all[0]
	other := t.TempDir()
	for _, name := range f.Files() {
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(other, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(source), "EncryptSpaced", "EncryptElsewhere")
		if err := os.WriteFile(filepath.Join(other, name), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Apply(t.Context(), other, t.TempDir()); err == nil {
		t.Error("it was applied")
	}
}
