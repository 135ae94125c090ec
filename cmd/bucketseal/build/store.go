package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
	"github.com/bucketseal/bucketseal/kms/keystore/awssecrets"
	fsstore "github.com/bucketseal/bucketseal/kms/keystore/fs"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// OpenStore opens what a KES configuration names under keystore. Only with
// create are a missing folder and a missing master key made.
func OpenStore(ctx context.Context, a *cli.App, s kmsconfig.KeyStore, create bool) (kms.Store, error) {
	switch s := s.(type) {
	case *kmsconfig.Mem:
		return mem.New(), nil
	case *kmsconfig.FS:
		return openFS(a, s, create)
	case *kmsconfig.AWSSecretsManager:
		return awssecrets.Open(ctx, awssecrets.Options{
			Endpoint: s.Endpoint, KMSEndpoint: s.KMSEndpoint, Region: s.Region, KMSKey: s.KMSKey,
			Credentials: awsCredentials(s.Credentials), Prefix: s.Prefix, Tags: s.Tags,
			RecoveryDays: s.RecoveryDays, Purge: s.Purge, Section: s.Section(),
		})
	case *kmsconfig.AWSKMS:
		if err := folderExists(s.Path, create); err != nil {
			return nil, err
		}
		// What is stored there is sealed already, by AWS KMS.
		inner, err := fsstore.OpenPlain(s.Path)
		if err != nil {
			return nil, err
		}
		store, err := awskms.Open(ctx, awskms.Options{
			Inner: inner, Key: s.Key, FormerKeys: s.FormerKeys, Region: s.Region, Endpoint: s.Endpoint,
			Credentials: awsCredentials(s.Credentials), Section: s.Section(),
		})
		if err != nil {
			_ = inner.Close()
			return nil, err
		}
		return store, nil
	}
	return nil, fmt.Errorf("a keystore of type %T is not supported", s)
}

// CheckStore says what is wrong with a key store's settings, as far as can be told
// without asking it.
func CheckStore(s kmsconfig.KeyStore) error {
	endpoints := map[string]string{}
	switch s := s.(type) {
	case *kmsconfig.AWSSecretsManager:
		endpoints["endpoint"], endpoints["kmsendpoint"] = s.Endpoint, s.KMSEndpoint
	case *kmsconfig.AWSKMS:
		endpoints["endpoint"] = s.Endpoint
	}
	for setting, endpoint := range endpoints {
		if _, err := awsapi.ParseEndpoint(endpoint); err != nil {
			return fmt.Errorf("%s.%s: %w", s.Section(), setting, err)
		}
	}
	return nil
}

// WarnOfStore logs what a key store has found that does not keep it from serving.
func WarnOfStore(store kms.Store, log *slog.Logger) {
	if s, ok := store.(interface{ Unreadable() []string }); ok {
		for _, path := range s.Unreadable() {
			log.Warn("a key's file does not open with this master key: it is damaged, or sealed under another one; objects under that key cannot be read", "file", path)
		}
	}
	if s, ok := store.(interface{ Endpoints() (secrets, keys string) }); ok {
		if secrets, keys := s.Endpoints(); secrets != "" || keys != "" {
			log.Info("AWS is asked at endpoints of its own", "secretsmanager", cmp.Or(secrets, "AWS"), "kms", cmp.Or(keys, "AWS"))
		}
	}
}

func awsCredentials(c kmsconfig.Credentials) awsapi.Credentials {
	return awsapi.Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey.Reveal(), SessionToken: c.SessionToken.Reveal()}
}

// openFS opens a folder of keys: sealed under a master key, or plain as KES
// writes them.
func openFS(a *cli.App, s *kmsconfig.FS, create bool) (kms.Store, error) {
	if err := folderExists(s.Path, create); err != nil {
		return nil, err
	}
	if s.MasterKey.IsZero() {
		return fsstore.OpenPlain(s.Path)
	}
	if name := s.MasterKey.Env; name != "" {
		text, ok := a.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("%s: the master key's variable %s is not set", s.Section(), name)
		}
		master, err := parseMasterKey(text, name)
		if err != nil {
			return nil, err
		}
		return fsstore.Open(fsstore.Options{Dir: s.Path, MasterKey: master})
	}
	master, err := masterKeyFile(s.MasterKey.File, s.Path, create)
	if err != nil {
		return nil, err
	}
	return fsstore.Open(fsstore.Options{Dir: s.Path, MasterKey: master})
}

// openDataDir opens the sealed folder below the data directory.
func openDataDir(c *config.Config, create bool) (kms.Store, error) {
	dir := filepath.Join(c.DataDir, "keys")
	if err := folderExists(dir, create); err != nil {
		return nil, err
	}
	var master fsstore.MasterKey
	var err error
	if c.MasterKey.IsZero() {
		file := c.MasterKeyFile
		if file == "" {
			file = filepath.Join(c.DataDir, "master.key")
		}
		master, err = masterKeyFile(file, dir, create)
	} else {
		master, err = parseMasterKey(c.MasterKey.Reveal(), config.EnvMasterKey)
	}
	if err != nil {
		return nil, err
	}
	return fsstore.Open(fsstore.Options{Dir: dir, MasterKey: master})
}

// folderExists keeps commands that only look from making folders.
func folderExists(dir string, create bool) error {
	if create {
		return nil
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("there are no keys: %w", err)
	}
	return nil
}

// parseMasterKey reads a master key that a variable holds.
func parseMasterKey(text, variable string) (fsstore.MasterKey, error) {
	key, err := fsstore.ParseMasterKey(text)
	if err != nil {
		return key, fmt.Errorf("%s: %w", variable, err)
	}
	return key, nil
}

// masterKeyFile reads the key that seals the folder dir. With create it makes
// one, but only for a folder without keys: a new one would open none of them.
func masterKeyFile(file, dir string, create bool) (fsstore.MasterKey, error) {
	key, err := fsstore.LoadMasterKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := fsstore.CheckLayout(dir, true); err != nil {
		return key, err
	}
	if hasKeys(dir) {
		return key, fmt.Errorf("the master key file %s is missing, and %s holds keys that only it opens; restore it from a backup", file, dir)
	}
	if !create {
		return key, err
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
