// Package fs keeps KMS keys in a folder, one file a key. The files are sealed
// under a master key; OpenPlain reads and writes KES's layout, where they are
// not.
package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
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

// Store is a kms.Store and kms.Stamper in a folder. Several processes, and on a
// shared file system several machines, may use one folder.
type Store struct {
	dir    string
	layout layout
	// unsure makes stamps unequal that might otherwise be equal by accident.
	unsure atomic.Uint64
	// foreign are the files that the master key did not open at the start.
	foreign []string
}

var (
	_ kms.Store   = (*Store)(nil)
	_ kms.Stamper = (*Store)(nil)

	_ kms.Absenter = (*Store)(nil)
)

// maxFileSize bounds what is read as a key, in bytes; a key has some hundred.
const maxFileSize = 1 << 20

// layout is how a key becomes a file.
type layout interface {
	// file returns the file name of a key, and key the key of a file name; ok is
	// false for files that are not of this layout.
	file(key string) string
	key(file string) (name string, ok bool)
	seal(name string, value []byte) []byte
	open(name string, content []byte) ([]byte, error)
}

// Open returns a store of sealed files. ErrOtherLayout, ErrOtherMasterKey.
func Open(o Options) (*Store, error) {
	if o.MasterKey == (MasterKey{}) {
		return nil, errors.New("fs keystore: no master key")
	}
	l := &sealedLayout{master: o.MasterKey}
	s, err := open(o.Dir, l)
	if err != nil {
		return nil, err
	}
	if s.foreign, err = checkMasterKey(o.Dir, l); err != nil {
		return nil, fmt.Errorf("fs keystore: %w", err)
	}
	return s, nil
}

// Unreadable returns the files that the master key did not open when the store was
// opened, although it opens others: they are damaged, or sealed under another one.
func (s *Store) Unreadable() []string { return s.foreign }

// OpenPlain returns a store in KES's layout, for migration and for values that
// are sealed already: the file's name is the key's, and its content lies
// readable on disk. Every file whose name could be a key's counts as one. On a
// file system that ignores case, names that differ in case only are one key.
// ErrOtherLayout.
func OpenPlain(dir string) (*Store, error) { return open(dir, plainLayout{}) }

func open(dir string, l layout) (*Store, error) {
	if dir == "" {
		return nil, errors.New("fs keystore: no folder")
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("fs keystore: %w", err)
	}
	if err := removeLeftovers(dir, time.Now()); err != nil {
		return nil, fmt.Errorf("fs keystore: %w", err)
	}
	_, sealed := l.(*sealedLayout)
	if err := CheckLayout(dir, sealed); err != nil {
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
	if err := kms.ValidateEntryName(name); err != nil {
		return err
	}
	return s.sentinel(name, writeNew(s.path(name), s.layout.seal(name, value)))
}

// Get implements kms.Store. A file that the master key does not open is
// kms.ErrCorruptKey.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := kms.ValidateEntryName(name); err != nil {
		return nil, err
	}
	content, err := readFile(s.path(name))
	if err != nil {
		return nil, s.sentinel(name, err)
	}
	value, err := s.layout.open(name, content)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", s.path(name), err)
	}
	return value, nil
}

// readFile reads what may be a key. kms.ErrCorruptKey for what cannot be one.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // opening a named pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFileSize {
		return nil, fmt.Errorf("%s is no file of a key: %w", path, kms.ErrCorruptKey)
	}
	return os.ReadFile(path)
}

// Delete implements kms.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := kms.ValidateEntryName(name); err != nil {
		return err
	}
	if err := os.Remove(s.path(name)); err != nil {
		return s.sentinel(name, err)
	}
	return s.sentinel(name, syncDir(s.dir))
}

// List implements kms.Store. Files that are not keys are passed over.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.dir, unavailable(err))
	}
	names := []string{}
	for _, e := range entries {
		name, ok := s.layout.key(e.Name())
		if ok && strings.HasPrefix(name, prefix) && s.isFile(e) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// isFile follows symbolic links: mounted secrets are such.
func (s *Store) isFile(e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.Type().IsRegular()
	}
	info, err := os.Stat(filepath.Join(s.dir, e.Name()))
	return err == nil && info.Mode().IsRegular()
}

// Status implements kms.Store.
func (s *Store) Status(ctx context.Context) (kms.State, error) {
	if err := ctx.Err(); err != nil {
		return kms.State{}, err
	}
	began := time.Now()
	d, err := os.Open(s.dir)
	if err == nil {
		_, err = d.Readdirnames(1)
		_ = d.Close()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return kms.State{}, unavailable(err)
	}
	return kms.State{Latency: time.Since(began)}, nil
}

// Close implements kms.Store.
func (s *Store) Close() error { return nil }

// sentinel turns a file system error about a key into one of kms's.
func (s *Store) sentinel(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kms.ErrCorruptKey):
		return err
	case errors.Is(err, fs.ErrNotExist):
		if _, gone := os.Stat(s.dir); gone != nil { // no folder says nothing about a key
			return unavailable(gone)
		}
		return fmt.Errorf("%q: %w", name, kms.ErrKeyNotFound)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%q: %w", name, kms.ErrKeyExists)
	}
	return fmt.Errorf("%q: %w", name, unavailable(err))
}

// unavailable is for errors that say nothing about a key.
func unavailable(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w: %w", kms.ErrNotPermitted, err)
	}
	return fmt.Errorf("%w: %w", kms.ErrUnavailable, err)
}
