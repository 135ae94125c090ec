package plaintext

import (
	"bytes"
	"io"
	"sync"

	"github.com/bucketseal/bucketseal/sse"
)

// pieceSize is how much of a small upload is written at once, in bytes: each write has a
// time of its own.
const pieceSize = 4 * sse.EncPackageSize

// Guarded is the encrypted body of a small upload. It can be read again from
// the start, and tells when nobody reads its buffer any more.
type Guarded struct {
	buffer []byte
	open   *openReaders
	rest   bytes.Reader
	once   sync.Once
}

// openReaders counts the readers of one buffer.
type openReaders struct {
	mu sync.Mutex
	n  int
}

// NewGuarded returns a reader of encrypted bytes. It is to be closed.
func NewGuarded(encrypted []byte) *Guarded {
	return (&Guarded{buffer: encrypted, open: new(openReaders)}).start()
}

func (g *Guarded) start() *Guarded {
	g.rest.Reset(g.buffer)
	g.open.mu.Lock()
	g.open.n++
	g.open.mu.Unlock()
	return g
}

// Again returns the same encrypted bytes once more.
func (g *Guarded) Again() (io.ReadCloser, error) {
	return (&Guarded{buffer: g.buffer, open: g.open}).start(), nil
}

// Read returns encrypted bytes.
func (g *Guarded) Read(p []byte) (int, error) { return g.rest.Read(p) }

// WriteTo writes the encrypted bytes that are left, a few packages at once.
func (g *Guarded) WriteTo(w io.Writer) (written int64, err error) {
	left := g.buffer[len(g.buffer)-g.rest.Len():]
	defer func() { _, _ = g.rest.Seek(written, io.SeekCurrent) }()
	for len(left) > 0 {
		n, err := w.Write(left[:min(len(left), pieceSize)])
		written += int64(n)
		if err != nil {
			return written, err
		}
		if n == 0 {
			return written, io.ErrShortWrite
		}
		left = left[n:]
	}
	return written, nil
}

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
