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
