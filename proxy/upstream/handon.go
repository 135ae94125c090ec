package upstream

import (
	"errors"
	"io"
)

// A body that is an io.WriterTo hands whole packages to the connection. net/http reads a
// body through an io.LimitedReader, which hides that; but it gives it to the connection's
// ReadFrom, once what was buffered has been sent.

// errTooLong is a body that is longer than was announced.
var errTooLong = errors.New("the body is longer than its length")

// ReadFrom writes all of r, each write within idleTimeout.
func (c *boundedConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(io.WriterTo); ok {
			n, err := body.WriteTo(&limitedWriter{c, limited.N})
			limited.N -= n
			return n, err
		}
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// limitedWriter refuses what goes beyond left bytes.
type limitedWriter struct {
	w    io.Writer
	left int64
}

// Write writes. errTooLong.
func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, errTooLong
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	return n, err
}

// WriteTo hands on what the body writes, and counts.
func (b *meteredBody) WriteTo(w io.Writer) (int64, error) {
	to, ok := b.ReadCloser.(io.WriterTo)
	if !ok {
		return io.Copy(w, struct{ io.Reader }{b})
	}
	out := &meteredWriter{w: w, meter: b.meter}
	n, err := to.WriteTo(out)
	if err != nil && !out.failed {
		b.meter.failed.Store(true)
	}
	return n, err
}

// meteredWriter counts what a body writes.
type meteredWriter struct {
	w      io.Writer
	meter  *meter
	failed bool // it is not the body's fault
}

// Write counts first: the answer may be there before Write returns.
func (m *meteredWriter) Write(p []byte) (int, error) {
	m.meter.left.Add(-int64(len(p)))
	n, err := m.w.Write(p)
	m.failed = m.failed || err != nil
	return n, err
}
