package edge

import (
	"net"
	"time"

	"github.com/bucketseal/bucketseal/operator/forwarded"
)

// Resize changes how many requests are let in at once, and how long others wait. Who is
// inside stays, also where that are more than may be now; who waits is let in if there is
// room.
func (g *Gate) Resize(most int, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wait = wait
	g.places.resize(int64(most), max(int64(most)/2, 1))
	g.queue.resize(int64(most), max(int64(most)/2, 1))
	g.fill()
}

// Limits returns what Resize or New has set.
func (g *Gate) Limits() (most int, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(g.places.total), g.wait
}

// resize changes the amount. What is held stays held: free may be less than nothing.
func (s *shares) resize(total, strangers int64) {
	s.free += total - s.total
	s.total, s.forAll = total, strangers
}

// Adjust changes the limits of connections that come from now on. Of Connections it takes
// Most, PerClient, HTTP2 and Trust.
func (l *Listener) Adjust(most, perClient, http2 int, trust forwarded.Trust) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits.Most, l.limits.PerClient, l.limits.HTTP2, l.limits.Trust = most, perClient, http2, trust
}

// Rest makes the listener accept nothing more, without an end of Accept: that waits for
// Close. The socket is closed here. Another process that has it too goes on with it, and
// gets the connections that wait.
func (l *Listener) Rest() {
	l.resting.Store(true)
	_ = l.Listener.Close()
}

// Close closes the listener and all connections that are parked.
func (l *Listener) Close() error {
	l.evict()
	l.ended.Do(func() { close(l.end) })
	err := l.Listener.Close()
	if l.resting.Load() {
		return nil // it was closed before
	}
	return err
}

// rested waits for Close, if the listener rests, and says whether it does.
func (l *Listener) rested() bool {
	if !l.resting.Load() {
		return false
	}
	<-l.end
	return true
}

// Socket returns what Listen was given.
func (l *Listener) Socket() net.Listener { return l.Listener }
