package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/fs"
)

func TestFolderOfTheOtherLayoutIsNotTakenForAnEmptyOne(t *testing.T) {
	t.Parallel()
	sealed := func(dir string) (*fs.Store, error) {
		return fs.Open(fs.Options{Dir: dir, MasterKey: fs.MasterKey{1}})
	}
	key := kms.NewKey(time.Now(), "somebody")
	for name, layouts := range map[string][2]func(string) (*fs.Store, error){
		"plain opened as sealed": {fs.OpenPlain, sealed}, "sealed opened as plain": {sealed, fs.OpenPlain},
	} {
		dir := t.TempDir()
		for _, stranger := range []string{"README", "notes.key", ".hidden", "sub-folder"} {
			if err := os.WriteFile(filepath.Join(dir, stranger), []byte("no key"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		own, other := layouts[0], layouts[1]
		if s, err := other(dir); err != nil {
			t.Errorf("%s: without keys: %v", name, err)
		} else {
			_ = s.Close()
		}
		s, err := own(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Create(t.Context(), "some-Key", key.MarshalRecord()); err != nil {
			t.Fatal(err)
		}
		if _, err := other(dir); !errors.Is(err, fs.ErrOtherLayout) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := own(dir); err != nil {
			t.Errorf("%s: its own layout: %v", name, err)
		}
	}
}

func TestFolderUnderAnotherMasterKeyIsRefused(t *testing.T) {
	t.Parallel()
	open := func(dir string, master byte) (*fs.Store, error) {
		return fs.Open(fs.Options{Dir: dir, MasterKey: fs.MasterKey{master}})
	}
	record := kms.NewKey(time.Now(), "somebody").MarshalRecord()
	dir := t.TempDir()
	s, err := open(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "first", record); err != nil {
		t.Fatal(err)
	}
	if _, err := open(dir, 2); !errors.Is(err, fs.ErrOtherMasterKey) {
		t.Errorf("opened with another master key: %v", err)
	}
	// A folder that such an accident has mixed opens with either key, and says what does not.
	other := t.TempDir()
	if s, err = open(other, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "second", record); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, "second.key"), filepath.Join(dir, "second.key")); err != nil {
		t.Fatal(err)
	}
	for master, foreign := range map[byte]string{1: "second.key", 2: "first.key"} {
		s, err := open(dir, master)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Unreadable(); len(got) != 1 || filepath.Base(got[0]) != foreign {
			t.Errorf("master key %d does not open %v", master, got)
		}
	}
	// One damaged key among others must not keep the others from serving.
	if err := os.WriteFile(filepath.Join(dir, "damaged.key"), []byte("bucketseal key 1\nxx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := open(dir, 1); err != nil || len(s.Unreadable()) != 2 {
		t.Errorf("with a damaged key: %v", err)
	}
}
