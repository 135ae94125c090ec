// Package link carries TCP connections from one server of a cluster to another, and can be told to do
// so badly: refuse, cut, stall in one direction, delay, throttle, or break off at random.
package link

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Fault says what is wrong with a link. The zero value is a link in order.
type Fault struct {
	// Refuse closes new connections at once, and those that are open.
	Refuse bool
	// StallUp and StallDown hold what clients, or servers, have sent, until the fault is over. Both are a
	// partition whose packets are lost; one of them is a half-open connection.
	StallUp, StallDown bool
	// Delay is added to each piece that is carried, and up to as much again at random.
	Delay time.Duration
	// Rate is how many bytes a connection carries in a second, each way; 0 for no limit.
	Rate int
	// Break is the share of pieces, of at most 16 KiB, at which a connection breaks off.
	Break float64
}

// piece is how much is carried at a time over a link that is faulty, wide over one that is in order
// and has much to carry.
const (
	piece = 16 << 10
	wide  = 256 << 10
)

// dialLimit is how long a connection to the server may take.
const dialLimit = 5 * time.Second

// Link is one way from a client to a server. All methods may be called by many.
type Link struct {
	// Name is "client>server".
	Name string
	// Secure says that the server speaks TLS. A Front that has several asks it so whether it is alive.
	Secure bool
	target string

	mu      sync.Mutex
	fault   Fault
	changed chan struct{}
	open    map[net.Conn]struct{}
	random  *rand.Rand
}

// New returns a link to the address target. Where connections break off is drawn by the seed.
func New(name, target string, seed uint64) *Link {
	return &Link{
		Name: name, target: target, changed: make(chan struct{}), open: map[net.Conn]struct{}{},
		random: rand.New(rand.NewPCG(seed, 0x6c696e6b)), //nolint:gosec // repeatable, no secret
	}
}

// Target is the server's address.
func (l *Link) Target() string { return l.target }

// Set makes the link faulty, or heals it with the zero Fault.
func (l *Link) Set(f Fault) {
	l.mu.Lock()
	l.fault = f
	close(l.changed)
	l.changed = make(chan struct{})
	var open []net.Conn
	if f.Refuse {
		for c := range l.open {
			open = append(open, c)
		}
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // its copier sees it
	}
}

// Cut breaks off all connections that are open; new ones are carried.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Close() // its copier sees it
	}
}

func (l *Link) now() (Fault, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault, l.changed
}

func (l *Link) breaks(share float64) bool {
	if share <= 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.Float64() < share
}

func (l *Link) track(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
}

func (l *Link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// dial connects to the server as the fault of the moment allows.
func (l *Link) dial() (net.Conn, error) {
	if f, _ := l.now(); f.Refuse {
		return nil, net.ErrClosed
	}
	return net.DialTimeout("tcp", l.target, dialLimit)
}

// carry copies both ways until one side ends or a fault cuts it, and closes both connections.
func (l *Link) carry(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		l.track(c)
		defer l.forget(c)
	}
	if f, _ := l.now(); f.Refuse {
		return // it was set before the two were tracked
	}
	done := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(done) }) }
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, true, done, end) })
	both.Go(func() { l.copy(client, server, false, done, end) })
	both.Wait()
}

// copy carries one direction. After an orderly end of it the other one goes on.
func (l *Link) copy(to, from net.Conn, up bool, done <-chan struct{}, end func()) {
	buffer := make([]byte, piece)
	for {
		n, err := from.Read(buffer[:l.size(len(buffer))])
		if n > 0 {
			if !l.pass(n, up, done) {
				abort(to, from)
				end()
				return
			}
			if _, werr := to.Write(buffer[:n]); werr != nil {
				abort(to, from)
				end()
				return
			}
		}
		if err == nil {
			if n == piece && len(buffer) == piece {
				buffer = make([]byte, wide)
			}
			continue
		}
		if !l.pass(0, up, done) || !closeWrite(to) {
			abort(to, from)
			end()
		}
		return
	}
}

// size is how much is carried at a time now, of what a buffer holds.
func (l *Link) size(most int) int {
	if f, _ := l.now(); f != (Fault{}) {
		return min(most, piece)
	}
	return most
}

// pass waits as long as the fault says. It is false if the connection shall break off.
func (l *Link) pass(n int, up bool, done <-chan struct{}) bool {
	for {
		f, changed := l.now()
		switch {
		case f.Refuse:
			return false
		case up && f.StallUp, !up && f.StallDown:
			select {
			case <-changed:
				continue
			case <-done:
				return false
			}
		}
		if n > 0 && l.breaks(f.Break) {
			return false
		}
		wait := f.Delay
		if wait > 0 {
			l.mu.Lock()
			wait += time.Duration(l.random.Int64N(int64(wait)))
			l.mu.Unlock()
		}
		if f.Rate > 0 {
			wait += time.Duration(float64(n) / float64(f.Rate) * float64(time.Second))
		}
		if wait == 0 {
			return true
		}
		select {
		case <-time.After(wait):
		case <-changed:
		case <-done:
			return false
		}
		return true
	}
}

// abort closes both with a reset, so that neither takes what it has for all.
func abort(conns ...net.Conn) {
	for _, c := range conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

func closeWrite(c net.Conn) bool {
	t, ok := c.(*net.TCPConn)
	return ok && t.CloseWrite() == nil
}
