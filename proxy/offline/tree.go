package offline

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/bucketseal/bucketseal/sse"
)

// ErrExists says that a file is there already.
var ErrExists = errors.New("the file is there already; --force replaces it, --skip-existing leaves it")

// ErrSkipped says that a file is there already, and was to be left.
var ErrSkipped = errors.New("the file is there already")

// Tree is a folder that plaintexts are written to. It is safe for concurrent use.
//
// The current version of an object is BUCKET/KEY, another one BUCKET@versions/KEY/VERSION: no
// bucket's name has that sign. What a file system cannot hold, such as both "a" and "a/b",
// is BUCKET@names/ and the SHA-256 of the key in hex, with a hyphen and the version behind it
// if it is not the current one.
type Tree struct {
	// Root is the folder. Nothing is written outside of it, whatever a key is.
	Root *os.Root
	// Force replaces files, SkipExisting leaves them.
	Force, SkipExisting bool
}

// unfit says that a file system has no place for a name.
var errUnfit = errors.New("no name of a file")

// Write has a version of an object written, and returns its file's name. The file is there
// with all that write wrote, or not at all. Errors are ErrExists, ErrSkipped, ErrWrite, or
// what write returned.
func (t *Tree) Write(o *Object, write func(io.Writer) error) (file string, err error) {
	file = o.Name.Bucket + "/" + o.Name.Key
	if !o.Latest {
		file = o.Name.Bucket + "@versions/" + o.Name.Key + "/" + o.Version
	}
	if strings.HasSuffix(file, "/") && o.Size == 0 { // a folder
		if err := t.folder(strings.TrimSuffix(file, "/")); err == nil {
			return file, write(io.Discard)
		}
	}
	err = t.WriteFile(file, o.Modified, write)
	if errors.Is(err, errUnfit) {
		file = unfitName(o)
		err = t.WriteFile(file, o.Modified, write)
	}
	return file, err
}

// unfitName is the file of what has no other name.
func unfitName(o *Object) string {
	sum := sha256.Sum256([]byte(o.Name.Key))
	name := o.Name.Bucket + "@names/" + hex.EncodeToString(sum[:])
	if !o.Latest {
		name += "-" + o.Version
	}
	return name
}

// WriteFile is Write for a file of a name, below the root.
func (t *Tree) WriteFile(file string, modified time.Time, write func(io.Writer) error) error {
	if !fs.ValidPath(file) || file == "." {
		return fmt.Errorf("%q: %w", file, errUnfit)
	}
	dir := path.Dir(file)
	if err := t.folder(dir); err != nil {
		return err
	}
	switch info, err := t.Root.Lstat(file); {
	case err == nil && info.IsDir(), isUnfit(err):
		return fmt.Errorf("%q: %w", file, errUnfit)
	case err == nil && t.SkipExisting:
		return ErrSkipped
	case err == nil && !t.Force:
		return fmt.Errorf("%q: %w", file, ErrExists)
	}
	temp := path.Join(dir, ".bucketseal-"+rand.Text())
	f, err := t.Root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	err = fill(f, write)
	if err == nil {
		err = t.place(temp, file, modified)
	}
	if err != nil {
		_ = t.Root.Remove(temp)
	}
	return err
}

// fill writes a file and makes it durable.
func fill(f *os.File, write func(io.Writer) error) error {
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return nil
}

// place gives a file its name, and the time when its object was stored.
func (t *Tree) place(temp, file string, modified time.Time) error {
	var err error
	if !modified.IsZero() {
		err = t.Root.Chtimes(temp, modified, modified)
	}
	if err == nil {
		err = t.Root.Rename(temp, file)
	}
	switch {
	case isUnfit(err):
		return fmt.Errorf("%q: %w", file, errUnfit)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return nil
}

// folder makes a folder and those above it.
func (t *Tree) folder(dir string) error {
	if !fs.ValidPath(dir) {
		return fmt.Errorf("%q: %w", dir, errUnfit)
	}
	err := t.Root.MkdirAll(dir, 0o700)
	switch {
	case isUnfit(err):
		return fmt.Errorf("%q: %w", dir, errUnfit)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return nil
}

// isUnfit says whether a file system refused a name.
func isUnfit(err error) bool {
	for _, cause := range []error{syscall.ENOTDIR, syscall.EISDIR, syscall.EEXIST, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.ENOTEMPTY} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// checkVersion refuses a version id that is none: it becomes a part of a file's name.
func checkVersion(o *Object) error {
	if !o.Latest && (o.Version == "" || strings.ContainsAny(o.Version, "/\\\x00") || strings.HasPrefix(o.Version, ".")) {
		return fmt.Errorf("version %q: %w", o.Version, sse.ErrRecord)
	}
	return nil
}
