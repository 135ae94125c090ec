package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// Keys is the key service that a configuration names.
type Keys struct {
	kms.Service
	// Where says in a log line where the keys are.
	Where string
	// Settings is the KES configuration it was built from; nil if there is none.
	Settings *kmsconfig.Config
	// local is the service if its keys are in this process, else nil.
	local *kms.Local
	// remote is the client of a key server, nil if the keys are in this process.
	remote *client.Client
	// Audit gets a line for each request of others to these keys; nil for none.
	Audit server.Auditor
	// Tracer traces the same requests; nil for none.
	Tracer  trace.Tracer
	closers []func()
}

// Close ends the service and frees its store.
func (k *Keys) Close() {
	for _, f := range k.closers {
		f()
	}
}

// OpenKeys opens the key service that c names: the folder below the data
// directory, the store of a KES configuration, or a remote server. Only with
// create are a missing folder and a missing master key made.
func OpenKeys(ctx context.Context, a *cli.App, c *config.Config, create bool, log *slog.Logger) (*Keys, error) {
	if err := c.CheckKeys(); err != nil {
		return nil, err
	}
	if c.KMS.Remote != nil {
		return openRemote(c.KMS.Remote)
	}
	store, where, settings, err := openConfigured(ctx, a, c, create, log)
	if err != nil {
		return nil, err
	}
	return LocalKeys(store, where, settings)
}

// OpenKeyStore opens the key store that c names, which the caller closes, and says where it
// is. A remote key server's store is that server's to open: ErrRemoteStore.
func OpenKeyStore(ctx context.Context, a *cli.App, c *config.Config, create bool, log *slog.Logger) (store kms.Store, where string, err error) {
	if c.KMS.Remote != nil {
		return nil, "", ErrRemoteStore
	}
	if err := c.CheckKeys(); err != nil {
		return nil, "", err
	}
	store, where, _, err = openConfigured(ctx, a, c, create, log)
	return store, where, err
}

// ErrRemoteStore says that a configuration names a key server, and not its store.
var ErrRemoteStore = errors.New("the keys are in the store of a remote key server (kms.remote)")

// openConfigured opens the folder below the data directory, or the store of a KES
// configuration, which is nil for the former.
func openConfigured(ctx context.Context, a *cli.App, c *config.Config, create bool, log *slog.Logger) (store kms.Store, where string, settings *kmsconfig.Config, err error) {
	if c.KMS.IsZero() {
		if store, err = openDataDir(c, create); err != nil {
			return nil, "", nil, err
		}
		WarnOfStore(store, log)
		return store, filepath.Join(c.DataDir, "keys"), nil, nil
	}
	if settings, err = ReadKMS(a, c); err != nil {
		return nil, "", nil, err
	}
	for _, w := range settings.Warnings {
		log.Warn(w.Text, "file", settings.Name, "line", w.Line)
	}
	if settings.KeyStore == nil {
		return nil, "", nil, fmt.Errorf("%s: there is no keystore; name one, as in \"keystore: {fs: {path: DIR}}\"", settings.Name)
	}
	if store, err = OpenStore(ctx, a, settings.KeyStore, create); err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", settings.Name, err)
	}
	WarnOfStore(store, log)
	return store, settings.KeyStore.Section(), settings, nil
}

// ReadKMS reads the KES configuration that c holds or names; nil if it does
// neither.
func ReadKMS(a *cli.App, c *config.Config) (*kmsconfig.Config, error) {
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
	return kmsconfig.ParseEmbedded(name, data, "", a.LookupEnv)
}

// CheckKMS says what is wrong with the key service's part of a configuration,
// without opening anything.
func CheckKMS(a *cli.App, c *config.Config) error {
	if !c.MasterKey.IsZero() {
		if _, err := parseMasterKey(c.MasterKey.Reveal(), config.EnvMasterKey); err != nil {
			return err
		}
	}
	if _, err := os.Stat(c.KMS.File); c.KMS.File != "" && err != nil {
		return nil // CheckServer says so
	}
	settings, err := ReadKMS(a, c)
	if err != nil || settings == nil {
		return err
	}
	for _, w := range settings.Warnings {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s:%d: %s", settings.Name, w.Line, w.Text))
	}
	if settings.KeyStore == nil {
		return fmt.Errorf("%s: there is no keystore", settings.Name)
	}
	if err := CheckStore(settings.KeyStore); err != nil {
		return fmt.Errorf("%s: %w", settings.Name, err)
	}
	return nil
}

// LocalKeys returns a key service over a store, which it closes.
func LocalKeys(store kms.Store, where string, settings *kmsconfig.Config) (*Keys, error) {
	o := kms.LocalOptions{Store: store, Waiting: traceStore}
	if settings != nil {
		o.Cache = kms.CacheOptions{Any: settings.Cache.Any, Unused: settings.Cache.Unused, Offline: settings.Cache.Offline}
	}
	service, err := kms.NewLocal(o)
	if err != nil {
		_ = store.Close()
		return nil, err
	}
	return &Keys{
		Service: service, Where: where, Settings: settings, local: service,
		closers: []func(){service.Close, func() { _ = store.Close() }},
	}, nil
}

// traceStore has the time that a request waits for the key store be a span.
func traceStore(ctx context.Context) (end func(error)) {
	_, span := trace.Start(ctx, "keystore")
	return func(err error) {
		if !errors.Is(err, kms.ErrKeyNotFound) && !errors.Is(err, kms.ErrKeyExists) { // these are answers
			span.FailWith(err, "failed")
		}
		span.End()
	}
}

// ServedAt says where others than this proxy get at the same keys, "" if nowhere.
func (k *Keys) ServedAt() string {
	switch {
	case k.local == nil:
		return k.Where
	case k.Settings != nil:
		return k.Settings.Address
	}
	return ""
}

// Tender returns what looks after the keys of a store in this process; nil for those of
// a key server, which does so itself.
func (k *Keys) Tender(log *slog.Logger) (*kms.Tender, error) {
	if k.local == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	o := kms.TenderOptions{Service: k.local, Logger: log, CreatedBy: "bucketseal"}
	if k.Settings != nil {
		for _, r := range k.Settings.RotateAfter {
			o.Rotation = append(o.Rotation, kms.RotationRule(r))
		}
	}
	return kms.NewTender(o)
}

// openRemote returns a key server as the key service, its DEKs cached.
func openRemote(r *config.RemoteKMS) (*Keys, error) {
	remote, err := client.New(client.Options{
		Endpoints: r.Endpoints, APIKey: r.APIKey.Reveal(), CertFile: r.Cert, KeyFile: r.Key,
		KeyPassword: r.KeyPassword.Reveal(), CAPath: r.CA,
	})
	if err != nil {
		return nil, fmt.Errorf("kms.remote: %w", err)
	}
	return &Keys{
		Service: remoteKeys{remote}, Where: strings.Join(r.Endpoints, ","), remote: remote,
		closers: []func(){func() { _ = remote.Close() }},
	}, nil
}

// Expires returns when the certificates end that a remote key server showed last, and that
// this process shows it; zero for what is not known, or not used.
func (k *Keys) Expires() (server, own time.Time) {
	if k.remote == nil {
		return time.Time{}, time.Time{}
	}
	return k.remote.Expires()
}

// CreateKeyAs creates a key and notes who asked for it: the key server finds
// this method by its name.
func (k *Keys) CreateKeyAs(ctx context.Context, name, createdBy string) error {
	return k.CreateKey(kms.WithCreator(ctx, createdBy), name)
}

// ImportKeyAs is CreateKeyAs for a key that is given.
func (k *Keys) ImportKeyAs(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm, createdBy string) error {
	return k.ImportKey(kms.WithCreator(ctx, createdBy), name, key, algorithm)
}

// CreateListed creates the keys that a KES configuration lists, and returns those whose names are
// taken by what is left of deleted ones.
func (k *Keys) CreateListed(ctx context.Context) (dead []string, err error) {
	if k.Settings == nil {
		return nil, nil
	}
	if err := server.CreateKeys(ctx, k, k.Settings.Keys); err != nil {
		return nil, fmt.Errorf("%s: %w", k.Settings.Name, err)
	}
	return server.DeadKeys(ctx, k, k.Settings.Keys), nil
}
