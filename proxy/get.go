package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// getObject serves GetObject and HeadObject.
func (s *Server) getObject(w http.ResponseWriter, r *request) error {
	d, err := s.newDownload(r)
	if err != nil {
		return err
	}
	defer d.customer.CustomerKey.Zero()
	return d.serve(w)
}

func (d *download) serve(w http.ResponseWriter) error {
	resp, err := d.fetch(d.request.Context())
	if err != nil {
		return err
	}
	defer upstream.Discard(resp)
	rec, err := recordOf(resp)
	if err != nil {
		return err
	}
	if rec != nil {
		return d.serveEncrypted(w, resp, rec)
	}
	return d.servePlain(w, resp)
}

// download is one GetObject or HeadObject on its way.
type download struct {
	server   *Server
	request  *request
	head     bool
	rng      *byteRange // nil for the whole object
	part     int        // the part number asked for, 0 for none
	customer sse.Request
	hasKey   bool // customer holds a key
}

func (s *Server) newDownload(r *request) (d *download, err error) {
	if _, ok := r.Header[sse.HeaderMethod]; ok {
		return nil, errReadWithMethod
	}
	if err := s.checkCustomerTransport(r); err != nil {
		return nil, err
	}
	d = &download{server: s, request: r, head: r.Method == http.MethodHead}
	if d.customer, d.hasKey, err = sse.ParseCustomer(r.Header); err != nil {
		return nil, readHeaderError(err)
	}
	header := r.Header.Get("Range")
	if v := r.query.Get("partNumber"); v != "" {
		if header != "" {
			return nil, errPartAndRange
		}
		if d.part, err = strconv.Atoi(v); err != nil || d.part < 1 || d.part > 10000 {
			return nil, &apiError{400, invalidArgument, "Part number must be an integer between 1 and 10000, inclusive", nil}
		}
	}
	d.rng, err = parseRange(header)
	return d, err
}

// readHeaderError is MinIO's answer to bad customer key headers of a read.
func readHeaderError(err error) error {
	message := "Requests specifying Server Side Encryption with Customer provided keys must provide "
	switch {
	case errors.Is(err, sse.ErrCustomerAlgorithm):
		message += "a valid encryption algorithm."
	case errors.Is(err, sse.ErrCustomerMD5Missing):
		message += "the client calculated MD5 of the secret key."
	case errors.Is(err, sse.ErrCustomerMD5Mismatch):
		message = "The calculated MD5 hash of the key did not match the hash that was provided."
	default:
		message += "an appropriate secret key."
	}
	return &apiError{400, invalidArgument, message, nil}
}

// fetch asks upstream for the object. The range is asked for as if the object
// were one encrypted stream, which needs no look-up; servePlain asks again.
func (d *download) fetch(ctx context.Context) (*http.Response, error) {
	up := d.upstreamRequest()
	if d.rng != nil && !d.head {
		up.Header.Set("Range", d.rng.upstream())
	}
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return d.fetchBeyond(ctx, resp)
	default:
		return nil, upstream.ReadError(resp)
	}
}

// fetchBeyond judges upstream's 416: for an encrypted object it holds for the
// plaintext too; for a plain one the range asked for was another.
func (d *download) fetchBeyond(ctx context.Context, refused *http.Response) (*http.Response, error) {
	upstream.Discard(refused)
	if !d.server.opts.PlainRead.Match(d.request.bucket) {
		return nil, d.rng.unsatisfiable()
	}
	up := d.upstreamRequest()
	up.Header.Set("Range", d.request.Header.Get("Range"))
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	rec, err := recordOf(resp)
	if err == nil && rec == nil && resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	upstream.Discard(resp)
	if err == nil {
		err = d.rng.unsatisfiable()
	}
	return nil, err
}

func (d *download) upstreamRequest() *upstream.Request {
	up := d.request.upstreamRequest(d.request.Method)
	up.Query = make(url.Values, len(d.request.query))
	for name, values := range d.request.query {
		if name != "partNumber" {
			up.Query[name] = values
		}
	}
	return up
}

// serveEncrypted answers with an encrypted object.
func (d *download) serveEncrypted(w http.ResponseWriter, resp *http.Response, rec *sse.Record) error {
	r, s := d.request, d.server
	if d.hasKey && rec.Mode != sse.ModeC {
		return errNoCustomerKey
	}
	if err := s.mayUseKeys(r.caller, r.bucket); err != nil {
		return err
	}
	var customer *sse.Secret
	if d.hasKey {
		customer = &d.customer.CustomerKey
	}
	key, private, err := s.keys.open(r.Context(), r.name(), rec, customer)
	if err != nil {
		return err
	}
	defer key.Zero()
	wantChecksum := strings.EqualFold(r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED")
	if err := s.completeFacts(r.Context(), r.name(), rec, private, wantChecksum); err != nil {
		return err
	}

	etag := clientETag(rec, private.MD5, resp.Header.Get("ETag"))
	modified, _ := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err := d.check(w, etag, modified); err != nil {
		return err
	}
	if d.rng != nil && !rangeStillValid(r.Header, etag, modified) {
		d.rng = nil
		return d.serve(w)
	}
	part, err := d.plan(rec.PlainSize)
	if err != nil {
		return err
	}
	h := w.Header()
	copyObjectHeaders(h, resp.Header)
	h.Set("ETag", etag)
	setEncryptionHeaders(h, rec, d.customer.CustomerKeyMD5)
	if private.Checksum != nil && !part.partial && wantChecksum {
		setChecksumHeaders(h, private.Checksum)
	}
	if d.head {
		if err := checkLength(resp, sse.EncSize(rec.PlainSize)); err != nil {
			return err
		}
		part.setHeaders(h, rec.PlainSize)
		w.WriteHeader(part.status)
		return nil
	}
	src, err := d.source(resp, rec.PlainSize, part.Range)
	if err != nil {
		return err
	}
	stream := sse.Stream{Key: key.Part(1), Nonce: private.Nonce, PlainSize: rec.PlainSize}
	plain, err := stream.Decrypt(src, part.Range)
	if err != nil {
		return err
	}
	return d.send(w, plain, part, rec.PlainSize)
}

// completeFacts gets what the record leaves to a manifest, if it is needed: the
// MD5 that is an SSE-S3 object's ETag, or a checksum.
func (s *Server) completeFacts(ctx context.Context, name sse.Name, rec *sse.Record, private *sse.Private, checksum bool) error {
	if rec.Manifest == (sse.ManifestID{}) || rec.Mode != sse.ModeS3 && !checksum {
		return nil
	}
	facts, err := s.manifests.Get(ctx, manifest.Ref{Name: name, ID: rec.Manifest})
	if err != nil {
		return err
	}
	private.Facts = facts
	return nil
}

// check judges the request's conditions and, for 304, says what the client
// needs to know.
func (d *download) check(w http.ResponseWriter, etag string, modified time.Time) error {
	err := checkRead(d.request.Header, etag, modified)
	if errors.Is(err, errNotModified) || errors.Is(err, errPrecondition) {
		w.Header().Set("ETag", etag)
		w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	}
	return err
}

// answerPart is what of the plaintext is answered, and how.
type answerPart struct {
	sse.Range
	partial bool
	status  int
}

// plan turns the request's range or part number into the bytes to answer with.
func (d *download) plan(size int64) (answerPart, error) {
	whole := answerPart{Range: sse.Range{Length: size}, status: http.StatusOK}
	switch {
	case d.part > 1:
		return answerPart{}, errPartNumber
	case d.part == 1:
		whole.partial, whole.status = true, http.StatusPartialContent
		return whole, nil
	case d.rng == nil:
		return whole, nil
	}
	r, err := d.rng.of(size)
	return answerPart{Range: r, partial: true, status: http.StatusPartialContent}, err
}

func (p answerPart) setHeaders(h http.Header, size int64) {
	h.Set("Content-Length", strconv.FormatInt(p.Length, 10))
	if p.partial {
		h.Set("Content-Range", contentRange(p.Range, size))
	}
}

// source returns exactly the encrypted bytes of the packages that hold part,
// once upstream's answer is known to be what the record says.
func (d *download) source(resp *http.Response, plainSize int64, part sse.Range) (io.Reader, error) {
	encSize := sse.EncSize(plainSize)
	got := sse.Range{Length: encSize}
	if d.rng != nil {
		r, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if !ok || size != encSize || resp.StatusCode != http.StatusPartialContent || r != d.rng.encrypted(encSize) {
			return nil, fmt.Errorf("Content-Range %q for %d encrypted bytes: %w", resp.Header.Get("Content-Range"), encSize, errUpstreamLied)
		}
		got = r
	} else if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d without a range: %w", resp.StatusCode, errUpstreamLied)
	}
	if err := checkLength(resp, got.Length); err != nil {
		return nil, err
	}
	need := part.Encrypted().Clip(encSize)
	if part.Length == 0 {
		return resp.Body, nil
	}
	if need.Offset < got.Offset || need.Offset+need.Length > got.Offset+got.Length {
		return nil, fmt.Errorf("upstream sent too little for the range: %w", errUpstreamLied)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, need.Offset-got.Offset); err != nil {
		return nil, fmt.Errorf("skip to the first package: %w (%w)", upstream.ErrUnreachable, err)
	}
	return io.LimitReader(resp.Body, need.Length), nil
}

// encrypted is what upstream answers to the header of b.upstream, for an object
// of encSize encrypted bytes.
func (b *byteRange) encrypted(encSize int64) sse.Range {
	first, last, _ := strings.Cut(strings.TrimPrefix(b.upstream(), "bytes="), "-")
	from, _ := strconv.ParseInt(first, 10, 64)
	to, err := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "":
		n := min(to, encSize)
		return sse.Range{Offset: encSize - n, Length: n}
	case err != nil: // open
		return sse.Range{Offset: from, Length: max(encSize-from, 0)}
	default:
		return sse.Range{Offset: from, Length: to - from + 1}.Clip(encSize)
	}
}

// checkLength refuses an answer whose length does not follow from the record.
func checkLength(resp *http.Response, want int64) error {
	if resp.ContentLength != want {
		return fmt.Errorf("upstream answered %d bytes where the record says %d: %w", resp.ContentLength, want, errUpstreamLied)
	}
	return nil
}

// send answers with body. Its first bytes are there, and authenticated, before
// the answer begins; a failure after that cuts the connection.
func (d *download) send(w http.ResponseWriter, body io.Reader, part answerPart, size int64) error {
	buffers := d.server.buffers
	buffer := buffers.copies.Get().(*[copyBufferSize]byte)
	defer func() {
		clear(buffer[:])
		buffers.copies.Put(buffer)
	}()
	n, err := io.ReadAtLeast(body, buffer[:], 1)
	if err != nil && (err != io.EOF || part.Length > 0) {
		return readError(err)
	}
	part.setHeaders(w.Header(), size)
	w.WriteHeader(part.status)
	if n == 0 {
		return nil
	}
	if err := buffers.copy(w, body, buffer[:], n); err != nil {
		return readError(err)
	}
	return nil
}

// readError keeps a cut upstream connection apart from a damaged object.
func readError(err error) error {
	if errors.Is(err, errClientGone) {
		return err
	}
	if errors.Is(err, sse.ErrTruncated) || errors.Is(err, sse.ErrTampered) {
		return fmt.Errorf("read object: %w", err)
	}
	return fmt.Errorf("read object: %w (%w)", upstream.ErrUnreachable, err)
}

// servePlain answers with an object that carries no record, where the
// configuration allows it.
func (d *download) servePlain(w http.ResponseWriter, resp *http.Response) error {
	r := d.request
	if !d.server.opts.PlainRead.Match(r.bucket) {
		return errPlainObject
	}
	if d.hasKey {
		return errCustomerKeyUnused
	}
	etag := clientETag(nil, nil, resp.Header.Get("ETag"))
	modified, _ := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err := d.check(w, etag, modified); err != nil {
		return err
	}
	if (d.rng != nil || d.part > 0) && resp.Header.Get("Content-Range") != d.plainContentRange(resp) {
		again, err := d.fetchPlain(r.Context(), etag, rangeStillValid(r.Header, etag, modified))
		if err != nil {
			return err
		}
		defer upstream.Discard(again)
		resp = again
	}
	h := w.Header()
	copyObjectHeaders(h, resp.Header)
	for name, values := range resp.Header {
		if isChecksumHeader(name) || name == "X-Amz-Mp-Parts-Count" || name == "Content-Range" {
			h[name] = values
		}
	}
	h.Set("ETag", etag)
	h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	if d.head {
		w.WriteHeader(resp.StatusCode)
		return nil
	}
	part := answerPart{Range: sse.Range{Length: resp.ContentLength}, status: resp.StatusCode}
	return d.send(w, resp.Body, part, 0)
}

// plainContentRange is the Content-Range that the request's own range has in
// resp's object, or something that no answer has.
func (d *download) plainContentRange(resp *http.Response) string {
	_, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || d.rng == nil {
		return "none"
	}
	r, err := d.rng.of(size)
	if err != nil {
		return "none"
	}
	return contentRange(r, size)
}

// fetchPlain asks for the client's own range or part of the plain object that
// was just seen.
func (d *download) fetchPlain(ctx context.Context, etag string, rangeValid bool) (*http.Response, error) {
	up := d.upstreamRequest()
	up.Header.Set("If-Match", etag)
	if d.part > 0 {
		up.Query.Set("partNumber", strconv.Itoa(d.part))
	} else if rangeValid {
		up.Header.Set("Range", d.request.Header.Get("Range"))
	}
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, upstream.ReadError(resp)
	}
	if rec, err := recordOf(resp); err != nil || rec != nil {
		upstream.Discard(resp)
		return nil, fmt.Errorf("the object changed meanwhile: %w", errUpstreamLied)
	}
	return resp, nil
}
