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
