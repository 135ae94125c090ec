package edge

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// twoConnections are two of a listener that sets aside so many bytes for headers.
func twoConnections(t *testing.T, limits Connections) (l *Listener, a, b *limitedConn) {
	t.Helper()
	f := &fakeListener{from: make(chan string, 2)}
	f.from <- "192.0.2.1:1"
	f.from <- "192.0.2.2:1"
	l = Listen(f, limits)
	for _, c := range []**limitedConn{&a, &b} {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		*c = conn.(*limitedConn)
	}
	return l, a, b
}

func TestHeadersThatArriveTakeMemoryUntilTheyAreServed(t *testing.T) {
	t.Parallel()
	l, a, b := twoConnections(t, Connections{Headers: 100 * wireByte})
	const free = Allowance / wireByte
	if !a.account.arrived(free) || l.shared.left.Load() != 100*wireByte {
		t.Fatal("a connection cannot use its allowance")
	}
	if !a.account.arrived(60) || b.account.arrived(free+60) {
		t.Error("two connections take more than there is")
	}
	if !b.account.arrived(free + 40) {
		t.Error("what is left cannot be taken")
	}
	if !a.account.begin(1000) || l.shared.left.Load() != 60*wireByte || !a.account.arrived(1<<30) {
		t.Errorf("%d bytes are left when one is served, and its body counts", l.shared.left.Load())
	}
	a.account.end(1000)
	if a.account.used != 0 {
		t.Errorf("%d bytes are used by nothing", a.account.used)
	}
	for _, c := range []*limitedConn{a, b} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if left := l.shared.left.Load(); left != 100*wireByte || l.shared.refused.Load() != 1 {
		t.Errorf("%d bytes are left, %d were refused", left, l.shared.refused.Load())
	}
}

// A request that outlives its connection gives back what it took.
func TestMemoryOfAClosedConnectionReturns(t *testing.T) {
	t.Parallel()
	l, a, _ := twoConnections(t, Connections{Headers: 1 << 20})
	if !a.account.begin(Allowance + 500) {
		t.Fatal("refused")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a.account.begin(1) {
		t.Error("a closed connection begins a request")
	}
	if a.account.end(Allowance + 500); l.shared.left.Load() != 1<<20 {
		t.Errorf("%d bytes are left", l.shared.left.Load())
	}
}

func TestOnlySoManyConnectionsGetHTTP2(t *testing.T) {
	t.Parallel()
	l, a, b := twoConnections(t, Connections{HTTP2: 1})
	own := &tls.Config{NextProtos: []string{"h2", "http/1.1"}, ServerName: "own"}
	c := l.TLS(own)
	offers := func(conn net.Conn, protocols ...string) string {
		got, err := c.GetConfigForClient(&tls.ClientHelloInfo{Conn: conn, SupportedProtos: protocols})
		if err != nil {
			t.Fatal(err)
		}
		if got == nil {
			got = c
		}
		if got.ServerName != "own" {
			t.Error("another configuration")
		}
		return strings.Join(got.NextProtos, " ")
	}
	for _, step := range []struct {
		conn *limitedConn
		ask  string
		want string
	}{
		{b, "http/1.1", "h2 http/1.1"}, {a, "h2", "h2 http/1.1"}, {a, "h2", "h2 http/1.1"}, {b, "h2", "http/1.1"},
	} {
		if got := offers(step.conn, step.ask); got != step.want {
			t.Errorf("%s: %s, want %s", step.ask, got, step.want)
		}
	}
	if err := a.Close(); err != nil || l.http2 != 0 {
		t.Errorf("%d connections by HTTP/2, %v", l.http2, err)
	}
	if got := offers(b, "h2", "http/1.1"); got != "h2 http/1.1" {
		t.Errorf("after the first is closed: %s", got)
	}
}

func TestARequestBeyondTheMemoryIsRefusedAndForgotten(t *testing.T) {
	t.Parallel()
	_, a, _ := twoConnections(t, Connections{Headers: 1000})
	served := 0
	h := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	ask := func(header string) (*http.Request, int) {
		r := httptest.NewRequestWithContext(ConnContext(context.Background(), a), http.MethodGet, "/", nil)
		r.Header.Set("A", header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return r, w.Code
	}
	if _, status := ask("short"); status != http.StatusOK || served != 1 || a.account.used != 0 {
		t.Errorf("%d, served %d, %d bytes used", status, served, a.account.used)
	}
	if r, status := ask(strings.Repeat("a", Allowance)); status != http.StatusServiceUnavailable || served != 1 || len(r.Header) != 0 {
		t.Errorf("%d, served %d, %d headers kept", status, served, len(r.Header))
	}
}
