package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
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
	// own is the ETag that upstream gave the upload, of a restored object, else stored.
	own string
	// size is the plaintext's length in bytes.
	size int64
	// restored says that the manifest was found by the data (manifest.Store.Find).
	restored bool
}

// openObject unseals a record and gets what it leaves to a manifest: always what
// an ETag or a size needs, and a checksum if it is wanted. The caller zeroes the
// key. seen is what upstream answered. sse, kms and manifest errors.
func (s *Server) openObject(ctx context.Context, caller keyring.Caller, name sse.Name, rec *sse.Record, seen *http.Response, customer *sse.Secret, checksum bool) (*object, error) {
	key, private, err := s.keys.Open(ctx, caller, name, rec, customer)
	if err != nil {
		return nil, err
	}
	stored := seen.Header.Get("ETag")
	o := &object{name: name, record: rec, key: key, facts: private.Facts, nonce: private.Nonce, stored: stored, own: stored, size: rec.PlainSize}
	if !needsManifest(rec, checksum) {
		return o, nil
	}
	ref := manifestRef(name, rec, stored)
	if o.facts, err = s.manifests.Find(ctx, ref, s.dataOf(name, seen)); err != nil {
		o.zero()
		return nil, err
	}
	o.restored = s.manifests.Restored(ref)
	o.own = s.ownETag(ref, stored)
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
func (s *Server) ownETag(ref manifest.Ref, stored string) string {
	if own := s.manifests.Actual(ref); own != ref {
		return `"` + own.ETag + `"`
	}
	return stored
}

// dataOf returns what upstream has of an object, as it answered.
func (s *Server) dataOf(name sse.Name, seen *http.Response) manifest.Data {
	size := seen.ContentLength
	if _, whole, ok := parseContentRange(seen.Header.Get("Content-Range")); ok {
		size = whole
	}
	return s.storedData(name, seen.Header.Get("X-Amz-Version-Id"), seen.Header.Get("ETag"), size)
}

// storedData is one version of an object, "" for the current one, of so many
// encrypted bytes. The service identity reads its packages' headers.
func (s *Server) storedData(name sse.Name, version, stored string, size int64) manifest.Data {
	return manifest.Data{Size: size, At: func(ctx context.Context, offset int64) ([]byte, error) {
		up := s.serviceRequest(http.MethodGet, name, url.Values{})
		if version != "" {
			up.Query.Set("versionId", version)
		}
		up.Header.Set("If-Match", stored)
		up.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+sse.HeaderSize-1))
		resp, err := s.opts.Upstream.Do(ctx, up)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusPartialContent {
			return nil, readChanged(resp)
		}
		defer upstream.Discard(resp)
		header := make([]byte, sse.HeaderSize)
		if _, err := io.ReadFull(resp.Body, header); err != nil {
			return nil, fmt.Errorf("read a package's header: %w (%w)", storage.ErrUnreachable, err)
		}
		return header, nil
	}}
}

// doubtUnfit makes the next request look again for the manifest of a restored object,
// nil if it is plain, where err says that it does not fit: it may be a rival's.
func (s *Server) doubtUnfit(o *object, err error) {
	if o != nil && o.restored && doesNotFit(err) {
		s.manifests.Forget(manifestRef(o.name, o.record, o.stored))
	}
}

// doubtingReader reads an object's plaintext, and doubts its manifest where it does not
// fit.
type doubtingReader struct {
	plain  io.Reader
	server *Server
	object *object
}

func (d *doubtingReader) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	d.server.doubtUnfit(d.object, err)
	return n, err
}

func (o *object) zero() { o.key.Zero() }

// etag is the ETag that clients know the object by.
func (o *object) etag() string { return clientETag(o.record, &o.facts, o.own) }

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
