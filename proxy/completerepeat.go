package proxy

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// repeat answers a Complete that upstream would not do, most often because it has
// no such upload any more: 200 if the object that is there came from this upload
// and from this list of parts, since then the answer to an earlier Complete was
// lost. Else the error is as given.
func (c *completing) repeat(w http.ResponseWriter, otherwise error) error {
	r, s := c.request, c.server
	id, err := parseUploadID(r.query.Get("uploadId"))
	if err != nil {
		return err
	}
	// The service identity looks: who has the id may write, and perhaps not read.
	resp, err := c.current(&s.opts.Service)
	if err != nil || resp == nil {
		return cmp.Or(err, otherwise)
	}
	rec, err := recordOf(resp)
	if err == nil && rec == nil {
		return c.repeatPlain(w, otherwise)
	}
	if err != nil || rec.Manifest != id.manifest || rec.Layout != sse.Uploaded {
		return otherwise
	}
	stored := strings.Trim(resp.Header.Get("ETag"), `"`)
	ref := manifestRef(r.name(), rec, stored)
	facts, err := s.manifests.Find(r.Context(), ref, s.dataOf(r.name(), resp))
	if err != nil {
		return err
	}
	parts, err := s.manifests.Parts(r.Context(), ref)
	if err != nil {
		return err
	}
	if !c.sameParts(rec, &facts, parts) {
		return otherwise
	}
	c.upload = &openUpload{record: rec}
	c.facts, c.etag, c.version = facts, stored, resp.Header.Get("X-Amz-Version-Id")
	c.answer(w)
	return nil
}

// current looks the object up that is there now, nil if there is none. Its body
// is closed.
func (c *completing) current(as *storage.Credential) (*http.Response, error) {
	up := c.request.upstreamRequest(http.MethodHead)
	up.Credential = as
	resp, err := c.server.opts.Upstream.Do(c.request.Context(), up)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		upstream.Discard(resp)
		return resp, nil
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		upstream.Discard(resp)
		return nil, nil
	default:
		return nil, upstream.ReadError(resp)
	}
}

// repeatPlain is repeat for an object without a record, which does not tell its
// upload: its ETag must follow from the list, as the caller may see it.
func (c *completing) repeatPlain(w http.ResponseWriter, otherwise error) error {
	resp, err := c.current(c.request.caller.credential)
	if err != nil || resp == nil {
		return otherwise
	}
	sum := md5.New() //nolint:gosec // see above
	for _, part := range c.wanted.Parts {
		raw, err := hex.DecodeString(strings.Trim(part.ETag, `"`))
		if err != nil {
			return otherwise
		}
		sum.Write(raw)
	}
	c.etag = hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(c.wanted.Parts))
	if rec, err := recordOf(resp); err != nil || rec != nil || strings.Trim(resp.Header.Get("ETag"), `"`) != c.etag {
		return otherwise
	}
	c.upload, c.facts, c.version = &openUpload{}, sse.Facts{}, resp.Header.Get("X-Amz-Version-Id")
	c.answer(w)
	return nil
}

// sameParts compares the client's list with what was put together: the numbers,
// and the ETags, which for SSE-S3 are known only all together.
func (c *completing) sameParts(rec *sse.Record, facts *sse.Facts, parts *sse.Parts) bool {
	if len(c.wanted.Parts) != len(parts.List()) {
		return false
	}
	sum := md5.New() //nolint:gosec // see above
	for i, p := range parts.List() {
		want := c.wanted.Parts[i]
		raw, err := hex.DecodeString(strings.Trim(want.ETag, `"`))
		if err != nil || want.PartNumber != int(p.Number) {
			return false
		}
		sum.Write(raw)
		if tag := sse.PartETag(rec.Manifest, p.Number, p.Nonce); rec.Mode != sse.ModeS3 && !bytes.Equal(raw, tag[:]) {
			return false
		}
	}
	return rec.Mode != sse.ModeS3 || bytes.Equal(sum.Sum(nil), facts.MD5)
}
