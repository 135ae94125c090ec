package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// counter says what each request of a client costs between a proxy and MinIO, with a
// proxy of its own whose MinIO is behind a relay.
type counter struct {
	*target
	relay *relay
}

// settle is how long a proxy that was just started is left alone: what it asks in
// that time it asks by itself.
const settle = 300 * time.Millisecond

// counters starts one for each target that is a proxy.
func (l *lab) counters(ctx context.Context, chosen []kind, targets []*target) (map[string]*counter, error) {
	all := map[string]*counter{}
	shared := map[string]*counter{}
	for _, t := range targets {
		if t.back == nil {
			continue
		}
		k := kindOf(chosen, t.name)
		name := frontName(k)
		if shared[name] == nil {
			r, err := newRelay(t.back.addr)
			if err != nil {
				return nil, err
			}
			front, err := l.front(ctx, name+"-counted", k, r.addr(), false)
			if err != nil {
				r.close()
				return nil, err
			}
			shared[name] = &counter{&target{front: front}, r}
		}
		c := *t
		c.front = shared[name].front
		all[t.name] = &counter{&c, shared[name].relay}
	}
	time.Sleep(settle)
	for _, c := range shared {
		c.relay.count()
	}
	return all, nil
}

func kindOf(chosen []kind, name string) kind {
	for _, k := range chosen {
		if k.name == name {
			return k
		}
	}
	return kind{name: name}
}

// cost does the work some times, by one client, and says what each time cost. What
// can be known from before is, but where the work is about what is not.
func (c *counter) cost(ctx context.Context, w work) (*upstreamCost, error) {
	if w.op == "delete" {
		if err := w.prepare(ctx, c.target); err != nil {
			return nil, err
		}
	}
	conn, err := dial(ctx, c.front.addr, c.front.secure)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	w.clients = 1
	steps := w.steps(c.target, 0)
	steps = steps[:min(len(steps), times(w))]
	if w.op == "list-cold" {
		if err := c.front.restart(ctx); err != nil {
			return nil, err
		}
		time.Sleep(settle)
		if conn, err = dial(ctx, c.front.addr, c.front.secure); err != nil {
			return nil, err
		}
		defer conn.Close()
	} else if w.op != "delete" {
		for _, s := range steps {
			if err := s(conn); err != nil {
				return nil, err
			}
		}
	}
	before, err := c.relay.read()
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	counted := &countingConn{Conn: conn.Conn}
	conn.Conn = counted
	for _, s := range steps {
		if err := s(conn); err != nil {
			return nil, err
		}
	}
	after, err := c.relay.read()
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	d := after.minus(before)
	return &upstreamCost{
		Requests: float64(d.requests) / float64(len(steps)),
		Bytes:    float64(d.bytes) / float64(max(1, counted.n.Load())),
	}, nil
}

// times is how often the work is done to be counted.
func times(w work) int {
	switch {
	case w.size >= 64*mib && w.op != "range":
		return 2
	case w.size >= mib:
		return 16
	}
	return 100
}

// countingConn counts the bytes of both directions.
type countingConn struct {
	net.Conn
	n atomic.Int64
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}
