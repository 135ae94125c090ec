package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// readBuffer is the size of a connection's buffer while a request runs, in bytes.
	readBuffer = 16 << 10
	// maxHead bounds the heads of an answer, informational ones included, in bytes.
	maxHead = 2 << 20
)

var buffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// conn is a connection. One request at a time has it; what others may do is in socket.
type conn struct {
	server string
	net    net.Conn // sock, or TLS over it
	sock   *socket
	tls    *tls.ConnectionState
	reused bool
	since  time.Time // idle since

	// What was read and not used is buf[r:w]. buf is pooled unless a head was larger.
	pooled *[readBuffer]byte
	buf    []byte
	r, w   int
	got    bool // since the request began
}

// quiet says that the other side neither closed an idle connection nor said anything.
func (c *conn) quiet() bool {
	if c.sock.unbind() != nil {
		return false
	}
	var b [1]byte
	c.sock.probing = true
	n, err := c.net.Read(b[:])
	c.sock.probing = false
	if n != 0 || !errors.Is(err, nothingThere{}) {
		return false
	}
	return c.sock.frames == nil || c.sock.frames.whole()
}

// begin readies the connection for a request.
func (c *conn) begin() {
	c.pooled = buffers.Get().(*[readBuffer]byte)
	c.buf, c.r, c.w, c.got = c.pooled[:], 0, 0, false
	c.sock.setAnswered(false)
}

// end gives the buffer back. No byte of it is used any more.
func (c *conn) end() {
	if c.pooled != nil {
		buffers.Put(c.pooled)
	}
	c.pooled, c.buf, c.r, c.w = nil, nil, 0, 0
}

func (c *conn) close() { c.sock.shut() }

// fill reads once into the buffer, which has room.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	n, err := c.net.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		c.got = true
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return readError(err)
}

// readError names a timeout.
func readError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w (%w)", ErrTimeout, err)
	}
	return err
}

var headEnd = []byte("\r\n\r\n")

// head reads up to the end of a head and returns it without the empty line. It is valid
// until the next read. After an error it can be called again.
func (c *conn) head(limit int) ([]byte, error) {
	searched := 0
	for {
		if i := bytes.Index(c.buf[c.r+searched:c.w], headEnd); i >= 0 {
			head := c.buf[c.r : c.r+searched+i+2]
			c.r += searched + i + len(headEnd)
			return head, nil
		}
		searched = max(0, c.w-c.r-len(headEnd)+1)
		if c.w-c.r >= limit {
			return nil, fmt.Errorf("%w: its head has more than %d bytes", ErrMalformed, limit)
		}
		c.room()
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// room makes room in the buffer.
func (c *conn) room() {
	if c.w < len(c.buf) {
		return
	}
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
		return
	}
	larger := make([]byte, 2*len(c.buf))
	copy(larger, c.buf[:c.w])
	c.buf = larger
}

// line reads a line of at most limit bytes and returns it without its end, which is CRLF;
// no other CR or LF is in it. It is valid until the next read. limit is below the
// buffer's size.
func (c *conn) line(limit int) ([]byte, error) {
	for {
		b := c.buf[c.r:c.w]
		if i := bytes.IndexByte(b[:min(len(b), limit)], '\n'); i >= 0 {
			if i == 0 || bytes.IndexByte(b[:i], '\r') != i-1 {
				return nil, fmt.Errorf("%w: the end of a line", ErrMalformed)
			}
			c.r += i + 1
			return b[:i-1], nil
		}
		if len(b) >= limit {
			return nil, fmt.Errorf("%w: a line has more than %d bytes", ErrMalformed, limit)
		}
		c.room()
		if err := c.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// unexpected is for an end where there must be none.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // only the end itself
		return io.ErrUnexpectedEOF
	}
	return err
}
