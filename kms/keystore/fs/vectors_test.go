package fs

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The files are made by testdata/make_sealed.py, which shares no code with this
// package.
func TestSealedFilesAreAsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/sealed.json")
	noErr(t, "ReadFile", err)
	var vectors struct {
		Master string
		Files  []struct {
			Name, File     string
			Value, Content []byte
		}
	}
	noErr(t, "Unmarshal", json.Unmarshal(text, &vectors))
	master, err := ParseMasterKey(vectors.Master)
	noErr(t, "ParseMasterKey", err)
	if len(vectors.Files) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors.Files {
		dir := t.TempDir()
		s, err := Open(Options{Dir: dir, MasterKey: master})
		noErr(t, "Open", err)
		noErr(t, "WriteFile", os.WriteFile(filepath.Join(dir, v.File), v.Content, 0o600))
		if got, err := s.Get(t.Context(), v.Name); err != nil || !bytes.Equal(got, v.Value) {
			t.Errorf("Get(%q) = %q, %v; want %q", v.Name, got, err, v.Value)
		}
		if names, err := s.List(t.Context(), ""); err != nil || len(names) != 1 || names[0] != v.Name {
			t.Errorf("List = %q, %v; want %q", names, err, v.Name)
		}
	}
}
