package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// parkingServer is a server that parks, and how many connections net/http has.
type parkingServer struct {
	*Listener
	server *http.Server
	held   atomic.Int64
	ended  chan error
}

func serveParking(t *testing.T, limits Connections, idle time.Duration) *parkingServer {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if limits.Park == 0 {
		limits.Park = 20 * time.Millisecond
	}
	s := &parkingServer{Listener: Listen(inner, limits), ended: make(chan error, 2)}
	s.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: idle, ConnContext: ConnContext,
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.held.Add(1)
			case http.StateClosed:
				s.held.Add(-1)
			}
			ConnState(c, state)
		},
		Handler: Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
		})),
	}
	woken := s.Woken()
	go func() { s.ended <- s.server.Serve(s.Listener) }()
	go func() { s.ended <- s.server.Serve(woken) }()
	t.Cleanup(func() { _ = s.server.Close() })
	return s
}

func (s *parkingServer) parkedNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lot.parked)
}

func (s *parkingServer) openNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// parkingClient sends what it is told to, byte for byte.
type parkingClient struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (s *parkingServer) dial(t *testing.T) *parkingClient {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &parkingClient{c, t, bufio.NewReader(c)}
}

func (c *parkingClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *parkingClient) want(body string) {
	c.t.Helper()
	a, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK || string(got) != body {
		c.t.Fatalf("%d %q %v, want %q", a.StatusCode, got, err, body)
	}
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func TestParkedConnectionsComeBack(t *testing.T) {
	s := serveParking(t, Connections{Headers: 1 << 20}, time.Minute)
	c := s.dial(t)
	for i := range 3 {
		path := fmt.Sprintf("/%d", i)
		c.send(get(path)[:1+i*2]) // it comes back with the first byte, however many there are
		time.Sleep(time.Duration(i) * 30 * time.Millisecond)
		c.send(get(path)[1+i*2:])
		c.want("GET " + path + " ")
		eventually(t, "parked, and net/http has nothing", func() bool { return s.parkedNow() == 1 && s.held.Load() == 0 })
		if n := s.openNow(); n != 1 {
			t.Fatalf("%d connections are counted", n)
		}
	}
	_ = c.Close()
	eventually(t, "none is counted", func() bool { return s.openNow() == 0 && s.parkedNow() == 0 })
}

func TestParkedConnectionsAreCounted(t *testing.T) {
	s := serveParking(t, Connections{Most: 1}, time.Minute)
	c := s.dial(t)
	c.send(get("/a"))
	c.want("GET /a ")
	eventually(t, "parked", func() bool { return s.parkedNow() == 1 })
	if _, err := s.dial(t).r.ReadByte(); err == nil {
		t.Fatal("a second connection got an answer")
	}
	c.send(get("/b"))
	c.want("GET /b ")
}

func TestParkedConnectionsEndWhenIdleFor(t *testing.T) {
	const idle = 300 * time.Millisecond
	s := serveParking(t, Connections{}, idle)
	c := s.dial(t)
	began := time.Now()
	c.send(get("/a"))
	c.want("GET /a ")
	eventually(t, "parked", func() bool { return s.parkedNow() == 1 })
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) || time.Since(began) < idle {
		t.Fatalf("%v after %s", err, time.Since(began))
	}
	eventually(t, "none is counted", func() bool { return s.openNow() == 0 && s.parkedNow() == 0 })
}

// TestWhatNetHTTPKnowsIsKept has connections idle in ways of which net/http knows more
// than that.
func TestWhatNetHTTPKnowsIsKept(t *testing.T) {
	pause := func() { time.Sleep(100 * time.Millisecond) }
	t.Run("the first bytes of a request", func(t *testing.T) {
		c := serveParking(t, Connections{}, time.Minute).dial(t)
		request := get("/b")
		c.send(get("/a") + request[:2]) // in one segment: read with the request before
		c.want("GET /a ")
		pause()
		c.send(request[2:3])
		pause()
		c.send(request[3:])
		c.want("GET /b ")
	})
	t.Run("bytes that came while it was not parked yet", func(t *testing.T) {
		c := serveParking(t, Connections{Park: 80 * time.Millisecond}, time.Minute).dial(t)
		c.send(get("/a"))
		c.want("GET /a ")
		request := get("/b")
		c.send(request[:3])
		pause()
		pause()
		c.send(request[3:])
		c.want("GET /b ")
	})
	t.Run("whole requests", func(t *testing.T) {
		c := serveParking(t, Connections{}, time.Minute).dial(t)
		c.send(get("/a") + get("/b") + strings.TrimSuffix(get("/c"), "\n"))
		c.want("GET /a ")
		c.want("GET /b ")
		pause()
		c.send("\n")
		c.want("GET /c ")
	})
	t.Run("line ends after a POST", func(t *testing.T) {
		s := serveParking(t, Connections{}, time.Minute)
		c := s.dial(t)
		c.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy")
		c.want("POST /a xy")
		pause()
		c.send("\r\n" + get("/b"))
		c.want("GET /b ")
		eventually(t, "parked after another request", func() bool { return s.parkedNow() == 1 })
	})
	t.Run("a body", func(t *testing.T) {
		s := serveParking(t, Connections{}, time.Minute)
		c := s.dial(t)
		for range 2 {
			c.send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nxy")
			pause()
			if n := s.parkedNow(); n != 0 {
				t.Fatalf("%d are parked", n)
			}
			c.send("zz")
			c.want("PUT /a xyzz")
			eventually(t, "parked", func() bool { return s.parkedNow() == 1 })
		}
	})
}

func TestShutdownClosesParkedConnections(t *testing.T) {
	s := serveParking(t, Connections{}, time.Minute)
	clients := []*parkingClient{s.dial(t), s.dial(t)}
	for _, c := range clients {
		c.send(get("/a"))
		c.want("GET /a ")
	}
	eventually(t, "parked", func() bool { return s.parkedNow() == len(clients) })
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.server.Shutdown(limit); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-s.ended; !errors.Is(err, http.ErrServerClosed) {
			t.Fatal(err)
		}
	}
	eventually(t, "none is counted", func() bool { return s.openNow() == 0 })
}
