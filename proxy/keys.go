package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// arnPrefix stands before KMS key ids in S3 answers, and may in requests.
const arnPrefix = "arn:aws:kms:"

// contextUse is the reserved entry of every encryption context that the proxy
// asks with: nobody else gets a DEK under such a context, or one opened.
const contextUse = kms.ReservedContextPrefix + "use"

// keyring turns what a request asks for into keys, and a record back into them.
type keyring struct {
	bucketKeys   *bucketKeys
	kms          kms.Service
	defaultKey   string
	s3Key        string
	formerS3Keys []string
}

// writeKey is what one object is written with.
type writeKey struct {
	secret  sse.Secret
	binding sse.Binding
	record  sse.Record
	issued  *issuedDEK // nil where the customer brings the key
}

func (k *writeKey) zero() { k.secret.Zero() }

// forWrite gets the keys for writing name as asked. kms errors.
func (k *keyring) forWrite(ctx context.Context, name sse.Name, asked *sse.Request) (*writeKey, error) {
	w := &writeKey{binding: sse.Binding{Mode: asked.Mode, Name: name}}
	if asked.Mode == sse.ModeC {
		w.secret = asked.CustomerKey
		return w, nil
	}
	keyName, err := k.nameFor(asked)
	if err != nil {
		return nil, err
	}
	if asked.Mode == sse.ModeKMS {
		w.record.ClientContext = asked.ClientContext
		w.record.BucketKey = asked.BucketKey != nil && *asked.BucketKey
	}
	encContext, err := encryptionContext(asked.Mode, name, asked.ClientContext, w.record.BucketKey)
	if err != nil {
		return nil, err
	}
	generate := k.bucketKeys.fresh
	if asked.Mode == sse.ModeS3 || w.record.BucketKey {
		generate = k.bucketKeys.generate
	}
	dek, known, err := generate(ctx, keyName, encContext)
	if err != nil {
		return nil, fmt.Errorf("generate DEK under %q: %w", keyName, err)
	}
	w.secret = sse.Secret(dek.Plaintext)
	clear(dek.Plaintext[:])
	w.binding.KMSKey, w.binding.KMSKeyVersion, w.binding.Context = keyName, max(dek.KeyVersion, 1), encContext
	w.record.SealedDEK = dek.Ciphertext
	w.issued = &issuedDEK{verifier: k.bucketKeys.verifier, name: keyName, ciphertext: dek.Ciphertext, context: encContext, asked: known}
	return w, nil
}

// open unseals a record's object key and private section. The customer key is
// needed for SSE-C only. sse errors, or kms errors.
func (k *keyring) open(ctx context.Context, name sse.Name, r *sse.Record, customer *sse.Secret) (sse.ObjectKey, *sse.Private, error) {
	if r.Mode == sse.ModeC {
		if customer == nil {
			return sse.ObjectKey{}, nil, errNoCustomerKey
		}
		return r.Open(name, customer, nil)
	}
	if r.Mode == sse.ModeS3 && r.KMSKey != k.s3Key && !slices.Contains(k.formerS3Keys, r.KMSKey) {
		return sse.ObjectKey{}, nil, fmt.Errorf("%w: the record names the KMS key %q; if sse_s3.key was that once, add it to sse_s3.former_keys (%w)", errOtherS3Key, r.KMSKey, sse.ErrTampered)
	}
	encContext, err := encryptionContext(r.Mode, name, r.ClientContext, r.BucketKey)
	if err != nil {
		return sse.ObjectKey{}, nil, fmt.Errorf("context of the record: %w", sse.ErrTampered)
	}
	dek, err := k.kms.DecryptDEK(ctx, r.KMSKey, r.SealedDEK, encContext)
	if err != nil {
		return sse.ObjectKey{}, nil, fmt.Errorf("unseal DEK under %q: %w", r.KMSKey, err)
	}
	secret := sse.Secret(dek)
	clear(dek[:])
	defer secret.Zero()
	key, private, err := r.Open(name, &secret, encContext)
	if errors.Is(err, sse.ErrWrongKey) {
		err = fmt.Errorf("%w (%w)", sse.ErrTampered, err) // the DEK was authentic: the record is not
		return key, private, &tamperedError{err}
	}
	return key, private, err
}

// confirm says whether a record's DEK can be opened now, past every cache: it is
// asked before an upload in parts becomes an object. Errors are those of
// dekVerifier.verify.
func (k *keyring) confirm(ctx context.Context, name sse.Name, r *sse.Record) error {
	if r == nil || r.Mode == sse.ModeC {
		return nil
	}
	encContext, err := encryptionContext(r.Mode, name, r.ClientContext, r.BucketKey)
	if err != nil {
		return fmt.Errorf("context of the record: %w", sse.ErrTampered)
	}
	_, err = k.bucketKeys.verifier.verify(ctx, r.KMSKey, r.SealedDEK, encContext)
	return err
}

// tamperedError hides what it wraps but for sse.ErrTampered: a wrong customer
// key is the client's affair, a wrong DEK is not.
type tamperedError struct{ err error }

// Error is the whole story, for the log.
func (e *tamperedError) Error() string { return e.err.Error() }

// Is says that it is sse.ErrTampered and nothing else.
func (e *tamperedError) Is(target error) bool { return target == sse.ErrTampered }

// nameFor returns the name of the KMS key that a write needs, "" for SSE-C.
func (k *keyring) nameFor(asked *sse.Request) (string, error) {
	switch asked.Mode {
	case sse.ModeC:
		return "", nil
	case sse.ModeKMS:
		return k.name(asked.KMSKeyID)
	default:
		return k.s3Key, nil
	}
}

// name returns the KMS key's name for a key id of a client: a plain name, one
// after arn:aws:kms:, or the last part of a whole ARN.
func (k *keyring) name(id string) (string, error) {
	if id == "" {
		return k.defaultKey, nil
	}
	name := keyOf(id)
	if err := kms.ValidateKeyName(name); err != nil {
		return "", fmt.Errorf("KMS key id %q: %w", id, errKMSKeyName)
	}
	if name == systemKey || name == systemReadyKey {
		return "", fmt.Errorf("KMS key %q is reserved: %w", name, kms.ErrNotPermitted)
	}
	return name, nil
}

// keyOf takes from a key id what stands before the key's name.
func keyOf(id string) string {
	name := strings.TrimPrefix(id, arnPrefix)
	if i := strings.LastIndexByte(name, '/'); name != id && i >= 0 {
		name = name[i+1:]
	}
	return name
}

// encryptionContext returns the canonical context of an object's DEK
// (docs/format.md, section 3). kms.ErrInvalidContext.
func encryptionContext(mode sse.Mode, name sse.Name, client []byte, bucketKey bool) ([]byte, error) {
	if mode == sse.ModeS3 {
		return kms.Context{name.Bucket: name.Bucket, contextUse: "sse-s3"}.Canonical(), nil
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
	c[contextUse] = "sse-kms"
	return c.Canonical(), nil
}
