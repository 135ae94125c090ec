package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	fsstore "github.com/bucketseal/bucketseal/kms/keystore/fs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// keySource is the key service that a configuration names.
type keySource struct {
	kms.Service
	// where says in a log line where the keys are.
	where string
	close func()
}

// Close ends the service and frees its store.
func (k *keySource) Close() { k.close() }

// openKeys opens the key service that c names. Only with create are a missing
// folder and a missing master key made.
func (a *app) openKeys(c *config.Config, create bool) (*keySource, error) {
	if err := c.CheckKeys(); err != nil {
		return nil, err
	}
	return openFolder(c, create)
}

// checkKeySource finds what openKeys would not accept, without opening anything.
func checkKeySource(c *config.Config) error {
	if !c.MasterKey.IsZero() {
		if _, err := fsstore.ParseMasterKey(c.MasterKey.Reveal()); err != nil {
			return fmt.Errorf("%s: %w", config.EnvMasterKey, err)
		}
	}
	return nil
}

// openFolder opens the sealed folder below the data directory.
func openFolder(c *config.Config, create bool) (*keySource, error) {
	dir := filepath.Join(c.DataDir, "keys")
	if !create {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("there are no keys: %w", err)
		}
	}
	master, err := masterKey(c, dir, create)
	if err != nil {
		return nil, err
	}
	store, err := fsstore.Open(fsstore.Options{Dir: dir, MasterKey: master})
	if err != nil {
		return nil, err
	}
	service, err := kms.NewLocal(kms.LocalOptions{Store: store})
	if err != nil {
		return nil, err
	}
	return &keySource{Service: service, where: dir, close: func() { service.Close(); _ = store.Close() }}, nil
}

// masterKey returns the key that seals the folder. One is made only for a folder
// without keys: a new one would open none of them.
func masterKey(c *config.Config, dir string, create bool) (fsstore.MasterKey, error) {
	if !c.MasterKey.IsZero() {
		key, err := fsstore.ParseMasterKey(c.MasterKey.Reveal())
		if err != nil {
			return key, fmt.Errorf("%s: %w", config.EnvMasterKey, err)
		}
		return key, os.MkdirAll(c.DataDir, 0o700)
	}
	file := c.MasterKeyFile
	if file == "" {
		file = filepath.Join(c.DataDir, "master.key")
	}
	key, err := fsstore.LoadMasterKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if hasKeys(dir) {
		return key, fmt.Errorf("the master key file %s is missing, and %s holds keys that only it opens; restore it from a backup", file, dir)
	}
	if !create {
		return key, err
	}
	for _, d := range []string{c.DataDir, filepath.Dir(file)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return key, err
		}
	}
	return fsstore.LoadOrCreateMasterKey(file)
}

// hasKeys says whether a folder holds anything but hidden files.
func hasKeys(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			return true
		}
	}
	return false
}
