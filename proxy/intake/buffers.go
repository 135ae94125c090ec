package intake

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/edge"
)

// copyBufferSize is what a streamed answer is copied with: two DARE packages.
const copyBufferSize = 128 << 10

// minBuffer is the smallest class of upload buffers in bytes.
const minBuffer = 4 << 10

// leastDocuments is the least memory for documents, in bytes.
const leastDocuments = 16 << 20

// Buffers hands out buffers, bounded in sum and shared fairly.
type Buffers struct {
	shares  *edge.Budget
	classes [20]sync.Pool // class n holds buffers of bufferSize(n) bytes
	copies  sync.Pool
}

func newBuffers(limit int64) *Buffers {
	b := &Buffers{shares: edge.NewBudget(limit, limit/2)}
	b.copies.New = func() any { return new([copyBufferSize]byte) }
	return b
}

// Take returns a buffer of size bytes, or nil if the budget has none left for c.
// It never waits: a slow client must not hold up others. What encryption adds is not
// counted.
func (b *Buffers) Take(c edge.Claim, size int64) []byte {
	class := bufferClass(size)
	if class >= len(b.classes) || !b.shares.Take(c, minBuffer<<class) {
		return nil
	}
	if p, ok := b.classes[class].Get().(*[]byte); ok {
		return (*p)[:size]
	}
	return make([]byte, bufferSize(class))[:size]
}

// Give takes a buffer of c back; reuse is false while somebody may still read it.
func (b *Buffers) Give(c edge.Claim, buffer []byte, reuse bool) {
	buffer = buffer[:cap(buffer)]
	class := bufferClass(int64(len(buffer)))
	b.shares.Give(c, minBuffer<<class)
	if reuse {
		clear(buffer) // plaintext
		b.classes[class].Put(&buffer)
	}
}

// bufferSize is how long a buffer of a class is: a power of two, and room for what
// encryption adds to so many bytes, which is 32 for each 64 KiB.
func bufferSize(class int) int64 {
	size := int64(minBuffer) << class
	return size + max(size>>11, 32)
}

// bufferClass is the least class whose buffers have size bytes.
func bufferClass(size int64) int {
	class := bits.Len64(uint64(max(size-1, 0)) / minBuffer)
	if class > 0 && size <= bufferSize(class-1) {
		return class - 1
	}
	return class
}

// Send copies src to dst. first, if not nil, reads the first bytes into a buffer and begins
// the answer; if it reads none, nothing follows. Of the buffer, plain bytes are cleared
// afterwards. ErrClientGone if dst fails, else the error of first or src.
func (b *Buffers) Send(dst io.Writer, src io.Reader, plain int64, first func(buffer []byte) (int, error)) error {
	buffer := b.copies.Get().(*[copyBufferSize]byte)
	used := min(plain, copyBufferSize)
	var err error
	defer func() {
		// A writer that failed may go on reading what it was given, as that of an HTTP/2
		// stream does which its client has reset: nobody else gets the buffer.
		if !errors.Is(err, ErrClientGone) {
			clear(buffer[:used])
			b.copies.Put(buffer)
		}
	}()
	n := 0
	if first != nil {
		if n, err = first(buffer[:]); err != nil || n == 0 {
			return err
		}
	}
	err = move(dst, src, buffer[:], n)
	return err
}

// toClient writes to a client. ErrClientGone if that fails.
type toClient struct{ dst io.Writer }

// ToClient returns dst as a writer whose errors are ErrClientGone.
func ToClient(dst io.Writer) io.Writer { return toClient{dst} }

// Write writes.
func (c toClient) Write(p []byte) (int, error) {
	n, err := c.dst.Write(p)
	if err != nil {
		err = fmt.Errorf("%w (%w)", ErrClientGone, err)
	}
	return n, err
}

// move copies until src ends, with a buffer that begins with the n bytes that were read
// already into it. ErrClientGone if dst fails, else src's error.
func move(dst io.Writer, src io.Reader, buffer []byte, n int) error {
	for {
		if n > 0 {
			if _, err := ToClient(dst).Write(buffer[:n]); err != nil {
				return err
			}
		}
		var err error
		n, err = src.Read(buffer)
		if err == io.EOF {
			if n == 0 {
				return nil
			}
			continue // src repeats its end
		}
		if err != nil {
			return err
		}
	}
}
