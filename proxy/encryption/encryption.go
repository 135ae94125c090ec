// Package encryption decides how a bucket's writes are encrypted: as their clients ask, as
// the bucket's rule says, or by default; what the bucket's policy demands of that; and who
// may change a rule.
package encryption

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels. What a client sees of them is s3api's affair.
var (
	ErrAccessDenied = errors.New("the caller may not do this")
	ErrNoRule       = errors.New("the bucket has no encryption rule")
)

// Options are the dependencies and the default of Settings.
type Options struct {
	// Storage says what callers may write, and whose rules they may change. Required.
	Storage storage.Storage
	// Keys are the keys that rules name. Required.
	Keys *keyring.Ring
	// Rules are the buckets' default encryption. Required.
	Rules *bucketconfig.Rules
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Policy returns a bucket's policy document, nil if it has none, and
	// storage.ErrForbidden if the proxy may not read it. Required.
	Policy func(ctx context.Context, bucket string) ([]byte, error)

	// AutoEncryption is what a write gets that asks for no encryption, in a bucket
	// without a rule.
	AutoEncryption sse.Mode
	// OpaqueETag lists the buckets for whose SSE-S3 objects no MD5 is computed, but for those
	// that MD5ETag lists.
	OpaqueETag, MD5ETag glob.Patterns
	// Logger is told what operators should know. Required.
	Logger *slog.Logger
}

// Settings are the settings of all buckets. They are safe for concurrent use.
type Settings struct {
	o       Options
	etags   atomic.Pointer[ETags]
	demands demands
}

// New checks the options and returns settings that have asked for nothing yet.
func New(o Options) (*Settings, error) {
	if o.Storage == nil || o.Keys == nil || o.Rules == nil || o.Ready == nil || o.Policy == nil || o.Logger == nil {
		return nil, errors.New("encryption: incomplete options")
	}
	s := &Settings{o: o}
	s.Adopt(ETags{Opaque: o.OpaqueETag, MD5: o.MD5ETag})
	return s, nil
}

// Asked is how a client asks for an object to be encrypted. ModeNone leaves it to the
// bucket.
type Asked struct {
	sse.Request
	// Fault is what is wrong with how it asks. Hidden tells it only to whom upstream would
	// let write: a policy may forbid what is asked for.
	Fault  error
	Hidden bool
}

// Of returns how a write of an object with these metadata is encrypted: as its client asks,
// else by the bucket's rule, else by the automatic default. What the bucket's policy forbids
// is ErrAccessDenied, or upstream's own refusal. A caller without a signature chooses how,
// and no key by name: ErrAccessDenied, whatever keys exist.
func (s *Settings) Of(ctx context.Context, c *caller.Caller, name sse.Name, meta storage.Metadata, asks *Asked) (*sse.Request, error) {
	if err := s.obeys(ctx, c, name); errors.Is(err, ErrAccessDenied) {
		return nil, c.Refusal(ctx, s.o.Storage, name, meta, err)
	} else if err != nil {
		return nil, err
	}
	said := &asks.Request
	switch {
	case c.Keys.Anonymous() && (said.KMSKeyID != "" || said.ClientContext != nil): // key services judge by them, and log them
		return nil, fmt.Errorf("a caller without a signature names a KMS key or an encryption context: %w", ErrAccessDenied)
	case asks.Fault != nil && asks.Hidden:
		return nil, c.Refusal(ctx, s.o.Storage, name, meta, asks.Fault)
	case asks.Fault != nil:
		return nil, asks.Fault
	}
	return s.complete(ctx, name.Bucket, *said) // no copy of a customer key is left behind where the write is refused
}

// Default returns how a write is encrypted that asks for nothing: by the bucket's rule, else
// by the automatic default. What the bucket's policy demands of clients is not asked.
func (s *Settings) Default(ctx context.Context, bucket string) (*sse.Request, error) {
	return s.complete(ctx, bucket, sse.Request{})
}

// complete fills in what a request leaves to the bucket's rule and to the configuration.
func (s *Settings) complete(ctx context.Context, bucket string, asked sse.Request) (*sse.Request, error) {
	if asked.Mode == sse.ModeNone {
		if err := s.byDefault(ctx, bucket, &asked); err != nil {
			return nil, err
		}
	}
	asked.OpaqueETag = asked.Mode == sse.ModeS3 && s.etags.Load().opaque(bucket)
	return &asked, nil
}

// byDefault sets what a write gets that asks for nothing: what the bucket's rule says, else
// the automatic default.
func (s *Settings) byDefault(ctx context.Context, bucket string, asked *sse.Request) error {
	rule, ok, err := s.rule(ctx, bucket)
	switch {
	case err != nil:
		return err
	case !ok:
		asked.Mode = s.o.AutoEncryption
	case rule.Algorithm == bucketconfig.AWSKMS:
		asked.Mode, asked.KMSKeyID = sse.ModeKMS, rule.KMSKeyID
		if rule.BucketKeyEnabled && asked.BucketKey == nil {
			asked.BucketKey = &rule.BucketKeyEnabled
		}
	default:
		asked.Mode = sse.ModeS3
	}
	return nil
}

// rule returns the bucket's rule, once the system bucket is set up.
func (s *Settings) rule(ctx context.Context, bucket string) (bucketconfig.Rule, bool, error) {
	if err := s.o.Ready(ctx); err != nil {
		return bucketconfig.Rule{}, false, err
	}
	rule, ok, err := s.o.Rules.Effective(ctx, bucket)
	if errors.Is(err, bucketconfig.ErrNotFound) {
		err = fmt.Errorf("%w; restore the system bucket from a backup; where there is none, or this MinIO is a new one, stop bucketseal and run: bucketseal rules reset", err)
	}
	return rule, ok, err
}
