package proxy

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// maxPartSize is S3's limit for one part, in bytes.
const maxPartSize = 5 << 30

// partNoteTimeout bounds the note of a part: without it the part must be sent again.
const partNoteTimeout = 2 * time.Minute

// partUpload is one UploadPart or UploadPartCopy on its way.
type partUpload struct {
	server  *Server
	request *request
	upload  *openUpload
	number  int
	key     sse.ObjectKey // unused for plain storage
	// customerKeyMD5 is said back to clients of SSE-C.
	customerKeyMD5 string

	facts sse.PartFacts
	etag  string // upstream's, without quotes
}

func (s *Server) newPartUpload(r *request) (*partUpload, error) {
	number, err := strconv.Atoi(r.query.Get("partNumber"))
	if err != nil || number < 1 || number > sse.MaxParts {
		return nil, &apiError{400, invalidArgument, "Part number must be an integer between 1 and 10000, inclusive", nil}
	}
	u, err := s.upload(r)
	if err != nil {
		return nil, err
	}
	p := &partUpload{server: s, request: r, upload: u, number: number}
	return p, p.openKey()
}

// openKey unseals the upload's object key; a customer key must come with every
// part.
func (p *partUpload) openKey() error {
	s, r := p.server, p.request
	if err := s.checkCustomerTransport(r); err != nil {
		return err
	}
	customer, hasKey, err := sse.ParseCustomer(r.Header)
	if err != nil {
		return readHeaderError(err)
	}
	defer customer.CustomerKey.Zero()
	rec := p.upload.record
	switch {
	case hasKey && (rec == nil || rec.Mode != sse.ModeC):
		return errCustomerKeyUnused
	case rec == nil:
		return nil
	case rec.Mode == sse.ModeC && !hasKey:
		return errPartNeedsKey
	}
	// A part is new data: who may write it need not be let to read.
	p.customerKeyMD5 = customer.CustomerKeyMD5
	p.key, err = s.keys.OpenToWrite(r.Context(), r.caller.keys(), r.name(), rec, &customer.CustomerKey)
	return err
}

// uploadPart serves UploadPart.
func (s *Server) uploadPart(w http.ResponseWriter, r *request) error {
	p, err := s.newPartUpload(r)
	if err != nil {
		return err
	}
	defer p.key.Zero()
	body, err := r.auth.Body(r.Request, sigv4.BodyOptions{
		ComputeMD5: p.upload.record != nil && p.upload.record.Mode == sse.ModeS3, Compute: p.checksum(),
	})
	if err != nil {
		return err
	}
	if err := p.checkAlgorithm(body); err != nil {
		return err
	}
	src, size := plaintext(body), body.Size()
	if size < 0 {
		buffered, n, done, err := p.server.readUnsized(r, body)
		if err != nil {
			return err
		}
		defer done()
		src, size = buffered, n
	}
	if err := p.send(src, size); err != nil {
		return err
	}
	p.setHeaders(w.Header())
	w.Header().Set("ETag", p.clientETag())
	w.WriteHeader(http.StatusOK)
	return nil
}

// checkAlgorithm refuses a part whose checksum is of another algorithm than the
// one that was announced for the upload.
func (p *partUpload) checkAlgorithm(body *sigv4.Body) error {
	sent, _, ok := body.DeclaredChecksum()
	if !ok {
		sent, ok = body.TrailerChecksum()
	}
	if want := p.upload.Checksum; ok && want != 0 && sealedChecksum(sent) != want {
		return errArguments(p.request, fmt.Errorf("checksum missing, want %q, got %q", checksumOf(want).wire.String(), sent.String()))
	}
	return nil
}

// checksum is what the upload wants of every part, and the client may leave out. One
// that wants none gets the default of the whole, whatever its parts come with.
func (p *partUpload) checksum() []checksum.Algorithm {
	switch {
	case p.upload.Checksum != 0:
		return []checksum.Algorithm{checksumOf(p.upload.Checksum).wire}
	case p.upload.record != nil:
		return []checksum.Algorithm{defaultChecksum}
	default:
		return nil
	}
}

// learn takes over what is known of the part once it has been read. Of an upload that
// wants no checksum the default is not the part's: clients are told their own.
func (p *partUpload) learn(body plaintext, size int64) {
	p.facts.Facts = knownFacts(body, p.upload.record != nil && p.upload.record.Mode == sse.ModeS3)
	p.facts.PlainSize = size
	if p.upload.Checksum != 0 || p.upload.record == nil {
		return
	}
	p.facts.WholeCRC = body.Checksums()[defaultChecksum]
	_, _, declared := body.DeclaredChecksum()
	_, trailer := body.TrailerChecksum()
	if !declared && !trailer {
		p.facts.Checksum = nil
	}
}

// send encrypts the part, stores it upstream, and notes it in the ledger. A part
// that is not noted does not exist.
func (p *partUpload) send(body plaintext, size int64) error {
	if size > maxPartSize {
		return errTooLarge
	}
	ctx := p.request.Context()
	up := p.request.upstreamRequest(http.MethodPut)
	up.Query = url.Values{"uploadId": {p.upload.ID}, "partNumber": {strconv.Itoa(p.number)}}
	tellUpload(up, p.upload.id.sealed)
	src, length, err := p.encrypt(body, size)
	if err != nil {
		return err
	}
	if p.upload.record == nil {
		up.SignBody = !p.server.opts.Upstream.Secure()
		src = p.passChecksum(up, body, src, length)
	}
	up.Body, up.Length = io.NopCloser(src), length
	if length >= expectContinueFrom {
		up.Header.Set("Expect", "100-continue")
	}
	resp, err := p.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return bodyError(body, err)
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	upstream.Discard(resp)
	p.etag = strings.Trim(resp.Header.Get("ETag"), `"`)
	if raw, err := hex.DecodeString(p.etag); err != nil || len(raw) != md5.Size { // it becomes part of a name
		return fmt.Errorf("upstream's ETag of a part is no MD5: %w", errUpstreamLied)
	}
	p.learn(body, size)
	// Noted even if the client has gone: upstream has the part.
	noteCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partNoteTimeout)
	defer cancel()
	return p.server.ledger.AddPart(noteCtx, p.upload.ID, manifest.PartID{Number: p.number, ETag: p.etag}, &p.facts)
}

// passChecksum has upstream keep a plain part's checksum, which the upload
// announced: in a header if it is known before the part is sent, else behind it.
func (p *partUpload) passChecksum(up *upstream.Request, body plaintext, src io.Reader, length int64) io.Reader {
	kind := p.upload.Checksum
	if kind == 0 {
		return src
	}
	name := checksumOf(kind).header
	if sum := knownFacts(body, false).Checksum; sum != nil && sum.Type == kind {
		up.Header.Set(name, base64Std(sum.Value))
		return src
	}
	up.SignBody, up.Trailer = true, http.Header{name: {base64Std(make([]byte, kind.Size()))}}
	return &lastBytes{src: src, remaining: length, commit: func() error {
		sum := knownFacts(body, false).Checksum
		if sum == nil || sum.Type != kind {
			return sigv4.ErrInvalidChecksum
		}
		up.Trailer.Set(name, base64Std(sum.Value))
		return nil
	}}
}

// encrypt returns what goes upstream and how long it is.
func (p *partUpload) encrypt(body plaintext, size int64) (io.Reader, int64, error) {
	if size == 0 {
		return bytes.NewReader(nil), 0, drain(body)
	}
	if p.upload.record == nil {
		return &sourceReader{src: body, remaining: size}, size, nil
	}
	p.facts.Nonce = sse.NewStreamNonce()
	stream := sse.Stream{Key: p.key.Part(uint32(p.number)), Nonce: p.facts.Nonce, PlainSize: size} //nolint:gosec // checked: 1 to 10,000
	enc, err := stream.Encrypt(body)
	return enc, sse.EncSize(size), err
}

func (p *partUpload) clientETag() string {
	return partETag(p.upload.record, manifest.PartID{Number: p.number, ETag: p.etag}, &p.facts)
}

// partETag is the quoted ETag that clients know a part by: of SSE-S3 the MD5 of
// its plaintext, of a plain part upstream's, else one that no other part has.
func partETag(rec *sse.Record, id manifest.PartID, facts *sse.PartFacts) string {
	switch {
	case rec == nil:
		return `"` + id.ETag + `"`
	case rec.Mode == sse.ModeS3:
		return fmt.Sprintf(`"%x"`, facts.MD5)
	default:
		return fmt.Sprintf(`"%x"`, sse.PartETag(rec.Manifest, uint32(id.Number), facts.Nonce)) //nolint:gosec // checked: 1 to 10,000
	}
}

func (p *partUpload) setHeaders(h http.Header) {
	if p.upload.record != nil {
		setEncryptionHeaders(h, p.upload.record, p.customerKeyMD5)
	}
	if sum := p.facts.Checksum; sum != nil {
		h.Set(checksumOf(sum.Type).header, base64Std(sum.Value))
	}
}

// uploadPartCopy serves UploadPartCopy: the source is read and encrypted anew,
// for every part has its own key.
func (s *Server) uploadPartCopy(w http.ResponseWriter, r *request) error {
	src, err := s.parseCopySource(r)
	if err != nil {
		return err
	}
	defer src.zero()
	p, err := s.newPartUpload(r)
	if err != nil {
		return err
	}
	defer p.key.Zero()
	if err := whileChanging(func() error { return p.copy(w, src) }); err != nil {
		return err
	}
	p.setHeaders(w.Header())
	if v := src.head.Get("X-Amz-Version-Id"); v != "" {
		w.Header().Set("X-Amz-Copy-Source-Version-Id", v)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CopyPartResult xmlns="` + s3Namespace + `">`)
	element(&b, "LastModified", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	element(&b, "ETag", p.clientETag())
	if sum := p.facts.Checksum; sum != nil {
		element(&b, checksumOf(sum.Type).element, base64Std(sum.Value))
	}
	b.WriteString("</CopyPartResult>")
	writeXML(w, http.StatusOK, b.Bytes())
	return nil
}

// copy looks the source up and stores the part that is asked for. errChanged if it
// is another object by then.
func (p *partUpload) copy(w http.ResponseWriter, src *copySource) error {
	s, r := p.server, p.request
	if err := src.open(r.Context(), s, r); err != nil {
		return err
	}
	if err := src.checkConditions(w, r); err != nil {
		return err
	}
	part, err := src.copyRange(r.Header.Get("X-Amz-Copy-Source-Range"))
	if err != nil {
		return err
	}
	plain, done, err := src.read(r.Context(), s, r, part)
	if err != nil {
		return err
	}
	defer done()
	body := newCopiedBody(plain, sse.Facts{}, p.upload.record != nil && p.upload.record.Mode == sse.ModeS3, p.checksum())
	return patiently(w, func() error { return p.send(body, part.Length) })
}

// copyRange reads x-amz-copy-source-range, which must lie within the source.
func (c *copySource) copyRange(header string) (sse.Range, error) {
	if header == "" {
		return sse.Range{Length: c.size}, nil
	}
	rng, err := parseRange(header)
	if errors.Is(err, errInvalidRange) || rng == nil || rng.suffix >= 0 || rng.last < 0 {
		return sse.Range{}, &apiError{400, invalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy", nil}
	}
	if rng.last >= c.size {
		return sse.Range{}, &apiError{400, invalidArgument, "Range specified is not valid for source object of size: " + strconv.FormatInt(c.size, 10), nil}
	}
	return sse.Range{Offset: rng.first, Length: rng.last - rng.first + 1}, nil
}
