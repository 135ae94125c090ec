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

	"github.com/bucketseal/bucketseal/operator/forwarded"
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
	for waiting(g) < 2 {
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
	if inside, waiting := g.holds(); inside != 0 || waiting != 0 {
		t.Errorf("%v places are taken, %v wait", inside, waiting)
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
	l := Listen(f, Connections{Most: 6, PerClient: 2, Trust: forwarded.Trust{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
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

func waiting(g *Gate) float64 {
	_, n := g.holds()
	return n
}

func TestNobodyTakesTheLastPlaces(t *testing.T) {
	t.Parallel()
	g := NewQueue(16, 16, 20*time.Millisecond)
	enter := func(c Claim) (n int) {
		for ; n < 2000; n++ {
			if _, err := g.EnterAs(t.Context(), c); err != nil {
				return n
			}
		}
		return n
	}
	stranger := func(address string) Claim { return Stranger(netip.MustParseAddr(address)) }
	for _, step := range []struct {
		claim Claim
		want  int
	}{
		{stranger("192.0.2.1"), 7}, // of eight
		{stranger("192.0.2.2"), 1},
		{stranger("2001:db8::1"), 0},
		{Claim{Who: "greedy"}, 7},
		{Claim{Who: "another"}, 1},
	} {
		if got := enter(step.claim); got != step.want {
			t.Errorf("%+v got %d places, want %d", step.claim, got, step.want)
		}
	}
	g = NewQueue(1024, 8, 20*time.Millisecond)
	for _, step := range []struct {
		who  string
		want int
	}{{"greedy", 896}, {"next", 112}, {"third", 14}, {"root", 1}} {
		if got := enter(Claim{Who: step.who}); got != step.want {
			t.Errorf("%s got %d places, want %d", step.who, got, step.want)
		}
	}
}

func TestWhoWaitsTakesTurns(t *testing.T) {
	t.Parallel()
	g := NewQueue(1, 100, time.Minute)
	leave, err := g.EnterAs(t.Context(), Claim{Who: "first"})
	if err != nil {
		t.Fatal(err)
	}
	order := make(chan Claim, 100)
	var wg sync.WaitGroup
	join := func(n int, c Claim) {
		for range n {
			before := waiting(g)
			wg.Go(func() {
				out, err := g.EnterAs(context.Background(), c)
				if err != nil {
					t.Error(err)
					return
				}
				order <- c
				out()
			})
			for waiting(g) == before {
				time.Sleep(time.Millisecond)
			}
		}
	}
	stranger := Stranger(netip.MustParseAddr("192.0.2.1"))
	join(20, Claim{Who: "greedy"})
	join(20, stranger)
	join(2, Claim{Who: "root"})
	leave()
	wg.Wait()
	close(order)
	turns := map[Claim][]int{}
	at := 0
	for c := range order {
		at++
		turns[c] = append(turns[c], at)
	}
	if last := turns[Claim{Who: "root"}][1]; last > 8 {
		t.Errorf("root's second was served as number %d", last)
	}
	if turns[stranger][0] > 3 || len(turns[stranger]) != 20 {
		t.Errorf("strangers were served at %v", turns[stranger])
	}
}

func TestWhoGivesUpWaitingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g := NewQueue(2, 8, time.Millisecond)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c := Claim{Who: string(rune('a' + i%3)), Stranger: i%2 == 0}
			for range 300 {
				if leave, err := g.EnterAs(context.Background(), c); err == nil {
					leave()
				}
			}
		})
	}
	wg.Wait()
	inside, waiting := g.holds()
	if inside != 0 || waiting != 0 || len(g.places.held)+len(g.queue.held)+len(g.lines[0].waiting)+len(g.lines[1].waiting)+len(g.lines[0].turns)+len(g.lines[1].turns) != 0 || g.places.strangers != 0 || g.queue.strangers != 0 {
		t.Errorf("%v inside, %v wait; %+v", inside, waiting, g)
	}
}
