package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// copying is one CopyObject on its way.
type copying struct {
	server  *Server
	request *request
	source  *copySource
	asked   *sse.Request
	// header is what the new object is stored with.
	header http.Header

	record   *sse.Record
	facts    sse.Facts
	put      bool   // upstream lets the caller write the copy
	etag     string // upstream's
	modified time.Time
}

// copyObject serves CopyObject.
func (s *Server) copyObject(w http.ResponseWriter, r *request) error {
	src, err := s.parseCopySource(r)
	if err != nil {
		return err
	}
	defer src.zero()
	asked, err := s.askedEncryption(r)
	if err != nil {
		return err
	}
	defer asked.CustomerKey.Zero()
	c := &copying{server: s, request: r, source: src, asked: asked}
	if err := c.checkDirectives(); err != nil {
		return err
	}
	if err := whileChanging(func() error { return c.begin(w) }); err != nil {
		return err
	}
	c.answer(w)
	return nil
}

// begin looks the source up and copies it. errChanged if it is another object by
// then.
func (c *copying) begin(w http.ResponseWriter) error {
	ctx, r := c.request.Context(), c.request
	if err := c.source.open(ctx, c.server, r); err != nil {
		return err
	}
	if err := c.source.checkConditions(w, r); err != nil {
		return err
	}
	if err := c.server.readerConditions(ctx, r, conditionsOf(r.Header), ""); err != nil {
		return err
	}
	c.setHeader()
	return patiently(w, func() error { return c.run(ctx) })
}

func (c *copying) onto() bool { return c.source.name == c.request.name() }

func (c *copying) replace() bool {
	return strings.EqualFold(c.request.Header.Get("X-Amz-Metadata-Directive"), "REPLACE")
}

// checkDirectives refuses unknown directives, and copies of an object onto
// itself that change nothing.
func (c *copying) checkDirectives() error {
	h := c.request.Header
	for name, invalid := range map[string]string{"X-Amz-Metadata-Directive": "Unknown metadata directive.", "X-Amz-Tagging-Directive": "Unknown tag directive."} {
		if v := h.Get(name); v != "" && v != "COPY" && v != "REPLACE" {
			return &apiError{400, invalidArgument, invalid, nil}
		}
	}
	_, encryption := h[sse.HeaderMethod]
	encryption = encryption || sse.HasCustomerKey(h) || c.source.hasKey
	if c.onto() && c.source.version == "" && !c.replace() && !encryption && h.Get("X-Amz-Storage-Class") == "" && h.Get("X-Amz-Tagging-Directive") != "REPLACE" {
		return errCopyOntoItself
	}
	return nil
}

// setHeader decides what the new object is stored with: the request's headers,
// or the source's with what the request adds.
func (c *copying) setHeader() {
	c.header = c.request.writeHeaders()
	if c.replace() {
		return
	}
	for _, name := range []string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires", "X-Amz-Website-Redirect-Location"} {
		delete(c.header, name)
		if v := c.source.head.Values(name); len(v) > 0 {
			c.header[name] = v
		}
	}
	for name := range c.header {
		if strings.HasPrefix(name, metaPrefix) {
			delete(c.header, name)
		}
	}
	for name, values := range c.source.head {
		if strings.HasPrefix(name, metaPrefix) && !isReservedMeta(name) {
			c.header[name] = asStored(values)
		}
	}
	if class := c.source.head.Values("X-Amz-Storage-Class"); c.header.Get("X-Amz-Storage-Class") == "" && len(class) > 0 {
		c.header["X-Amz-Storage-Class"] = class
	}
}

// asStored undoes the encoding of RFC 2047 in which MinIO answers metadata that is
// not ASCII: stored so, the copy's would be another text in a listing. What no
// header can carry was sent encoded by the client, and stays so.
func asStored(values []string) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = value
		raw, err := new(mime.WordDecoder).DecodeHeader(value)
		if err != nil || mime.QEncoding.Encode("UTF-8", raw) != value {
			continue
		}
		if strings.TrimSpace(raw) == raw && !strings.ContainsFunc(raw, unicode.IsControl) {
			out[i] = raw
		}
	}
	return out
}

// run takes one of three ways. Between SSE-S3 and SSE-KMS, and from plain to
// plain, upstream copies what it has, and the proxy reads the data only for a
// digest that nobody has; everything else is read and written anew. So is what was
// restored: that its manifest is its own shows only when every byte is read, and a copy
// under another's could be read by nobody.
func (c *copying) run(ctx context.Context) error {
	if err := c.combineParts(ctx); err != nil {
		return err
	}
	from := sse.ModeNone
	if c.source.record != nil {
		from = c.source.record.Mode
	}
	to := c.asked.Mode
	wrapped := func(m sse.Mode) bool { return m == sse.ModeS3 || m == sse.ModeKMS }
	switch {
	case wrapped(from) && wrapped(to) && !c.source.object.restored:
		return c.rewrap(ctx)
	case from == sse.ModeNone && to == sse.ModeNone:
		return c.copyUpstream(ctx, nil)
	default:
		return c.stream(ctx)
	}
}

// mayPut asks upstream, once, whether the caller may write the copy: before the
// source is read or a manifest written, since the destination's rule decides whether
// that must be.
func (c *copying) mayPut(ctx context.Context) error {
	if c.put {
		return nil
	}
	err := c.server.mayPut(ctx, c.request)
	c.put = err == nil
	return err
}

// rewrap seals the source's object key and facts for the new name, mode and KMS
// key, and has upstream copy the ciphertext beneath them.
func (c *copying) rewrap(ctx context.Context) error {
	r, s := c.request, c.server
	if err := s.keys.MayWrite(ctx, r.caller.keys(), r.bucket, c.asked); err != nil {
		return s.refusal(ctx, r, err)
	}
	if err := c.measure(ctx); err != nil {
		return err
	}
	key, err := s.keys.Make(ctx, r.caller.keys(), r.name(), c.asked)
	if err != nil {
		return s.refusal(ctx, r, err)
	}
	defer key.Zero()
	c.facts = c.source.object.facts
	private, err := c.carryLayout(ctx, &key.Record)
	if err != nil {
		return err
	}
	text, err := key.Seal(&c.source.object.key, private)
	if err != nil {
		return err
	}
	c.record = &key.Record
	if err := c.copyUpstream(ctx, url.Values{recordHeader: {text}}); err != nil {
		return err
	}
	return key.Confirm(ctx)
}

// carryLayout gives the copy's record what the source has: facts in the record
// itself, for they are known now, or a manifest of its own for the layout of an
// object of parts, which upstream's copy no longer shows. It is written first.
func (c *copying) carryLayout(ctx context.Context, rec *sse.Record) (*sse.Private, error) {
	o := c.source.object
	if o.record.Layout == sse.OneStream {
		rec.PlainSize = o.size
		private := sse.NewPrivate(o.size, o.nonce)
		private.Facts = o.facts
		private.Facts.PlainSize = 0
		return private, nil
	}
	if err := c.mayPut(ctx); err != nil {
		return nil, err
	}
	parts, err := c.server.layout(ctx, o)
	if err != nil {
		return nil, err
	}
	rec.Layout, rec.Manifest = sse.Copied, sse.NewManifestID()
	ref := manifest.Ref{Name: c.request.name(), ID: rec.Manifest}
	return sse.NewPartsPrivate(), c.server.manifests.Put(ctx, ref, o.facts, parts)
}

// copyResult is upstream's answer to a copy.
type copyResult struct {
	XMLName      xml.Name
	ETag         string    `xml:"ETag"`
	LastModified time.Time `xml:"LastModified"`
	Code         string    `xml:"Code"`
	Message      string    `xml:"Message"`
}

// copyUpstream has upstream copy the source, if it is still what was looked up.
func (c *copying) copyUpstream(ctx context.Context, record url.Values) error {
	r := c.request
	up := r.upstreamRequest(http.MethodPut)
	up.Header, up.Query, up.Slow = c.header, record, true
	up.Header.Set("X-Amz-Copy-Source", copySourceAsSaid(r.Header.Get("X-Amz-Copy-Source")))
	up.Header.Set("X-Amz-Copy-Source-If-Match", c.source.stored)
	up.Header.Set("X-Amz-Metadata-Directive", "REPLACE")
	if directive, said := up.Told[toldDirective]; said { // conditions see both
		up.Told["X-Amz-Metadata-Directive"] = directive
	}
	if v := r.Header.Get("X-Amz-Tagging-Directive"); v != "" {
		up.Header.Set("X-Amz-Tagging-Directive", v)
	}
	algorithm := ""
	if c.record == nil {
		algorithm = r.Header.Get("X-Amz-Checksum-Algorithm") // of the plaintext
	}
	if algorithm == "" && c.onto() && (c.source.version == "" || c.source.version == "null") {
		// With a checksum to compute, MinIO writes data and metadata together; else
		// a PUT that comes between would get this copy's metadata on its data.
		algorithm = "CRC64NVME"
	}
	if algorithm != "" {
		up.Header.Set("X-Amz-Checksum-Algorithm", algorithm)
	}
	resp, err := c.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return readChanged(resp) // the only condition is that on the source
	}
	defer upstream.Discard(resp)
	var result copyResult
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&result); err != nil {
		return fmt.Errorf("parse upstream's answer to a copy: %w (%w)", storage.ErrUnreachable, err)
	}
	if result.XMLName.Local == "Error" {
		return &storage.Error{Status: http.StatusInternalServerError, Code: result.Code, Message: result.Message, Header: storage.Metadata(resp.Header)}
	}
	c.etag, c.modified, c.header = result.ETag, result.LastModified, resp.Header
	return nil
}

// stream reads the source and writes a new object with keys of its own.
func (c *copying) stream(ctx context.Context) error {
	r, s := c.request, c.server
	if c.source.size > maxObjectSize {
		return errTooLarge
	}
	if err := c.mayPut(ctx); err != nil {
		return err
	}
	if err := c.copyTags(ctx); err != nil {
		return err
	}
	plain, done, err := c.source.read(ctx, s, r, sse.Range{Length: c.source.size})
	if err != nil {
		return err
	}
	defer done()
	known, sums := c.ofStream()
	body := newCopiedBody(plain, known, c.asked.Mode == sse.ModeS3 && known.MD5 == nil, sums)
	up := &upload{server: s, request: r, size: c.source.size, asked: c.asked, body: body, header: c.header, copied: true}
	if err := up.store(sums != nil); err != nil {
		return err
	}
	c.record, c.facts, c.etag, c.header = up.record, up.facts, up.etag, up.header
	return c.lookUp(ctx)
}

// copyTags gives the new object the source's tags, which upstream copies only
// when it copies the object.
func (c *copying) copyTags(ctx context.Context) error {
	if strings.EqualFold(c.request.Header.Get("X-Amz-Tagging-Directive"), "REPLACE") {
		return nil
	}
	delete(c.header, "X-Amz-Tagging")
	if n, _ := strconv.Atoi(c.source.head.Get("X-Amz-Tagging-Count")); n == 0 {
		return nil
	}
	up := c.source.upstreamRequest(c.request, http.MethodGet)
	if up.Query == nil {
		up.Query = url.Values{}
	}
	up.Query.Set("tagging", "")
	resp, err := c.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	var tags struct {
		Tags []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&tags); err != nil {
		return fmt.Errorf("parse tags: %w (%w)", storage.ErrUnreachable, err)
	}
	values := url.Values{}
	for _, t := range tags.Tags {
		values.Set(t.Key, t.Value)
	}
	c.header.Set("X-Amz-Tagging", values.Encode())
	return nil
}

// lookUp asks when upstream stored the new object; a PUT's answer does not say.
func (c *copying) lookUp(ctx context.Context) error {
	up := c.request.upstreamRequest(http.MethodHead)
	up.Credential = &c.server.opts.Service
	if id := c.header.Get("X-Amz-Version-Id"); id != "" {
		up.Query = url.Values{"versionId": {id}}
	}
	resp, err := c.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	defer upstream.Discard(resp)
	if c.modified, err = http.ParseTime(resp.Header.Get("Last-Modified")); err != nil {
		c.modified = time.Now() // overwritten meanwhile, or gone
	}
	return nil
}

// answer tells the client what was copied.
func (c *copying) answer(w http.ResponseWriter) {
	h := w.Header()
	if v := c.header.Get("X-Amz-Version-Id"); v != "" {
		h.Set("X-Amz-Version-Id", v)
	}
	if v := cmp.Or(c.source.head.Get("X-Amz-Version-Id"), c.source.version); v != "" { // MinIO does not name the null version
		h.Set("X-Amz-Copy-Source-Version-Id", v)
	}
	if c.record != nil {
		setEncryptionHeaders(h, c.record, c.asked.CustomerKeyMD5)
	}
	etag := clientETag(c.record, &c.facts, c.etag)
	h.Set("ETag", etag)
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CopyObjectResult xmlns="` + s3Namespace + `">`)
	element(&b, "LastModified", c.modified.UTC().Format("2006-01-02T15:04:05.000Z"))
	element(&b, "ETag", etag)
	if c.record == nil { // upstream's checksums are the plaintext's
		for i := range checksumAlgorithms {
			a := &checksumAlgorithms[i]
			if v := c.header.Get(a.header); v != "" {
				h.Set(a.header, v)
				h.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
				element(&b, a.element, v)
				element(&b, "ChecksumType", "FULL_OBJECT")
			}
		}
	}
	if sum := c.facts.Checksum; sum != nil {
		setChecksumHeaders(h, &c.facts)
		element(&b, checksumOf(sum.Type).element, checksumValue(&c.facts))
		element(&b, "ChecksumType", checksumKind(sum))
	}
	b.WriteString("</CopyObjectResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
