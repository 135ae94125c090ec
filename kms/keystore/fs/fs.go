// Package fs keeps KMS keys in a folder, one file a key. The files are sealed
// under a master key; OpenPlain reads and writes KES's layout, where they are
// not.
package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// Options configure a Store.
type Options struct {
	// Dir is the folder; it is made if it is missing. Required.
	Dir string
	// MasterKey seals the files. Required.
	MasterKey MasterKey
}

// Store is a kms.Store in a folder. Several processes may use one folder.
type Store struct {
	dir    string
	layout layout
}

// layout is how a key becomes a file.
type layout interface {
	// file returns the file name of a key, and key the key of a file name; ok is
	// false for files that are not of this layout.
	file(key string) string
	key(file string) (name string, ok bool)
	seal(name string, value []byte) []byte
	open(name string, content []byte) ([]byte, error)
}

// Open returns a store of sealed files.
func Open(o Options) (*Store, error) {
	if o.MasterKey == (MasterKey{}) {
		return nil, errors.New("fs keystore: no master key")
	}
	return open(o.Dir, &sealedLayout{master: o.MasterKey})
}

// OpenPlain returns a store in KES's layout: the file's name is the key's, and
// its content lies readable on disk.
func OpenPlain(dir string) (*Store, error) { return open(dir, plainLayout{}) }

func open(dir string, l layout) (*Store, error) {
	if dir == "" {
		return nil, errors.New("fs keystore: no folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("fs keystore: %w", err)
	}
	if err := removeLeftovers(dir, time.Now()); err != nil {
		return nil, fmt.Errorf("fs keystore: %w", err)
	}
	return &Store{dir: dir, layout: l}, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, s.layout.file(name)) }

// Create implements kms.Store.
func (s *Store) Create(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := kms.ValidateKeyName(name); err != nil {
		return err
	}
	return sentinel(name, writeNew(s.path(name), s.layout.seal(name, value)))
}

// Get implements kms.Store. A file that the master key does not open is
// kms.ErrCorruptKey.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := kms.ValidateKeyName(name); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(s.path(name))
	if err != nil {
		return nil, sentinel(name, err)
	}
	value, err := s.layout.open(name, content)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", s.path(name), err)
	}
	return value, nil
}

// Delete implements kms.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := kms.ValidateKeyName(name); err != nil {
		return err
	}
	if err := os.Remove(s.path(name)); err != nil {
		return sentinel(name, err)
	}
	return sentinel(name, syncDir(s.dir))
}

// List implements kms.Store. Files that are not keys are passed over.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, sentinel(s.dir, err)
	}
	names := []string{}
	for _, e := range entries {
		name, ok := s.layout.key(e.Name())
		if ok && e.Type().IsRegular() && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Status implements kms.Store.
func (s *Store) Status(ctx context.Context) (kms.State, error) {
	if err := ctx.Err(); err != nil {
		return kms.State{}, err
	}
	began := time.Now()
	if _, err := os.Stat(s.dir); err != nil {
		return kms.State{}, fmt.Errorf("%w (%w)", kms.ErrUnavailable, err)
	}
	return kms.State{Latency: time.Since(began)}, nil
}

// Close implements kms.Store.
func (s *Store) Close() error { return nil }

// sentinel turns a file system error into one of kms's.
func sentinel(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q: %w", name, kms.ErrKeyNotFound)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%q: %w", name, kms.ErrKeyExists)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%q: %w (%w)", name, kms.ErrNotPermitted, err)
	default:
		return fmt.Errorf("%q: %w (%w)", name, kms.ErrUnavailable, err)
	}
}
