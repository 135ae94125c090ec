package sigv4

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// BodyOptions says what else to compute of a body. The zero value computes
// only what the request declares.
type BodyOptions struct {
	// ComputeMD5 also computes the MD5, for an ETag.
	ComputeMD5 bool
	// Compute lists checksums to compute beside the declared ones.
	Compute []checksum.Algorithm
	// Default is the checksum to compute if the request declares none and Compute is
	// empty; 0 for none.
	Default checksum.Algorithm
	// RequireLength makes a body of unknown length ErrMissingContentLength.
	RequireLength bool
	// IgnoreChecksumHeaders leaves x-amz-checksum-* headers alone: in a
	// CompleteMultipartUpload they describe the object, not the body.
	IgnoreChecksumHeaders bool
}

// source is the payload of a body, read strictly: it returns n > 0 and nil, or
// 0 and an error, and io.EOF only once its framing has been verified to its
// end.
type source interface {
	read(p []byte) (int, error)
	// release gives back what the source holds. It is called once.
	release()
}

// Body is a request's payload, everything the client declared of it being
// checked on the way. It is not safe for concurrent use. It needs no Close;
// whoever serves the request closes r.Body.
type Body struct {
	src      source
	size     int64
	err      error
	digests  digests
	declared declaration
}

// Body returns r's payload. It reads nothing yet; the error wraps a sentinel
// for what can be known before: malformed or missing lengths and digests.
// r must be the request that q was made from; call Body once.
func (q *Request) Body(r *http.Request, opts BodyOptions) (*Body, error) {
	d, err := parseDeclaration(r.Header, q.Payload, opts.IgnoreChecksumHeaders)
	if err != nil {
		return nil, err
	}
	in := r.Body
	if in == nil {
		in = http.NoBody
	}
	b := &Body{size: r.ContentLength, declared: d}
	if q.Payload.Streaming() {
		if b.size, err = decodedLength(r); err != nil {
			return nil, err
		}
		b.src = newChunked(q, in, b.size, d.trailer)
	} else {
		if b.size < 0 && opts.RequireLength {
			return nil, ErrMissingContentLength
		}
		b.src = &plain{in: transport{in}, left: b.size}
	}
	b.digests.start(&b.declared, q.payloadHash, opts)
	return b, nil
}

// decodedLength returns the length that an aws-chunked body will have.
func decodedLength(r *http.Request) (int64, error) {
	value, ok, err := singleHeader(r.Header, "X-Amz-Decoded-Content-Length")
	switch {
	case err != nil:
		return 0, err
	case !ok && r.ContentLength < 0:
		return 0, ErrMissingContentLength
	case !ok:
		return 0, ErrMissingDecodedLength
	}
	n, err := strconv.ParseUint(value, 10, 63) // takes no sign
	if err != nil {
		return 0, ErrInvalidDecodedLength
	}
	return int64(n), nil
}

// Read reads decoded payload. It returns io.EOF only, and never beside data,
// after length, chunk signatures, trailers and all digests have been
// verified. Any other end is an error that stays, wraps a sentinel and is
// neither io.EOF nor io.ErrUnexpectedEOF, also not to errors.Is: readers that
// take those for a clean end must not be fooled. What was read before such an
// error must not be used.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.src.read(p)
	if err == nil {
		b.digests.write(p[:n])
		return n, nil
	}
	if err == io.EOF { // only the bare value is a clean end
		err = b.verify()
	}
	b.err = err
	b.src.release()
	return 0, err
}

// verify compares the digests at the end and returns io.EOF if they match.
func (b *Body) verify() error {
	var trailer string
	if c, ok := b.src.(*chunked); ok {
		trailer = c.trailer
	}
	if err := b.digests.verify(&b.declared, trailer); err != nil {
		return err
	}
	return io.EOF
}

// Size returns the decoded length, -1 if unknown.
func (b *Body) Size() int64 { return b.size }

// Err returns the error that ended the body: nil before its end, io.EOF if it
// was read to its end and verified.
func (b *Body) Err() error { return b.err }

// MD5 returns the MD5 of the payload; ok is false before io.EOF and if it was
// neither declared nor asked for.
func (b *Body) MD5() (sum [16]byte, ok bool) {
	if b.err != io.EOF || b.digests.md5 == nil {
		return sum, false
	}
	return b.digests.md5Sum, true
}

// DeclaredMD5 returns the Content-MD5 that the client sent, known before
// reading.
func (b *Body) DeclaredMD5() (sum [16]byte, ok bool) {
	if b.declared.md5 == nil {
		return sum, false
	}
	return *b.declared.md5, true
}

// Checksums returns the raw digests that were declared, and so verified, or
// asked for; nil before io.EOF.
func (b *Body) Checksums() map[checksum.Algorithm][]byte {
	if b.err != io.EOF {
		return nil
	}
	return b.digests.reported()
}

// DeclaredChecksum returns the raw checksum that the client sent in a header,
// known before reading.
func (b *Body) DeclaredChecksum() (alg checksum.Algorithm, value []byte, ok bool) {
	return b.declared.alg, b.declared.checksum, b.declared.alg != 0
}

// TrailerChecksum returns the checksum that x-amz-trailer announces.
func (b *Body) TrailerChecksum() (alg checksum.Algorithm, ok bool) {
	return b.declared.trailer, b.declared.trailer != 0
}

// plain is a payload that is the HTTP body itself.
type plain struct {
	in   io.Reader
	left int64 // bytes to come, -1 if unknown
	err  error // came beside the last data
}

func (s *plain) read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, s.end()
	}
	if s.left > 0 && int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.fill(p)
	if n > 0 {
		s.err = err
		if s.left > 0 {
			s.left -= int64(n)
		}
		return n, nil
	}
	if err == io.EOF && s.left > 0 { // transport gives it bare
		return 0, ErrIncompleteBody
	}
	return 0, err
}

// end makes sure that nothing follows the declared length.
func (s *plain) end() error {
	var one [1]byte
	if n, err := s.fill(one[:]); n == 0 {
		return err
	}
	return ErrExcessData
}

// fill reads at least one byte or returns an error.
func (s *plain) fill(p []byte) (n int, err error) {
	err = s.err
	for n == 0 && err == nil {
		n, err = s.in.Read(p)
	}
	return n, err
}

func (s *plain) release() {}

// transport is the body as it comes from the network. Its errors are a bare
// io.EOF at a clean end, or wrap ErrClientGone and are no kind of end.
type transport struct{ in io.Reader }

func (t transport) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	switch {
	case err == nil || err == io.EOF: // a wrapped one is no clean end
		return n, err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%w: %v", ErrClientGone, err) // the chain must end here
	default:
		return n, fmt.Errorf("%w: %w", ErrClientGone, err)
	}
}
