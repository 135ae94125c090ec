package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrKeyGone says that an object is there, and that the KMS key which it lies under does not
// exist any more. It comes with kms.ErrKeyNotFound, which says of a write that there is no such
// key, and nothing of any object.
var ErrKeyGone = errors.New("the KMS key of the object does not exist any more")

// RecordOf returns the record among an object's reserved metadata, nil if it has none. Two
// records, or another reserved entry, are an error.
func RecordOf(reserved []storage.MetaEntry) (*sse.Record, error) {
	switch {
	case len(reserved) == 0:
		return nil, nil
	case len(reserved) > 1:
		return nil, fmt.Errorf("%d records on one object: %w", len(reserved), sse.ErrRecord)
	case reserved[0].Name != storage.RecordName:
		return nil, fmt.Errorf("metadata %q is reserved: %w", reserved[0].Name, sse.ErrRecord)
	}
	return sse.ParseRecord(reserved[0].Value)
}

// SameRecord says whether two answers are about objects with the same record.
func SameRecord(a, b *storage.Info) bool {
	if len(a.Reserved) != len(b.Reserved) {
		return false
	}
	for i := range a.Reserved {
		if a.Reserved[i] != b.Reserved[i] {
			return false
		}
	}
	return true
}

// Object is an encrypted object whose record is open: what clients know of it, and what is
// needed to read it. It is to be zeroed.
type Object struct {
	Name   sse.Name
	Record *sse.Record
	// Encryption is how it is encrypted, as clients are told: its record may be older. The
	// record decides all else, the ETag too.
	Encryption sse.Encryption
	Key        sse.ObjectKey
	Facts      sse.Facts
	Nonce      sse.StreamNonce // of an object of one stream
	// Size is the plaintext's length in bytes.
	Size int64
	// Restored says that the manifest was found by the data (manifest.Store.Find).
	Restored bool

	// stored is upstream's ETag as it answered it.
	stored string
	// own is the ETag that upstream gave the upload, of a restored object, else stored.
	own string
}

// Open unseals a record for a caller who may, and gets what it leaves to a manifest:
// always what an ETag or a size needs, and a checksum if it is wanted. seen is what
// upstream answered. The key is to be zeroed. ErrKeyGone, or sse, keyring, kms and manifest
// errors.
func (s *Objects) Open(ctx context.Context, caller keyring.Caller, name sse.Name, rec *sse.Record, seen *storage.Info, customer *sse.Secret, checksum bool) (*Object, error) {
	opened, err := s.o.Keys.Open(ctx, caller, name, rec, customer)
	if errors.Is(err, kms.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w (%w)", ErrKeyGone, err)
	}
	if err != nil {
		return nil, err
	}
	private := opened.Private
	o := &Object{
		Name: name, Record: rec, Encryption: opened.Encryption, Key: opened.Key, Facts: private.Facts, Nonce: private.Nonce, Size: rec.PlainSize,
		stored: seen.ETag, own: seen.ETag,
	}
	if !NeedsManifest(rec, checksum) {
		return o, nil
	}
	ref := Ref(name, rec, seen.ETag)
	if o.Facts, err = s.o.Manifests.Find(ctx, ref, s.Data(name, seen)); err != nil {
		o.Zero()
		return nil, err
	}
	o.Restored = s.o.Manifests.Restored(ref)
	o.own = s.OwnETag(ref, seen.ETag)
	if rec.Layout != sse.OneStream {
		o.Size = o.Facts.PlainSize
	}
	return o, nil
}

// NeedsManifest says whether an object's ETag and size, or a checksum that is
// wanted, are in its manifest.
func NeedsManifest(rec *sse.Record, checksum bool) bool {
	return rec.Manifest != sse.ManifestID{} && (rec.Layout != sse.OneStream || rec.MD5ETag() || checksum)
}

// Ref names the manifest of an object whose upstream ETag is stored.
func Ref(name sse.Name, rec *sse.Record, stored string) manifest.Ref {
	ref := manifest.Ref{Name: name, ID: rec.Manifest}
	if rec.Layout == sse.Uploaded {
		ref.ETag = strings.Trim(stored, `"`)
	}
	return ref
}

// OwnETag is the ETag that upstream gave the upload whose manifest was found for ref: of
// a restored object that in the manifest's name, else stored. Clients are told that one.
// It is another for each list of an upload, so that data of one list is not answered
// under the ETag of another.
func (s *Objects) OwnETag(ref manifest.Ref, stored string) string {
	if own := s.o.Manifests.Actual(ref); own != ref {
		return `"` + own.ETag + `"`
	}
	return stored
}

// Data returns what upstream has of an object, as it answered.
func (s *Objects) Data(name sse.Name, seen *storage.Info) manifest.Data {
	size := seen.Size
	if seen.Part {
		size = seen.Total
	}
	return s.StoredData(name, seen.Version, seen.ETag, size)
}

// StoredData is one version of an object, "" for the current one, of so many
// encrypted bytes. The proxy's own identity reads its packages' headers.
func (s *Objects) StoredData(name sse.Name, version, stored string, size int64) manifest.Data {
	return manifest.Data{Size: size, At: func(ctx context.Context, offset int64) ([]byte, error) {
		o, err := s.o.Storage.Own(storage.Actor{}).Get(ctx, &storage.Get{
			Name: name, Version: version, IfMatch: stored, Range: &storage.Range{First: offset, Last: offset + sse.HeaderSize - 1},
		})
		if err != nil {
			return nil, AsChanged(err)
		}
		defer o.Close()
		if !o.Part {
			return nil, fmt.Errorf("upstream answered %d bytes without a range: %w", o.Size, storage.ErrLied)
		}
		header := make([]byte, sse.HeaderSize)
		if _, err := io.ReadFull(o, header); err != nil {
			return nil, fmt.Errorf("read a package's header: %w (%w)", storage.ErrUnreachable, err)
		}
		return header, nil
	}}
}

// Doubt makes the next request look again for the manifest of a restored object,
// nil if it is plain, where err says that it does not fit: it may be a rival's.
func (s *Objects) Doubt(o *Object, err error) {
	if o != nil && o.Restored && DoesNotFit(err) {
		s.o.Manifests.Forget(Ref(o.Name, o.Record, o.stored))
	}
}

// onRestored says, once for each object, that its manifest was found by its data.
func (s *Objects) onRestored(ref manifest.Ref) {
	if s.o.OnRestored != nil {
		s.o.OnRestored()
	}
	s.o.Logger.Info("an object was restored by copying: upstream has another ETag than the upload gave it, its manifest was found by its data",
		"bucket", ref.Name.Bucket, "key", ref.Name.Key, "stored_etag", ref.ETag)
}

// Zero forgets the key.
func (o *Object) Zero() { o.Key.Zero() }

// ETag is the quoted ETag that clients know the object by.
func (o *Object) ETag() string { return ETag(o.Record, &o.Facts, o.own) }

// Layout returns where the object's parts lie. manifest.ErrMissing.
func (s *Objects) Layout(ctx context.Context, o *Object) (*sse.Parts, error) {
	if o.Record.Layout == sse.OneStream {
		return sse.OnePart(o.Size, o.Nonce), nil
	}
	parts, err := s.o.Manifests.Parts(ctx, Ref(o.Name, o.Record, o.stored))
	if err != nil {
		return nil, err
	}
	if parts.PlainSize() != o.Size {
		return nil, fmt.Errorf("a manifest of %d bytes has parts of %d: %w", o.Size, parts.PlainSize(), manifest.ErrMissing)
	}
	return parts, nil
}
