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
	if asksToEncrypt(r.Header) {
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

// asksToEncrypt says whether a request has headers that only writes may have.
func asksToEncrypt(h http.Header) bool {
	for _, name := range []string{sse.HeaderMethod, sse.HeaderKMSKeyID, sse.HeaderContext} {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
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
	if d.part > 1 { // where it lies is not known yet; the first one lies first
		up.Method = http.MethodHead
	}
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

// fetchBeyond looks the object up whose end lies before the range, so that the
// request's conditions are judged before its range is.
func (d *download) fetchBeyond(ctx context.Context, refused *http.Response) (*http.Response, error) {
	upstream.Discard(refused)
	up := d.upstreamRequest()
	up.Method = http.MethodHead
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, upstream.ReadError(resp)
	}
	return resp, nil
}

func (d *download) upstreamRequest() *upstream.Request {
	up := d.request.upstreamRequest(d.request.Method)
	if v := d.request.Header.Get("X-Amz-Checksum-Mode"); v != "" {
		up.Header.Set("X-Amz-Checksum-Mode", v) // of use for plain objects only
	}
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
	if err := s.mayOpen(r.Context(), r.caller, r.bucket, rec); err != nil {
		return err
	}
	var customer *sse.Secret
	if d.hasKey {
		customer = &d.customer.CustomerKey
	}
	wantChecksum := wantsChecksum(r.Header)
	o, err := s.openObject(r.Context(), r.name(), rec, resp.Header.Get("ETag"), customer, wantChecksum)
	if err != nil {
		return err
	}
	defer o.zero()
	etag := o.etag()
	modified, _ := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err := readConditions(w, r.Header, etag, modified); err != nil {
		return err
	}
	if d.rng != nil && !rangeStillValid(r.Header, etag, modified) {
		d.rng = nil
		return d.serve(w)
	}
	part, err := d.plan(o)
	if err != nil {
		return err
	}
	if !d.head && d.part == 0 && resp.Request.Method == http.MethodHead {
		return fmt.Errorf("the object grew after its range was refused: %w", upstream.ErrUnreachable)
	}
	h := w.Header()
	copyObjectHeaders(h, resp.Header)
	h.Set("ETag", etag)
	setEncryptionHeaders(h, rec, d.customer.CustomerKeyMD5)
	s.tellUnproven(h, o)
	if o.facts.Checksum != nil && !part.partial && d.part == 0 && wantChecksum {
		setChecksumHeaders(h, &o.facts)
	}
	return d.serveData(w, resp, o, part)
}

func wantsChecksum(h http.Header) bool {
	return strings.EqualFold(h.Get("X-Amz-Checksum-Mode"), "ENABLED")
}

// serveData answers with the part of the object that was asked for.
func (d *download) serveData(w http.ResponseWriter, resp *http.Response, o *object, part answerPart) error {
	ctx := d.request.Context()
	if d.head && d.part == 0 && o.record.Layout != sse.OneStream {
		part.setHeaders(w.Header(), o.size) // the size is in the manifest; the table of parts is not needed
		w.WriteHeader(part.status)
		return nil
	}
	parts, err := d.server.layout(ctx, o)
	if err != nil {
		return err
	}
	if d.part > 0 {
		if part, err = d.planPart(w.Header(), o, parts); err != nil {
			return err
		}
	}
	if d.head {
		if err := checkLength(resp, parts.EncSize()); err != nil {
			return err
		}
		part.setHeaders(w.Header(), o.size)
		w.WriteHeader(part.status)
		return nil
	}
	src, done, err := d.source(ctx, resp, o, parts, part.Range)
	if err != nil {
		return err
	}
	defer done()
	plain, err := parts.Decrypt(&o.key, src, part.Range)
	if err != nil {
		return err
	}
	return d.send(w, plain, part, o.size)
}

// answerPart is what of the plaintext is answered, and how.
type answerPart struct {
	sse.Range
	partial bool
	status  int
}

// plan turns the request's range into the bytes to answer with.
func (d *download) plan(o *object) (answerPart, error) {
	if d.rng == nil {
		return answerPart{Range: sse.Range{Length: o.size}, status: http.StatusOK}, nil
	}
	r, err := d.rng.of(o.size)
	return answerPart{Range: r, partial: true, status: http.StatusPartialContent}, err
}

// planPart turns the request's part number into the bytes to answer with. An
// object that was not uploaded in parts has one.
func (d *download) planPart(h http.Header, o *object, parts *sse.Parts) (answerPart, error) {
	answer := answerPart{partial: o.size > 0, status: http.StatusPartialContent}
	if o.record.Layout != sse.Uploaded {
		if d.part != 1 {
			return answerPart{}, errPartNumber
		}
		answer.Range = sse.Range{Length: o.size}
		return answer, nil
	}
	for i, part := range parts.List() {
		if int(part.Number) == d.part {
			answer.Range = parts.Range(i)
			if part.Checksum != nil && wantsChecksum(d.request.Header) {
				h.Set(checksumHeaders[parts.Checksum()], base64Std(part.Checksum))
			}
			h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(parts.List())))
			return answer, nil
		}
	}
	return answerPart{}, errPartNumber
}

func (p answerPart) setHeaders(h http.Header, size int64) {
	h.Set("Content-Length", strconv.FormatInt(p.Length, 10))
	if p.partial {
		h.Set("Content-Range", contentRange(p.Range, size))
	}
}

// source returns exactly the encrypted bytes of the packages that hold part,
// once upstream's answer is known to be what record and manifest say. done is
// called when they have been read.
func (d *download) source(ctx context.Context, resp *http.Response, o *object, parts *sse.Parts, part sse.Range) (src io.Reader, done func(), err error) {
	encSize := parts.EncSize()
	got := sse.Range{Length: encSize}
	if d.rng != nil {
		got = d.rng.encrypted(encSize)
	}
	if err := checkAnswer(resp, got, encSize, d.rng != nil); err != nil {
		return nil, nil, err
	}
	need := parts.Encrypted(part)
	if need.Length == 0 {
		return resp.Body, func() {}, nil
	}
	whole := d.rng == nil && resp.Request.Method == http.MethodGet && (need.Offset == 0 || need.Length*2 >= encSize)
	if d.rng != nil && need.Offset >= got.Offset && need.Offset+need.Length <= got.Offset+got.Length || whole {
		if _, err := io.CopyN(io.Discard, resp.Body, need.Offset-got.Offset); err != nil {
			return nil, nil, fmt.Errorf("skip to the first package: %w (%w)", upstream.ErrUnreachable, err)
		}
		return io.LimitReader(resp.Body, need.Length), func() {}, nil
	}
	again, err := d.fetchExact(ctx, resp, o, need, encSize) //nolint:bodyclose // done closes it
	if err != nil {
		return nil, nil, err
	}
	return again.Body, func() { upstream.Discard(again) }, nil
}

// fetchExact asks for the encrypted bytes that are needed, of the object that was
// just seen: parts of odd sizes lie elsewhere than one stream would, and a part
// number says nothing of where it lies.
func (d *download) fetchExact(ctx context.Context, seen *http.Response, o *object, need sse.Range, encSize int64) (*http.Response, error) {
	up := d.upstreamRequest()
	up.Header.Set("If-Match", o.stored)
	up.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", need.Offset, need.Offset+need.Length-1))
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusPartialContent {
		return nil, upstream.ReadError(resp)
	}
	err = checkAnswer(resp, need, encSize, true)
	if err == nil && resp.Header.Get(recordHeader) != seen.Header.Get(recordHeader) {
		err = fmt.Errorf("the object changed meanwhile: %w", errUpstreamLied)
	}
	if err != nil {
		upstream.Discard(resp)
		return nil, err
	}
	return resp, nil
}

// checkAnswer refuses an answer that is not the bytes want of encSize.
func checkAnswer(resp *http.Response, want sse.Range, encSize int64, partial bool) error {
	if !partial {
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d without a range: %w", resp.StatusCode, errUpstreamLied)
		}
		return checkLength(resp, encSize)
	}
	header := resp.Header.Get("Content-Range")
	r, size, ok := parseContentRange(header)
	if !ok || size != encSize || r != want || resp.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("Content-Range %q for %d encrypted bytes: %w", header, encSize, errUpstreamLied)
	}
	return checkLength(resp, want.Length)
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
	used := min(part.Length, copyBufferSize)
	defer func() {
		clear(buffer[:used]) // plaintext
		buffers.copies.Put(buffer)
	}()
	n, err := io.ReadAtLeast(body, buffer[:], int(used))
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
	if err := readConditions(w, r.Header, etag, modified); err != nil {
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
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.part > 0 {
		upstream.Discard(resp) // an answer to HEAD does not name its error
		return nil, errPartNumber
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
