package vault

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// recordOf returns the record among an object's reserved metadata, nil if it has none. Two
// records, or another reserved entry, are an error.
func recordOf(reserved []storage.MetaEntry) (*sse.Record, error) {
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

// sameRecord says whether two answers are about objects with the same record.
func sameRecord(a, b *storage.Info) bool {
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

// object is an encrypted object whose record is open: what clients know of it,
// and what is needed to read it.
type object struct {
	name   sse.Name
	record *sse.Record
	key    sse.ObjectKey
	facts  sse.Facts
	nonce  sse.StreamNonce // of an object of one stream
	// stored is upstream's ETag as it answered it.
	stored string
	// own is the ETag that upstream gave the upload, of a restored object, else stored.
	own string
	// size is the plaintext's length in bytes.
	size int64
	// restored says that the manifest was found by the data (manifest.Store.Find).
	restored bool
}

// openObject unseals a record for a caller who may, and gets what it leaves to a manifest:
// always what an ETag or a size needs, and a checksum if it is wanted. seen is what
// upstream answered. The key is to be zeroed. sse, keyring, kms and manifest errors.
func (v *Vault) openObject(ctx context.Context, caller keyring.Caller, name sse.Name, rec *sse.Record, seen *storage.Info, customer *sse.Secret, checksum bool) (*object, error) {
	key, private, err := v.o.Keys.Open(ctx, caller, name, rec, customer)
	if err != nil {
		return nil, err
	}
	o := &object{name: name, record: rec, key: key, facts: private.Facts, nonce: private.Nonce, stored: seen.ETag, own: seen.ETag, size: rec.PlainSize}
	if !needsManifest(rec, checksum) {
		return o, nil
	}
	ref := manifestRef(name, rec, seen.ETag)
	if o.facts, err = v.o.Manifests.Find(ctx, ref, v.dataOf(name, seen)); err != nil {
		o.zero()
		return nil, err
	}
	o.restored = v.o.Manifests.Restored(ref)
	o.own = v.ownETag(ref, seen.ETag)
	if rec.Layout != sse.OneStream {
		o.size = o.facts.PlainSize
	}
	return o, nil
}

// needsManifest says whether an object's ETag and size, or a checksum that is
// wanted, are in its manifest.
func needsManifest(rec *sse.Record, checksum bool) bool {
	return rec.Manifest != sse.ManifestID{} && (rec.Layout != sse.OneStream || rec.Mode == sse.ModeS3 || checksum)
}

// manifestRef names the manifest of an object whose upstream ETag is stored.
func manifestRef(name sse.Name, rec *sse.Record, stored string) manifest.Ref {
	ref := manifest.Ref{Name: name, ID: rec.Manifest}
	if rec.Layout == sse.Uploaded {
		ref.ETag = strings.Trim(stored, `"`)
	}
	return ref
}

// ownETag is the ETag that upstream gave the upload whose manifest was found for ref: of
// a restored object that in the manifest's name, else stored. Clients are told that one.
// It is another for each list of an upload, so that data of one list is not answered
// under the ETag of another.
func (v *Vault) ownETag(ref manifest.Ref, stored string) string {
	if own := v.o.Manifests.Actual(ref); own != ref {
		return `"` + own.ETag + `"`
	}
	return stored
}

// dataOf returns what upstream has of an object, as it answered.
func (v *Vault) dataOf(name sse.Name, seen *storage.Info) manifest.Data {
	size := seen.Size
	if seen.Part {
		size = seen.Total
	}
	return v.storedData(name, seen.Version, seen.ETag, size)
}

// storedData is one version of an object, "" for the current one, of so many
// encrypted bytes. The proxy's own identity reads its packages' headers.
func (v *Vault) storedData(name sse.Name, version, stored string, size int64) manifest.Data {
	return manifest.Data{Size: size, At: func(ctx context.Context, offset int64) ([]byte, error) {
		o, err := v.alone().Get(ctx, &storage.Get{
			Name: name, Version: version, IfMatch: stored, Range: &storage.Range{First: offset, Last: offset + sse.HeaderSize - 1},
		})
		if err != nil {
			return nil, asChanged(err)
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

// doubtUnfit makes the next request look again for the manifest of a restored object,
// nil if it is plain, where err says that it does not fit: it may be a rival's.
func (v *Vault) doubtUnfit(o *object, err error) {
	if o != nil && o.restored && doesNotFit(err) {
		v.o.Manifests.Forget(manifestRef(o.name, o.record, o.stored))
	}
}

// doubtingReader reads an object's plaintext, and doubts its manifest where it does not
// fit.
type doubtingReader struct {
	plain  io.Reader
	vault  *Vault
	object *object
}

func (d *doubtingReader) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	d.vault.doubtUnfit(d.object, err)
	return n, err
}

// onRestored says, once for each object, that its manifest was found by its data.
func (v *Vault) onRestored(ref manifest.Ref) {
	if v.o.OnRestored != nil {
		v.o.OnRestored()
	}
	v.log.Info("an object was restored by copying: upstream has another ETag than the upload gave it, its manifest was found by its data",
		"bucket", ref.Name.Bucket, "key", ref.Name.Key, "stored_etag", ref.ETag)
}

func (o *object) zero() { o.key.Zero() }

// etag is the ETag that clients know the object by.
func (o *object) etag() string { return clientETag(o.record, &o.facts, o.own) }

// layout returns where the object's parts lie. manifest.ErrMissing.
func (v *Vault) layout(ctx context.Context, o *object) (*sse.Parts, error) {
	if o.record.Layout == sse.OneStream {
		return sse.OnePart(o.size, o.nonce), nil
	}
	parts, err := v.o.Manifests.Parts(ctx, manifestRef(o.name, o.record, o.stored))
	if err != nil {
		return nil, err
	}
	if parts.PlainSize() != o.size {
		return nil, fmt.Errorf("a manifest of %d bytes has parts of %d: %w", o.size, parts.PlainSize(), manifest.ErrMissing)
	}
	return parts, nil
}
