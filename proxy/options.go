package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// Options are a Server's dependencies and settings.
type Options struct {
	// Upstream talks to MinIO. Required.
	Upstream *upstream.Client
	// Service is the proxy's own credential at MinIO: for the system bucket, and
	// never for what a client asks. Required.
	Service storage.Credential
	// Identities are who may sign requests and what each may do with keys, as the
	// configuration says; Configure replaces them. Credentials are required.
	Identities identity.Settings
	// KMS is the key service, with no cache in front of it. Required.
	KMS kms.Service
	// CacheKeys puts a cache in front of a key service, behind which the keys are
	// checked; nil means none, which suits an embedded one.
	CacheKeys func(kms.Service) kms.Service

	// SystemBucket is the reserved bucket; "" means bucketseal-system.
	SystemBucket string
	// Deployment names this installation in everything that is sealed in the
	// system bucket; "" means default.
	Deployment string
	// AutoEncryption is what a write gets that asks for no encryption, in a
	// bucket without a rule: sse.ModeS3, or sse.ModeNone for plain storage.
	AutoEncryption sse.Mode
	// DefaultKey is the KMS key of SSE-KMS requests without a key id. Required.
	DefaultKey string
	// S3Key is the KMS key of SSE-S3; "" means DefaultKey.
	S3Key string
	// FormerS3Keys are KMS keys under which older SSE-S3 objects may be sealed.
	FormerS3Keys []string
	// OpaqueETag lists the buckets for whose SSE-S3 objects no MD5 is computed, so that
	// their ETag is none, but for those that MD5ETag lists.
	OpaqueETag, MD5ETag glob.Patterns
	// ShareDEK is how long the writes of a bucket may share one DEK, for SSE-S3 and
	// for SSE-KMS with bucket keys; 0 means that every write asks for its own, which
	// suits an embedded key service.
	ShareDEK time.Duration
	// AllowAnonymous lists the buckets whose encrypted objects callers without a
	// signature may read and write, if MinIO lets them.
	AllowAnonymous glob.Patterns
	// PlainRead lists the buckets whose unencrypted objects may be read.
	PlainRead glob.Patterns
	// SmallObject is the size in bytes up to which an upload is read whole before
	// it is sent on; 0 means 8 MiB.
	SmallObject int64
	// SmallObjectBudget bounds the memory for such uploads, all together, in
	// bytes; 0 means 128 MiB. Uploads that find none left are streamed.
	// Documents have a quarter of that besides, at least 16 MiB.
	SmallObjectBudget int64
	// ListingCache bounds the memory, in bytes, in which it is remembered what listings
	// show of objects; 0 remembers nothing.
	ListingCache int64
	// Domains are the names below which a host name begins with a bucket, in lower
	// case; none means that buckets stand in paths only.
	Domains []string
	// AllowOrigin lists the origins whose scripts browsers let read answers; none
	// means no other than the server's own.
	AllowOrigin glob.Patterns
	// Trust says which proxies before this one are believed about where a request
	// comes from; the zero value believes none.
	Trust forwarded.Trust
	// Gate limits how many requests are served at once; nil means any number.
	Gate *edge.Gate
	// Patience bounds how slow clients may be; the zero value has no bound.
	Patience edge.Patience
	// MaxHeader is the size in bytes of a request's line and headers beyond which it
	// is refused; 0 means 64 KiB. The http.Server must accept more, or clients get
	// its answer, which is no S3 error.
	MaxHeader int64
	// CustomerKeysOverHTTP accepts SSE-C keys on connections without TLS.
	CustomerKeysOverHTTP bool
	// SignatureV2 also accepts signatures of version 2, which cover less.
	SignatureV2 bool
	// MaxSkew is the tolerated difference of clocks; 0 means 15 minutes.
	MaxSkew time.Duration
	// Lease is how long a bucket rule may be trusted unseen; 0 means 1 s.
	Lease time.Duration
	// ReadyWithoutKeys says that the proxy stays ready while its key service cannot be
	// used, if it was ready before: reads whose DEKs are cached go on.
	ReadyWithoutKeys bool
	// UsageScan is how often all buckets are scanned for what uses which KMS key, 0 for
	// never, and UsageRate how many objects per second then at most, 0 for no bound.
	UsageScan time.Duration
	UsageRate float64
	// KeysOffline is how long key services seal without their store, under the versions of
	// keys that they know.
	KeysOffline time.Duration
	// AuditRewrap is told of each object whose key was sealed anew, or could not be; nil for
	// nobody.
	AuditRewrap func(maintenance.Rewrapped)
	// Logger gets one line for each failed request and debug lines for others;
	// nil means slog.Default().
	Logger *slog.Logger
	// Metrics registers the proxy's metrics; nil means none.
	Metrics prometheus.Registerer
	// Audit gets an account of every request and of every use of a key; nil means none.
	Audit intake.Auditor
	// Tracer has spans of requests; nil means none.
	Tracer trace.Tracer
}

func (o *Options) setDefaults() error {
	switch {
	case o.Upstream == nil:
		return errors.New("proxy: no upstream")
	case len(o.Identities.Credentials) == 0:
		return errors.New("proxy: no credentials")
	case o.KMS == nil:
		return errors.New("proxy: no key service")
	case o.Service.AccessKey == "" || o.Service.SecretKey == "":
		return errors.New("proxy: no service credential for the upstream")
	case o.DefaultKey == "":
		return errors.New("proxy: no default KMS key")
	case o.AutoEncryption != sse.ModeS3 && o.AutoEncryption != sse.ModeNone:
		return fmt.Errorf("proxy: automatic encryption with %v is not possible", o.AutoEncryption)
	}
	setDefault(&o.SystemBucket, "bucketseal-system")
	setDefault(&o.Deployment, "default")
	setDefault(&o.S3Key, o.DefaultKey)
	setDefault(&o.SmallObject, 8<<20)
	setDefault(&o.SmallObjectBudget, 128<<20)
	setDefault(&o.Lease, time.Second)
	setDefault(&o.MaxHeader, 64<<10)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
