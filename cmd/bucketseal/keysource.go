package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// keySource is the key service that a configuration names.
type keySource struct {
	kms.Service
	// where says in a log line where the keys are.
	where string
	// settings is the KES configuration it was built from; nil if there is none.
	settings *kmsconfig.Config
	closers  []func()
}

// Close ends the service and frees its store.
func (k *keySource) Close() {
	for _, f := range k.closers {
		f()
	}
}

// openKeys opens the key service that c names: the folder below the data
// directory, the store of a KES configuration, or a remote server. Only with
// create are a missing folder and a missing master key made.
func (a *app) openKeys(ctx context.Context, c *config.Config, create bool, log *slog.Logger) (*keySource, error) {
	if err := c.CheckKeys(); err != nil {
		return nil, err
	}
	if c.KMS.Remote != nil {
		return openRemote(c.KMS.Remote)
	}
	if c.KMS.IsZero() {
		store, err := openDataDir(c, create)
		if err != nil {
			return nil, err
		}
		warnOfStore(store, log)
		return localKeys(store, filepath.Join(c.DataDir, "keys"), nil)
	}
	settings, err := a.readKMS(c)
	if err != nil {
		return nil, err
	}
	for _, w := range settings.Warnings {
		log.Warn(w.Text, "file", settings.Name, "line", w.Line)
	}
	if settings.KeyStore == nil {
		return nil, fmt.Errorf("%s: there is no keystore; name one, as in \"keystore: {fs: {path: DIR}}\"", settings.Name)
	}
	store, err := a.openStore(ctx, settings.KeyStore, create)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settings.Name, err)
	}
	warnOfStore(store, log)
	return localKeys(store, settings.KeyStore.Section(), settings)
}

// readKMS reads the KES configuration that c holds or names; nil if it does
// neither.
func (a *app) readKMS(c *config.Config) (*kmsconfig.Config, error) {
	name, data := c.KMS.File, []byte(nil)
	switch {
	case c.KMS.Section != nil:
		name, data = c.KMS.Section.File, c.KMS.Section.YAML
	case name == "":
		return nil, nil //nolint:nilnil // there is none
	default:
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return kmsconfig.ParseEmbedded(name, data, "", a.lookupEnv)
}

// checkKMS says what is wrong with the key service's part of a configuration,
// without opening anything.
func (a *app) checkKMS(c *config.Config) error {
	if !c.MasterKey.IsZero() {
		if _, err := parseMasterKey(c.MasterKey.Reveal(), config.EnvMasterKey); err != nil {
			return err
		}
	}
	if _, err := os.Stat(c.KMS.File); c.KMS.File != "" && err != nil {
		return nil // CheckServer says so
	}
	settings, err := a.readKMS(c)
	if err != nil || settings == nil {
		return err
	}
	for _, w := range settings.Warnings {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s:%d: %s", settings.Name, w.Line, w.Text))
	}
	if settings.KeyStore == nil {
		return fmt.Errorf("%s: there is no keystore", settings.Name)
	}
	if err := checkStore(settings.KeyStore); err != nil {
		return fmt.Errorf("%s: %w", settings.Name, err)
	}
	return nil
}

// localKeys returns a key service over a store, which it closes.
func localKeys(store kms.Store, where string, settings *kmsconfig.Config) (*keySource, error) {
	o := kms.LocalOptions{Store: store}
	if settings != nil {
		o.Cache = kms.CacheOptions{Any: settings.Cache.Any, Unused: settings.Cache.Unused, Offline: settings.Cache.Offline}
	}
	service, err := kms.NewLocal(o)
	if err != nil {
		_ = store.Close()
		return nil, err
	}
	return &keySource{
		Service: service, where: where, settings: settings,
		closers: []func(){service.Close, func() { _ = store.Close() }},
	}, nil
}

// openRemote returns a key server as the key service, its DEKs cached.
func openRemote(r *config.RemoteKMS) (*keySource, error) {
	remote, err := client.New(client.Options{
		Endpoints: r.Endpoints, APIKey: r.APIKey.Reveal(), CertFile: r.Cert, KeyFile: r.Key,
		KeyPassword: r.KeyPassword.Reveal(), CAPath: r.CA,
	})
	if err != nil {
		return nil, fmt.Errorf("kms.remote: %w", err)
	}
	return &keySource{
		Service: remoteKeys{remote}, where: strings.Join(r.Endpoints, ","),
		closers: []func(){func() { _ = remote.Close() }},
	}, nil
}

// CreateKeyAs creates a key and notes who asked for it: the key server finds
// this method by its name.
func (k *keySource) CreateKeyAs(ctx context.Context, name, createdBy string) error {
	return k.CreateKey(kms.WithCreator(ctx, createdBy), name)
}

// ImportKeyAs is CreateKeyAs for a key that is given.
func (k *keySource) ImportKeyAs(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm, createdBy string) error {
	return k.ImportKey(kms.WithCreator(ctx, createdBy), name, key, algorithm)
}

// createListed creates the keys that a KES configuration lists.
func (k *keySource) createListed(ctx context.Context) error {
	if k.settings == nil {
		return nil
	}
	for _, name := range k.settings.Keys {
		if err := k.CreateKey(ctx, name); err != nil && !errors.Is(err, kms.ErrKeyExists) {
			return fmt.Errorf("%s: create key %q: %w", k.settings.Name, name, err)
		}
	}
	return nil
}

// lookupEnv is os.LookupEnv for the environment given to run.
func (a *app) lookupEnv(name string) (string, bool) {
	for i := len(a.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(a.environ[i], name+"="); ok {
			return value, true
		}
	}
	return "", false
}
