package sink

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// errBehind says that lines come faster than they can be handed on.
var errBehind = errors.New("it is too far behind: lines are left out until it has caught up")

// Async hands lines on in a goroutine of its own, so that who is slow holds nobody up. It
// implements audit.Sink, and is not durable.
type Async struct {
	name  string
	write func(lines []byte, patience time.Duration) error
	end   func() error

	mu      sync.Mutex
	waiting [][]byte
	size    int
	closed  bool
	wake    chan struct{}
	done    chan struct{}
}

// asyncRoom is how many bytes may wait.
const asyncRoom = 8 << 20

// closePatience is how long Close waits for what still waits.
const closePatience = 3 * time.Second

// newAsync returns a sink that calls write for lines, again and again until it has taken
// them, and end in the end.
func newAsync(name string, write func([]byte, time.Duration) error, end func() error) *Async {
	s := &Async{name: name, write: write, end: end, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// Name implements audit.Sink.
func (s *Async) Name() string { return s.name }

// Durable implements audit.Sink.
func (s *Async) Durable() bool { return false }

// Write implements audit.Sink.
func (s *Async) Write(lines []byte, _ int, _ bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.size+len(lines) > asyncRoom {
		return fmt.Errorf("%s: %w", s.name, errBehind)
	}
	s.waiting, s.size = append(s.waiting, append([]byte(nil), lines...)), s.size+len(lines)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *Async) run() {
	defer close(s.done)
	for {
		s.mu.Lock()
		waiting, closed := s.waiting, s.closed
		s.waiting = nil
		s.mu.Unlock()
		for _, lines := range waiting {
			if !s.hand(lines) {
				return
			}
		}
		if len(waiting) > 0 {
			continue
		}
		if closed {
			return
		}
		<-s.wake
	}
}

// hand hands lines on, again until that succeeds or the sink is closed.
func (s *Async) hand(lines []byte) bool {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		if s.write(lines, wait+time.Second) == nil {
			s.mu.Lock()
			s.size -= len(lines)
			s.mu.Unlock()
			return true
		}
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return false
		}
		select {
		case <-s.wake: // more has come, or the end
			s.mu.Lock()
			closed = s.closed
			s.mu.Unlock()
			if !closed {
				time.Sleep(wait)
			}
		case <-time.After(wait):
		}
	}
}

// Close implements audit.Sink. What cannot be handed on within a few seconds is lost.
func (s *Async) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-s.done:
		return s.end()
	case <-time.After(closePatience):
		return fmt.Errorf("%s: lines were not handed on in time", s.name)
	}
}
