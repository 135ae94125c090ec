package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Write says which object is written, and how.
type Write struct {
	Name sse.Name
	// Asked is how the client asks for it to be encrypted.
	Asked Asked
	// Meta is what the storage keeps with the object, by its headers' names.
	Meta       storage.Metadata
	Conditions WriteConditions
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

// encryption returns how a write is encrypted: as its client asks, else by the bucket's
// rule, else by the automatic default. What the bucket's policy forbids is ErrAccessDenied,
// or upstream's own refusal. A caller without a signature chooses how, and no key by name:
// ErrAccessDenied, whatever keys exist.
func (v *Vault) encryption(ctx context.Context, c *Caller, w *Write) (*sse.Request, error) {
	if err := v.obeys(ctx, c, w.Name); errors.Is(err, ErrAccessDenied) {
		return nil, v.refusal(ctx, c, w, err)
	} else if err != nil {
		return nil, err
	}
	said := &w.Asked.Request
	switch {
	case c.Keys.Anonymous() && (said.KMSKeyID != "" || said.ClientContext != nil): // key services judge by them, and log them
		return nil, fmt.Errorf("a caller without a signature names a KMS key or an encryption context: %w", ErrAccessDenied)
	case w.Asked.Fault != nil && w.Asked.Hidden:
		return nil, v.refusal(ctx, c, w, w.Asked.Fault)
	case w.Asked.Fault != nil:
		return nil, w.Asked.Fault
	}
	asked := *said // no copy of a customer key is left behind where the write is refused
	if asked.Mode != sse.ModeNone {
		return &asked, nil
	}
	rule, ok, err := v.rule(ctx, w.Name.Bucket)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		asked.Mode = v.o.AutoEncryption
	case rule.Algorithm == bucketconfig.AWSKMS:
		asked.Mode, asked.KMSKeyID = sse.ModeKMS, rule.KMSKeyID
		if rule.BucketKeyEnabled && asked.BucketKey == nil {
			asked.BucketKey = &rule.BucketKeyEnabled
		}
	default:
		asked.Mode = sse.ModeS3
	}
	return &asked, nil
}

// rule returns the bucket's rule, once the system bucket is set up.
func (v *Vault) rule(ctx context.Context, bucket string) (bucketconfig.Rule, bool, error) {
	if err := v.o.Ready(ctx); err != nil {
		return bucketconfig.Rule{}, false, err
	}
	rule, ok, err := v.o.Rules.Effective(ctx, bucket)
	if errors.Is(err, bucketconfig.ErrNotFound) {
		err = fmt.Errorf("%w; restore the system bucket from a backup; where there is none, or this MinIO is a new one, stop bucketseal and run: bucketseal rules reset", err)
	}
	return rule, ok, err
}
