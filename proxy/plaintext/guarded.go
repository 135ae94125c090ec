package plaintext

import (
	"bytes"
	"io"
	"sync"

	"github.com/bucketseal/bucketseal/sse"
)

// Guarded is the encrypted body of a small upload. It can be read again from
// the start, and tells when nobody reads its buffer any more.
type Guarded struct {
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

// NewGuarded returns the encryption of a buffer by stream. It is to be closed.
func NewGuarded(stream *sse.Stream, buffer []byte) (*Guarded, error) {
	g := &Guarded{stream: stream, buffer: buffer, open: new(openReaders)}
	return g, g.start()
}

func (g *Guarded) start() (err error) {
	g.enc, err = g.stream.Encrypt(bytes.NewReader(g.buffer))
	if err == nil {
		g.open.mu.Lock()
		g.open.n++
		g.open.mu.Unlock()
	}
	return err
}

// Again returns the same encrypted bytes once more: same key, same nonce, same
// plaintext.
func (g *Guarded) Again() (io.ReadCloser, error) {
	next := &Guarded{stream: g.stream, buffer: g.buffer, open: g.open}
	return next, next.start()
}

// Read returns encrypted bytes.
func (g *Guarded) Read(p []byte) (int, error) { return g.enc.Read(p) }

// Close says that this reader is done with the buffer.
func (g *Guarded) Close() error {
	g.once.Do(func() {
		g.open.mu.Lock()
		g.open.n--
		g.open.mu.Unlock()
	})
	return nil
}

// Closed says whether nobody reads the buffer any more.
func (g *Guarded) Closed() bool {
	g.open.mu.Lock()
	defer g.open.mu.Unlock()
	return g.open.n == 0
}
