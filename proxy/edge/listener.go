package edge

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Connections limit a listener.
type Connections struct {
	// Most is how many connections may be open at once; 0 means any number.
	Most int
	// PerClient is how many of them one address may have; 0 means any number. An
	// IPv6 client has a /64, which is what one is given.
	PerClient int
	// Trust exempts proxies from PerClient: they bring many clients.
	Trust Trust
}

// Listener accepts within limits. What is beyond them is closed at once: no
// answer could be given without reading what an attacker sends.
type Listener struct {
	net.Listener
	limits Connections

	mu      sync.Mutex
	open    int
	clients map[netip.Addr]int

	refusedAll, refusedClient atomic.Int64
}

// Listen limits l.
func Listen(l net.Listener, limits Connections) *Listener {
	return &Listener{Listener: l, limits: limits, clients: make(map[netip.Addr]int)}
}

// Accept returns the next connection that the limits allow.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client, ok := l.admit(peerOf(conn.RemoteAddr().String()))
		if ok {
			return &limitedConn{Conn: conn, gone: func() { l.leave(client) }}, nil
		}
		_ = conn.Close()
	}
}

// admit counts a connection in, if there is room for it.
func (l *Listener) admit(from netip.Addr) (client netip.Addr, ok bool) {
	client = clientOf(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.Most > 0 && l.open >= l.limits.Most {
		l.refusedAll.Add(1)
		return client, false
	}
	if l.limits.PerClient > 0 && l.clients[client] >= l.limits.PerClient && !l.limits.Trust.Trusts(from) {
		l.refusedClient.Add(1)
		return client, false
	}
	l.open++
	l.clients[client]++
	return client, true
}

func (l *Listener) leave(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.clients[client]--; l.clients[client] <= 0 {
		delete(l.clients, client)
	}
}

// clientOf is what counts as one client.
func clientOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Register adds the listener's metrics to r.
func (l *Listener) Register(r prometheus.Registerer) {
	r.MustRegister(
		gauge("bucketseal_connections_open", "Connections of S3 clients.", func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(l.open)
		}),
		counter("bucketseal_connections_refused_total", "Connections closed at once because too many were open.", &l.refusedAll),
		counter("bucketseal_client_connections_refused_total", "Connections closed at once because their client had too many.", &l.refusedClient),
	)
}

// limitedConn is counted until it is closed.
type limitedConn struct {
	net.Conn
	once sync.Once
	gone func()
}

// Close closes the connection and counts it out.
func (c *limitedConn) Close() error {
	defer c.once.Do(c.gone)
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before it closes the connection, so
// that a client which still sends gets to read it.
func (c *limitedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
