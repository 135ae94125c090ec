package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels.
var (
	// ErrPlain says that an object has no record: it was stored without encryption, or its
	// metadata is lost. It is never taken for data.
	ErrPlain = errors.New("no record: it was stored without encryption, or the copy lacks its metadata")
	// ErrCustomerKey says that an SSE-C object opens with none of the customer keys.
	ErrCustomerKey = errors.New("an SSE-C object, and none of the customer keys opens it")
)

// Options are a Reader's dependencies and settings.
type Options struct {
	// KMS has the keys. Required.
	KMS kms.Service
	// System are the objects of the system bucket. Required.
	System system.Objects
	// SystemKey is the KMS key that they are sealed under, Deployment the proxy's setting of
	// that name. Required.
	SystemKey, Deployment string
	// S3Key and FormerS3Keys are the KMS keys of SSE-S3. Required.
	S3Key        string
	FormerS3Keys []string
	// CustomerKeys are tried for SSE-C objects.
	CustomerKeys []sse.Secret
	// Unproven also reads objects of parts whose manifest is missing: in the order in which
	// the parts lie. That none is missing, or an earlier upload of one, nobody vouches for.
	Unproven bool
}

// Reader opens objects of a copy. It is safe for concurrent use.
type Reader struct {
	o         Options
	keys      *keyring.Ring
	system    *system.Store
	manifests *manifest.Store
}

// nobody are the rights of callers who sign: there are none.
type nobody struct{}

// MayUse implements keyring.Rights.
func (nobody) MayUse(context.Context, *identity.Identity, string, string, identity.Use) error {
	return identity.ErrNotAllowed
}

// New checks the options. It reads nothing.
func New(o Options) (*Reader, error) {
	store, err := system.New(system.Options{Service: o.System, KMS: o.KMS, Key: o.SystemKey, Deployment: o.Deployment})
	if err != nil {
		return nil, err
	}
	keys := keyring.New(keyring.Options{
		KMS: o.KMS, Rights: nobody{}, DefaultKey: o.S3Key, S3Key: o.S3Key, FormerS3Keys: o.FormerS3Keys, Wraps: manifest.NewWraps(store),
	})
	return &Reader{o: o, keys: keys, system: store, manifests: manifest.New(store)}, nil
}

// Opened is an object whose keys are open. It is to be zeroed.
type Opened struct {
	Record *sse.Record
	// Size is the plaintext's length in bytes, -1 if that is not known before it is read.
	Size int64
	// ETag is the quoted one that clients know the object by, as far as the copy tells.
	ETag string
	// Restored says that the manifest was found by the data, Unproven that nothing but the
	// data says what the parts are.
	Restored, Unproven bool
	// Digestless says why the manifest of an object of one stream does not open, which has
	// its MD5; else nil. The record vouches for the data.
	Digestless error

	object *Object
	key    sse.ObjectKey
	parts  *sse.Parts // nil if only the data says
	ref    manifest.Ref
}

// Zero forgets the key.
func (o *Opened) Zero() { o.key.Zero() }

// Open opens the keys of an object, and finds what its record leaves to a manifest. It reads
// no data, but for headers of packages. ErrPlain, ErrCustomerKey, and the errors of sse,
// keyring, kms and manifest.
func (r *Reader) Open(ctx context.Context, object *Object) (*Opened, error) {
	if object.Err != nil {
		return nil, object.Err
	}
	record, err := sealed.RecordOf(object.Reserved)
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, ErrPlain
	}
	key, private, err := r.unseal(ctx, object.Name, record)
	if err != nil {
		return nil, err
	}
	o := &Opened{Record: record, Size: record.PlainSize, object: object, key: key}
	if err := r.describe(ctx, o, private); err != nil {
		o.Zero()
		return nil, err
	}
	return o, nil
}

// unseal opens a record, of SSE-C with whichever of the customer keys.
func (r *Reader) unseal(ctx context.Context, name sse.Name, record *sse.Record) (sse.ObjectKey, *sse.Private, error) {
	keys := []*sse.Secret{nil}
	if record.Mode == sse.ModeC {
		keys = nil
		for i := range r.o.CustomerKeys {
			keys = append(keys, &r.o.CustomerKeys[i])
		}
	}
	for _, customer := range keys {
		opened, err := r.keys.Open(ctx, keyring.Operator(), name, record, customer)
		switch {
		case err == nil:
			return opened.Key, opened.Private, nil
		case record.Mode != sse.ModeC || !errors.Is(err, sse.ErrWrongKey):
			return sse.ObjectKey{}, nil, err
		}
	}
	return sse.ObjectKey{}, nil, ErrCustomerKey
}

// describe finds out where the object's parts lie, and its ETag.
func (r *Reader) describe(ctx context.Context, o *Opened, private *sse.Private) error {
	facts := private.Facts
	name, stored := o.object.Name, o.object.ETag
	o.ref = sealed.Ref(name, o.Record, stored)
	if o.Record.Layout == sse.Uploaded && o.ref.ETag == "" {
		o.ref.ETag = unknownETag
	}
	var err error
	if sealed.NeedsManifest(o.Record, false) {
		facts, err = r.manifests.Find(ctx, o.ref, r.data(o.object))
	}
	switch {
	case o.Record.Layout == sse.OneStream:
		if err != nil {
			o.Digestless, facts, err = err, sse.Facts{}, nil
		}
		o.parts = sse.OnePart(o.Record.PlainSize, private.Nonce)
	case err == nil:
		o.parts, err = r.manifests.Parts(ctx, o.ref)
		o.Restored = r.manifests.Restored(o.ref)
		stored = r.ownETag(o.ref, stored)
	}
	if err != nil && r.o.Unproven && o.Record.Layout != sse.OneStream && (errors.Is(err, manifest.ErrMissing) || errors.Is(err, system.ErrTampered)) {
		o.Unproven, o.Size, facts, err = true, -1, sse.Facts{}, nil
	}
	if err != nil {
		return err
	}
	o.ETag = sealed.ETag(o.Record, &facts, stored)
	if o.Unproven {
		return nil
	}
	o.Unproven = facts.Unproven
	o.Size = o.parts.PlainSize()
	if want := o.parts.EncSize(); want != o.object.Size {
		return fmt.Errorf("%d encrypted bytes, and there should be %d: %w", o.object.Size, want, sse.ErrTruncated)
	}
	return nil
}

// unknownETag stands in a manifest's name where a copy does not tell the ETag. No manifest
// has it, so the data tells which one is the object's.
const unknownETag = "unknown"

// ownETag is the ETag that the storage gave to an upload.
func (r *Reader) ownETag(ref manifest.Ref, stored string) string {
	if own := r.manifests.Actual(ref); own != ref {
		return own.ETag
	}
	return stored
}

// data is what a copy has of an object.
func (r *Reader) data(object *Object) manifest.Data {
	return manifest.Data{Size: object.Size, At: func(_ context.Context, offset int64) ([]byte, error) {
		body, err := object.Body(offset)
		if err != nil {
			return nil, readError(err)
		}
		defer body.Close()
		header := make([]byte, sse.HeaderSize)
		if _, err := io.ReadFull(body, header); err != nil {
			return nil, readError(err)
		}
		return header, nil
	}}
}

// Decrypt writes the plaintext of an opened object to w, and returns its length. Every byte
// was authenticated before; an error means that what was written is not all of it. ErrWrite
// if w failed.
func (r *Reader) Decrypt(ctx context.Context, o *Opened, w io.Writer) (int64, error) {
	body, err := o.object.Body(0)
	if err != nil {
		return 0, readError(err)
	}
	defer body.Close()
	out := &writer{to: w}
	if o.parts == nil {
		survey := &sse.Survey{Key: &o.key, Begin: func() (plain, encrypted io.Writer) { return out, io.Discard }}
		if _, err = survey.Run(&source{ctx, body}); err == nil && o.object.Size == 0 {
			return 0, nil
		}
	} else {
		var plain io.Reader
		if plain, err = o.parts.Decrypt(&o.key, &source{ctx, body}, sse.Range{Length: o.parts.PlainSize()}); err == nil {
			_, err = io.Copy(out, plain)
		}
	}
	if err != nil && o.Restored && sealed.DoesNotFit(err) {
		r.manifests.Forget(o.ref)
	}
	if err == nil && o.parts != nil && out.n != o.Size {
		err = fmt.Errorf("%d bytes of %d: %w", out.n, o.Size, sse.ErrTruncated)
	}
	return out.n, err
}

// ErrWrite says that a plaintext could not be written.
var ErrWrite = errors.New("the output cannot be written")

// writer counts, and tells its own errors from those of reading.
type writer struct {
	to io.Writer
	n  int64
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.n += int64(n)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return n, err
}

// source tells errors of the disk from those of the data, and ends with its context.
type source struct {
	ctx context.Context
	io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = readError(err)
	}
	return n, err
}

// Unquoted is an ETag without its quotes.
func Unquoted(etag string) string { return strings.Trim(etag, `"`) }
