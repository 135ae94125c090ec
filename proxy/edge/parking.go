package edge

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// parking is what a connection by HTTP/1 without TLS knows to give back its memory while
// it is idle. net/http keeps 19 KiB for a connection that waits for its next request:
// two buffers of 4 KiB and a stack of 8 KiB first. So one that has waited for a while
// leaves net/http, as if it had been closed, and comes back with the first byte of the
// next request as if it were new. The limits count it all the time.
type parking struct {
	mu       sync.Mutex
	idle     bool      // net/http waits for the next request, of which nothing has come
	moved    bool      // another limitedConn has the connection
	stays    bool      // net/http knows something of the connection that must not be lost
	deadline time.Time // of reads, as net/http wants it; zero for none
	buffer   int       // size in bytes of net/http's buffer, 0 before the first read

	first [1]byte // of the next request, when the connection comes back
	has   bool
}

// errParked ends net/http's part of a connection.
var errParked = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("parked")}

// ConnState is for http.Server, with Listener.Woken: it says which connections are idle.
func ConnState(conn net.Conn, state http.ConnState) {
	// One by TLS has state of its own between net/http and this package, and stays.
	c, ok := conn.(*limitedConn)
	if !ok || state != http.StateIdle || c.listener.limits.Park <= 0 {
		return
	}
	c.parking.mu.Lock()
	defer c.parking.mu.Unlock()
	c.parking.idle = true
}

// SetReadDeadline sets the deadline of reads, of an idle connection not later than
// when it is to be parked.
func (c *limitedConn) SetReadDeadline(t time.Time) error {
	p := &c.parking
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved {
		return net.ErrClosed
	}
	p.deadline = t
	if p.idle {
		if park := time.Now().Add(c.listener.limits.Park); t.IsZero() || park.Before(t) {
			t = park
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// receive reads. An idle connection is parked when nothing came for long enough.
func (c *limitedConn) receive(b []byte) (int, error) {
	if c.parking.returned(b) {
		return 1, nil
	}
	n, err := c.Conn.Read(b)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		parked, again := c.park(len(b))
		switch {
		case parked:
			return 0, errParked
		case again:
			n, err = c.Conn.Read(b)
		}
	}
	if n > 0 {
		if failed := c.stir(n); err == nil {
			err = failed
		}
	}
	return n, err
}

// returned gives the byte with which the connection came back, if it did and that was
// not read yet.
func (p *parking) returned(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buffer == 0 {
		p.buffer = len(b) // empty before the first read, which so asks for all of it
	}
	if !p.has || len(b) == 0 {
		return false
	}
	b[0], p.has = p.first[0], false
	return true
}

// park parks an idle connection of which a read of size bytes came to its deadline. If
// it cannot and the deadline was not net/http's own, the read is to be tried again.
func (c *limitedConn) park(size int) (parked, again bool) {
	p := &c.parking
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.idle || !p.deadline.IsZero() && !time.Now().Before(p.deadline) {
		return false, false
	}
	p.idle = false
	// A read of less than the whole buffer means that the client has sent something that
	// only net/http has.
	if size == p.buffer && !p.stays && c.account.clean() && c.listener.park(c, p.deadline) {
		p.moved = true
		return true, false
	}
	return false, c.Conn.SetReadDeadline(p.deadline) == nil
}

// stir says that n bytes came. With four, net/http sets its next deadline itself.
func (c *limitedConn) stir(n int) error {
	p := &c.parking
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle
	p.idle = false
	if idle && n < 4 {
		return c.Conn.SetReadDeadline(p.deadline)
	}
	return nil
}

// serves says which request the connection carries. After a POST, net/http skips line
// ends before the next request, and would not on a connection that it takes for new.
func (p *parking) serves(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stays = r.Method == http.MethodPost
}

// left says whether another limitedConn has the connection.
func (p *parking) left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

// clean says whether the connection makes the server keep nothing.
func (a *account) clean() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.http2 && !a.closed && a.used == 0 && a.serving == 0
}

// lot is where connections are parked.
type lot struct {
	woken  chan net.Conn
	closed chan struct{}
	parked map[*limitedConn]struct{} // guarded by Listener.mu; nil while nobody takes who wakes, and after closing
}

// park waits for the next byte of c until deadline, if anybody will take it.
func (l *Listener) park(c *limitedConn, deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lot.parked == nil {
		return false
	}
	next := &limitedConn{Conn: c.Conn, listener: l, client: c.client, account: account{shared: &l.shared}}
	l.lot.parked[next] = struct{}{}
	go l.await(next, deadline)
	return true
}

// await has c accepted again when its client sends something, and else closes it.
func (l *Listener) await(c *limitedConn, deadline time.Time) {
	_ = c.Conn.SetReadDeadline(deadline) // of a connection that is gone, the read says so
	n, _ := c.Conn.Read(c.parking.first[:])
	l.mu.Lock()
	delete(l.lot.parked, c)
	l.mu.Unlock()
	if c.parking.has = n == 1; c.parking.has && c.Conn.SetReadDeadline(time.Time{}) == nil {
		select {
		case l.lot.woken <- c:
			return
		case <-l.lot.closed:
		}
	}
	_ = c.Close()
}

// Woken returns a second listener, of connections that come back: l parks them from then
// on. It is to be served by the same http.Server as l, whose ConnState is this package's.
// Closing either of them closes all that are parked.
func (l *Listener) Woken() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lot = lot{woken: make(chan net.Conn), closed: make(chan struct{}), parked: make(map[*limitedConn]struct{})}
	return woken{l}
}

func (l *Listener) evict() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lot.parked == nil {
		return
	}
	close(l.lot.closed)
	for c := range l.lot.parked {
		_ = c.Conn.Close() // its read ends, and counts it out
	}
	l.lot.parked = nil
}

// woken accepts connections that were parked.
type woken struct{ listener *Listener }

// Accept returns the next connection that comes back.
func (w woken) Accept() (net.Conn, error) {
	select {
	case c := <-w.listener.lot.woken:
		return c, nil
	case <-w.listener.lot.closed:
		return nil, net.ErrClosed
	}
}

// Close closes all connections that are parked.
func (w woken) Close() error {
	w.listener.evict()
	return nil
}

// Addr is the address of the listener itself.
func (w woken) Addr() net.Addr { return w.listener.Addr() }
