package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// maxChunkLine bounds the line before a chunk, in bytes.
	maxChunkLine = 256
	// maxChunkWaste bounds what lines before chunks have beyond what their data is worth.
	maxChunkWaste = 8 << 10
	// maxTrailer bounds what follows the last chunk, in bytes.
	maxTrailer = 8 << 10
)

// chunks is where in a body of chunks the reader is.
type chunks struct {
	left  int64 // of this chunk
	inner bool  // a chunk was read, its end not
	waste int
}

// Read reads the answer's body. io.EOF is the end that the server announced; the last
// bytes come with it. Else the context's cause, ErrTimeout, ErrMalformed or the
// connection's error, which is never io.EOF.
func (x *exchange) Read(p []byte) (int, error) {
	if err := x.enter(); err != nil {
		return 0, err
	}
	n, err := x.read(p)
	x.leave(err)
	return n, err
}

// enter begins a read.
func (x *exchange) enter() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return errClosedBody
	case x.failed != nil:
		return x.failed
	case x.reading:
		return errors.New("two reads of an answer at once")
	}
	x.reading = true
	return nil
}

// leave ends a read. Whoever closed the body meanwhile left the rest to it.
func (x *exchange) leave(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reading = false
	x.failed = err
	switch {
	case x.over:
	case err == io.EOF: //nolint:errorlint // read returns the end as it is
		x.over = true
		x.finish()
	case err != nil || x.closed:
		x.over = true
		x.abandon()
	}
}

// Close ends the exchange, also while another goroutine reads. The connection is used
// again if no more is to come than was read from it already.
func (x *exchange) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	switch {
	case x.over:
	case x.reading:
		x.c.close()
	case x.framing.kind == sized && x.left == int64(x.c.w-x.c.r):
		x.over = true
		x.c.r = x.c.w
		x.finish()
	default:
		x.over = true
		x.abandon()
	}
	return nil
}

// Drain reads at most limit bytes of what is left of an answer's body, for at most the
// time given, so that its connection can be used again. The caller closes the body, in any
// case. One that is not of this package is read without a bound of time.
func Drain(body io.Reader, limit int64, within time.Duration) {
	if x, is := body.(*exchange); is {
		x.drain(limit, within)
	} else {
		_, _ = io.CopyN(io.Discard, body, limit)
	}
}

func (x *exchange) drain(limit int64, within time.Duration) {
	if x.framing.kind == sized && x.left > limit {
		return
	}
	end := time.Now().Add(within)
	scrap := buffers.Get().(*[readBuffer]byte)
	defer buffers.Put(scrap)
	for limit > 0 && time.Now().Before(end) {
		x.hasten(end)
		n, err := x.Read(scrap[:min(limit, readBuffer)])
		if err != nil {
			return
		}
		limit -= int64(n)
	}
}

// hasten has reads end at a time.
func (x *exchange) hasten(end time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.before = end
}

func (x *exchange) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n int
	var err error
	switch x.framing.kind {
	case sized:
		n, err = x.some(p, x.left)
		x.left -= int64(n)
		if err == nil && x.left == 0 {
			err = io.EOF
		} else {
			err = unexpected(err)
		}
	case chunked:
		n, err = x.chunk(p)
	default: // up to the end of the connection
		n, err = x.some(p, int64(len(p)))
	}
	if err != nil && err != io.EOF && x.ctx.Err() != nil { //nolint:errorlint // the end is returned as it is
		err = context.Cause(x.ctx)
	}
	return n, err
}

// some reads at most limit bytes: what is in the buffer, or from the connection, without
// a copy if they are many.
func (x *exchange) some(p []byte, limit int64) (int, error) {
	if int64(len(p)) > limit {
		p = p[:limit]
	}
	c := x.c
	if c.r == c.w {
		if err := x.bound(); err != nil {
			return 0, err
		}
		if len(p) >= len(c.buf) || int64(len(p)) == limit && x.framing.kind == sized {
			n, err := c.net.Read(p)
			if n > 0 {
				return n, nil
			}
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, readError(err)
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// bound bounds the read that follows.
func (x *exchange) bound() error {
	d := x.t.o.StallTimeout
	if !x.before.IsZero() {
		d = max(time.Until(x.before), time.Millisecond)
	}
	return x.c.sock.boundRead(d)
}

// chunk reads from a body of chunks.
func (x *exchange) chunk(p []byte) (int, error) {
	k := &x.chunks
	if k.left == 0 {
		if err := x.bound(); err != nil {
			return 0, err
		}
		if err := x.nextChunk(); err != nil {
			return 0, err
		}
	}
	n, err := x.some(p, k.left)
	k.left -= int64(n)
	return n, unexpected(err)
}

// nextChunk reads up to a chunk's data. io.EOF after the last one and its trailer.
func (x *exchange) nextChunk() error {
	k := &x.chunks
	if k.inner {
		k.inner = false
		end, err := x.c.line(2)
		if err != nil {
			return err
		}
		if len(end) != 0 {
			return fmt.Errorf("%w: a chunk does not end", ErrMalformed)
		}
	}
	line, err := x.c.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, err := chunkSize(line)
	if err != nil {
		return err
	}
	if size == 0 {
		return x.trailer()
	}
	// As net/http reckons: lines of 16 bytes are normal, and data makes good for more.
	k.waste = int(max(0, int64(k.waste+len(line)+2-16)-2*min(size, maxChunkWaste)))
	if k.waste > maxChunkWaste {
		return fmt.Errorf("%w: chunks of little data", ErrMalformed)
	}
	k.left, k.inner = size, true
	return nil
}

// chunkSize reads the line before a chunk. An extension is ignored.
func chunkSize(line []byte) (int64, error) {
	digits := line
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		for _, b := range line[i:] {
			if b < ' ' && b != '\t' || b == 0x7f {
				return 0, fmt.Errorf("%w: a chunk's extension", ErrMalformed)
			}
		}
		digits = line[:i]
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, fmt.Errorf("%w: a chunk's size", ErrMalformed)
	}
	var size int64
	for _, b := range digits {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b && b <= 'f':
			b -= 'a' - 10
		case 'A' <= b && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, fmt.Errorf("%w: a chunk's size", ErrMalformed)
		}
		size = size<<4 | int64(b)
	}
	return size, nil
}

// trailer reads what follows the last chunk, and forgets it. io.EOF.
func (x *exchange) trailer() error {
	for left := maxTrailer; left > 0; {
		line, err := x.c.line(left)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		if _, _, err := splitField(line); err != nil {
			return err
		}
		left -= len(line) + 2
	}
	return fmt.Errorf("%w: its trailer has more than %d bytes", ErrMalformed, maxTrailer)
}
