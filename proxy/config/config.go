// Package config reads what `bucketseal server` is told: a YAML file, the
// environment and the command line, of which the last wins.
//
// Everything is checked before anything is started. What is wrong is reported
// with file, line and column, or with the name of the variable or flag, and with
// what to do about it.
package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"github.com/bucketseal/bucketseal/operator/collector"
	"github.com/bucketseal/bucketseal/operator/yamlfile"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// Config is a complete, checked configuration. It prints without its secrets.
type Config struct {
	// File is the YAML file it was read from; "" without one.
	File string

	// Address is where S3 is served, HOST:PORT.
	Address string
	// Region is this server's; clients may sign for any.
	Region string
	// Upstream is the MinIO that stores the objects.
	Upstream Upstream
	// Credentials are the clients'. Each also signs that client's requests upstream,
	// unless it has another pair for that.
	Credentials []Credential
	// Access is who may use and administer KMS keys.
	Access identity.Access
	// Root is a credential from the environment, for clients and upstream where
	// the file names none.
	Root Credential

	// AutoEncryption is what a write gets that asks for none, in a bucket without
	// a rule: SSES3 or Off.
	AutoEncryption AutoEncryption
	// DefaultKey is the KMS key of SSE-KMS requests without a key id.
	DefaultKey string
	// SSES3 is about SSE-S3: KMS keys and ETags.
	SSES3 SSES3Settings

	// AllowAnonymous and PlainRead are patterns of bucket names.
	AllowAnonymous, PlainRead []string
	// Domains are the names below which a bucket may stand in the host, in lower case.
	Domains []string
	// AllowOrigin are patterns of the origins whose scripts may read answers.
	AllowOrigin []string
	// TrustedProxies are the networks of the load balancers and reverse proxies
	// before this one, and ForwardedHeader is where they say who the client is:
	// x-forwarded-for, x-real-ip or forwarded.
	TrustedProxies  []netip.Prefix
	ForwardedHeader string
	// CustomerKeysOverHTTP accepts SSE-C keys on connections without TLS.
	CustomerKeysOverHTTP bool
	// SignatureV2 also accepts signatures of version 2.
	SignatureV2 bool

	// SystemBucket is the proxy's own bucket.
	SystemBucket string
	// Deployment names this installation in what is sealed.
	Deployment string

	TLS         TLS
	SmallObject SmallObject
	// ListingCache is the memory in bytes for what listings show of objects; 0 is none.
	ListingCache int64
	// UsageScan counts what uses which KMS key.
	UsageScan UsageScan
	Limits    Limits
	Log       Log
	// Audit is where the account of requests and key uses goes.
	Audit Audit
	// MetricsAddress is where metrics are served, HOST:PORT; "" for nowhere.
	MetricsAddress string
	// Profiling serves profiles of Go's runtime there too.
	Profiling bool
	// Tracing says where traces are sent to.
	Tracing collector.Settings
	// ReadinessKeyService says that the server is not ready while its key service
	// cannot be used.
	ReadinessKeyService bool

	// DoctorInterval is the time between two looks of the doctor; 0 is never.
	DoctorInterval time.Duration

	// Console is the page for browsers.
	Console Console

	// DataDir holds the key store; "" if keys live elsewhere.
	DataDir string
	// MasterKeyFile holds the key that seals the key store; MasterKey is that key
	// itself, from the environment, and takes the file's place.
	MasterKeyFile string
	MasterKey     Secret
	// KMS says where keys come from, if not from DataDir.
	KMS KMS

	// Warnings are what is allowed and yet probably not meant.
	Warnings []string

	// holdsSecret says that the file itself holds a secret, and not only the name of
	// a variable or of another file.
	holdsSecret bool
	origin      map[string]yamlfile.Place
	given       map[string][]string // the texts of settings, defaults too; of a secret none
}

// Upstream is a MinIO and the proxy's own credential there.
type Upstream struct {
	Endpoint    *url.URL
	Region      string
	CA          string // PEM file or folder; "" for the system's certificate authorities
	Cert, Key   string // PEM files of our client certificate; "" for none
	Credentials Credential
}

// Credential is an access key and its secret.
type Credential struct {
	AccessKey     string
	SecretKey     Secret
	SecretKeyFile string // where SecretKey was read from
	// Upstream is the pair that a client's requests are signed with towards MinIO; nil
	// for its own. It has none itself.
	Upstream *Credential
}

// AtUpstream is the pair that MinIO knows a client by.
func (c *Credential) AtUpstream() *Credential {
	if c.Upstream != nil {
		return c.Upstream
	}
	return c
}

// AutoEncryption is what objects get that nobody asked to encrypt.
type AutoEncryption string

// Values of AutoEncryption.
const (
	SSES3 AutoEncryption = "sse-s3"
	Off   AutoEncryption = "off"
)

// SSES3Settings are about SSE-S3: the KMS key of new objects, those that older objects
// may be sealed under, and what ETags objects get.
type SSES3Settings struct {
	Key        string
	FormerKeys []string
	// ETag is ETagMD5 or ETagOpaque: that of buckets which neither list below names.
	// With ETagOpaque, OpaqueETag is every bucket.
	ETag string
	// OpaqueETag and MD5ETag list buckets (patterns) that have the other one. The latter
	// wins.
	OpaqueETag, MD5ETag []string
}

// Values of SSES3Settings.ETag.
const (
	ETagMD5    = "md5"
	ETagOpaque = "opaque"
)

// TLS is where the server's certificate lies; all empty means plain HTTP.
type TLS struct {
	// CertsDir holds public.crt and private.key, and those of further hosts in a
	// folder each.
	CertsDir string
	// Cert and Key are PEM files.
	Cert, Key string
	// MinVersion is 1.2 or 1.3.
	MinVersion string
	// ClientAuth says whether clients show a certificate: ClientAuthOff,
	// ClientAuthRequest or ClientAuthRequire.
	ClientAuth string
	// ClientCA is a PEM file or folder of the authorities that sign clients'
	// certificates; "" for the folder CAs in CertsDir.
	ClientCA string
}

// Values of TLS.ClientAuth.
const (
	ClientAuthOff     = "off"
	ClientAuthRequest = "request"
	ClientAuthRequire = "require"
)

// Enabled says whether the server speaks TLS.
func (t TLS) Enabled() bool { return t.CertsDir != "" || t.Cert != "" }

// SmallObject says which uploads are read whole before they are sent on, and
// how much memory all of them may take, in bytes.
type SmallObject struct{ Size, Budget int64 }

// Limits bound what a request may take.
type Limits struct {
	Drain          time.Duration // between being asked to end, from when readiness is 503, and the end of the listener
	Shutdown       time.Duration // for running transfers, once the server is asked to end
	ReadHeader     time.Duration
	Idle           time.Duration
	MaxHeader      int64 // bytes
	MaxClockSkew   time.Duration
	UpstreamHeader time.Duration // for the headers of MinIO's answer
	RuleLease      time.Duration

	MaxRequests             int // at once; 0 means what suits the machine
	QueueWait               time.Duration
	MaxConnections          int // 0 means what suits the machine
	MaxHTTP2Connections     int // 0 means what suits the machine
	MaxConnectionsPerClient int // 0 means any number
	Stall                   time.Duration
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format string // text or json
}

// KMS says where keys come from. At most one of its fields is set.
type KMS struct {
	// File is a KES configuration file.
	File string
	// Section is a KES configuration inside this file.
	Section *Section
	// Remote is a KES-compatible server.
	Remote *RemoteKMS
}

// IsZero says that keys lie in the data directory.
func (k KMS) IsZero() bool { return k.File == "" && k.Section == nil && k.Remote == nil }

// Section is a part of the file that another package reads. YAML is that part
// alone, in its place: the lines before it are empty, so that line and column
// of an error in it are those of the file.
type Section struct {
	File         string
	YAML         []byte
	Line, Column int
}

// String names the place and not the content, which may be secret.
func (s *Section) String() string { return fmt.Sprintf("%s:%d:%d", s.File, s.Line, s.Column) }

// GoString is String.
func (s *Section) GoString() string { return s.String() }

// RemoteKMS is a KES-compatible key server: an API key or a certificate says who
// we are.
type RemoteKMS struct {
	Endpoints       []string
	APIKey          Secret
	APIKeyFile      string
	Cert, Key       string
	KeyPassword     Secret
	KeyPasswordFile string
	CA              string
}

// Format prints the endpoints alone. Without it fmt, given a verb that pointers
// do not have, would print the fields without asking them.
func (r *RemoteKMS) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, r.Endpoints) }

// Secret is text that is not printed, logged or marshalled.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// IsZero says that there is none.
func (s Secret) IsZero() bool { return s.text == "" }

const redacted = "[redacted]"

// String returns [redacted], or nothing for no secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return redacted
}

// Format prints String for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText implements encoding.TextMarshaler, for YAML too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
