package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testOptions are bounds that a test does not reach.
func testOptions() Options {
	return Options{
		Dial:            new(net.Dialer).DialContext,
		MaxIdle:         16,
		IdleTimeout:     time.Minute,
		HeaderTimeout:   time.Minute,
		ContinueTimeout: time.Minute,
		StallTimeout:    time.Minute,
	}
}

// newTransport returns a Transport that is closed with the test.
func newTransport(t testing.TB, change func(*Options)) *Transport {
	o := testOptions()
	if change != nil {
		change(&o)
	}
	rt := New(o)
	t.Cleanup(rt.CloseIdleConnections)
	return rt
}

// trust has a Transport accept the certificate of a test server.
func trust(server *httptest.Server) func(*Options) {
	return func(o *Options) {
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		o.Handshake = func(ctx context.Context, conn net.Conn, _ string) (*tls.Conn, error) {
			c := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12})
			return c, c.HandshakeContext(ctx)
		}
	}
}

// rawServer runs f for each connection, which it closes after that. It returns its URL.
func rawServer(t testing.TB, f func(nth int, conn net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	running.Go(func() {
		for nth := 0; ; nth++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				f(nth, conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

// readRequest reads a request with its body.
func readRequest(r *bufio.Reader) (*http.Request, string, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(req.Body)
	return req, string(body), err
}

func say(conn net.Conn, what string) { _, _ = io.WriteString(conn, what) }

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// request makes a request; body may be nil.
func request(t testing.TB, method, url string, body io.Reader, length int) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(body), int64(length)
	}
	return req
}

// get sends a request without a body and returns the answer's.
func ask(t testing.TB, rt http.RoundTripper, method, url string) (string, error) {
	t.Helper()
	return whole(rt.RoundTrip(request(t, method, url, nil, 0)))
}

func whole(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// onlyReader hides all that a reader can do besides.
type onlyReader struct{ io.Reader }

// watched is a body that says when it was closed.
type watched struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func watch(r io.Reader) *watched { return &watched{Reader: r, closed: make(chan struct{})} }

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// within fails if a channel is not closed soon.
func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Errorf("%s: not within ten seconds", what)
	}
}

// noLeak fails if goroutines of this package are left at the end of a test, beside which no
// other runs.
func noLeak(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var stacks string
		for range 100 {
			buf := make([]byte, 1<<20)
			stacks = string(buf[:runtime.Stack(buf, true)])
			if !strings.Contains(stacks, "wire.(*sender)") && !strings.Contains(stacks, "wire.(*Transport)") {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("goroutines are left:\n%s", stacks)
	})
}

var errOwn = errors.New("the body's own error")

// failing fails after the bytes of r.
func failing(r io.Reader) io.Reader { return io.MultiReader(r, failure{}) }

type failure struct{}

func (failure) Read([]byte) (int, error) { return 0, errOwn }

// counter counts connections.
type counter struct{ n atomic.Int64 }

func (c *counter) count(o *Options) {
	dial := o.Dial
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c.n.Add(1)
		return dial(ctx, network, address)
	}
}
