package server

import (
	"container/list"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms/identity"
)

// What a connection may cost before it is known that somebody with rights is at
// its other end.
const (
	// handshakeBytes bounds what is read until the handshake is done: a chain of
	// CAs fits, the 256 KiB that crypto/tls would take of one do not.
	handshakeBytes = 32 << 10
	// strangerBytes bounds what is read of a stranger after that.
	strangerBytes = 32 << 10
	// strangerLife bounds how long it all may take.
	strangerLife = 20 * time.Second
)

var errStrangerTalks = errors.New("too much was sent by somebody without rights")

// Connections limit the connections of a server. Who has proven an identity that
// the admin's or a policy's setting names, or a TLS proxy's, is known; everybody
// else is a stranger, and so is whoever has not finished the handshake yet.
type Connections struct {
	// Most is how many may be open at once; 0 is DefaultConnections.
	Most int
	// PerIdentity is how many of them one known identity may have; 0 is half of
	// Most.
	PerIdentity int
	// Strangers is how many of them strangers may have, and PerAddress how many of
	// those one address (of IPv6, a /64) may; 0 is DefaultStrangers and
	// DefaultPerAddress, but never more than half of what there is. When there are more, the oldest is closed: so strangers
	// cannot keep out whoever needs a moment to prove who it is.
	Strangers, PerAddress int
}

// What a hostile connection makes this server keep, in bytes, measured, with room to
// spare; a test holds it. StrangerMemory is for a stranger's, ConnectionMemory for
// one of a known identity.
const (
	StrangerMemory   = 384 << 10
	ConnectionMemory = 2 << 20
)

// Defaults of Connections.
const (
	DefaultConnections = 1024
	DefaultStrangers   = 256
	DefaultPerAddress  = 128
)

func (c Connections) withDefaults() Connections {
	for _, d := range []struct {
		set     *int
		without int
	}{{&c.Most, DefaultConnections}, {&c.Strangers, DefaultStrangers}, {&c.PerAddress, DefaultPerAddress}} {
		if *d.set <= 0 {
			*d.set = d.without
		}
	}
	// Clients in Go begin with a connection for each request that waits: so one
	// address may have many that have not proven anything yet.
	c.Strangers = max(1, min(c.Strangers, c.Most/2))
	c.PerAddress = max(1, min(c.PerAddress, c.Strangers/2))
	if c.PerIdentity <= 0 {
		c.PerIdentity = max(1, c.Most/2)
	}
	return c
}

// crowd counts the connections of a server.
type crowd struct {
	limits Connections

	mu        sync.Mutex
	open      int
	strangers *list.List // of *conn, the oldest first
	held      map[string]int
}

func newCrowd(limits Connections) *crowd {
	return &crowd{limits: limits.withDefaults(), strangers: list.New(), held: make(map[string]int)}
}

// conn is a connection that is counted until it is closed.
type conn struct {
	net.Conn
	crowd *crowd
	// holder is whom it is counted for: an address, later an identity.
	holder string
	place  *list.Element // among the strangers; nil for the known
	life   *time.Timer   // ends a stranger's connection
	closed bool

	// left is how many bytes may yet be read; known have no such limit.
	left  atomic.Int64
	known atomic.Bool
	// peer is set before any request is served.
	peer *peer
}

// admit counts a connection in, as a stranger's. dropped is the one that has to go
// for it; ok is false if all places are taken by the known.
func (c *crowd) admit(raw net.Conn) (in, dropped *conn, ok bool) {
	address := clientOf(raw.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open-c.strangers.Len() >= c.limits.Most {
		return nil, nil, false
	}
	switch {
	case c.held[address] >= c.limits.PerAddress:
		dropped = c.oldest(address)
	case c.strangers.Len() >= c.limits.Strangers, c.open >= c.limits.Most:
		dropped = c.oldest("")
	}
	if dropped != nil {
		c.leave(dropped)
	}
	in = &conn{Conn: raw, crowd: c, holder: address}
	in.left.Store(handshakeBytes)
	in.life = time.AfterFunc(strangerLife, func() { _ = in.Close() })
	in.place = c.strangers.PushBack(in)
	c.open++
	c.held[address]++
	return in, dropped, true
}

// oldest returns the stranger's connection that is open longest, of an address if
// one is given.
func (c *crowd) oldest(address string) *conn {
	for e := c.strangers.Front(); e != nil; e = e.Next() {
		if in, ok := e.Value.(*conn); ok && (address == "" || in.holder == address) {
			return in
		}
	}
	return nil
}

// promote makes a connection one of a known identity. It returns false if that has
// too many.
func (c *crowd) promote(in *conn, id identity.Identity) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if in.closed || c.held[id.String()] >= c.limits.PerIdentity {
		return false
	}
	in.life.Stop()
	c.strangers.Remove(in.place)
	c.release(in.holder)
	in.place, in.holder = nil, id.String()
	c.held[in.holder]++
	in.known.Store(true)
	return true
}

// leave counts a connection out, once.
func (c *crowd) leave(in *conn) {
	if in.closed {
		return
	}
	in.closed = true
	in.life.Stop()
	if in.place != nil {
		c.strangers.Remove(in.place)
	}
	c.open--
	c.release(in.holder)
}

func (c *crowd) release(holder string) {
	if c.held[holder]--; c.held[holder] <= 0 {
		delete(c.held, holder)
	}
}

// Close closes the connection and counts it out.
func (in *conn) Close() error {
	in.crowd.mu.Lock()
	in.crowd.leave(in)
	in.crowd.mu.Unlock()
	return in.Conn.Close()
}

// CloseWrite lets net/http end an answer before it closes the connection.
func (in *conn) CloseWrite() error {
	if w, ok := in.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Read reads what may yet be read: buffers, queues and headers that a stranger
// makes this server keep all begin with bytes that it sends.
func (in *conn) Read(p []byte) (int, error) {
	if in.known.Load() {
		return in.Conn.Read(p)
	}
	left := in.left.Load()
	if left <= 0 {
		return 0, errStrangerTalks
	}
	n, err := in.Conn.Read(p[:min(int64(len(p)), left)])
	in.left.Add(-int64(n))
	return n, err
}

// clientOf is what counts as one address.
func clientOf(a net.Addr) string {
	from, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	ip := from.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// queue is a listener of connections whose handshake is done.
type queue struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	addr   net.Addr
}

func newQueue(addr net.Addr) *queue {
	return &queue{conns: make(chan net.Conn), closed: make(chan struct{}), addr: addr}
}

// put hands a connection on, or closes it.
func (q *queue) put(c io.Closer, conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.closed:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error { q.once.Do(func() { close(q.closed) }); return nil }

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.addr }
