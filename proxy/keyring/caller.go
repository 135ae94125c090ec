package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/sse"
)

// Caller is who wants keys. The zero value is a caller without a signature.
type Caller struct {
	identity *identity.Identity
	operator bool
}

// As returns the caller whose signature proved an identity; nil is nobody's.
func As(id *identity.Identity) Caller { return Caller{identity: id} }

// Operator returns whoever runs the proxy's own program beside its configuration, and may
// use every key. No request is an operator's.
func Operator() Caller { return Caller{operator: true} }

// Identity returns who it is, nil for a caller without a signature and for the operator.
func (c Caller) Identity() *identity.Identity { return c.identity }

// Anonymous says that nobody signed.
func (c Caller) Anonymous() bool { return c.identity == nil && !c.operator }

// Grant is the right to open the records of a bucket that lie under one KMS key.
type Grant struct {
	ring   *Ring
	bucket string
	mode   sse.Mode
	kmsKey string
}

// MayOpen says whether a caller may open records in a bucket that are encrypted so, and gives
// the right to. ErrAccess, kms.ErrNotPermitted for SSE-KMS, or what keeps it from being told.
func (k *Ring) MayOpen(ctx context.Context, c Caller, bucket string, as sse.Encryption) (Grant, error) {
	if err := k.mayUse(ctx, c, bucket, as.Mode, as.KMSKey, identity.Decrypt); err != nil {
		return Grant{}, err
	}
	return Grant{ring: k, bucket: bucket, mode: as.Mode, kmsKey: as.KMSKey}, nil
}

// Open unseals an object's key and private section for the caller of the grant, as Ring.Open
// does. ErrAccess for another sealing than one that it is about.
func (g Grant) Open(ctx context.Context, s *Sealing, customer *sse.Secret) (sse.ObjectKey, *sse.Private, error) {
	if !g.covers(s) {
		return sse.ObjectKey{}, nil, fmt.Errorf("a right to open other records: %w", ErrAccess)
	}
	return g.ring.open(ctx, s, customer, nil)
}

// covers says whether the grant is about a sealing.
func (g Grant) covers(s *Sealing) bool {
	as := s.Encryption()
	return g.ring != nil && g.bucket == s.name.Bucket && g.mode == as.Mode && g.kmsKey == as.KMSKey
}

// MayWrite says whether a caller may make keys for new data in a bucket. Errors are those
// of MayOpen, and ErrKeyName.
func (k *Ring) MayWrite(ctx context.Context, c Caller, bucket string, asked *sse.Request) error {
	key, err := k.nameFor(asked)
	if err != nil {
		return err
	}
	return k.mayUse(ctx, c, bucket, asked.Mode, key, identity.Generate)
}

// MayKnow says whether a caller may be shown digests of data that is being written: who
// may write it, or read it. A nil record is that of plain storage.
func (k *Ring) MayKnow(ctx context.Context, c Caller, bucket string, r *sse.Record) error {
	if r == nil {
		return nil
	}
	err := k.mayUse(ctx, c, bucket, r.Mode, r.KMSKey, identity.Generate)
	if errors.Is(err, ErrAccess) || errors.Is(err, kms.ErrNotPermitted) {
		_, err = k.MayOpen(ctx, c, bucket, r.Encryption())
	}
	return err
}

// MayRule says whether a caller may have others write under a KMS key in a bucket, as a
// rule does. Errors are those of MayOpen.
func (k *Ring) MayRule(ctx context.Context, c Caller, bucket string, mode sse.Mode, key string) error {
	return k.mayUse(ctx, c, bucket, mode, key, identity.Generate)
}

// Exists says whether a KMS key exists. A key service that may not tell is no error. kms
// errors.
func (k *Ring) Exists(ctx context.Context, key string) error {
	if _, err := k.o.KMS.DescribeKey(ctx, key); !errors.Is(err, kms.ErrNotPermitted) {
		return err
	}
	return nil
}

// mayUse is asked before any DEK is generated or unsealed: upstream can only narrow
// access, and one that says yes to everybody opens nothing. key is "" for SSE-C.
func (k *Ring) mayUse(ctx context.Context, c Caller, bucket string, mode sse.Mode, key string, use identity.Use) error {
	switch {
	case c.operator:
		return nil
	case c.identity == nil && k.live.Load().AllowAnonymous.Match(bucket):
		return nil
	case c.identity == nil:
		return fmt.Errorf("anonymous caller, bucket %q is not in allow_anonymous: %w", bucket, ErrAccess)
	}
	err := k.o.Rights.MayUse(ctx, c.identity, bucket, key, use)
	switch {
	case !errors.Is(err, identity.ErrNotAllowed):
		return err
	case mode == sse.ModeKMS:
		return fmt.Errorf("%w (%v)", kms.ErrNotPermitted, err) //nolint:errorlint // it has one code, and this is it
	default:
		return fmt.Errorf("%w (%w)", ErrAccess, err)
	}
}
