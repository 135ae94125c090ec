package config

import "time"

// Setting describes one setting, for the command line and the documentation.
type Setting struct {
	// Path is its name in the file, as in "upstream.endpoint".
	Path string
	// Type is one of the Type constants.
	Type Type
	// Default is what it is when nothing is said; "" for nothing.
	Default string
	// Env and Flag are the variable and the flag (without dashes) that override
	// the file; "" for none.
	Env, Flag string
	// Usage is one line of help.
	Usage string

	set func(c *Config, values []string) error
}

// Type is the kind of value that a setting takes.
type Type string

// Types.
const (
	TypeString   Type = "string"
	TypeList     Type = "list of strings"
	TypeFile     Type = "path"
	TypeDuration Type = "duration"
	TypeSize     Type = "size"
	TypeNumber   Type = "number"
	TypeBool     Type = "boolean"
	TypeSecret   Type = "secret"
)

// Settings returns every setting that has one value or a list of them, in the
// order of the documentation. The lists "credentials" and "access.rules", and "kms",
// are read apart.
func Settings() []Setting {
	var all []Setting
	for _, group := range [][]Setting{
		serverSettings(), encryptionSettings(), tlsSettings(), limitSettings(), capacitySettings(), usageSettings(), auditSettings(), doctorSettings(),
		consoleSettings(),
		tracingSettings(),
		keySettings(), remoteSettings(),
	} {
		all = append(all, group...)
	}
	return all
}

func serverSettings() []Setting {
	return []Setting{
		{
			Path: "address", Type: TypeString, Default: ":8080", Env: "BUCKETSEAL_ADDRESS", Flag: "address",
			Usage: "serve S3 on HOST:PORT", set: text(func(c *Config) *string { return &c.Address }, checkAddress),
		},
		{
			Path: "region", Type: TypeString, Default: "us-east-1", Env: "BUCKETSEAL_REGION",
			Usage: "the region of this server; clients may sign for any", set: text(func(c *Config) *string { return &c.Region }, checkRegion),
		},
		{
			Path: "domain", Type: TypeList, Env: "BUCKETSEAL_DOMAIN",
			Usage: "names of this server below which the bucket may stand, as in BUCKET.s3.example.com", set: setDomains,
		},
		{
			Path: "cors_allow_origin", Type: TypeList, Default: "*", Env: "BUCKETSEAL_CORS_ALLOW_ORIGIN",
			Usage: "origins (patterns) whose scripts browsers let read answers", set: list(func(c *Config) *[]string { return &c.AllowOrigin }, checkOrigin),
		},
		{
			Path: "upstream.endpoint", Type: TypeString, Default: "http://127.0.0.1:9000", Env: "BUCKETSEAL_UPSTREAM", Flag: "upstream",
			Usage: "URL of the MinIO that stores the objects", set: setEndpoint,
		},
		{
			Path: "upstream.region", Type: TypeString,
			Usage: "the region MinIO was started with; region if not given", set: text(func(c *Config) *string { return &c.Upstream.Region }, checkRegion),
		},
		{
			Path: "upstream.ca", Type: TypeFile, Env: "BUCKETSEAL_UPSTREAM_CA",
			Usage: "PEM file or folder of the certificate authorities that sign MinIO's certificate", set: text(func(c *Config) *string { return &c.Upstream.CA }),
		},
		{
			Path: "upstream.cert", Type: TypeFile,
			Usage: "PEM file of the proxy's own client certificate, if MinIO wants one", set: text(func(c *Config) *string { return &c.Upstream.Cert }),
		},
		{
			Path: "upstream.key", Type: TypeFile,
			Usage: "PEM file of its private key", set: text(func(c *Config) *string { return &c.Upstream.Key }),
		},
		{
			Path: "upstream.credentials.access_key", Type: TypeString,
			Usage: "the proxy's own access key at MinIO", set: text(func(c *Config) *string { return &c.Upstream.Credentials.AccessKey }, checkAccessKey),
		},
		{
			Path: "upstream.credentials.secret_key", Type: TypeSecret,
			Usage: "its secret key", set: secret(func(c *Config) *Secret { return &c.Upstream.Credentials.SecretKey }, checkSecretKey),
		},
		{
			Path: "upstream.credentials.secret_key_file", Type: TypeFile,
			Usage: "file that holds its secret key", set: text(func(c *Config) *string { return &c.Upstream.Credentials.SecretKeyFile }),
		},
		{
			Path: "trusted_proxies", Type: TypeList, Env: "BUCKETSEAL_TRUSTED_PROXIES",
			Usage: "addresses or networks (CIDR) of the load balancers and reverse proxies before this server", set: setTrustedProxies,
		},
		{
			Path: "forwarded_header", Type: TypeString, Default: "x-forwarded-for",
			Usage: "the header in which they say who the client is: x-forwarded-for, x-real-ip or forwarded",
			set:   text(func(c *Config) *string { return &c.ForwardedHeader }, oneOf("x-forwarded-for", "x-real-ip", "forwarded")),
		},
		{
			Path: "log.level", Type: TypeString, Default: "info", Env: "BUCKETSEAL_LOG_LEVEL", Flag: "log-level",
			Usage: "debug, info, warn or error", set: setLogLevel,
		},
		{
			Path: "log.format", Type: TypeString, Default: "text", Env: "BUCKETSEAL_LOG_FORMAT", Flag: "log-format",
			Usage: "text or json", set: text(func(c *Config) *string { return &c.Log.Format }, oneOf("text", "json")),
		},
	}
}

func encryptionSettings() []Setting {
	return []Setting{
		{
			Path: "auto_encryption", Type: TypeString, Default: string(SSES3), Env: "BUCKETSEAL_AUTO_ENCRYPTION",
			Usage: "sse-s3, or off: what objects get that neither client nor bucket asks to encrypt",
			set:   text(func(c *Config) *string { return (*string)(&c.AutoEncryption) }, oneOf(string(SSES3), string(Off))),
		},
		{
			Path: "default_key", Type: TypeString, Default: "bucketseal-default", Env: "BUCKETSEAL_DEFAULT_KEY",
			Usage: "KMS key of SSE-KMS requests that name none", set: text(func(c *Config) *string { return &c.DefaultKey }, checkKeyName),
		},
		{
			Path: "sse_s3.key", Type: TypeString,
			Usage: "KMS key of SSE-S3; default_key if not given", set: text(func(c *Config) *string { return &c.SSES3.Key }, checkKeyName),
		},
		{
			Path: "sse_s3.former_keys", Type: TypeList,
			Usage: "KMS keys that older SSE-S3 objects are sealed under", set: list(func(c *Config) *[]string { return &c.SSES3.FormerKeys }, checkKeyName),
		},
		{
			Path: "sse_s3.etag", Type: TypeString, Default: ETagMD5, Env: "BUCKETSEAL_SSE_S3_ETAG",
			Usage: "md5, or opaque: ETags of SSE-S3 objects that cost no MD5",
			set:   text(func(c *Config) *string { return &c.SSES3.ETag }, oneOf(ETagMD5, ETagOpaque)),
		},
		{
			Path: "sse_s3.opaque_etag", Type: TypeList, Env: "BUCKETSEAL_SSE_S3_OPAQUE_ETAG",
			Usage: "buckets (pattern) that have opaque ETags where sse_s3.etag is md5", set: list(func(c *Config) *[]string { return &c.SSES3.OpaqueETag }, checkPattern),
		},
		{
			Path: "sse_s3.md5_etag", Type: TypeList, Env: "BUCKETSEAL_SSE_S3_MD5_ETAG",
			Usage: "buckets (pattern) that have MD5s where sse_s3.etag is opaque", set: list(func(c *Config) *[]string { return &c.SSES3.MD5ETag }, checkPattern),
		},
		{
			Path: "access.key_admins", Type: TypeList,
			Usage: "access keys of those who may create, list and delete KMS keys", set: list(func(c *Config) *[]string { return &c.Access.KeyAdmins }, checkAccessKey),
		},
		{
			Path: "allow_anonymous", Type: TypeList, Env: "BUCKETSEAL_ALLOW_ANONYMOUS", Flag: "allow-anonymous",
			Usage: "buckets (pattern, repeatable) whose encrypted objects callers without a signature may use, if MinIO lets them",
			set:   list(func(c *Config) *[]string { return &c.AllowAnonymous }, checkPattern),
		},
		{
			Path: "plain_read", Type: TypeList, Env: "BUCKETSEAL_PLAIN_READ", Flag: "plain-read",
			Usage: "buckets (pattern, repeatable) whose unencrypted objects may be read", set: list(func(c *Config) *[]string { return &c.PlainRead }, checkPattern),
		},
		{
			Path: "customer_keys_over_http", Type: TypeBool, Default: "false",
			Usage: "accept SSE-C keys on connections without TLS", set: boolean(func(c *Config) *bool { return &c.CustomerKeysOverHTTP }),
		},
		{
			Path: "signature_v2", Type: TypeBool, Default: "false", Env: "BUCKETSEAL_SIGNATURE_V2",
			Usage: "also accept signatures of version 2, which cover less of a request", set: boolean(func(c *Config) *bool { return &c.SignatureV2 }),
		},
		{
			Path: "system_bucket", Type: TypeString, Default: "bucketseal-system", Env: "BUCKETSEAL_SYSTEM_BUCKET",
			Usage: "the proxy's own bucket at MinIO", set: text(func(c *Config) *string { return &c.SystemBucket }, checkBucketName),
		},
		{
			Path: "deployment", Type: TypeString, Default: "default", Env: "BUCKETSEAL_DEPLOYMENT",
			Usage: "name of this installation in what is sealed", set: text(func(c *Config) *string { return &c.Deployment }, checkDeployment),
		},
	}
}

func tlsSettings() []Setting {
	return []Setting{
		{
			Path: "tls.certs_dir", Type: TypeFile, Env: "BUCKETSEAL_CERTS_DIR", Flag: "certs-dir",
			Usage: "serve TLS with public.crt and private.key in this folder, and with those of further hosts in folders in it", set: text(func(c *Config) *string { return &c.TLS.CertsDir }),
		},
		{
			Path: "tls.cert", Type: TypeFile,
			Usage: "PEM file of the server's certificate and its chain", set: text(func(c *Config) *string { return &c.TLS.Cert }),
		},
		{
			Path: "tls.key", Type: TypeFile,
			Usage: "PEM file of its private key", set: text(func(c *Config) *string { return &c.TLS.Key }),
		},
		{
			Path: "tls.min_version", Type: TypeString, Default: "1.2",
			Usage: "the oldest version of TLS spoken with clients", set: text(func(c *Config) *string { return &c.TLS.MinVersion }, oneOf("1.2", "1.3")),
		},
		{
			Path: "tls.client_auth", Type: TypeString, Default: ClientAuthOff,
			Usage: "whether clients show a certificate: off, request or require",
			set:   text(func(c *Config) *string { return &c.TLS.ClientAuth }, oneOf(ClientAuthOff, ClientAuthRequest, ClientAuthRequire)),
		},
		{
			Path: "tls.client_ca", Type: TypeFile,
			Usage: "PEM file or folder of the authorities that sign clients' certificates; the folder CAs in certs_dir if not given", set: text(func(c *Config) *string { return &c.TLS.ClientCA }),
		},
	}
}

func limitSettings() []Setting {
	return []Setting{
		{
			Path: "small_object.size", Type: TypeSize, Default: "8MiB",
			Usage: "uploads up to this size are read whole before they are sent on", set: size(func(c *Config) *int64 { return &c.SmallObject.Size }, 1<<10, 1<<30),
		},
		{
			Path: "small_object.budget", Type: TypeSize, Default: "128MiB",
			Usage: "memory for all such uploads together", set: size(func(c *Config) *int64 { return &c.SmallObject.Budget }, 1<<20, 1<<40),
		},
		{
			Path: "listing_cache", Type: TypeSize, Default: "32MiB",
			Usage: "memory for sizes and ETags that were listed, so that the next listing costs MinIO less", set: size(func(c *Config) *int64 { return &c.ListingCache }, 0, 1<<40),
		},
		{
			Path: "limits.drain", Type: TypeDuration, Default: "0s",
			Usage: "how long connections are accepted once the server is asked to end, while readiness is 503", set: duration(func(c *Config) *time.Duration { return &c.Limits.Drain }, 0, time.Hour),
		},
		{
			Path: "limits.shutdown", Type: TypeDuration, Default: "30s",
			Usage: "how long running transfers may go on once the server is asked to end", set: duration(func(c *Config) *time.Duration { return &c.Limits.Shutdown }, 0, 24*time.Hour),
		},
		{
			Path: "limits.read_header", Type: TypeDuration, Default: "10s",
			Usage: "how long a client may take for a request's headers", set: duration(func(c *Config) *time.Duration { return &c.Limits.ReadHeader }, 100*time.Millisecond, time.Hour),
		},
		{
			Path: "limits.idle", Type: TypeDuration, Default: "90s",
			Usage: "how long an idle connection is kept", set: duration(func(c *Config) *time.Duration { return &c.Limits.Idle }, time.Second, 24*time.Hour),
		},
		{
			Path: "limits.max_header", Type: TypeSize, Default: "64KiB",
			Usage: "size of a request's headers, all together", set: size(func(c *Config) *int64 { return &c.Limits.MaxHeader }, 8<<10, 1<<20),
		},
		{
			Path: "limits.max_clock_skew", Type: TypeDuration, Default: "15m",
			Usage: "tolerated difference between a client's clock and ours", set: duration(func(c *Config) *time.Duration { return &c.Limits.MaxClockSkew }, time.Second, 24*time.Hour),
		},
		{
			Path: "limits.upstream_header", Type: TypeDuration, Default: "2m",
			Usage: "how long MinIO may take until its answer begins", set: duration(func(c *Config) *time.Duration { return &c.Limits.UpstreamHeader }, time.Second, time.Hour),
		},
		{
			Path: "limits.rule_lease", Type: TypeDuration, Default: "1s",
			Usage: "how long a bucket's rule is trusted unseen; the same on every proxy", set: duration(func(c *Config) *time.Duration { return &c.Limits.RuleLease }, 100*time.Millisecond, time.Minute),
		},
	}
}

func capacitySettings() []Setting {
	return []Setting{
		{
			Path: "limits.max_requests", Type: TypeNumber, Default: auto,
			Usage: "how many requests are served at once, or auto; as many more wait", set: number(func(c *Config) *int { return &c.Limits.MaxRequests }, 1, 1<<20),
		},
		{
			Path: "limits.queue_wait", Type: TypeDuration, Default: "10s",
			Usage: "how long a request may wait to be served", set: duration(func(c *Config) *time.Duration { return &c.Limits.QueueWait }, 0, 10*time.Minute),
		},
		{
			Path: "limits.max_connections", Type: TypeNumber, Default: auto,
			Usage: "how many connections may be open at once, or auto", set: number(func(c *Config) *int { return &c.Limits.MaxConnections }, 1, 1<<24),
		},
		{
			Path: "limits.max_http2_connections", Type: TypeNumber, Default: auto,
			Usage: "how many of them may be by HTTP/2, or auto; others get HTTP/1.1", set: number(func(c *Config) *int { return &c.Limits.MaxHTTP2Connections }, 1, 1<<24),
		},
		{
			Path: "limits.max_connections_per_client", Type: TypeNumber, Default: "0",
			Usage: "how many of them one address may have; 0 for any number", set: number(func(c *Config) *int { return &c.Limits.MaxConnectionsPerClient }, 0, 1<<24),
		},
		{
			Path: "limits.stall", Type: TypeDuration, Default: "1m",
			Usage: "how long a client may take to send 16 KiB of a body, or to take a piece of an answer", set: duration(func(c *Config) *time.Duration { return &c.Limits.Stall }, time.Second, time.Hour),
		},
		{
			Path: "metrics.address", Type: TypeString, Env: "BUCKETSEAL_METRICS_ADDRESS",
			Usage: "serve metrics and health, without authentication, on HOST:PORT", set: text(func(c *Config) *string { return &c.MetricsAddress }, checkAddress),
		},
		{
			Path: "metrics.profiling", Type: TypeBool, Default: "false",
			Usage: "serve profiles of Go's runtime at that address too", set: boolean(func(c *Config) *bool { return &c.Profiling }),
		},
		{
			Path: "readiness.key_service", Type: TypeBool, Default: "true", Env: "BUCKETSEAL_READINESS_KEY_SERVICE",
			Usage: "the server is not ready while its key service cannot be used", set: boolean(func(c *Config) *bool { return &c.ReadinessKeyService }),
		},
	}
}

func keySettings() []Setting {
	return []Setting{
		{
			Path: "data_dir", Type: TypeFile, Env: "BUCKETSEAL_DATA_DIR", Flag: "data-dir",
			Usage: "folder of the key store", set: text(func(c *Config) *string { return &c.DataDir }),
		},
		{
			Path: "master_key_file", Type: TypeFile, Env: "BUCKETSEAL_MASTER_KEY_FILE",
			Usage: "file of the key that seals the key store; created if missing; DIR/master.key in the data folder if not given", set: text(func(c *Config) *string { return &c.MasterKeyFile }),
		},
		{
			Path: "kms.config", Type: TypeFile,
			Usage: "take keys from the key store of this KES configuration file", set: text(func(c *Config) *string { return &c.KMS.File }),
		},
	}
}

func remoteSettings() []Setting {
	remote := func(c *Config) *RemoteKMS {
		if c.KMS.Remote == nil {
			c.KMS.Remote = &RemoteKMS{}
		}
		return c.KMS.Remote
	}
	return []Setting{
		{
			Path: "kms.remote.endpoints", Type: TypeList,
			Usage: "take keys from these KES-compatible servers, https://HOST:PORT", set: list(func(c *Config) *[]string { return &remote(c).Endpoints }, checkKeyServer),
		},
		{
			Path: "kms.remote.api_key", Type: TypeSecret,
			Usage: "API key (kes:v1:...) that says who we are", set: secret(func(c *Config) *Secret { return &remote(c).APIKey }, notEmpty),
		},
		{
			Path: "kms.remote.api_key_file", Type: TypeFile,
			Usage: "file that holds the API key", set: text(func(c *Config) *string { return &remote(c).APIKeyFile }),
		},
		{
			Path: "kms.remote.cert", Type: TypeFile,
			Usage: "PEM file of a client certificate, in the API key's place", set: text(func(c *Config) *string { return &remote(c).Cert }),
		},
		{
			Path: "kms.remote.key", Type: TypeFile,
			Usage: "PEM file of its private key", set: text(func(c *Config) *string { return &remote(c).Key }),
		},
		{
			Path: "kms.remote.key_password", Type: TypeSecret,
			Usage: "password of an encrypted private key", set: secret(func(c *Config) *Secret { return &remote(c).KeyPassword }, notEmpty),
		},
		{
			Path: "kms.remote.key_password_file", Type: TypeFile,
			Usage: "file that holds that password", set: text(func(c *Config) *string { return &remote(c).KeyPasswordFile }),
		},
		{
			Path: "kms.remote.ca", Type: TypeFile,
			Usage: "PEM file or folder of the certificate authorities that sign the servers' certificates", set: text(func(c *Config) *string { return &remote(c).CA }),
		},
	}
}
