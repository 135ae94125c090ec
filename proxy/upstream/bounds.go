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
)

const (
	// idleTimeout is how long an answer may pause between two of its bytes, and how
	// long upstream may not take a byte of a request.
	idleTimeout = 30 * time.Second
	// discardTimeout is how long the rest of an answer is worth waiting for, to use
	// its connection again.
	discardTimeout = time.Second
	// handshakeTimeout is how long a TLS handshake may take.
	handshakeTimeout = 5 * time.Second
)

// dial connects to MinIO, with a bound on each write.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &boundedConn{conn}, nil
}

// dialTLS connects to MinIO by TLS, with a configuration made for the connection.
// Only MinIO's name in the endpoint is accepted in its certificate.
func dialTLS(config func() *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := config()
		c.ServerName = host
		secure := tls.Client(conn, c)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS with %s: %w%s", address, err, tlsHint(err))
		}
		return secure, nil
	}
}

// boundedConn fails a write that upstream does not take in time.
type boundedConn struct{ net.Conn }

// Write writes within idleTimeout.
func (c *boundedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(idleTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// idleBody is an answer's body that must not pause for longer than idleTimeout.
type idleBody struct {
	body io.ReadCloser
	// caller ends when nobody waits for the answer any more.
	caller context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

// Read reads within idleTimeout; a client that reads slowly does not count. An
// answer that breaks off is storage.ErrUnreachable, and no kind of end: what was sent of
// it is not known to be wrong.
func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(idleTimeout)
	n, err := b.body.Read(p)
	b.timer.Stop()
	switch {
	case err == nil || err == io.EOF:
	case b.caller.Err() != nil:
		err = context.Cause(b.caller)
	default:
		err = fmt.Errorf("the answer broke off: %w (%v)", storage.ErrUnreachable, err) //nolint:errorlint // io.ErrUnexpectedEOF would be taken for damage
	}
	return n, err
}

// Close closes the body and ends the request.
func (b *idleBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel()
	return err
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
	req.Body = &meteredBody{req.Body, m}
	if again := req.GetBody; again != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			m.left.Store(length)
			return &meteredBody{body, m}, err
		}
	}
	return m
}

func (m *meter) missing() bool { return m.left.Load() > 0 }

type meteredBody struct {
	io.ReadCloser
	meter *meter
}

// Read counts.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.left.Add(-int64(n))
	if err != nil && err != io.EOF {
		b.meter.failed.Store(true)
	}
	return n, err
}
