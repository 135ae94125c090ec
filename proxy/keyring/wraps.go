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
// all, if r's may be needed: if its own KMS key is gone, and its wrap is not known. Else it
// returns nil.
func (g Grant) Fetch(ctx context.Context, name sse.Name, r *sse.Record, first, last string) (*Fetched, error) {
	if !g.covers(name, r) || r.Mode == sse.ModeC || g.ring.o.Wraps.Known(name, r) != nil {
		return nil, nil
	}
	encContext, err := encryptionContext(r.Mode, name, r.ClientContext, r.BucketKey)
	if err != nil {
		return nil, nil // Open says so
	}
	secret, err := g.ring.unseal(ctx, &sealing{name, r, encContext}, r.KMSKey, r.SealedDEK)
	if err == nil {
		secret.Zero()
	}
	if !gone(err) {
		return nil, nil
	}
	f := &Fetched{g.ring, make(map[wrapOf]*sse.Wrap)}
	return f, g.ring.o.Wraps.Fetch(ctx, name.Bucket, first, last, func(of sse.Name, d sse.RecordDigest, w *sse.Wrap) { f.wraps[wrapOf{of, d}] = w })
}

// Open is Grant.Open for an object of the page. It looks no wrap up that Fetch would have
// found. f may be nil.
func (f *Fetched) Open(ctx context.Context, g Grant, name sse.Name, r *sse.Record) (sse.ObjectKey, *sse.Private, error) {
	if !g.covers(name, r) {
		return sse.ObjectKey{}, nil, fmt.Errorf("a right to open other records: %w", ErrAccess)
	}
	return g.ring.open(ctx, name, r, nil, f)
}

// of returns what was fetched for a record, and whether that is all there is.
func (f *Fetched) of(name sse.Name, r *sse.Record) (w *sse.Wrap, all bool) {
	if f == nil {
		return nil, false
	}
	return f.wraps[wrapOf{name, r.Digest()}], f.ring.o.Wraps.Covers(name)
}

// sealing is an object's key as it lies under a KMS key: in the object's record, and perhaps
// in a wrap.
type sealing struct {
	name    sse.Name
	record  *sse.Record
	context []byte // canonical
}

// gone says that a DEK cannot be opened because its KMS key is not to be had any more, so
// that a wrap may.
func gone(err error) bool {
	return errors.Is(err, kms.ErrKeyNotFound) || errors.Is(err, kms.ErrVersionRetired) || errors.Is(err, kms.ErrVersionDestroyed) ||
		errors.Is(err, ErrOtherS3Key)
}

// openSealed opens an object's key: with a wrap that is known, with the record, or, if the
// record's KMS key is gone, with the wrap that was fetched or is there now. So an object that was never re-wrapped costs no look-up, and one that was costs none
// while it is kept, or while its old key opens.
func (k *Ring) openSealed(ctx context.Context, s *sealing, fetched *Fetched) (sse.ObjectKey, *sse.Private, error) {
	if w := k.o.Wraps.Known(s.name, s.record); w != nil {
		if key, private, err := k.openWrap(ctx, s, w); err == nil {
			return key, private, nil
		}
	}
	key, private, err := k.openRecord(ctx, s)
	if err == nil || !gone(err) {
		return key, private, err
	}
	w, all := fetched.of(s.name, s.record)
	if !all {
		var failed error
		if w, failed = k.o.Wraps.Find(ctx, s.name, s.record); failed != nil {
			return key, private, fmt.Errorf("%w (%w)", failed, err)
		}
	}
	if w == nil {
		return key, private, err
	}
	return k.openWrap(ctx, s, w)
}

func (k *Ring) openRecord(ctx context.Context, s *sealing) (sse.ObjectKey, *sse.Private, error) {
	secret, err := k.unseal(ctx, s, s.record.KMSKey, s.record.SealedDEK)
	if err != nil {
		return sse.ObjectKey{}, nil, err
	}
	defer secret.Zero()
	return authentic(s.record.Open(s.name, secret, s.context))
}

func (k *Ring) openWrap(ctx context.Context, s *sealing, w *sse.Wrap) (sse.ObjectKey, *sse.Private, error) {
	secret, err := k.unseal(ctx, s, w.KMSKey, w.SealedDEK)
	if err != nil {
		return sse.ObjectKey{}, nil, err
	}
	defer secret.Zero()
	return authentic(s.record.OpenWrapped(s.name, w, secret, s.context))
}

// unseal opens a DEK. ErrOtherS3Key, or kms errors.
func (k *Ring) unseal(ctx context.Context, s *sealing, kmsKey string, sealedDEK []byte) (*sse.Secret, error) {
	if s.record.Mode == sse.ModeS3 && !k.ofS3(kmsKey) {
		return nil, fmt.Errorf("%w: the record names the KMS key %q; if sse_s3.key was that once, add it to sse_s3.former_keys (%w)", ErrOtherS3Key, kmsKey, sse.ErrTampered)
	}
	dek, err := k.o.KMS.DecryptDEK(ctx, kmsKey, sealedDEK, s.context)
	if err != nil {
		return nil, fmt.Errorf("unseal DEK under %q: %w", kmsKey, err)
	}
	secret := sse.Secret(dek)
	clear(dek[:])
	return &secret, nil
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

// Rewrap seals an object's key under a KMS key, of a version that is at least the one given.
// It is the operator's: nobody is asked whether he may. ErrNotRewrapped, sse or kms errors.
func (k *Ring) Rewrap(ctx context.Context, name sse.Name, r *sse.Record, to string, version uint32) (*sse.Wrap, error) {
	switch {
	case r.Mode == sse.ModeC:
		return nil, fmt.Errorf("%v has no KMS key: %w", r.Mode, ErrNotRewrapped)
	case r.Mode == sse.ModeS3 && !k.ofS3(to):
		return nil, fmt.Errorf("objects of SSE-S3 lie under sse_s3.key (%q) or one of sse_s3.former_keys: %w", k.S3Key(), ErrNotRewrapped)
	case slices.Contains(k.o.Reserved, to):
		return nil, fmt.Errorf("KMS key %q is reserved: %w", to, ErrNotRewrapped)
	}
	encContext, err := encryptionContext(r.Mode, name, r.ClientContext, r.BucketKey)
	if err != nil {
		return nil, fmt.Errorf("context of the record: %w", sse.ErrTampered)
	}
	s := &sealing{name, r, encContext}
	key, _, err := k.openSealed(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	dek, err := k.dekOf(ctx, s, to, version)
	if err != nil {
		return nil, fmt.Errorf("generate DEK under %q: %w", to, err)
	}
	secret := sse.Secret(dek.Plaintext)
	clear(dek.Plaintext[:])
	defer secret.Zero()
	binding := &sse.Binding{Mode: r.Mode, Name: name, KMSKey: to, KMSKeyVersion: max(dek.KeyVersion, 1), Context: encContext}
	w := sse.NewWrap(binding, &secret, dek.Ciphertext, &key)
	return w, k.check(ctx, s, w)
}

// dekOf returns a DEK of at least a version of a KMS key: one that is shared, where objects
// share theirs.
func (k *Ring) dekOf(ctx context.Context, s *sealing, kmsKey string, version uint32) (kms.DEK, error) {
	if s.record.Mode == sse.ModeS3 || s.record.BucketKey {
		dek, _, err := k.shared.generate(ctx, kmsKey, s.context)
		if err != nil || max(dek.KeyVersion, 1) >= version {
			return dek, err
		}
		clear(dek.Plaintext[:])
	}
	dek, _, err := k.shared.fresh(ctx, kmsKey, s.context)
	return dek, err
}

// check opens a wrap as a reader will, before anybody relies on it.
func (k *Ring) check(ctx context.Context, s *sealing, w *sse.Wrap) error {
	key, _, err := k.openWrap(kms.Uncached(ctx), s, w)
	key.Zero()
	return err
}
