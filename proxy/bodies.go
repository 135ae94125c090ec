package proxy

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/xml"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// plaintext is the body of an upload: *sigv4.Body from a client, or another
// object's data. It returns io.EOF only when everything is verified.
type plaintext interface {
	io.Reader
	// MD5 and Checksums are known after io.EOF, the declared ones before.
	MD5() (sum [16]byte, ok bool)
	DeclaredMD5() (sum [16]byte, ok bool)
	Checksums() map[checksum.Algorithm][]byte
	DeclaredChecksum() (alg checksum.Algorithm, value []byte, ok bool)
	// TrailerChecksum is the algorithm of the one that follows the body.
	TrailerChecksum() (alg checksum.Algorithm, ok bool)
	// Err is the error that reading ended with, nil or io.EOF.
	Err() error
}

// drain reads a body that must be empty, so that its digests are checked.
func drain(body io.Reader) error {
	var one [1]byte
	_, err := io.ReadFull(body, one[:])
	switch err {
	case nil:
		return sigv4.ErrIncompleteBody
	case io.EOF:
		return nil
	default:
		return err
	}
}

// bufferedBody is a body that was read whole, because its length was not said.
type bufferedBody struct {
	*sigv4.Body
	r *bytes.Reader
}

// Read implements plaintext.
func (b bufferedBody) Read(p []byte) (int, error) { return b.r.Read(p) }

// readUnsized reads a body that comes without a length, as mc's last part of a pipe
// and a form's file do, if it is a small one. done gives its memory back. errBusy,
// errMissingLength.
func (s *Server) readUnsized(r *request, body *sigv4.Body) (whole plaintext, size int64, done func(), err error) {
	buffer := s.buffers.take(r.claim(), s.opts.SmallObject+1)
	if buffer == nil {
		return nil, 0, nil, errBusy
	}
	done = func() { s.buffers.give(r.claim(), buffer, false) }
	n, err := io.ReadFull(body, buffer)
	switch {
	case err == nil:
		done()
		return nil, 0, nil, errMissingLength
	case body.Err() != io.EOF:
		done()
		return nil, 0, nil, bodyError(body, err)
	}
	return bufferedBody{body, bytes.NewReader(buffer[:n])}, int64(n), done, nil
}

// lastBytes calls commit before it delivers the last bytes of src. DARE's last
// package follows the verified end of the plaintext, so everything is known then.
type lastBytes struct {
	src       io.Reader
	remaining int64
	commit    func() error
	err       error
}

func (l *lastBytes) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.src.Read(p)
	l.remaining -= int64(n)
	if l.remaining == 0 && l.commit != nil && (err == nil || err == io.EOF) {
		if l.err = l.commit(); l.err != nil {
			return 0, l.err
		}
		l.commit = nil
	}
	return n, err
}

// sourceReader holds the last byte of a plain body back until the body's
// digests are verified.
type sourceReader struct {
	src       io.Reader
	remaining int64
	last      [1]byte
	held      bool
}

func (r *sourceReader) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case r.remaining > 1:
		n, err := r.src.Read(p[:min(int64(len(p)), r.remaining-1)])
		r.remaining -= int64(n)
		return n, err
	case r.remaining == 1 && !r.held:
		n, err := r.src.Read(r.last[:])
		r.held = n == 1
		if !r.held || err != nil && err != io.EOF {
			return 0, err
		}
		return 0, nil
	}
	if err := drain(r.src); err != nil {
		return 0, err
	}
	if r.held {
		r.held, r.remaining = false, 0
		p[0] = r.last[0]
		return 1, io.EOF
	}
	return 0, io.EOF
}

// copiedBody is another object's plaintext as the body of an upload.
type copiedBody struct {
	src   io.Reader
	known sse.Facts // of the source
	md5   hash.Hash // nil if nobody asks for it
	sums  map[checksum.Algorithm]hash.Hash
	err   error
}

// newCopiedBody returns src as a body of which known is known already; withMD5
// and sums say what else to compute.
func newCopiedBody(src io.Reader, known sse.Facts, withMD5 bool, sums []checksum.Algorithm) *copiedBody {
	b := &copiedBody{src: src, known: known, sums: make(map[checksum.Algorithm]hash.Hash)}
	if withMD5 {
		b.md5 = md5.New() //nolint:gosec // see above
	}
	for _, algorithm := range sums {
		b.sums[algorithm] = algorithm.New()
	}
	return b
}

// Read implements plaintext.
func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if b.md5 != nil {
		b.md5.Write(p[:n])
	}
	for _, sum := range b.sums {
		sum.Write(p[:n])
	}
	if err != nil {
		if err != io.EOF {
			err = readError(err)
		}
		b.err = err
	}
	return n, err
}

// MD5 implements plaintext.
func (b *copiedBody) MD5() (sum [16]byte, ok bool) {
	if b.md5 == nil || b.err != io.EOF {
		return sum, false
	}
	b.md5.Sum(sum[:0])
	return sum, true
}

// DeclaredMD5 implements plaintext.
func (b *copiedBody) DeclaredMD5() (sum [16]byte, ok bool) {
	return sum, copy(sum[:], b.known.MD5) == len(sum)
}

// Checksums implements plaintext.
func (b *copiedBody) Checksums() map[checksum.Algorithm][]byte {
	out := make(map[checksum.Algorithm][]byte, len(b.sums))
	if b.err == io.EOF {
		for algorithm, sum := range b.sums {
			out[algorithm] = sum.Sum(nil)
		}
	}
	return out
}

// DeclaredChecksum implements plaintext.
func (b *copiedBody) DeclaredChecksum() (checksum.Algorithm, []byte, bool) {
	if b.known.Checksum == nil {
		return 0, nil, false
	}
	return checksumOf(b.known.Checksum.Type).wire, b.known.Checksum.Value, true
}

// TrailerChecksum implements plaintext.
func (b *copiedBody) TrailerChecksum() (checksum.Algorithm, bool) { return 0, false }

// Err implements plaintext.
func (b *copiedBody) Err() error { return b.err }

// bodyError returns the client's fault if there is one, since upstream's failure
// then only follows from it.
func bodyError(body plaintext, err error) error {
	if own := body.Err(); own != nil && own != io.EOF {
		return own
	}
	return err
}

// expectContinueFrom is the body size in bytes from which upstream is asked
// first whether it wants the body: a refusal then costs no transfer. So is it for
// all that is not read whole before: no client is told to send what is refused.
const expectContinueFrom = 1 << 20

// commitLimit bounds how long upstream may take to make an object visible once its
// manifest is written: to accept its last bytes, or to put its parts together. The
// janitor leaves manifests alone for much longer.
const commitLimit = 10 * time.Minute

// errSlowCommit ends a write that takes longer. Whether it was stored is not known.
var errSlowCommit = fmt.Errorf("the object was not stored within %v of its manifest: %w", commitLimit, storage.ErrUnreachable)

// knownFacts returns what is known of a body now: computed, if it was read, or
// declared, and then verified before its last byte goes upstream. withMD5 is for
// SSE-S3: other ETags are upstream's.
func knownFacts(body plaintext, withMD5 bool) sse.Facts {
	var f sse.Facts
	sum, ok := body.MD5()
	if !ok {
		sum, ok = body.DeclaredMD5()
	}
	if ok && withMD5 {
		f.MD5 = sum[:]
	}
	trailer, _ := body.TrailerChecksum()
	for algorithm, value := range body.Checksums() {
		if f.Checksum == nil || algorithm == trailer {
			f.Checksum = &sse.Checksum{Type: sealedChecksum(algorithm), Value: value}
		}
	}
	if algorithm, value, ok := body.DeclaredChecksum(); ok {
		f.Checksum = &sse.Checksum{Type: sealedChecksum(algorithm), Value: value}
	}
	return f
}

// copyResult is upstream's answer to a copy.
type copyResult struct {
	XMLName      xml.Name
	ETag         string    `xml:"ETag"`
	LastModified time.Time `xml:"LastModified"`
	Code         string    `xml:"Code"`
	Message      string    `xml:"Message"`
}
