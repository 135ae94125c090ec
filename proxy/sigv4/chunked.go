package sigv4

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

const (
	// maxChunkLine bounds a chunk's header line; the longest valid one has
	// 16 digits, a signature and a line end.
	maxChunkLine = 4 << 10
	// maxTrailer bounds everything after the last chunk.
	maxTrailer = 4 << 10
)

// signatureExtension is the only chunk extension there is.
const signatureExtension = "chunk-signature="

// chunked decodes an aws-chunked payload. Data is handed out before its
// chunk's signature is known; the end never is.
type chunked struct {
	verifier *Verifier
	in       *bufio.Reader
	left     int64 // of the current chunk
	toCome   int64 // of the declared length, beyond the current chunk
	open     bool  // the current chunk's end has not been verified
	lineEnd  [2]byte

	signer    *chunkSigner // nil: chunks are unsigned
	signature string       // of the current chunk

	announced checksum.Algorithm // in x-amz-trailer, 0 if none
	trailer   string             // its value, as sent, once its signature is verified
}

func newChunked(q *Request, in io.Reader, size int64, announced checksum.Algorithm) *chunked {
	c := &chunked{
		verifier: q.verifier, in: q.verifier.readers.Get().(*bufio.Reader), toCome: size, announced: announced,
	}
	c.in.Reset(transport{in})
	if q.Payload.signedChunks() {
		c.signer = newChunkSigner(q.seed)
	}
	return c
}

func (c *chunked) release() {
	c.in.Reset(nil)
	c.verifier.readers.Put(c.in)
	c.in = nil
}

func (c *chunked) read(p []byte) (int, error) {
	for c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = c.in.Read(p)
	}
	if n == 0 {
		return 0, cutError(err)
	}
	// bufio.Reader keeps an error that came beside data for the next call.
	c.left -= int64(n)
	if c.signer != nil {
		c.signer.write(p[:n])
	}
	return n, nil
}

// next verifies the end of the current chunk and opens the next one. After
// the last chunk it verifies the trailers and returns io.EOF.
func (c *chunked) next() error {
	if c.open {
		if err := c.closeChunk(); err != nil {
			return err
		}
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		if err == bufio.ErrBufferFull { // documented to be bare
			return fmt.Errorf("%w: header line too long", ErrMalformedChunk)
		}
		return cutError(err)
	}
	size, signature, err := parseChunkLine(line, c.signer != nil)
	if err != nil {
		return err
	}
	c.signature = signature
	if size > 0 {
		if size > c.toCome {
			return ErrExcessData
		}
		c.left, c.open = size, true
		c.toCome -= size
		return nil
	}
	if c.signer != nil && !c.signer.verify(signature) {
		return fmt.Errorf("%w: last chunk", ErrSignatureDoesNotMatch)
	}
	if c.toCome > 0 {
		return ErrIncompleteBody
	}
	if err := c.readTrailer(); err != nil {
		return err
	}
	return io.EOF
}

// closeChunk verifies the line end and the signature of a chunk.
func (c *chunked) closeChunk() error {
	if _, err := io.ReadFull(c.in, c.lineEnd[:]); err != nil {
		return cutError(err)
	}
	if string(c.lineEnd[:]) != "\r\n" {
		return fmt.Errorf("%w: no line end after a chunk", ErrMalformedChunk)
	}
	if c.signer != nil && !c.signer.verify(c.signature) {
		return fmt.Errorf("%w: chunk", ErrSignatureDoesNotMatch)
	}
	c.open = false
	return nil
}

// parseChunkLine parses "SIZE\r\n" or "SIZE;chunk-signature=HEX\r\n".
func parseChunkLine(line []byte, signed bool) (size int64, signature string, err error) {
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return 0, "", fmt.Errorf("%w: header line end", ErrMalformedChunk)
	}
	digits, extension, extended := bytes.Cut(line, []byte(";"))
	if extended != signed {
		return 0, "", fmt.Errorf("%w: chunk extension", ErrMalformedChunk)
	}
	if signed {
		sig, ok := bytes.CutPrefix(extension, []byte(signatureExtension))
		if !ok || !isSignature(sig) {
			return 0, "", fmt.Errorf("%w: chunk signature", ErrMalformedChunk)
		}
		signature = string(sig)
	}
	if size, ok = parseHex(digits); !ok {
		return 0, "", fmt.Errorf("%w: chunk size", ErrMalformedChunk)
	}
	return size, signature, nil
}

// parseHex parses 1 to 16 hex digits of at most 63 bits.
func parseHex(digits []byte) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > 16 {
		return 0, false
	}
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		if n >= 1<<59 {
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

// isSignature says whether s is 32 bytes in lower-case hex.
func isSignature(s []byte) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// readTrailer reads the rest of the body and verifies it.
func (c *chunked) readTrailer() error {
	rest, err := io.ReadAll(io.LimitReader(c.in, maxTrailer+1))
	if err != nil {
		return cutError(err)
	}
	if len(rest) > maxTrailer {
		return fmt.Errorf("%w: too much after the last chunk", ErrMalformedChunk)
	}
	t, err := parseTrailer(rest)
	if err != nil {
		return err
	}
	if !strings.EqualFold(t.name, c.announced.HeaderName()) {
		return fmt.Errorf("%w: not the announced trailer", ErrMalformedChunk)
	}
	if (t.signature != "") != (t.name != "" && c.signer != nil) {
		return fmt.Errorf("%w: trailer signature", ErrMalformedChunk)
	}
	if t.name == "" {
		return nil
	}
	if c.signer != nil && !c.signer.verifyTrailer(t) {
		return fmt.Errorf("%w: trailer", ErrSignatureDoesNotMatch)
	}
	c.trailer = t.value
	return nil
}

// cutError is the error of a transport that ends or fails within the framing.
// As transport never gives io.ErrUnexpectedEOF, that is from io.ReadFull.
func cutError(err error) error {
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF: // both come bare
		return ErrIncompleteBody
	case errors.Is(err, ErrClientGone):
		return err
	default: // io.ErrNoProgress
		return fmt.Errorf("%w: %w", ErrClientGone, err)
	}
}
