// Package faults plants faults into the product: each is a patch that somebody tired could have merged. A run that
// does not find them proves nothing about the product without them.
package faults

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed *.patch
var patches embed.FS

// Fault is a patch of the product's source.
type Fault struct {
	Name  string
	Patch []byte
}

// All returns the faults by name.
func All() ([]Fault, error) {
	entries, err := patches.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []Fault
	for _, e := range entries {
		patch, err := patches.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, Fault{Name: strings.TrimSuffix(e.Name(), ".patch"), Patch: patch})
	}
	return all, nil
}

// Title is what the patch says of itself before its first colon.
func (f *Fault) Title() string {
	title, _, _ := strings.Cut(string(f.Patch), ":")
	return strings.Join(strings.Fields(title), " ")
}

// Files are the files that the patch changes, below the product's root.
func (f *Fault) Files() []string {
	var files []string
	for line := range strings.Lines(string(f.Patch)) {
		if name, ok := strings.CutPrefix(line, "+++ b/"); ok {
			files = append(files, strings.TrimSpace(name))
		}
	}
	return files
}

// Apply writes changed copies of the files that the patch concerns into the empty folder dir. The product's own
// source, in root, stays as it is. Not a line of context may differ from what the patch says.
func (f *Fault) Apply(ctx context.Context, root, dir string) error {
	for _, name := range f.Files() {
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		copied := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(copied), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(copied, source, 0o600); err != nil {
			return err
		}
	}
	// Inside a repository git would leave files out that are not below its root.
	cmd := exec.CommandContext(ctx, "git", "apply", "--whitespace=nowarn", "-")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(f.Patch)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") }),
		"GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not apply: %w: %s", f.Name, err, said)
	}
	return nil
}

// Honest builds cmd/bucketseal of the module in folder root as it is, to the file out.
func Honest(ctx context.Context, root, out string) error { return build(ctx, root, out) }

func build(ctx context.Context, root, out string, flags ...string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	return compile(ctx, root, slices.Concat([]string{"-trimpath", "-buildvcs=false", "-o", out}, flags, []string{"./cmd/bucketseal"})...)
}

func compile(ctx context.Context, root string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, said)
	}
	return nil
}

// Build builds cmd/bucketseal of the module in folder root, with the fault, to the file out.
func (f *Fault) Build(ctx context.Context, root, out string) error {
	return f.planted(ctx, root, func(root, overlay string) error { return build(ctx, root, out, "-overlay", overlay) })
}

// Compile compiles the packages that the fault changes.
func (f *Fault) Compile(ctx context.Context, root string) error {
	return f.planted(ctx, root, func(root, overlay string) error {
		args := []string{"-overlay", overlay}
		for _, name := range f.Files() {
			if folder := "./" + filepath.Dir(name); !slices.Contains(args, folder) {
				args = append(args, folder)
			}
		}
		return compile(ctx, root, args...)
	})
}

// planted hands do the absolute root, and an overlay for go build that has the fault.
func (f *Fault) planted(ctx context.Context, root string, do func(root, overlay string) error) error {
	dir, err := os.MkdirTemp("", "chaos-plant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	if err := f.Apply(ctx, root, dir); err != nil {
		return err
	}
	replace := map[string]string{}
	for _, name := range f.Files() {
		replace[filepath.Join(root, name)] = filepath.Join(dir, name)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	if err := do(root, file); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	return nil
}
