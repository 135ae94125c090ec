package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream/wire"
)

const (
	// stallTimeout is how long an answer may pause between two of its bytes, and how
	// long upstream may not take a byte of a request.
	stallTimeout = 30 * time.Second
	// discardTimeout is how long the rest of an answer is worth waiting for, to use
	// its connection again.
	discardTimeout = time.Second
	// handshakeTimeout is how long a TLS handshake may take.
	handshakeTimeout = 5 * time.Second
)

// dial connects to MinIO.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	return d.DialContext(ctx, network, address)
}

// handshake makes a connection to MinIO one of TLS, with a configuration made for the
// connection. Only MinIO's name in the endpoint is accepted in its certificate.
func (s *seen) handshake(config func() *tls.Config) func(ctx context.Context, conn net.Conn, address string) (*tls.Conn, error) {
	return func(ctx context.Context, conn net.Conn, address string) (*tls.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c := config()
		c.ServerName = host
		secure := tls.Client(conn, c)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS with %s: %w%s", address, err, tlsHint(err))
		}
		s.certificate(secure.ConnectionState().PeerCertificates)
		return secure, nil
	}
}

// answerBody is an answer's body.
type answerBody struct {
	io.ReadCloser
	// caller ends when nobody waits for the answer any more.
	caller context.Context
}

// Read reads, at most stallTimeout long. An answer that breaks off is
// storage.ErrUnreachable, and no kind of end: what was sent of it is not known to be wrong.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil || err == io.EOF:
	case b.caller.Err() != nil:
		err = context.Cause(b.caller)
	default:
		err = fmt.Errorf("the answer broke off: %w (%v)", storage.ErrUnreachable, err) //nolint:errorlint // io.ErrUnexpectedEOF would be taken for damage
	}
	return n, err
}

// Discard reads a little of what is left of an answer, so that its connection
// can be used again, and closes it.
func Discard(resp *http.Response) {
	body := resp.Body
	if b, is := body.(*answerBody); is {
		body = b.ReadCloser
	}
	wire.Drain(body, 64<<10, discardTimeout)
	_ = resp.Body.Close()
}

// meter counts what upstream has not taken of a request's body: an answer that
// comes before the whole body was read is no success.
type meter struct {
	left   atomic.Int64
	failed atomic.Bool // the body could not be read
}

// newMeter counts req's body from now on.
func newMeter(req *http.Request) *meter {
	m := new(meter)
	if req.Body == nil || req.Body == http.NoBody {
		return m
	}
	length := req.ContentLength
	m.left.Store(length)
	req.Body = m.meter(req.Body)
	if again := req.GetBody; again != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			m.left.Store(length)
			if err != nil {
				return nil, err
			}
			return m.meter(body), nil
		}
	}
	return m
}

func (m *meter) missing() bool { return m.left.Load() > 0 }

func (m *meter) meter(body io.ReadCloser) io.ReadCloser {
	if w, can := body.(io.WriterTo); can {
		return &meteredWriterTo{meteredBody{body, m}, w}
	}
	return &meteredBody{body, m}
}

// note counts bytes, and errors of the body.
func (m *meter) note(n int64, err error) {
	m.left.Add(-n)
	if err != nil && err != io.EOF {
		m.failed.Store(true)
	}
}

type meteredBody struct {
	io.ReadCloser
	meter *meter
}

// Read counts.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.note(int64(n), err)
	return n, err
}

// meteredWriterTo is a body that writes itself.
type meteredWriterTo struct {
	meteredBody
	body io.WriterTo
}

// WriteTo counts.
func (b *meteredWriterTo) WriteTo(w io.Writer) (int64, error) {
	to := &meteredWriter{w: w, meter: b.meter}
	n, err := b.body.WriteTo(to)
	if err != nil && !to.failed {
		b.meter.failed.Store(true)
	}
	return n, err
}

// meteredWriter is where a body writes itself.
type meteredWriter struct {
	w      io.Writer
	meter  *meter
	failed bool
}

// Write counts.
func (w *meteredWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.meter.left.Add(-int64(n))
	w.failed = w.failed || err != nil
	return n, err
}
