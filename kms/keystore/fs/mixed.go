package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bucketseal/bucketseal/kms"
)

// ErrOtherLayout says that a folder holds keys of the other layout. Opened all
// the same, it would look empty, and new keys would be made under the names of
// those that seal the data there is.
var ErrOtherLayout = errors.New("the folder holds keys of another layout")

// ErrOtherMasterKey says that a folder holds sealed keys, none of which the master
// key opens. New keys would lie beside them, and the old ones would seem damaged.
var ErrOtherMasterKey = errors.New("the folder's keys are sealed under another master key")

// checkMasterKey refuses a folder in which the master key opens nothing, and
// returns the files that it does not open where it opens others. ErrOtherMasterKey,
// or the error of reading the folder.
func checkMasterKey(dir string, l *sealedLayout) (foreign []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	opened := 0
	for _, e := range entries {
		name, ok := l.key(e.Name())
		path := filepath.Join(dir, e.Name())
		if !ok {
			continue
		}
		content, err := readFile(path)
		if err != nil || !bytes.HasPrefix(content, []byte(magic)) {
			continue // no key, or one that is damaged for everybody
		}
		value, err := l.open(name, content)
		clear(value)
		if err == nil {
			opened++
		} else {
			foreign = append(foreign, path)
		}
	}
	if opened == 0 && len(foreign) > 0 {
		return nil, fmt.Errorf("%w: it opens none of the %d in %s, such as %s; name the master key that they were made with", ErrOtherMasterKey, len(foreign), dir, foreign[0])
	}
	return foreign, nil
}

// CheckLayout refuses a folder that holds a key which is sealed, or with sealed
// one that is not. A missing folder holds none. ErrOtherLayout, or the error of
// reading the folder.
func CheckLayout(dir string, sealed bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case sealed && isPlain(path, e.Name()):
			return fmt.Errorf("%w: %s is not sealed, as KES writes keys; move them to another folder with \"bucketseal kms migrate\", or leave out masterkey", ErrOtherLayout, path)
		case !sealed && isSealed(path, e.Name()):
			return fmt.Errorf("%w: %s is sealed; name its master key under masterkey", ErrOtherLayout, path)
		}
	}
	return nil
}

func isPlain(path, file string) bool {
	if _, ok := (plainLayout{}).key(file); !ok {
		return false
	}
	content, err := readFile(path)
	defer clear(content)
	if err != nil {
		return false
	}
	key, err := kms.ParseRecord(content)
	if err != nil {
		return false
	}
	key.Zero()
	return true
}

func isSealed(path, file string) bool {
	if _, ok := (&sealedLayout{}).key(file); !ok {
		return false
	}
	content, err := readFile(path)
	return err == nil && bytes.HasPrefix(content, []byte(magic))
}
