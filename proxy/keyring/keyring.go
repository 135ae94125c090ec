// Package keyring opens and makes the keys of objects, and only for somebody: every way
// to a key begins with a Caller, and what the configuration lets that caller do is decided
// here, before a key service is asked. The storage's own judgement comes on top of it,
// because requests go there signed as their caller.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels.
var (
	// ErrAccess says that this proxy's configuration does not let the caller use keys for
	// a bucket, whatever upstream would say.
	ErrAccess = errors.New("the caller may not use encryption keys in this bucket")
	// ErrNoCustomerKey says that the customer's key is missing, or is given for an object
	// of another mode.
	ErrNoCustomerKey = errors.New("object needs a customer key")
	// ErrKeyName says that a KMS key id of a client's is none.
	ErrKeyName = errors.New("KMS key id")
	// ErrOtherS3Key says that an SSE-S3 object lies under a KMS key that is not
	// configured.
	ErrOtherS3Key = errors.New("an object of SSE-S3 under a KMS key that is neither sse_s3.key nor one of sse_s3.former_keys")
)

// Options are a Ring's dependencies and settings.
type Options struct {
	// KMS is the key service. Required.
	KMS kms.Service
	// Rights judge callers with a signature. Required.
	Rights Rights
	// AllowAnonymous lists the buckets in which callers without a signature may use keys.
	AllowAnonymous glob.Patterns
	// DefaultKey is the KMS key of SSE-KMS requests without a key id, S3Key that of
	// SSE-S3. Required.
	DefaultKey, S3Key string
	// FormerS3Keys are KMS keys under which older SSE-S3 objects may be sealed.
	FormerS3Keys []string
	// Reserved are KMS keys that no client may name.
	Reserved []string
	// ShareDEK is how long the writes of a bucket may share one DEK; 0 is never.
	ShareDEK time.Duration
	// Wraps are keys of objects that were sealed once more; nil for none. Rekeyed says which
	// of them count; nil for none.
	Wraps   Wraps
	Rekeyed Rekeyed
	// Wanted is told of an object that was asked for and that nothing but a retired version of a
	// KMS key opens; nil for nobody.
	Wanted func(kmsKey string, version uint32)
	// Late is told before a write is acknowledged that lies under a version of a KMS key that
	// is not the newest any more; nil for nobody. Its error fails the write.
	Late func(ctx context.Context, kmsKey string, version uint32) error
}

// Rights say what an identity may do with keys: identity.Store.
type Rights interface {
	MayUse(ctx context.Context, id *identity.Identity, bucket, key string, use identity.Use) error
}

// Ring turns what a request asks for into keys, and a record back into them. It is safe
// for concurrent use.
type Ring struct {
	o      Options
	live   atomic.Pointer[Live]
	shared *sharedKeys
}

// New returns a ring; it asks the key service for nothing.
func New(o Options) *Ring {
	if o.Wraps == nil {
		o.Wraps = noWraps{}
	}
	if o.Rekeyed == nil {
		o.Rekeyed = nothingRekeyed{}
	}
	k := &Ring{o: o, shared: newSharedKeys(o.KMS, o.ShareDEK)}
	k.Adopt(Live{AllowAnonymous: o.AllowAnonymous, S3Key: o.S3Key, FormerS3Keys: o.FormerS3Keys})
	return k
}

// S3Key returns the name of the KMS key of SSE-S3.
func (k *Ring) S3Key() string { return k.live.Load().S3Key }

// WriteKey is what one object is written with.
type WriteKey struct {
	// Record is what will be sealed: the caller sets what the object is.
	Record  sse.Record
	secret  sse.Secret
	binding sse.Binding
	issued  *issuedDEK // nil where the customer brings the key
}

// Zero forgets the key. Confirm may still be asked.
func (k *WriteKey) Zero() { k.secret.Zero() }

// Seal seals an object's key and its private facts into the record, and returns the
// record's text.
func (k *WriteKey) Seal(object *sse.ObjectKey, private *sse.Private) (string, error) {
	text, err := k.Record.Seal(&k.binding, &k.secret, object, private)
	if err != nil {
		return "", fmt.Errorf("seal record: %w", err)
	}
	return text, nil
}

// Confirm is asked before a write is acknowledged: whether the KMS key still opens the
// DEK. kms errors. A nil key, that of plain storage, has nothing to confirm.
func (k *WriteKey) Confirm(ctx context.Context) error {
	if k == nil {
		return nil
	}
	return k.issued.confirm(ctx)
}

// Doubt is called instead after a write that failed and may have been carried out all the same:
// Options.Late is told of it as by Confirm. A nil key has nothing to tell.
func (k *WriteKey) Doubt(ctx context.Context) {
	if k != nil {
		k.issued.doubt(ctx)
	}
}

// Make gets the keys for writing name as asked, for a caller who may. ErrAccess, kms
// errors, or those of Rights.
func (k *Ring) Make(ctx context.Context, c Caller, name sse.Name, asked *sse.Request) (*WriteKey, error) {
	ctx, span := trace.Start(ctx, "keys")
	defer span.End()
	if err := k.MayWrite(ctx, c, name.Bucket, asked); err != nil {
		return nil, err
	}
	w := &WriteKey{binding: sse.Binding{Mode: asked.Mode, Name: name}}
	if asked.Mode == sse.ModeC {
		w.secret = asked.CustomerKey
		return w, nil
	}
	keyName, err := k.nameFor(asked)
	if err != nil {
		return nil, err
	}
	if asked.Mode == sse.ModeKMS {
		w.Record.ClientContext = asked.ClientContext
		w.Record.BucketKey = asked.BucketKey != nil && *asked.BucketKey
	}
	w.Record.OpaqueETag = asked.Mode == sse.ModeS3 && asked.OpaqueETag
	encContext, err := encryptionContext(asked.Mode, name, asked.ClientContext, w.Record.BucketKey)
	if err != nil {
		return nil, err
	}
	generate := k.shared.fresh
	if asked.Mode == sse.ModeS3 || w.Record.BucketKey {
		generate = k.shared.generate
	}
	dek, known, err := generate(ctx, keyName, encContext)
	if err != nil {
		return nil, fmt.Errorf("generate DEK under %q: %w", keyName, err)
	}
	w.secret = sse.Secret(dek.Plaintext)
	clear(dek.Plaintext[:])
	w.binding.KMSKey, w.binding.KMSKeyVersion, w.binding.Context = keyName, max(dek.KeyVersion, 1), encContext
	w.Record.SealedDEK = dek.Ciphertext
	w.issued = &issuedDEK{verifier: k.shared.verifier, name: keyName, ciphertext: dek.Ciphertext, context: encContext, asked: known, late: k.o.Late}
	return w, nil
}

// AsOf returns a context for reads that began at t: a KMS key that was found to be there
// after that, by whichever request, may open them. It is for what gives bytes to a reader,
// and never for Confirm.
func AsOf(ctx context.Context, t time.Time) context.Context { return kms.AsOf(ctx, t) }

// Opened is an object's key, which is to be zeroed, and what was sealed with it.
type Opened struct {
	Key     sse.ObjectKey
	Private *sse.Private
	// Encryption is how the object is encrypted, as clients are told.
	Encryption sse.Encryption
}

// Open unseals a record's object key and private section, for a caller who may read. The
// customer key is needed for SSE-C only. ErrAccess, sse errors, kms errors, or those of
// Rekeyed.
func (k *Ring) Open(ctx context.Context, c Caller, name sse.Name, r *sse.Record, customer *sse.Secret) (*Opened, error) {
	s, err := k.Sealing(ctx, name, r)
	if err != nil {
		return nil, err
	}
	as := s.Encryption()
	grant, err := k.MayOpen(ctx, c, name.Bucket, as)
	if err != nil {
		return nil, err
	}
	key, private, err := grant.Open(ctx, s, customer)
	if err != nil {
		return nil, err
	}
	return &Opened{key, private, as}, nil
}

// OpenToWrite is Open for a caller who adds data to an object that is not there yet, the
// parts of an upload: who may write need not be let to read. It is the KMS key under which
// the upload was begun that the caller must be let to use.
func (k *Ring) OpenToWrite(ctx context.Context, c Caller, name sse.Name, r *sse.Record, customer *sse.Secret) (sse.ObjectKey, error) {
	if err := k.mayUse(ctx, c, name.Bucket, r.Mode, r.KMSKey, identity.Generate); err != nil {
		return sse.ObjectKey{}, err
	}
	key, _, err := k.open(ctx, &Sealing{name: name, record: r}, customer, nil) // any wrap will do
	return key, err
}

// open unseals a record for somebody who may. fetched may be nil.
func (k *Ring) open(ctx context.Context, s *Sealing, customer *sse.Secret, fetched *Fetched) (sse.ObjectKey, *sse.Private, error) {
	ctx, span := trace.Start(ctx, "keys")
	defer span.End()
	if s.record.Mode == sse.ModeC {
		if customer == nil {
			return sse.ObjectKey{}, nil, ErrNoCustomerKey
		}
		return s.record.Open(s.name, customer, nil)
	}
	return k.openSealed(ctx, s, fetched)
}

// Confirm says whether a record's DEK can be opened now, past every cache: it is
// asked before an upload in parts becomes an object. Options.Late is told of one that lies under
// a version that is not the newest any more. Errors are those of dekVerifier.verify, of Rekeyed,
// or of Late. It gives nobody a key.
func (k *Ring) Confirm(ctx context.Context, name sse.Name, r *sse.Record) error {
	if r == nil || r.Mode == sse.ModeC {
		return nil
	}
	s, err := k.Sealing(ctx, name, r)
	if err != nil {
		return err
	}
	if err = k.verify(ctx, s, s.wrap); err == nil || s.rekeyed || !gone(err) {
		return err
	}
	w, found := k.o.Wraps.Find(ctx, name, r)
	if found != nil || w == nil {
		return errors.Join(err, found)
	}
	return k.verify(ctx, s, w)
}

// verify says whether the DEK of a wrap, or of the record if w is nil, can be opened now.
func (k *Ring) verify(ctx context.Context, s *Sealing, w *sse.Wrap) error {
	as, encContext, err := s.under(w)
	if err != nil {
		return err
	}
	sealedDEK := s.record.SealedDEK
	if w != nil {
		sealedDEK = w.SealedDEK
	}
	return (&issuedDEK{verifier: k.shared.verifier, name: as.KMSKey, ciphertext: sealedDEK, context: encContext, late: k.o.Late}).confirm(ctx)
}

// Tampered returns an error that hides err, but for being sse.ErrTampered: a wrong
// customer key is the client's affair, a wrong DEK is not.
func Tampered(err error) error { return &tamperedError{err} }

type tamperedError struct{ err error }

// Error is the whole story, for the log.
func (e *tamperedError) Error() string { return e.err.Error() }

// Is says that it is sse.ErrTampered and nothing else.
func (e *tamperedError) Is(target error) bool { return target == sse.ErrTampered }

// nameFor returns the name of the KMS key that a write needs, "" for SSE-C.
func (k *Ring) nameFor(asked *sse.Request) (string, error) {
	switch asked.Mode {
	case sse.ModeC:
		return "", nil
	case sse.ModeKMS:
		return k.KeyName(asked.KMSKeyID)
	default:
		return k.S3Key(), nil
	}
}

// KeyName returns the KMS key's name for a key id of a client: a plain name, one
// after arn:aws:kms:, or the last part of a whole ARN.
func (k *Ring) KeyName(id string) (string, error) {
	if id == "" {
		return k.o.DefaultKey, nil
	}
	name := sse.KeyName(id)
	if err := kms.ValidateKeyName(name); err != nil {
		return "", fmt.Errorf("KMS key id %q: %w", id, ErrKeyName)
	}
	if slices.Contains(k.o.Reserved, name) {
		return "", fmt.Errorf("KMS key %q is reserved: %w", name, kms.ErrNotPermitted)
	}
	return name, nil
}

// encryptionContext returns the canonical context of an object's DEK
// (docs/format.md, section 3). kms.ErrInvalidContext.
func encryptionContext(mode sse.Mode, name sse.Name, client []byte, bucketKey bool) ([]byte, error) {
	if mode == sse.ModeS3 {
		return kms.Context{name.Bucket: name.Bucket, kms.ContextUse: "sse-s3"}.Canonical(), nil
	}
	c := kms.Context{}
	if len(client) > 0 {
		var err error
		if c, err = kms.ParseClientContext(client); err != nil {
			return nil, err
		}
	}
	c[name.Bucket] = name.Bucket + "/" + name.Key
	if bucketKey {
		c[name.Bucket] = name.Bucket // as on AWS: the DEK is the bucket's
	}
	c[kms.ContextUse] = "sse-kms"
	return c.Canonical(), nil
}
