package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/fuzzing.md lists every fuzz function of the module, each with its package, and no other.
func TestFuzzFunctionsAreListed(t *testing.T) {
	t.Parallel()
	there := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	err := filepath.WalkDir(repoRoot(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != repoRoot() {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(repoRoot(), filepath.Dir(path))
		for _, m := range function.FindAllSubmatch(text, -1) {
			there[folder+" "+string(m[1])] = true
		}
		return err
	})
	if err != nil || len(there) == 0 {
		t.Fatalf("%d fuzz functions, %v", len(there), err)
	}
	listed := make(map[string]bool)
	for _, m := range regexp.MustCompile("`([a-z0-9/]+ Fuzz\\w+)`").FindAllStringSubmatch(readRepo(t, "docs/fuzzing.md"), -1) {
		if listed[m[1]] {
			t.Errorf("docs/fuzzing.md lists %s twice", m[1])
		}
		if listed[m[1]] = true; !there[m[1]] {
			t.Errorf("docs/fuzzing.md lists %s, which is not there", m[1])
		}
	}
	for f := range there {
		if !listed[f] {
			t.Errorf("docs/fuzzing.md does not list %s", f)
		}
	}
}
