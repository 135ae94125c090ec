package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestOneConnectionServesRequestsOfAllKinds(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/chunks" {
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = fmt.Fprintf(w, "%d", n)
	})
	for _, secure := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler)
		if secure {
			server.StartTLS()
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		var dialled counter
		rt := newTransport(t, func(o *Options) {
			if secure {
				trust(server)(o)
			}
			dialled.count(o)
		})
		for range 3 {
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
				if _, err := ask(t, rt, method, server.URL); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := ask(t, rt, "GET", server.URL+"/chunks"); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1, gathered, gathered + 1, 1 << 20} {
				for _, body := range []io.Reader{bytes.NewReader(make([]byte, n)), onlyReader{bytes.NewReader(make([]byte, n))}} {
					for _, expect := range []string{"", "100-continue"} {
						req := request(t, "PUT", server.URL, body, n)
						if body = bytes.NewReader(make([]byte, n)); expect != "" {
							req.Header.Set("Expect", expect)
						}
						got, err := whole(rt.RoundTrip(req))
						if err != nil || got != fmt.Sprint(n) {
							t.Fatalf("%d bytes: %q, %v", n, got, err)
						}
					}
				}
			}
		}
		if n := dialled.n.Load(); n != 1 {
			t.Errorf("TLS %v: %d connections", secure, n)
		}
	}
}

// What is not asked for is nobody's answer.
func TestConnectionsThatAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{
		"bytes behind the answer":        fine + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"a byte behind the answer":       fine + "\n",
		"bytes behind a 304":             "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
		"the wish to close":              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"the wish to close, among other": "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":                       "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
		"bytes behind chunks":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
	} {
		url := rawServer(t, func(nth int, conn net.Conn, r *bufio.Reader) {
			for {
				if _, _, err := readRequest(r); err != nil {
					return
				}
				if nth == 0 {
					say(conn, first)
				} else {
					say(conn, fine)
				}
			}
		})
		var dialled counter
		rt := newTransport(t, dialled.count)
		if _, err := ask(t, rt, "GET", url); err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t, rt, "GET", url); err != nil || got != "ok" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if n := dialled.n.Load(); n != 2 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
}

// A PUT must not meet a connection that ended while it was idle: it could not be
// repeated.
func TestIdleConnectionsThatEndedAreNotUsed(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(conn net.Conn){
		"closed":          func(conn net.Conn) { _ = conn.Close() },
		"reset":           func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0); _ = conn.Close() },
		"closed halfway":  func(conn net.Conn) { _ = conn.(*net.TCPConn).CloseWrite() },
		"unasked answer":  func(conn net.Conn) { say(conn, fine) },
		"one byte":        func(conn net.Conn) { say(conn, "H") },
		"Request Timeout": func(conn net.Conn) { say(conn, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
	} {
		idle := make(chan struct{})
		url := rawServer(t, func(nth int, conn net.Conn, r *bufio.Reader) {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+fmt.Sprint(nth))
			if nth == 0 {
				meanwhile(conn)
				close(idle)
				_, _, _ = readRequest(r)
			}
		})
		rt := newTransport(t, nil)
		if got, err := ask(t, rt, "GET", url); err != nil || got != "0" {
			t.Fatal(got, err)
		}
		<-idle
		time.Sleep(20 * time.Millisecond) // for what was sent to arrive
		got, err := whole(rt.RoundTrip(request(t, "PUT", url, strings.NewReader("x"), 1)))
		if err != nil || got != "1" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestIdleTLSConnectionsThatEndedAreNotUsed(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"closed", "unasked", "half a record"} {
		conns := make(chan net.Conn, 4)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Method == "GET" {
				conn, rw, _ := http.NewResponseController(w).Hijack()
				_, _ = rw.WriteString(fine)
				_ = rw.Flush()
				conns <- conn
			}
		}))
		server.StartTLS()
		t.Cleanup(server.Close)
		var dialled counter
		rt := newTransport(t, func(o *Options) { trust(server)(o); dialled.count(o) })
		if got, err := ask(t, rt, "GET", server.URL); err != nil || got != "ok" {
			t.Fatal(got, err)
		}
		conn := <-conns
		switch what {
		case "closed":
			_ = conn.Close()
		case "unasked":
			say(conn, fine)
		default:
			inner := conn.(interface{ NetConn() net.Conn }).NetConn()
			_, _ = inner.Write([]byte{23, 3, 3, 0, 80, 1, 2, 3})
		}
		time.Sleep(20 * time.Millisecond)
		if _, err := whole(rt.RoundTrip(request(t, "PUT", server.URL, strings.NewReader("x"), 1))); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := dialled.n.Load(); n != 2 {
			t.Errorf("%s: %d connections", what, n)
		}
		_ = conn.Close()
	}
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}, 8), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-goOn
	}))
	t.Cleanup(server.Close)
	rt := newTransport(t, func(o *Options) { o.MaxIdle, o.IdleTimeout = 2, 100*time.Millisecond })
	done := make(chan error, 5)
	for range cap(done) {
		go func() {
			_, err := ask(t, rt, "GET", server.URL)
			done <- err
		}()
	}
	for range cap(done) {
		<-began
	}
	close(goOn)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	idle := func() (n int) {
		rt.pool.mu.Lock()
		defer rt.pool.mu.Unlock()
		for _, list := range rt.pool.idle {
			n += len(list)
		}
		return n
	}
	if n := idle(); n > 2 {
		t.Errorf("%d are kept", n)
	}
	for end := time.Now().Add(10 * time.Second); idle() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("idle connections are kept for ever")
		}
	}
	rt.pool.mu.Lock()
	defer rt.pool.mu.Unlock()
	if rt.pool.janitor != nil {
		t.Error("the janitor comes although nothing is idle")
	}
}

// A connection is used again if all of the answer is there, or after a drain, and else
// closed.
func TestClosingAnAnswerEarly(t *testing.T) {
	t.Parallel()
	const large = 1 << 20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.URL.Query().Get("n"), &n)
		w.Header().Set("Content-Length", fmt.Sprint(n))
		_, _ = w.Write(make([]byte, n))
	}))
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		n     int
		drain int64
		conns int64
	}{{100, 0, 1}, {large, 0, 2}, {large, 64 << 10, 2}, {32 << 10, 64 << 10, 1}, {large, large, 1}} {
		var dialled counter
		rt := newTransport(t, dialled.count)
		for range 2 {
			resp, err := rt.RoundTrip(request(t, "GET", fmt.Sprintf("%s/?n=%d", server.URL, tt.n), nil, 0))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			if tt.drain > 0 {
				Drain(resp.Body, tt.drain, 10*time.Second)
			}
			_ = resp.Body.Close()
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
				t.Error("a closed body is read")
			}
		}
		if n := dialled.n.Load(); n != tt.conns {
			t.Errorf("%+v: %d connections", tt, n)
		}
	}
}

func TestDrainingIsBoundedInTime(t *testing.T) {
	t.Parallel()
	url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		_, _, _ = readRequest(r)
		say(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
		_, _, _ = readRequest(r)
	})
	rt := newTransport(t, nil)
	resp, err := rt.RoundTrip(request(t, "GET", url, nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	Drain(resp.Body, 64<<10, 100*time.Millisecond)
	_ = resp.Body.Close()
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}
