package serve

import (
	"net"
	"net/netip"
	"sync"

	"github.com/bucketseal/bucketseal/operator/forwarded"
)

const (
	// sideConnections is how many connections the console, and what answers at metrics.address,
	// have each, sidePerClient how many of those one address has (of IPv6, a /64), and sideFiles
	// the share of the files that this process may open: whoever connects there must not take
	// those that S3, MinIO and the key store need.
	sideConnections = 256
	sidePerClient   = 32
	sideFiles       = 8
)

// sideDoor is a listener beside that of S3, whose connections are bounded. What is beyond is
// closed at once.
type sideDoor struct {
	net.Listener
	most, perClient int
	trust           forwarded.Trust // of those who bring many clients

	mu   sync.Mutex
	open int
	held map[netip.Addr]int
}

func newSideDoor(l net.Listener, trust forwarded.Trust) *sideDoor {
	most := int(max(8, min(sideConnections, openFiles()/sideFiles)))
	return &sideDoor{Listener: l, most: most, perClient: max(4, min(sidePerClient, most/4)), trust: trust, held: make(map[netip.Addr]int)}
}

// Accept returns the next connection for which there is room.
func (d *sideDoor) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if client, ok := d.admit(forwarded.Peer(conn.RemoteAddr().String())); ok {
			return &sideConn{Conn: conn, leave: func() { d.leave(client) }}, nil
		}
		_ = conn.Close()
	}
}

func (d *sideDoor) admit(from netip.Addr) (client netip.Addr, ok bool) {
	client = from
	if p, err := from.Prefix(64); err == nil && from.Is6() {
		client = p.Addr()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most || d.held[client] >= d.perClient && !d.trust.Trusts(from) {
		return client, false
	}
	d.open++
	d.held[client]++
	return client, true
}

func (d *sideDoor) leave(client netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.held[client]--; d.held[client] <= 0 {
		delete(d.held, client)
	}
}

// sideConn is counted until it is closed.
type sideConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close closes the connection and counts it out.
func (c *sideConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before it closes the connection.
func (c *sideConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
