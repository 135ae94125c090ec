package edge

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/operator/forwarded"
)

// Connections limit a listener.
type Connections struct {
	// Most is how many connections may be open at once; 0 means any number.
	Most int
	// PerClient is how many of them one address may have; 0 means any number. An
	// IPv6 client has a /64, which is what one is given.
	PerClient int
	// HTTP2 is how many of them may be by HTTP/2, which can be made to cost more;
	// 0 means any number. Others get HTTP/1.1 (Listener.TLS).
	HTTP2 int
	// Headers is how many bytes of memory requests may take, beside the allowance
	// of each connection, before they are known to be worth it; 0 means any number.
	Headers int64
	// Park is after how long an idle connection by HTTP/1 without TLS gives back its
	// memory, if somebody serves Listener.Woken; 0 means never.
	Park time.Duration
	// Trust exempts proxies from PerClient: they bring many clients.
	Trust forwarded.Trust
}

// Listener accepts within limits. What is beyond them is closed at once: no
// answer could be given without reading what an attacker sends.
type Listener struct {
	net.Listener
	limits Connections
	shared budget
	corks  sync.Pool // of *[corkBuffer]byte

	mu      sync.Mutex
	open    int
	http2   int
	clients map[netip.Addr]int
	lot     lot

	refusedAll, refusedClient atomic.Int64

	resting        atomic.Bool   // accepts nothing more
	end            chan struct{} // closed by Close
	ended          sync.Once
	received, sent atomic.Int64 // bytes
}

// Listen limits l.
func Listen(l net.Listener, limits Connections) *Listener {
	listener := &Listener{Listener: l, limits: limits, clients: make(map[netip.Addr]int), end: make(chan struct{})}
	listener.shared.limited = limits.Headers > 0
	listener.shared.left.Store(limits.Headers)
	return listener
}

// Accept returns the next connection that the limits allow.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if l.rested() {
				return nil, net.ErrClosed
			}
			return nil, err
		}
		client, ok := l.admit(forwarded.Peer(conn.RemoteAddr().String()))
		if ok {
			return &limitedConn{Conn: conn, listener: l, client: client, account: account{shared: &l.shared}}, nil
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

func (l *Listener) leave(c *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	c.account.close()
	if c.account.http2 { // after close, nobody changes it
		l.http2--
	}
	if l.clients[c.client]--; l.clients[c.client] <= 0 {
		delete(l.clients, c.client)
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
		gauge("bucketseal_http2_connections_open", "Connections of S3 clients by HTTP/2.", func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(l.http2)
		}),
		counter("bucketseal_header_memory_refused_total", "Connections and requests refused because headers took the memory set aside for them.", &l.shared.refused),
		traffic("received", &l.received), traffic("sent", &l.sent),
		counter("bucketseal_connections_refused_total", "Connections closed at once because too many were open.", &l.refusedAll),
		counter("bucketseal_client_connections_refused_total", "Connections closed at once because their client had too many.", &l.refusedClient),
	)
}

func traffic(direction string, n *atomic.Int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "bucketseal_client_bytes_total", Help: "Bytes on the wire to and from S3 clients.", ConstLabels: prometheus.Labels{"direction": direction},
	}, func() float64 { return float64(n.Load()) })
}

// limitedConn is counted until it is closed.
type limitedConn struct {
	net.Conn
	once     sync.Once
	listener *Listener
	client   netip.Addr
	account  account
	cork     cork
	parking  parking
}

// Read reads, and fails where headers would take more memory than there is.
func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.receive(p)
	c.listener.received.Add(int64(n))
	if n > 0 && !c.account.arrived(n) {
		return 0, errMemory
	}
	return n, err
}

// Close closes the connection and counts it out. One that was parked goes on.
func (c *limitedConn) Close() error {
	if c.parking.left() {
		return nil
	}
	defer c.once.Do(func() { c.listener.leave(c) })
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
