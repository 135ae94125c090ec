package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/operator/watch"
)

// Pool is a set of certificate authorities that follows its files.
type Pool struct{ current atomic.Pointer[x509.CertPool] }

// Get returns the authorities in force. It must not be changed.
func (p *Pool) Get() *x509.CertPool { return p.current.Load() }

// CAsIn returns the folder of authorities in a folder of certificates.
func CAsIn(dir string) string { return filepath.Join(dir, casFolder) }

// Pool reads the authorities in path, a PEM file or a folder of them, and follows
// it. withSystem adds the system's own; then path need not exist. what is what
// messages call it.
func (w *Watcher) Pool(what, path string, withSystem bool) (*Pool, error) {
	p := new(Pool)
	files := func() []string { return append(filesAt(path), path) }
	err := w.Follow(what, files, func() error {
		pool, err := loadPool(path, withSystem)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		p.current.Store(pool)
		return nil
	})
	return p, err
}

// loadPool reads all files. A folder may be empty where the system's authorities
// are there too; a pool of nobody would only look like one that trusts.
func loadPool(path string, withSystem bool) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if withSystem {
		var err error
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's certificate authorities: %w", err)
		}
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && withSystem {
		return pool, nil
	} else if err != nil {
		return nil, err
	}
	files := filesAt(path)
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", file)
		}
	}
	if len(files) == 0 && !withSystem {
		return nil, fmt.Errorf("the folder %s holds no certificate", path)
	}
	return pool, nil
}

// filesAt returns path itself, or the files in it if it is a folder. Names that begin
// with a dot are how mounted secrets keep their versions.
func filesAt(path string) []string {
	files, err := watch.FilesAt(path)
	if err != nil || len(files) == 1 && files[0] == path {
		return []string{path} // loadPool says what is wrong
	}
	return slices.DeleteFunc(files, func(file string) bool { return strings.HasPrefix(filepath.Base(file), ".") })
}
