package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// maxInformational is how many informational answers may come before the answer.
const maxInformational = 16

// exchange is one request on one connection, and the body of its answer.
type exchange struct {
	t    *Transport
	ctx  context.Context
	c    *conn
	out  *outgoing
	stop func() bool // the watch of the context

	// sender is nil if all was sent before the answer was awaited.
	sender *sender
	// unfinished: the body was not sent, because the server did not want it.
	unfinished bool

	// Why it failed: began, a byte of an answer came; unsent, none of the request was
	// written; lost, the connection ended.
	began, unsent, lost bool

	// The body of the answer.
	framing framing
	last    bool // the connection is not used again
	left    int64
	chunks  chunks
	failed  error
	before  time.Time // when reads end in any case; zero for never

	mu      sync.Mutex
	reading bool
	over    bool // the connection is no longer this exchange's
	closed  bool
}

// run sends the request and reads the head of its answer. After an error the connection
// is closed, and out is the caller's unless there is a sender.
func (x *exchange) run() (*http.Response, error) {
	x.c.begin()
	if x.ctx.Done() != nil {
		x.stop = context.AfterFunc(x.ctx, x.c.sock.stop)
	}
	resp, err := x.ask()
	if err == nil {
		err = x.accept(resp)
	}
	if err == nil {
		return resp, nil
	}
	x.began = x.c.got
	x.abandon()
	gone := x.ctx.Err() != nil
	if x.sender != nil {
		// A body that fails may end the context before its read returns.
		x.unsent = x.settled() && x.sender.err.Load() != nil && x.sender.wrote.Load() == 0
		err = x.sender.failure(err)
		gone = gone && !x.sender.bodyFailed()
	}
	if gone {
		err = context.Cause(x.ctx)
	}
	return nil, err
}

// ask sends the request and reads the answer's head.
func (x *exchange) ask() (*http.Response, error) {
	if x.out.body != nil && !x.out.expects {
		if err := x.c.sock.boundRead(0); err != nil {
			return nil, err
		}
		x.send()
		return x.answer(0)
	}
	wait := x.t.o.HeaderTimeout
	if x.out.expects {
		wait = x.t.o.ContinueTimeout
	}
	if err := x.c.sock.boundRead(wait); err != nil {
		return nil, err
	}
	if n, err := x.c.net.Write(*x.out.data); err != nil {
		x.unsent = n == 0
		// What the server said before it stopped reading, if it did.
		if n == 0 || x.c.sock.boundRead(time.Second) != nil {
			return nil, fmt.Errorf("send the request: %w", err)
		}
		resp, readErr := x.answer(0)
		if readErr != nil {
			return nil, fmt.Errorf("send the request: %w", err)
		}
		x.unfinished = true
		return resp, nil
	}
	if !x.out.expects {
		x.out.free()
		return x.answer(0)
	}
	resp, err := x.answer(http.StatusContinue)
	switch {
	case errors.Is(err, ErrTimeout): // it does not know the expectation
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusContinue:
		x.unfinished = true
		return resp, nil
	}
	x.out.head = 0
	if err := x.c.sock.boundRead(0); err != nil {
		return nil, err
	}
	x.send()
	return x.answer(0)
}

// send begins to send a long body.
func (x *exchange) send() {
	x.sender = &sender{c: x.c, out: x.out, wait: x.t.o.HeaderTimeout, done: make(chan struct{})}
	go x.sender.run()
}

// answer reads heads until one that is not informational, or has the status until.
func (x *exchange) answer(until int) (*http.Response, error) {
	limit := maxHead
	for range maxInformational + 1 {
		head, err := x.c.head(limit)
		if err != nil {
			x.lost = !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrMalformed)
			return nil, unexpected(err)
		}
		limit -= len(head)
		resp, framing, err := parseHead(head, x.out.req.Method)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode >= http.StatusOK:
			x.c.sock.setAnswered(true)
			x.framing = framing
			return resp, nil
		case resp.StatusCode == until:
			return resp, nil
		}
	}
	return nil, fmt.Errorf("%w: too many informational answers", ErrMalformed)
}

// accept makes the exchange the body of the answer.
func (x *exchange) accept(resp *http.Response) error {
	resp.Request, resp.TLS = x.out.req, x.c.tls
	x.last = resp.Close || x.out.req.Close || x.unfinished
	if x.unfinished {
		x.out.discard()
	}
	x.left = x.framing.length
	if x.framing.kind == sized && x.left == 0 {
		x.finish()
		resp.Body = http.NoBody
		return nil
	}
	resp.Body = x
	return nil
}

// finish ends an exchange whose answer was read whole. The connection is used again if
// all was sent, and the server says nothing that it was not asked for.
func (x *exchange) finish() {
	good := !x.last && x.sent() && x.c.r == x.c.w
	if x.stop != nil && !x.stop() {
		good = false // it was, or is being, interrupted
	}
	if !good {
		x.c.close()
	}
	x.c.end()
	if good {
		x.t.pool.put(x.c)
	}
}

// sent says that the request was sent whole.
func (x *exchange) sent() bool {
	return x.sender == nil || x.settled() && x.sender.err.Load() == nil
}

// settled waits a moment for the sender to end, and says whether it did.
func (x *exchange) settled() bool {
	select {
	case <-x.sender.done:
		return true
	default:
	}
	patience := time.NewTimer(senderPatience)
	defer patience.Stop()
	select {
	case <-x.sender.done:
		return true
	case <-patience.C:
		return false
	}
}

// abandon closes the connection: nothing that comes on it is anybody's answer.
func (x *exchange) abandon() {
	if x.stop != nil {
		x.stop()
	}
	x.c.close()
	x.c.end()
}
