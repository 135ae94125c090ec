package config

import (
	"strings"
	"time"
)

// KeyStore describes where keys live: *FS, *Mem, *AWSSecretsManager or *AWSKMS.
type KeyStore interface {
	// Section is where it stands in the file, such as "keystore.fs".
	Section() string
}

// FS keeps keys as files in a folder.
type FS struct {
	Path string
	// MasterKey seals the files. Zero: they are plain, as KES writes them.
	MasterKey MasterKey
}

// MasterKey says where the key lies that seals a folder of keys: in a file or
// in an environment variable, never in the configuration. At most one is set.
type MasterKey struct {
	File, Env string
}

// IsZero says that there is no master key.
func (m MasterKey) IsZero() bool { return m == MasterKey{} }

// Mem keeps keys in memory only: for trials and tests.
type Mem struct{}

// Credentials are static AWS credentials. Zero stands for the AWS SDK's chain.
type Credentials struct {
	AccessKey    string
	SecretKey    Secret
	SessionToken Secret
}

// AWSSecretsManager keeps each key as a secret.
type AWSSecretsManager struct {
	// Endpoint of Secrets Manager, with or without scheme; KMSEndpoint of AWS
	// KMS. Empty: AWS's own of the region.
	Endpoint    string
	KMSEndpoint string
	// Region; empty: that of the environment or the AWS profile.
	Region string
	// KMSKey encrypts new secrets; empty: the account's aws/secretsmanager.
	KMSKey      string
	Credentials Credentials
	// Prefix of the secrets' names, and Tags they carry: extensions.
	Prefix string
	Tags   map[string]string
	// RecoveryDays that a deleted key can be restored; 0: the store's default.
	RecoveryDays int
	// Purge deletes at once and for ever.
	Purge bool
}

// AWSKMS seals keys with AWS KMS and keeps them in a folder. An extension.
type AWSKMS struct {
	Endpoint string
	Region   string
	// Key seals and unseals: id, ARN or alias/NAME. FormerKeys only unseal.
	Key         string
	FormerKeys  []string
	Credentials Credentials
	// Path is the folder of sealed keys.
	Path string
}

// Section implements KeyStore.
func (*FS) Section() string { return "keystore.fs" }

// Section implements KeyStore.
func (*Mem) Section() string { return "keystore.mem" }

// Section implements KeyStore.
func (*AWSSecretsManager) Section() string { return "keystore.aws.secretsmanager" }

// Section implements KeyStore.
func (*AWSKMS) Section() string { return "keystore.aws.kms" }

// Limits of a recovery window in AWS Secrets Manager, in days.
const (
	minRecoveryDays = 7
	maxRecoveryDays = 30
)

// unsupported are KES's stores that we do not have, with their names.
func unsupported() map[string]string {
	return map[string]string{
		"vault":    "HashiCorp Vault",
		"fortanix": "Fortanix SDKMS",
		"gemalto":  "Thales KeySecure",
		"gcp":      "Google Cloud Secret Manager",
		"azure":    "Azure Key Vault",
		"entrust":  "Entrust KeyControl",
		"kes":      "a KES server as key store",
	}
}

// decodeKeyStore reads the keystore block; exactly one store must be there.
func (d *decoder) decodeKeyStore(n *node) KeyStore {
	var stores []KeyStore
	add := func(s KeyStore) { stores = append(stores, s) }
	known := fields{
		"fs":  func(v *node) { add(d.decodeFS(v)) },
		"mem": func(v *node) { d.mapping(v, "keystore.mem", fields{}); add(&Mem{}) },
		"aws": func(v *node) {
			d.mapping(v, "keystore.aws", fields{
				"secretsmanager": func(v *node) { add(d.decodeSecretsManager(v)) },
				"kms":            func(v *node) { add(d.decodeAWSKMS(v)) },
			})
		},
		"secretsmanager": func(v *node) {
			d.deprecated(v, "keystore.secretsmanager", "keystore.aws.secretsmanager")
			add(d.decodeSecretsManager(v))
		},
	}
	failed := len(d.errs)
	for section, product := range unsupported() {
		known[section] = func(v *node) {
			d.errorf(v, "keystore.%s: %s is not supported by bucketseal; migrate the keys with \"kes migrate --from %s --to NEW.yml\" "+
				"of the last KES release, where NEW.yml has keystore.fs or keystore.aws.secretsmanager, and use NEW.yml here", section, product, d.name)
		}
	}
	d.mapping(n, "keystore", known)
	switch {
	case len(stores) == 1:
		return stores[0]
	case len(stores) > 1:
		d.errorf(n, "keystore: %s and %s are both configured; keep exactly one", stores[0].Section(), stores[1].Section())
	case len(d.errs) == failed:
		d.errorf(n, "keystore: no key store is configured; add one of fs, aws.secretsmanager, aws.kms or mem")
	}
	return nil
}

func (d *decoder) decodeFS(n *node) *FS {
	var fs FS
	d.mapping(n, "keystore.fs", fields{
		"path": func(v *node) { fs.Path = d.required(v, "keystore.fs.path") },
		"masterkey": func(v *node) {
			d.mapping(v, "keystore.fs.masterkey", fields{
				"file": func(v *node) { fs.MasterKey.File = d.required(v, "keystore.fs.masterkey.file") },
				"env":  func(v *node) { fs.MasterKey.Env = d.required(v, "keystore.fs.masterkey.env") },
			})
			if (fs.MasterKey.File == "") == (fs.MasterKey.Env == "") {
				d.errorf(v, "keystore.fs.masterkey: name either a file or an environment variable (env) that holds the master key")
			}
		},
	})
	d.need(n, fs.Path, "keystore.fs.path: name the folder that keeps the keys")
	if n.Field("masterkey") == nil {
		d.warnf(n, "keystore.fs has no masterkey: keys lie on the disk readable to whoever reads %s; "+
			"set masterkey.file or masterkey.env to seal them", fs.Path)
	}
	return &fs
}

func (d *decoder) decodeCredentials(n *node, section string) Credentials {
	var c Credentials
	d.mapping(n, section, fields{
		"accesskey": func(v *node) { c.AccessKey = d.text(v) },
		"secretkey": func(v *node) { c.SecretKey = Secret(d.text(v)) },
		"token":     func(v *node) { c.SessionToken = Secret(d.text(v)) },
	})
	if (c.AccessKey == "") != (c.SecretKey == "") || (c.SessionToken != "" && c.AccessKey == "") {
		d.errorf(n, "%s: accesskey and secretkey go together, and token needs both; leave all empty to use the AWS SDK's own sources", section)
	}
	return c
}

func (d *decoder) decodeSecretsManager(n *node) *AWSSecretsManager {
	const section = "keystore.aws.secretsmanager"
	var s AWSSecretsManager
	d.mapping(n, section, fields{
		"endpoint":    func(v *node) { s.Endpoint = d.awsEndpoint(v, section+".endpoint") },
		"kmsendpoint": func(v *node) { s.KMSEndpoint = d.awsEndpoint(v, section+".kmsendpoint") },
		"region":      func(v *node) { s.Region = d.text(v) },
		"kmskey":      func(v *node) { s.KMSKey = d.text(v) },
		"credentials": func(v *node) { s.Credentials = d.decodeCredentials(v, section+".credentials") },
		"prefix":      func(v *node) { s.Prefix = d.text(v) },
		"tags":        func(v *node) { s.Tags = d.stringMap(v, section+".tags") },
		"purge":       func(v *node) { s.Purge = d.boolean(v, section+".purge") },
		"recovery_days": func(v *node) {
			s.RecoveryDays = d.integer(v, section+".recovery_days", minRecoveryDays, maxRecoveryDays)
		},
	})
	if s.Purge && n.Field("recovery_days") != nil {
		d.errorf(n.Field("recovery_days"), "%s: purge deletes at once, so recovery_days means nothing; keep one of them", section)
	}
	return &s
}

// awsEndpoint reads the host of an AWS service. AWS's own hosts end in
// .amazonaws.com (in China .amazonaws.com.cn); MinIO's guide leaves the end out,
// and so do the files that were written after it.
func (d *decoder) awsEndpoint(n *node, what string) string {
	const short = ".amazonaws"
	text := strings.TrimSpace(d.text(n))
	scheme, host, found := strings.Cut(text, "://")
	if !found {
		scheme, host = "", text
	}
	host, path, _ := strings.Cut(host, "/")
	host, port, hasPort := strings.Cut(host, ":")
	service, found := strings.CutSuffix(strings.ToLower(host), short)
	if !found || path != "" {
		return text
	}
	full := service + short + ".com"
	if region := service[strings.LastIndex(service, ".")+1:]; strings.HasPrefix(region, "cn-") {
		full += ".cn"
	}
	d.warnf(n, "%s: %s is taken for %s, AWS's host of that name; write it out", what, host, full)
	if scheme != "" {
		full = scheme + "://" + full
	}
	if hasPort {
		full += ":" + port
	}
	return full
}

func (d *decoder) decodeAWSKMS(n *node) *AWSKMS {
	const section = "keystore.aws.kms"
	var s AWSKMS
	d.mapping(n, section, fields{
		"endpoint":    func(v *node) { s.Endpoint = d.awsEndpoint(v, section+".endpoint") },
		"region":      func(v *node) { s.Region = d.text(v) },
		"key":         func(v *node) { s.Key = d.required(v, section+".key") },
		"former_keys": func(v *node) { s.FormerKeys = d.texts(v, section+".former_keys") },
		"credentials": func(v *node) { s.Credentials = d.decodeCredentials(v, section+".credentials") },
		"path":        func(v *node) { s.Path = d.required(v, section+".path") },
	})
	d.need(n, s.Key, section+".key: name the AWS KMS key (id, ARN or alias/NAME) that seals the keys")
	d.need(n, s.Path, section+".path: name the folder that keeps the sealed keys")
	return &s
}

// duration is used by the cache and the api section.
func (d *decoder) duration(n *node, what string) time.Duration {
	text := d.text(n)
	if text == "" {
		return 0
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		d.errorf(n, "%s: not a duration; write it like 30s, 5m or 1h30m", what)
		return 0
	}
	return value
}
