package wire

import (
	"context"
	"errors"
	"sync"
	"time"
)

// pool keeps idle connections by server. What was used last is used first.
type pool struct {
	max  int
	keep time.Duration

	mu      sync.Mutex
	idle    map[string][]*conn
	janitor *time.Timer
}

// take returns an idle connection, or nil.
func (p *pool) take(server string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[server]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	p.idle[server] = list[:len(list)-1]
	return c
}

// put keeps a connection, or closes it if there are enough.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[c.server]
	if len(list) >= p.max {
		c.close()
		return
	}
	c.since = time.Now()
	p.idle[c.server] = append(list, c)
	if p.janitor == nil && p.keep > 0 {
		p.janitor = time.AfterFunc(p.keep, p.sweep)
	}
}

// sweep closes what was idle for too long, and comes again while anything is idle. The
// oldest are at the front.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	next := time.Duration(-1)
	for server, list := range p.idle {
		old := 0
		for old < len(list) && now.Sub(list[old].since) >= p.keep {
			list[old].close()
			old++
		}
		rest := copy(list, list[old:])
		clear(list[rest:])
		if list = list[:rest]; rest == 0 {
			delete(p.idle, server)
			continue
		}
		p.idle[server] = list
		if left := p.keep - now.Sub(list[0].since); next < 0 || left < next {
			next = left
		}
	}
	p.janitor = nil
	if next >= 0 {
		p.janitor = time.AfterFunc(max(next, p.keep/8), p.sweep)
	}
}

// empty closes all that is idle.
func (p *pool) empty() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range p.idle {
		for _, c := range list {
			c.close()
		}
	}
	clear(p.idle)
	if p.janitor != nil {
		p.janitor.Stop()
		p.janitor = nil
	}
}

var errNoTLS = errors.New("no TLS was set up")

// dial makes a connection.
func (t *Transport) dial(ctx context.Context, out *outgoing) (*conn, error) {
	raw, err := t.o.Dial(ctx, "tcp", out.address)
	if err != nil {
		return nil, err
	}
	t.o.Traffic.Dialled.Add(1)
	s := newSocket(raw, t.o.StallTimeout, t.o.Traffic)
	c := &conn{server: out.server, sock: s, net: s}
	if !out.secure {
		return c, nil
	}
	if t.o.Handshake == nil {
		_ = raw.Close()
		return nil, errNoTLS
	}
	s.frames = new(frames)
	secure, err := t.o.Handshake(ctx, s, out.address)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol != "" && state.NegotiatedProtocol != "http/1.1" {
		_ = raw.Close()
		return nil, errors.New("the server speaks " + state.NegotiatedProtocol)
	}
	c.net, c.tls = secure, &state
	return c, nil
}
