package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTheGateLetsSoManyInAndQueuesAsMany(t *testing.T) {
	t.Parallel()
	g := NewGate(2, time.Minute)
	registry := prometheus.NewRegistry()
	g.Register(registry)
	var leave []func()
	for range 2 {
		out, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, out)
	}
	entered := make(chan func(), 2)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			out, err := g.Enter(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			entered <- out
		})
	}
	for g.waiting.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	if _, err := g.Enter(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("the fifth: %v", err)
	}
	for name, want := range map[string]float64{
		"bucketseal_s3_requests_in_flight": 2, "bucketseal_s3_requests_limit": 2,
		"bucketseal_s3_requests_queued": 2, "bucketseal_s3_requests_refused_total": 1,
	} {
		if got := metric(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, out := range leave {
		out()
	}
	wg.Wait()
	close(entered)
	for out := range entered {
		out()
	}
	if n := len(g.slots); n != 0 || g.waiting.Load() != 0 {
		t.Errorf("%d places are taken, %d wait", n, g.waiting.Load())
	}
}

func TestTheGateIsNotWaitedForLongerThanAllowed(t *testing.T) {
	t.Parallel()
	g := NewGate(1, 20*time.Millisecond)
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Enter(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	leave()
	if leave, err = g.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave()
	var none *Gate
	if leave, err = none.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave()
}

// metric returns the value of a gauge or counter.
func metric(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// fakeListener accepts connections from addresses.
type fakeListener struct {
	net.Listener
	from chan string
}

type fakeConn struct {
	net.Conn
	from   string
	closed chan struct{}
}

func (c *fakeConn) RemoteAddr() net.Addr { return fakeAddr(c.from) }
func (c *fakeConn) Close() error         { close(c.closed); return nil }

type fakeAddr string

func (fakeAddr) Network() string  { return "tcp" }
func (a fakeAddr) String() string { return string(a) }

func (l *fakeListener) Accept() (net.Conn, error) {
	from, ok := <-l.from
	if !ok {
		return nil, net.ErrClosed
	}
	return &fakeConn{from: from, closed: make(chan struct{})}, nil
}

func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	f := &fakeListener{from: make(chan string, 100)}
	l := Listen(f, Connections{Most: 6, PerClient: 2, Trust: Trust{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	var open []net.Conn
	for _, from := range []string{
		"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", // the third is too many
		"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", // a trusted proxy
		"[2001:db8::1]:1",
		"[2001:db8::2]:1", // the seventh of all
	} {
		f.from <- from
	}
	close(f.from)
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		open = append(open, c)
	}
	if len(open) != 6 || l.refusedClient.Load() != 1 || l.refusedAll.Load() != 1 {
		t.Fatalf("%d open, %d and %d refused", len(open), l.refusedClient.Load(), l.refusedAll.Load())
	}
	for _, c := range open {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if l.open != 0 || len(l.clients) != 0 {
		t.Errorf("%d counted, of %d clients", l.open, len(l.clients))
	}
}

func TestAnIPv6ClientIsItsNetwork(t *testing.T) {
	t.Parallel()
	l := Listen(nil, Connections{PerClient: 1})
	for _, tc := range []struct {
		from string
		ok   bool
	}{
		{"2001:db8:0:1::1", true},
		{"2001:db8:0:1:ffff::2", false},
		{"2001:db8:0:2::1", true},
		{"192.0.2.1", true},
		{"192.0.2.2", true},
		{"192.0.2.1", false},
	} {
		if _, ok := l.admit(netip.MustParseAddr(tc.from)); ok != tc.ok {
			t.Errorf("%s: %v", tc.from, ok)
		}
	}
}

func TestHeaderSizeCountsEverything(t *testing.T) {
	t.Parallel()
	r := &http.Request{Method: "GET", RequestURI: "/b/k", Host: "h", Header: http.Header{"A": {"12", "3"}}}
	if got := HeaderSize(r); got != 3+4+1+(1+2+32)+(1+1+32) {
		t.Errorf("%d", got)
	}
}
