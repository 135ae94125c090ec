package wire

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// socket is a TCP connection that fails a write which the server does not take in time,
// and that can be asked, without waiting, whether anything came.
type socket struct {
	net.Conn
	stall time.Duration
	count *Traffic
	raw   syscall.RawConn // nil: cannot be asked
	// probing has Read take only what is there already.
	probing bool
	probe   tryRead
	frames  *frames // nil: no TLS
	stop    func()  // interrupt, made once

	mu sync.Mutex
	// interrupted: reads and writes fail, and no deadline is set any more.
	interrupted bool
	closed      bool
	// answered: the head of the answer was read.
	answered        bool
	readBy, writeBy time.Time
}

func newSocket(conn net.Conn, stall time.Duration, count *Traffic) *socket {
	s := &socket{Conn: conn, stall: stall, count: count}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn()
	}
	s.probe.f, s.stop = s.probe.read, s.interrupt
	return s
}

// nothingThere is what a probing Read gets where nothing came. TLS takes it for a read to
// repeat later, because it is temporary.
type nothingThere struct{}

// Error implements error.
func (nothingThere) Error() string { return "nothing came" }

// Timeout implements net.Error.
func (nothingThere) Timeout() bool { return true }

// Temporary implements net.Error.
func (nothingThere) Temporary() bool { return true }

// Read reads, and follows the frames of TLS.
func (s *socket) Read(p []byte) (int, error) {
	var n int
	var err error
	if s.probing {
		n, err = s.try(p)
	} else {
		n, err = s.Conn.Read(p)
	}
	s.count.Received.Add(int64(n))
	if s.frames != nil {
		s.frames.follow(p[:n])
	}
	return n, err
}

// try reads without waiting. nothingThere, io.EOF.
func (s *socket) try(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 {
		return 0, nothingThere{}
	}
	s.probe.p = p
	err := s.raw.Read(s.probe.f)
	s.probe.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.probe.err != nil:
		return 0, s.probe.err
	case s.probe.n == 0:
		return 0, io.EOF
	}
	return s.probe.n, nil
}

// Write writes within the bound. A deadline that was set a moment ago does for this write
// too.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.boundWrite(); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(p)
	s.count.Sent.Add(int64(n))
	return n, err
}

// writeBoth writes two pieces at once.
func (s *socket) writeBoth(head, body []byte) (int64, error) {
	if err := s.boundWrite(); err != nil {
		return 0, err
	}
	pieces := net.Buffers{head, body}
	n, err := pieces.WriteTo(s.Conn)
	s.count.Sent.Add(n)
	return n, err
}

// boundWrite bounds writes from now on.
func (s *socket) boundWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted {
		return net.ErrClosed
	}
	if s.stall <= 0 {
		return nil
	}
	by := time.Now().Add(s.stall)
	if by.Sub(s.writeBy) < slack(s.stall) {
		return nil
	}
	s.writeBy = by
	return s.SetWriteDeadline(by)
}

// boundRead bounds reads from now on; 0 is no bound.
func (s *socket) boundRead(d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boundReadLocked(d)
}

func (s *socket) boundReadLocked(d time.Duration) error {
	if s.interrupted {
		return net.ErrClosed
	}
	var by time.Time
	if d > 0 {
		by = time.Now().Add(d)
		if early := by.Sub(s.readBy); early >= 0 && early < slack(d) {
			return nil
		}
	} else if s.readBy.IsZero() {
		return nil
	}
	s.readBy = by
	return s.SetReadDeadline(by)
}

// awaitAnswer bounds the wait for the answer, unless its head is there.
func (s *socket) awaitAnswer(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.answered {
		_ = s.boundReadLocked(d)
	}
}

func (s *socket) setAnswered(answered bool) {
	s.mu.Lock()
	s.answered = answered
	s.mu.Unlock()
}

// unbind makes sure that a read does not fail for a deadline that has passed.
func (s *socket) unbind() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Until(s.readBy) > time.Second {
		return nil
	}
	return s.boundReadLocked(0)
}

// interrupt has reads and writes fail, now and later.
func (s *socket) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	_ = s.SetDeadline(past)
}

// shut closes the connection. Not with TLS's own farewell: it would wait for a peer that
// takes nothing.
func (s *socket) shut() {
	s.mu.Lock()
	was := s.closed
	s.closed, s.interrupted = true, true
	s.mu.Unlock()
	if !was {
		_ = s.Conn.Close()
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// slack is by how much a bound may end early, so that not every call sets it anew.
func slack(bound time.Duration) time.Duration { return min(bound/64, time.Second) }

// frames follows records of TLS, to say whether one has begun and not ended.
type frames struct {
	header [5]byte
	have   int // bytes of header
	left   int // bytes of the record after its header
}

// follow takes what was read.
func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have == len(f.header) {
			f.have = 0
			f.left = int(f.header[3])<<8 | int(f.header[4])
		}
	}
}

// whole says that no record is incomplete.
func (f *frames) whole() bool { return f.have == 0 && f.left == 0 }
