package keyring

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/sse"
)

// Resealed is an object's key that was sealed once more.
type Resealed struct {
	// Wrap is to be stored.
	Wrap   *sse.Wrap
	issued *issuedDEK
}

// Confirm is asked before the wrap is stored, and again before anybody relies on it: whether the
// KMS key still opens it. Options.Late is told of one under a version that is not the newest any
// more. Errors are those of WriteKey.Confirm.
func (r *Resealed) Confirm(ctx context.Context) error { return r.issued.confirm(ctx) }

// Doubt is called instead where storing the wrap failed, and it may lie there all the same.
func (r *Resealed) Doubt(ctx context.Context) { r.issued.doubt(ctx) }

// Target is what a re-wrap seals an object's key under.
type Target struct {
	// Mode is SSE-S3 or SSE-KMS; 0 is that in which the key is sealed now.
	Mode sse.Mode
	// KMSKey is the KMS key, and Version the least version of it.
	KMSKey  string
	Version uint32
}

// Rewrap seals an object's key anew, which is sealed now by a wrap, or by the record if w is
// nil. It is the operator's: nobody is asked whether he may. ErrNotRewrapped, sse or kms
// errors.
func (k *Ring) Rewrap(ctx context.Context, name sse.Name, r *sse.Record, w *sse.Wrap, target Target) (*Resealed, error) {
	s := &Sealing{name: name, record: r, wrap: w, rekeyed: w != nil}
	as, to := s.Encryption(), target.KMSKey
	if target.Mode != sse.ModeNone && target.Mode != as.Mode {
		as = sse.Encryption{Mode: target.Mode}
	}
	switch {
	case r.Mode == sse.ModeC:
		return nil, fmt.Errorf("%v has no KMS key: %w", r.Mode, ErrNotRewrapped)
	case as.Mode == sse.ModeS3 && !k.ofS3(to):
		return nil, fmt.Errorf("objects of SSE-S3 lie under sse_s3.key (%q) or one of sse_s3.former_keys: %w", k.S3Key(), ErrNotRewrapped)
	case slices.Contains(k.o.Reserved, to):
		return nil, fmt.Errorf("KMS key %q is reserved: %w", to, ErrNotRewrapped)
	}
	key, _, err := k.openSealed(ctx, s, nil)
	if err != nil && w != nil && !gone(err) { // a wrap that opens nothing is made anew
		key, _, err = k.openAs(ctx, s, nil)
	}
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	as.KMSKey = to
	return k.sealOnce(ctx, s, &key, as, target.Version)
}

// Rekey seals an object's key as asked, for a caller who may open it as it is sealed now, and
// may write so. The wrap says all of how the object is encrypted. ErrNotRewrapped for SSE-C,
// ErrAccess, ErrKeyName, kms.ErrNotPermitted, sse or kms errors.
func (k *Ring) Rekey(ctx context.Context, c Caller, s *Sealing, asked *sse.Request) (*Resealed, error) {
	if err := k.MayRekey(ctx, c, s, asked); err != nil {
		return nil, err
	}
	to, err := k.nameFor(asked)
	if err != nil {
		return nil, err
	}
	key, _, err := k.openSealed(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	as := sse.Encryption{Mode: asked.Mode, KMSKey: to}
	if asked.Mode == sse.ModeKMS {
		as.ClientContext = s.Encryption().ClientContext
		as.BucketKey = asked.BucketKey != nil && *asked.BucketKey
	}
	return k.sealOnce(ctx, s, &key, as, 0)
}

// MayRekey says whether a caller may do what Rekey does. It opens nothing.
func (k *Ring) MayRekey(ctx context.Context, c Caller, s *Sealing, asked *sse.Request) error {
	as := s.Encryption()
	if as.Mode == sse.ModeC || asked.Mode != sse.ModeS3 && asked.Mode != sse.ModeKMS {
		return fmt.Errorf("from %v to %v: %w", as.Mode, asked.Mode, ErrNotRewrapped)
	}
	if err := k.mayUse(ctx, c, s.name.Bucket, as.Mode, as.KMSKey, identity.Decrypt); err != nil {
		return err
	}
	return k.MayWrite(ctx, c, s.name.Bucket, asked)
}

// sealTries is how often a key is sealed while its KMS key is rotated.
const sealTries = 3

// sealOnce seals an object's key once more, under a version of a KMS key that is at least the
// one given.
func (k *Ring) sealOnce(ctx context.Context, s *Sealing, key *sse.ObjectKey, as sse.Encryption, version uint32) (*Resealed, error) {
	encContext, err := encryptionContext(as.Mode, s.name, as.ClientContext, as.BucketKey)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		dek, err := k.dekOf(ctx, &as, encContext, version)
		if err != nil {
			return nil, fmt.Errorf("generate DEK under %q: %w", as.KMSKey, err)
		}
		secret := sse.Secret(dek.Plaintext)
		clear(dek.Plaintext[:])
		binding := &sse.Binding{Mode: as.Mode, Name: s.name, KMSKey: as.KMSKey, KMSKeyVersion: max(dek.KeyVersion, 1), Context: encContext}
		w := sse.NewWrap(binding, &secret, dek.Ciphertext, key)
		secret.Zero()
		w.Mode, w.ClientContext, w.BucketKey = as.Mode, as.ClientContext, as.BucketKey
		asked := time.Now()
		latest, err := k.check(ctx, s, w)
		if err != nil {
			return nil, err
		}
		if latest > w.KMSKeyVersion && try < sealTries { // it was rotated just now
			version = latest
			continue
		}
		return &Resealed{w, &issuedDEK{verifier: k.shared.verifier, name: as.KMSKey, ciphertext: dek.Ciphertext, context: encContext, asked: asked, late: k.o.Late}}, nil
	}
}

// dekOf returns a DEK of at least a version of a KMS key: one that is shared, where objects
// share theirs.
func (k *Ring) dekOf(ctx context.Context, as *sse.Encryption, encContext []byte, version uint32) (kms.DEK, error) {
	if as.Mode == sse.ModeS3 || as.BucketKey {
		dek, _, err := k.shared.generate(ctx, as.KMSKey, encContext)
		if err != nil || max(dek.KeyVersion, 1) >= version {
			return dek, err
		}
		clear(dek.Plaintext[:])
	}
	dek, _, err := k.shared.fresh(ctx, as.KMSKey, encContext)
	return dek, err
}

// check opens a wrap as a reader will, before anybody relies on it. latest is the newest version
// of its KMS key, 0 if the service does not tell.
func (k *Ring) check(ctx context.Context, s *Sealing, w *sse.Wrap) (latest uint32, err error) {
	var used kms.UsedKey
	key, _, err := k.openAs(kms.NoteUsedKey(kms.Uncached(ctx), &used), s, w)
	key.Zero()
	return used.Latest, err
}
