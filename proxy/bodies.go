package proxy

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"hash"
	"io"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
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

// guardedBody is the encrypted body of a small upload. It can be read again from
// the start, and tells when nobody reads its buffer any more.
type guardedBody struct {
	stream *sse.Stream
	buffer []byte
	open   *openReaders
	enc    io.Reader
	once   sync.Once
}

// openReaders counts the readers of one buffer.
type openReaders struct {
	mu sync.Mutex
	n  int
}

func newGuardedBody(stream *sse.Stream, buffer []byte) (*guardedBody, error) {
	g := &guardedBody{stream: stream, buffer: buffer, open: new(openReaders)}
	return g, g.start()
}

func (g *guardedBody) start() (err error) {
	g.enc, err = g.stream.Encrypt(bytes.NewReader(g.buffer))
	if err == nil {
		g.open.mu.Lock()
		g.open.n++
		g.open.mu.Unlock()
	}
	return err
}

// again returns the same encrypted bytes once more: same key, same nonce, same
// plaintext.
func (g *guardedBody) again() (io.ReadCloser, error) {
	next := &guardedBody{stream: g.stream, buffer: g.buffer, open: g.open}
	return next, next.start()
}

// Read returns encrypted bytes.
func (g *guardedBody) Read(p []byte) (int, error) { return g.enc.Read(p) }

// Close says that this reader is done with the buffer.
func (g *guardedBody) Close() error {
	g.once.Do(func() {
		g.open.mu.Lock()
		g.open.n--
		g.open.mu.Unlock()
	})
	return nil
}

func (g *guardedBody) wasClosed() bool {
	g.open.mu.Lock()
	defer g.open.mu.Unlock()
	return g.open.n == 0
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
