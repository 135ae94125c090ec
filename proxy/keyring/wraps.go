package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// Wraps are keys of objects that re-wraps sealed once more, under other KMS keys than their
// records say: manifest.Wraps.
type Wraps interface {
	// Known returns a record's wrap as it was once read, nil if it is not kept.
	Known(name sse.Name, r *sse.Record) *sse.Wrap
	// Find reads a record's wrap, nil if there is none.
	Find(ctx context.Context, name sse.Name, r *sse.Record) (*sse.Wrap, error)
	// Fetch reads the wraps of a bucket's objects from one key to another, of those that it
	// Covers.
	Fetch(ctx context.Context, bucket, first, last string, found func(sse.Name, sse.RecordDigest, *sse.Wrap)) error
	Covers(name sse.Name) bool
}

// noWraps are none.
type noWraps struct{}

// Known implements Wraps.
func (noWraps) Known(sse.Name, *sse.Record) *sse.Wrap { return nil }

// Find implements Wraps.
func (noWraps) Find(context.Context, sse.Name, *sse.Record) (*sse.Wrap, error) { return nil, nil }

// Fetch implements Wraps.
func (noWraps) Fetch(context.Context, string, string, string, func(sse.Name, sse.RecordDigest, *sse.Wrap)) error {
	return nil
}

// Covers implements Wraps.
func (noWraps) Covers(sse.Name) bool { return true }

// Fetched are the wraps of a page of a listing.
type Fetched struct {
	ring  *Ring
	wraps map[wrapOf]*sse.Wrap
}

type wrapOf struct {
	name   sse.Name
	record sse.RecordDigest
}

// Fetch reads the wraps of a bucket's objects from one key to another, with one request for
// all, if that of s may be needed: if its own KMS key is gone, and its wrap is not known. Else
// it returns nil. Of a record that was re-keyed its wrap is known.
func (g Grant) Fetch(ctx context.Context, s *Sealing, first, last string) (*Fetched, error) {
	if !g.covers(s) || s.record.Mode == sse.ModeC || s.rekeyed || g.ring.o.Wraps.Known(s.name, s.record) != nil {
		return nil, nil
	}
	secret, _, err := g.ring.unseal(ctx, s, nil)
	if err == nil {
		secret.Zero()
	}
	if !gone(err) {
		return nil, nil
	}
	f := &Fetched{g.ring, make(map[wrapOf]*sse.Wrap)}
	return f, g.ring.o.Wraps.Fetch(ctx, s.name.Bucket, first, last, func(of sse.Name, d sse.RecordDigest, w *sse.Wrap) { f.wraps[wrapOf{of, d}] = w })
}

// Open is Grant.Open for an object of the page. It looks no wrap up that Fetch would have
// found. f may be nil.
func (f *Fetched) Open(ctx context.Context, g Grant, s *Sealing) (sse.ObjectKey, *sse.Private, error) {
	if !g.covers(s) {
		return sse.ObjectKey{}, nil, fmt.Errorf("a right to open other records: %w", ErrAccess)
	}
	return g.ring.open(ctx, s, nil, f)
}

// of returns what was fetched for a record, and whether that is all there is.
func (f *Fetched) of(name sse.Name, r *sse.Record) (w *sse.Wrap, all bool) {
	if f == nil {
		return nil, false
	}
	return f.wraps[wrapOf{name, r.Digest()}], f.ring.o.Wraps.Covers(name)
}

// gone says that a DEK cannot be opened because its KMS key is not to be had any more, so
// that a wrap may.
func gone(err error) bool {
	return errors.Is(err, kms.ErrKeyNotFound) || errors.Is(err, kms.ErrVersionRetired) || errors.Is(err, kms.ErrVersionDestroyed) ||
		errors.Is(err, ErrOtherS3Key)
}

// openSealed opens an object's key, for a caller who may. Options.Wanted is told if that takes a
// version of a KMS key that is retired.
func (k *Ring) openSealed(ctx context.Context, s *Sealing, fetched *Fetched) (sse.ObjectKey, *sse.Private, error) {
	key, private, w, err := k.openAny(ctx, s, fetched)
	if of := (*kms.VersionError)(nil); k.o.Wanted != nil && errors.Is(err, kms.ErrVersionRetired) && errors.As(err, &of) {
		kmsKey, _ := Under(s.record, w)
		k.o.Wanted(kmsKey, of.Version)
	}
	return key, private, err
}

// openAny opens an object's key. Where a wrap counts, that opens it and nothing else. Else a wrap
// that is known does, or the record, or, if the record's KMS key is gone, the wrap that was fetched
// or is there now. So an object that was never re-keyed costs no look-up. w is what was tried last.
func (k *Ring) openAny(ctx context.Context, s *Sealing, fetched *Fetched) (key sse.ObjectKey, private *sse.Private, w *sse.Wrap, err error) {
	if s.rekeyed {
		key, private, err = k.openAs(ctx, s, s.wrap)
		return key, private, s.wrap, err
	}
	if w := k.o.Wraps.Known(s.name, s.record); w != nil {
		if key, private, err := k.openAs(ctx, s, w); err == nil {
			return key, private, w, nil
		}
	}
	key, private, err = k.openAs(ctx, s, nil)
	if err == nil || !gone(err) {
		return key, private, nil, err
	}
	w, all := fetched.of(s.name, s.record)
	if !all {
		var failed error
		if w, failed = k.o.Wraps.Find(ctx, s.name, s.record); failed != nil {
			return key, private, nil, fmt.Errorf("%w (%w)", failed, err)
		}
	}
	if w != nil {
		key, private, err = k.openAs(ctx, s, w)
	}
	return key, private, w, err
}

// openAs opens an object's key as a wrap seals it, or as the record does if w is nil.
func (k *Ring) openAs(ctx context.Context, s *Sealing, w *sse.Wrap) (sse.ObjectKey, *sse.Private, error) {
	secret, encContext, err := k.unseal(ctx, s, w)
	if err != nil {
		return sse.ObjectKey{}, nil, err
	}
	defer secret.Zero()
	if w == nil {
		return authentic(s.record.Open(s.name, secret, encContext))
	}
	return authentic(s.record.OpenWrapped(s.name, w, secret, encContext))
}

// unseal opens the DEK of a wrap, or of the record if w is nil, and returns its context, too.
// ErrOtherS3Key, or kms errors.
func (k *Ring) unseal(ctx context.Context, s *Sealing, w *sse.Wrap) (*sse.Secret, []byte, error) {
	as, encContext, err := s.under(w)
	if err != nil {
		return nil, nil, err
	}
	if as.Mode == sse.ModeS3 && !k.ofS3(as.KMSKey) {
		return nil, nil, fmt.Errorf("%w: the record names the KMS key %q; if sse_s3.key was that once, add it to sse_s3.former_keys (%w)", ErrOtherS3Key, as.KMSKey, sse.ErrTampered)
	}
	sealedDEK := s.record.SealedDEK
	if w != nil {
		sealedDEK = w.SealedDEK
	}
	dek, err := k.o.KMS.DecryptDEK(ctx, as.KMSKey, sealedDEK, encContext)
	if err != nil {
		return nil, nil, fmt.Errorf("unseal DEK under %q: %w", as.KMSKey, err)
	}
	secret := sse.Secret(dek)
	clear(dek[:])
	return &secret, encContext, nil
}

// ofS3 says whether objects of SSE-S3 may lie under a KMS key.
func (k *Ring) ofS3(kmsKey string) bool {
	live := k.live.Load()
	return kmsKey == live.S3Key || slices.Contains(live.FormerS3Keys, kmsKey)
}

// authentic is for what an authentic DEK opens: what it does not open is damaged.
func authentic(key sse.ObjectKey, private *sse.Private, err error) (sse.ObjectKey, *sse.Private, error) {
	if errors.Is(err, sse.ErrWrongKey) {
		err = Tampered(fmt.Errorf("%w (%w)", sse.ErrTampered, err))
	}
	return key, private, err
}

// Under returns the KMS key, and its version, under which an object's key lies that w
// seals, or the record if w is nil.
func Under(r *sse.Record, w *sse.Wrap) (kmsKey string, version uint32) {
	if w != nil {
		return w.KMSKey, w.KMSKeyVersion
	}
	return r.KMSKey, r.KMSKeyVersion
}

// ErrNotRewrapped says that a record's key cannot be sealed under another KMS key.
var ErrNotRewrapped = errors.New("the object's key cannot be sealed under that KMS key")
