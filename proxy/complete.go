package proxy

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// maxCompleteBody is the longest list of parts: 10,000 with their checksums.
const maxCompleteBody = 4 << 20

// completion is the list of parts that a client wants put together.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber int
		ETag       string
		Checksums  checksumValues `xml:",any"`
	} `xml:"Part"`
}

// completing is one CompleteMultipartUpload on its way.
type completing struct {
	server  *Server
	request *request
	upload  *openUpload
	wanted  completion

	chosen []chosenPart
	facts  sse.Facts
	// etag is the one upstream will store, without quotes.
	etag string
	// version is the new object's version id, if its bucket has versions.
	version string
}

// completeMultipartUpload serves CompleteMultipartUpload. The manifest is written
// before upstream commits: an object that can be seen has its manifest.
func (s *Server) completeMultipartUpload(w http.ResponseWriter, r *request) error {
	c := &completing{server: s, request: r}
	if err := c.readList(); err != nil {
		return err
	}
	u, err := s.upload(r)
	if errors.Is(err, manifest.ErrNoSuchUpload) {
		return c.repeat(w, err)
	}
	if err != nil {
		return err
	}
	c.upload = u
	if err := s.keys.MayKnow(r.Context(), r.caller.keys(), r.bucket, u.record); err != nil {
		return err
	}
	err = patiently(w, func() error { return c.run(r.Context()) })
	switch {
	case errors.Is(err, errNoSuchUpload): // which MinIO, just started again, also says of uploads that it has
		if err := c.repeat(w, err); err != nil {
			return err
		}
		s.dropUpload(r.Context(), u)
		return nil
	case failedCondition(err): // the first of two held, and changed what the second is judged on
		return c.repeat(w, err)
	case err != nil:
		return err
	}
	s.dropUpload(r.Context(), u)
	c.answer(w)
	return nil
}

// failedCondition says whether the proxy or upstream found a condition not to
// hold.
func failedCondition(err error) bool {
	var answer *storage.Error
	return errors.Is(err, errPrecondition) || errors.As(err, &answer) && answer.Status == http.StatusPreconditionFailed
}

func (c *completing) readList() error {
	body, err := c.server.documentWith(c.request, sigv4.BodyOptions{IgnoreChecksumHeaders: true})
	if err != nil {
		return err
	}
	return c.wanted.parse(body)
}

// parse reads the list of a CompleteMultipartUpload: at least one part and at most
// 10,000, in ascending order.
func (w *completion) parse(body []byte) error {
	if err := xml.Unmarshal(body, w); err != nil && len(body) > 0 {
		return errMalformedXML
	}
	if len(w.Parts) == 0 {
		return &apiError{400, invalidRequest, "You must specify at least one part", nil}
	}
	if len(w.Parts) > sse.MaxParts {
		return errMalformedXML
	}
	last := 0
	for _, part := range w.Parts {
		if part.PartNumber < 1 || part.PartNumber > sse.MaxParts {
			return errInvalidPart
		}
		if part.PartNumber <= last {
			return errPartOrder
		}
		last = part.PartNumber
	}
	return nil
}

func (c *completing) run(ctx context.Context) error {
	u := &upload{server: c.server, request: c.request}
	if err := u.pin(ctx); err != nil {
		return err
	}
	conditions := make(http.Header)
	u.setPinned(conditions)
	if err := c.choose(ctx); err != nil {
		return err
	}
	if err := c.combine(); err != nil {
		return err
	}
	if c.upload.record != nil {
		if err := c.server.keys.Confirm(ctx, c.request.name(), c.upload.record); err != nil {
			return err
		}
		if err := c.writeManifest(ctx); err != nil {
			return err
		}
	}
	return c.commit(ctx, conditions)
}

func (c *completing) writeManifest(ctx context.Context) error {
	list := make([]sse.Part, len(c.chosen))
	for i, p := range c.chosen {
		list[i] = sse.Part{Number: uint32(p.Number), PlainSize: p.PlainSize, Nonce: p.Nonce} //nolint:gosec // checked: 1 to 10,000
		if c.upload.Checksum != 0 {
			list[i].Checksum = p.Checksum.Value
		}
	}
	parts, err := sse.NewParts(list, c.upload.Checksum)
	if err != nil {
		return err
	}
	return c.server.manifests.Put(ctx, c.ref(), c.facts, parts)
}

func (c *completing) ref() manifest.Ref {
	return manifest.Ref{Name: c.request.name(), ID: c.upload.Manifest, ETag: c.etag}
}

// commit has upstream put the parts together. A client that goes away meanwhile
// does not stop it: MinIO, cut off in the middle of a Complete, is left with neither
// the object nor an upload that can be completed (measured).
func (c *completing) commit(ctx context.Context, conditions http.Header) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), commitLimit, errSlowCommit)
	defer cancel()
	var b bytes.Buffer
	b.WriteString("<CompleteMultipartUpload>")
	for _, p := range c.chosen {
		b.WriteString("<Part>")
		element(&b, "PartNumber", strconv.Itoa(p.Number))
		element(&b, "ETag", p.ETag)
		if c.upload.record == nil && c.upload.Checksum != 0 {
			element(&b, checksumOf(c.upload.Checksum).element, base64Std(p.Checksum.Value))
		}
		b.WriteString("</Part>")
	}
	b.WriteString("</CompleteMultipartUpload>")
	up := c.request.upstreamRequest(http.MethodPost)
	up.Query, up.Slow = url.Values{"uploadId": {c.upload.ID}}, true
	for name, values := range conditions {
		up.Header[name] = values
	}
	tellUpload(up, c.upload.id.sealed)
	setDocument(up, b.Bytes(), false)
	resp, err := c.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		answer := upstream.ReadError(resp)
		if answer.Code == noSuchUpload {
			return errNoSuchUpload
		}
		return answer
	}
	defer upstream.Discard(resp)
	var result copyResult // the same shape: an ETag, or an error
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&result); err != nil {
		return fmt.Errorf("parse upstream's answer to Complete: %w (%w)", storage.ErrUnreachable, err)
	}
	if result.XMLName.Local == "Error" {
		return &storage.Error{Status: http.StatusInternalServerError, Code: result.Code, Message: result.Message, Header: storage.Metadata(resp.Header)}
	}
	if c.upload.record != nil && strings.Trim(result.ETag, `"`) != c.etag {
		return fmt.Errorf("upstream stored the ETag %q, not %q: %w", result.ETag, c.etag, errUpstreamLied)
	}
	c.version = resp.Header.Get("X-Amz-Version-Id")
	return nil
}

func (c *completing) answer(w http.ResponseWriter) {
	r, h := c.request, w.Header()
	if c.version != "" {
		h.Set("X-Amz-Version-Id", c.version)
	}
	if rec := c.upload.record; rec != nil && rec.Mode != sse.ModeC { // a customer key is not looked at
		setEncryptionHeaders(h, rec, "")
	}
	etag := clientETag(c.upload.record, &c.facts, c.etag)
	h.Set("ETag", etag)
	if c.facts.Checksum != nil {
		setChecksumHeaders(h, &c.facts)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CompleteMultipartUploadResult xmlns="` + s3Namespace + `">`)
	element(&b, "Location", r.location())
	element(&b, "Bucket", r.bucket)
	element(&b, "Key", r.key)
	element(&b, "ETag", etag)
	if sum := c.facts.Checksum; sum != nil {
		element(&b, checksumOf(sum.Type).element, checksumValue(&c.facts))
		element(&b, "ChecksumType", checksumKind(sum))
	}
	b.WriteString("</CompleteMultipartUploadResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
