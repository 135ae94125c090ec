package keycmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// newFile is a file that is to be written.
type newFile struct {
	path    string
	mode    os.FileMode
	content []byte
}

// writeFiles writes all of the files or none, each whole and durable. One that
// exists is replaced only with force, and stays as it was if another cannot be
// written: a lost private key is a lost identity.
func writeFiles(files []newFile, force bool) (err error) {
	var made, kept []string // temporary files, and copies of those that were there
	defer func() {
		for _, path := range append(made, kept...) {
			_ = os.Remove(path)
		}
	}()
	for _, f := range files {
		temp, err := f.writeTemp()
		if err != nil {
			return err
		}
		made = append(made, temp)
	}
	for i, f := range files {
		before, err := f.place(made[i], force)
		if err != nil {
			for j := range i { // as they were
				_ = os.Remove(files[j].path)
				if kept[j] != "" {
					err = errors.Join(err, os.Rename(kept[j], files[j].path))
				}
			}
			return err
		}
		kept = append(kept, before)
	}
	for _, f := range files {
		if err := syncFolder(filepath.Dir(f.path)); err != nil {
			return err
		}
	}
	return nil
}

// writeTemp writes the content beside the file's place.
func (f newFile) writeTemp() (path string, err error) {
	temp, err := os.CreateTemp(filepath.Dir(f.path), ".new-*")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", f.path, err)
	}
	_, err = temp.Write(f.content)
	if err == nil {
		err = temp.Chmod(f.mode)
	}
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err != nil {
		_ = os.Remove(temp.Name())
		return "", fmt.Errorf("write %s: %w", f.path, err)
	}
	return temp.Name(), nil
}

// place gives a temporary file its name, and returns where what was there before is
// kept, "" if there was nothing.
func (f newFile) place(temp string, force bool) (kept string, err error) {
	if !force {
		if err := os.Link(temp, f.path); errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("%s: %w; use --force to overwrite it", f.path, fs.ErrExist)
		} else if err != nil {
			return "", f.failed(err)
		}
		return "", nil
	}
	kept = temp + "-before"
	if err := os.Link(f.path, kept); errors.Is(err, fs.ErrNotExist) {
		kept = ""
	} else if err != nil {
		return "", f.failed(err)
	}
	if err := os.Rename(temp, f.path); err != nil {
		if kept != "" {
			_ = os.Remove(kept)
		}
		return "", f.failed(err)
	}
	return kept, nil
}

// failed says which file could not be written, by the name that it was given, and why.
func (f newFile) failed(err error) error {
	var link *os.LinkError
	if errors.As(err, &link) { // it names the temporary file
		err = link.Err
	}
	return fmt.Errorf("write %s: %w", f.path, err)
}

// syncFolder makes a folder's entries durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
