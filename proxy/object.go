package proxy

import (
	"context"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/sse"
)

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
	// size is the plaintext's length in bytes.
	size int64
}

// openObject unseals a record and gets what it leaves to a manifest: always what
// an ETag or a size needs, and a checksum if it is wanted. The caller zeroes the
// key. sse, kms and manifest errors.
func (s *Server) openObject(ctx context.Context, name sse.Name, rec *sse.Record, stored string, customer *sse.Secret, checksum bool) (*object, error) {
	key, private, err := s.keys.open(ctx, name, rec, customer)
	if err != nil {
		return nil, err
	}
	o := &object{name: name, record: rec, key: key, facts: private.Facts, nonce: private.Nonce, stored: stored, size: rec.PlainSize}
	if !needsManifest(rec, checksum) {
		return o, nil
	}
	if o.facts, err = s.manifests.Get(ctx, manifestRef(name, rec, stored)); err != nil {
		o.zero()
		return nil, err
	}
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

func (o *object) zero() { o.key.Zero() }

// etag is the ETag that clients know the object by.
func (o *object) etag() string { return clientETag(o.record, &o.facts, o.stored) }

// layout returns where the object's parts lie. manifest.ErrMissing.
func (s *Server) layout(ctx context.Context, o *object) (*sse.Parts, error) {
	if o.record.Layout == sse.OneStream {
		return sse.OnePart(o.size, o.nonce), nil
	}
	parts, err := s.manifests.Parts(ctx, manifestRef(o.name, o.record, o.stored))
	if err != nil {
		return nil, err
	}
	if parts.PlainSize() != o.size {
		return nil, fmt.Errorf("a manifest of %d bytes has parts of %d: %w", o.size, parts.PlainSize(), manifest.ErrMissing)
	}
	return parts, nil
}
