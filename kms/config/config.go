// Package config reads the key service's YAML: today's KES schema, its older
// shapes with a warning each, and a few settings of our own. It opens no file
// but the YAML itself and builds nothing; cmd builds what a Config describes.
package config

import (
	"log/slog"
	"time"

	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/collector"
)

// DefaultAddress is where a key server listens if the file does not say.
const DefaultAddress = "0.0.0.0:7373"

// Defaults of the key cache, as KES documents them.
const (
	DefaultCacheAny    = 5 * time.Minute
	DefaultCacheUnused = 30 * time.Second
)

// DefaultProxyHeader carries a client's certificate behind a TLS proxy.
const DefaultProxyHeader = "X-Tls-Client-Cert"

// LevelOff is above every level that is logged.
const LevelOff = slog.LevelError + 1

// Config is a checked configuration. Its secrets are of type Secret and do not
// print.
type Config struct {
	// Name is the file it came from.
	Name string
	// Address is IP:PORT to listen on. Empty only in an embedded section
	// without address: then nothing listens.
	Address string
	// Admin may do everything. Empty: nobody may.
	Admin identity.Identity
	TLS   TLS
	// Policies by name.
	Policies map[string]Policy
	Cache    Cache
	// API holds the settings of single routes by path, such as "/v1/ready".
	// Paths that take a name end in "/".
	API map[string]Endpoint
	Log Log
	// Tracing says where traces go to, of a key server that is no part of a proxy. An
	// extension of KES's schema.
	Tracing collector.Settings
	// Keys are the names of keys to create before serving, in the file's order.
	Keys []string
	// RotateAfter says how old the newest version of keys may become before they are
	// rotated. The first rule that fits a key counts. An extension of KES's schema.
	RotateAfter []RotateAfter
	// KeyStore is *FS, *Mem, *AWSSecretsManager or *AWSKMS. It is nil only in an
	// embedded section without keystore.
	KeyStore KeyStore
	// Warnings in the order of lines.
	Warnings []Warning
}

// Warning is about something that works, but not as its author may think.
type Warning struct {
	Line int
	Text string
}

// TLS of the server.
type TLS struct {
	// Key and Cert are PEM files. Password opens an encrypted Key.
	Key, Cert string
	Password  Secret
	// CA is a PEM file, or a folder of them, with certificates that sign those
	// of clients, beside the system's. Empty: the system's only.
	CA string
	// Auth says that client certificates must be signed by a CA and not
	// expired. Otherwise any certificate will do: it only proves an identity.
	Auth  bool
	Proxy TLSProxy
}

// TLSProxy describes proxies that terminate the clients' TLS.
type TLSProxy struct {
	// Identities of the proxies; none: there are no proxies.
	Identities []identity.Identity
	// Header carries the client's certificate as URL-escaped PEM.
	Header string
}

// Policy says what its identities may do. A pattern is a path, or with a '*' at
// its end the beginning of paths. Deny is looked at first; what nothing allows
// is refused.
type Policy struct {
	Allow, Deny []string
	Identities  []identity.Identity
	// Bucketseal says that the identities are bucketseal proxies: they may use
	// the encryption contexts that are reserved for proxies. An extension of
	// KES's schema.
	Bucketseal bool
}

// Cache says how long keys may be used without asking the key store.
type Cache struct {
	// Any is how long at most.
	Any time.Duration
	// Unused is how long after a key's last use.
	Unused time.Duration
	// Offline is how long while the store does not answer; 0: Any and Unused
	// go on to count.
	Offline time.Duration
}

// Endpoint is what can be set for one route.
type Endpoint struct {
	// SkipAuth lets everybody in, without a certificate.
	SkipAuth bool
	// Timeout of a request; 0: the route's own.
	Timeout time.Duration
}

// Log says what is logged: LevelOff is nothing.
type Log struct {
	Error, Audit slog.Level
	// JSON logs lines of JSON instead of text. An extension of KES's schema.
	JSON bool
	// AuditFile gets a signed line for every request, and AuditRequired says that none is
	// served while that cannot be written. Extensions of KES's schema.
	AuditFile     AuditFile
	AuditRequired bool
}

// RotateAfter is a rule for the keys that Pattern names: a name, or with a '*' at its
// end the beginning of names.
type RotateAfter struct {
	Pattern string
	After   time.Duration
}

// SkippableAPI returns the paths on which skip_auth is allowed: none of them
// tells about keys, policies or who does what.
func SkippableAPI() []string {
	return []string{"/version", "/v1/ready", "/v1/status", "/v1/metrics", "/v1/api"}
}

// APIPaths returns the paths that the api section may name.
func APIPaths() []string {
	return append(SkippableAPI(),
		"/v1/key/create/", "/v1/key/import/", "/v1/key/describe/", "/v1/key/delete/", "/v1/key/list/",
		"/v1/key/generate/", "/v1/key/encrypt/", "/v1/key/decrypt/", "/v1/key/hmac/",
		"/v1/policy/describe/", "/v1/policy/read/", "/v1/policy/list/",
		"/v1/identity/describe/", "/v1/identity/list/", "/v1/identity/self/describe",
		"/v1/log/error", "/v1/log/audit")
}
