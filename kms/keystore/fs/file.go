package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tempPrefix begins the names of files that are being written. What a crash
// leaves of them is invisible and is removed when the store is opened.
const tempPrefix = ".new-"

// tempAge is how old a left-over must be to be no file of a running process.
const tempAge = time.Hour

// writeNew creates path with the given content, whole and durable, only if it
// does not exist: fs.ErrExist. Nobody ever sees a part of it. After another
// error it may exist all the same.
func writeNew(path string, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	// If this fails, Open removes the file some day: it is no worse than a crash.
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename it never replaces
		return err
	}
	return syncDir(dir)
}

// makeDir makes a folder that only its owner may enter, durably, with the
// folders above it.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(above)
}

// syncDir makes a folder's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// removeLeftovers deletes what crashes left behind. A file that cannot be removed
// does no harm.
func removeLeftovers(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}
