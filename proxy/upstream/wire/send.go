package wire

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// maxWrite bounds what one write's bound is for, in bytes.
const maxWrite = 256 << 10

// senderPatience is how long a request whose answer was read, or that failed, waits for
// its sender: the server may have been faster, and why a body failed is worth knowing.
const senderPatience = 50 * time.Millisecond

// sender sends a body that is too long to be gathered, while the answer is awaited.
type sender struct {
	c    *conn
	out  *outgoing
	wait time.Duration // for the answer, once all is sent

	// done is closed when nothing is sent any more and the body is closed.
	done chan struct{}
	// err says why not all was sent. It is there before the connection is interrupted.
	err atomic.Pointer[error]
	// wrote counts what the connection took.
	wrote atomic.Int64
}

// run sends and closes the body.
func (s *sender) run() {
	defer close(s.done)
	defer s.out.discard()
	err := s.send()
	if err == nil {
		s.c.sock.awaitAnswer(s.wait)
		return
	}
	s.err.Store(&err)
	if s.wrote.Load() > 0 && !isBodyError(err) {
		// The answer says why, perhaps, if it is there already.
		s.c.sock.awaitAnswer(time.Second)
		return
	}
	s.c.sock.interrupt()
}

// bodyError is an error of the request's body.
type bodyError struct{ error }

func isBodyError(err error) bool {
	_, is := err.(bodyError) //nolint:errorlint // never wrapped
	return is
}

// bodyFailed says that the request's body was what failed.
func (s *sender) bodyFailed() bool {
	p := s.err.Load()
	return p != nil && isBodyError(*p)
}

// failure returns the reason to give for a request that failed, or err.
func (s *sender) failure(err error) error {
	p := s.err.Load()
	if p == nil {
		return err
	}
	if own, is := (*p).(bodyError); is { //nolint:errorlint // never wrapped
		return own.error
	}
	return fmt.Errorf("send the request: %w", *p)
}

// send sends what is left of the head, and the body. The body's last bytes are sent only
// when it has ended, and ended well.
func (s *sender) send() error {
	o := s.out
	if w, can := o.body.(io.WriterTo); can {
		p := &pieces{s: s, held: (*o.data)[:o.head], left: o.length}
		if _, err := w.WriteTo(p); err != nil {
			if p.err != nil {
				return p.err
			}
			return bodyError{err}
		}
		if p.left > 0 {
			return bodyError{shortBody(io.EOF, o.length-p.left, o.length)}
		}
		return s.write(p.held)
	}
	b := (*o.data)[:cap(*o.data)]
	have := o.head
	for left := o.length; left > 0; {
		n := int(min(left, int64(len(b)-have)))
		got, err := io.ReadFull(o.body, b[have:have+n])
		left -= int64(got)
		if err != nil {
			return bodyError{shortBody(err, o.length-left, o.length)}
		}
		if left == 0 {
			if err := atEnd(o.body); err != nil {
				return bodyError{err}
			}
		}
		if err := s.write(b[:have+n]); err != nil {
			return err
		}
		have = 0
	}
	return nil
}

func (s *sender) write(b []byte) error {
	n, err := s.c.net.Write(b)
	s.wrote.Add(int64(n))
	return err
}

// heldBack is how much of a body that writes itself is sent only at its end, in bytes.
const heldBack = 1 << 10

// pieces sends a body that writes itself: from its own memory.
type pieces struct {
	s *sender
	// held is sent with what comes next: the head, or the end of the body. It is in the
	// buffer of the request.
	held []byte
	left int64
	err  error
}

// Write implements io.Writer.
func (p *pieces) Write(b []byte) (int, error) {
	if int64(len(b)) > p.left {
		p.err = bodyError{fmt.Errorf("%w: there is more", ErrBodyLength)}
		return 0, p.err
	}
	total := len(b)
	p.left -= int64(total)
	var tail []byte
	if p.left == 0 {
		at := max(0, total-heldBack)
		b, tail = b[:at], b[at:]
	}
	for len(b) > 0 {
		n := min(len(b), maxWrite)
		if p.err = p.s.writeBoth(p.held, b[:n]); p.err != nil {
			return 0, p.err
		}
		p.held, b = p.held[:0], b[n:]
	}
	p.held = append(p.held, tail...)
	return total, nil
}

// writeBoth writes two pieces: in one system call, or in one record of TLS, if it pays.
func (s *sender) writeBoth(head, body []byte) error {
	switch {
	case len(head) == 0:
		return s.write(body)
	case len(head)+len(body) <= cap(head):
		return s.write(append(head, body...))
	case s.c.tls == nil:
		n, err := s.c.sock.writeBoth(head, body)
		s.wrote.Add(n)
		return err
	}
	if err := s.write(head); err != nil {
		return err
	}
	return s.write(body)
}
