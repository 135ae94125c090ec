// Package wire is an HTTP/1.1 client for the hop to the storage. It runs a request in
// the goroutine of its caller, with deadlines of the connection in place of timers, and
// it distrusts who answers: what of an answer is not plainly HTTP/1.1 is refused.
//
// It does what one hop to one server needs. It follows no redirect, asks for no
// compression, knows no proxy and no HTTP/2, and sends no body of unknown length.
package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"
)

// Errors that a caller may tell apart. All of them mean that nothing of the answer is to
// be believed.
var (
	// ErrMalformed is an answer that is not HTTP/1.1 as this package takes it.
	ErrMalformed = errors.New("malformed answer")
	// ErrTimeout is an answer, or a piece of one, that did not come in time.
	ErrTimeout = errors.New("timeout awaiting the answer")
	// ErrBodyLength is a request's body that has not the length that was announced.
	ErrBodyLength = errors.New("the body has not the announced length")
)

// errClosedBody is what reading a closed body gets.
var errClosedBody = errors.New("read of a closed answer")

// Options configure a Transport. Dial is needed, and Handshake for https; a duration of
// 0 is no bound.
type Options struct {
	// Dial makes a TCP connection to HOST:PORT.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Handshake makes a connection to HOST:PORT one of TLS. It must not offer HTTP/2.
	Handshake func(ctx context.Context, conn net.Conn, address string) (*tls.Conn, error)
	// MaxIdle is how many idle connections are kept for each server.
	MaxIdle int
	// IdleTimeout is how long an idle connection is kept.
	IdleTimeout time.Duration
	// HeaderTimeout bounds the wait for an answer's head, once the request is sent.
	HeaderTimeout time.Duration
	// ContinueTimeout is how long a body waits for the server to want it, where the
	// request expects that.
	ContinueTimeout time.Duration
	// StallTimeout is how long an answer's body may pause while somebody reads it, and
	// how long the server may not take a byte of a request.
	StallTimeout time.Duration
	// Traffic counts what goes over the connections; nil counts nowhere.
	Traffic *Traffic
}

// Transport is an http.RoundTripper. It is safe for concurrent use.
type Transport struct {
	o    Options
	pool pool
}

// New returns a Transport; it makes no connection.
func New(o Options) *Transport {
	if o.Traffic == nil {
		o.Traffic = new(Traffic)
	}
	t := &Transport{o: o}
	t.pool.idle = make(map[string][]*conn)
	t.pool.max, t.pool.keep = o.MaxIdle, o.IdleTimeout
	return t
}

// CloseIdleConnections closes the connections on which no request runs.
func (t *Transport) CloseIdleConnections() { t.pool.empty() }

// RoundTrip sends a request and returns the head of its answer; the answer's body is read
// from the connection as the caller reads it, and must be closed. It closes the
// request's body, perhaps only later, where an answer comes before all of it was sent.
//
// An error is that of reading the request's body, the context's cause, or one of the
// connection. A request is sent a second time only if nothing of it was written, or if it
// is a GET or HEAD without a body and a connection that was used before ended without a
// byte of an answer.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	out, err := newOutgoing(req)
	if err == nil && req.Context().Err() != nil {
		err = context.Cause(req.Context())
	}
	if err == nil {
		err = out.gather()
	}
	if err != nil {
		out.discard()
		return nil, err
	}
	for again := false; ; again = true {
		c, err := t.connect(req.Context(), out, again)
		if err != nil {
			out.discard()
			if req.Context().Err() != nil {
				err = context.Cause(req.Context())
			}
			return nil, err
		}
		x := &exchange{t: t, ctx: req.Context(), c: c, out: out}
		resp, err := x.run()
		if err == nil {
			return resp, nil
		}
		next := out.again(x, again)
		if x.sender == nil { // else it has the body
			out.discard()
		}
		if next == nil {
			return nil, err
		}
		t.o.Traffic.Repeated.Add(1)
		out = next
	}
}

// connect returns a connection on which nothing was asked, or an idle one.
func (t *Transport) connect(ctx context.Context, out *outgoing, fresh bool) (*conn, error) {
	for !fresh {
		c := t.pool.take(out.server)
		if c == nil {
			break
		}
		if c.quiet() {
			c.reused = true
			return c, nil
		}
		c.close()
	}
	return t.dial(ctx, out)
}
