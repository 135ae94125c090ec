package edge_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/edge"
)

// countedConn counts writes, and fails them once it is told to.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
	broken *atomic.Bool
}

var errBroken = errors.New("the connection broke")

func (c countedConn) Write(p []byte) (int, error) {
	if c.broken.Load() {
		return 0, errBroken
	}
	c.writes.Add(1)
	return c.Conn.Write(p)
}

type countedListener struct {
	net.Listener
	writes *atomic.Int64
	broken *atomic.Bool
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c, l.writes, l.broken}, nil
}

// serveBodies serves bodies of the size that a path names, in one Write, with the length
// known before; failed gets the errors of writes.
func serveBodies(t *testing.T, secure bool) (server *httptest.Server, writes *atomic.Int64, broken *atomic.Bool, failed chan error) {
	t.Helper()
	writes, broken, failed = new(atomic.Int64), new(atomic.Bool), make(chan error, 100)
	patience := edge.Patience{Stall: time.Minute}
	server = httptest.NewUnstartedServer(edge.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, finish := patience.Apply(w, r)
		defer finish()
		size, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Content-Length", strconv.Itoa(size))
		if r.URL.RawQuery == "break" {
			broken.Store(true)
		}
		_, err := w.Write(bodyOf(size))
		failed <- err
	})))
	server.Listener = edge.Listen(countedListener{server.Listener, writes, broken}, edge.Connections{})
	server.Config.ConnContext = edge.ConnContext
	if secure {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server, writes, broken, failed
}

func bodyOf(size int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size] }

func TestABodyOfAFewKiBLeavesWithItsHeaders(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		server, writes, _, failed := serveBodies(t, secure)
		var conn net.Conn
		var err error
		if conn, err = net.Dial("tcp", server.Listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's own server
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for _, size := range []int{4096, 0, 1, 1023, 1024, 2047, 2048, 2049, 3900, 4000, 4095, 4096, 4097, 16 << 10, 16<<10 + 1, 1 << 20, 4096} {
			before := writes.Load()
			for _, method := range []string{"GET", "HEAD"} {
				fmt.Fprintf(conn, "%s /%d HTTP/1.1\r\nHost: h\r\n\r\n", method, size)
				a, err := http.ReadResponse(answers, &http.Request{Method: method})
				if err != nil {
					t.Fatalf("%s of %d bytes: %v", method, size, err)
				}
				body, err := io.ReadAll(a.Body)
				if want := bodyOf(size); err != nil || a.ContentLength != int64(size) || method == "GET" && !bytes.Equal(body, want) {
					t.Fatalf("%s of %d bytes: %d, %d, %v", method, size, a.ContentLength, len(body), err)
				}
				if err := <-failed; err != nil && method == "GET" {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
			if n := writes.Load() - before; size <= 16<<10 && before > 0 && n != 2 {
				t.Errorf("secure %v, %d bytes: GET and HEAD took %d writes", secure, size, n)
			}
		}
	}
}

func TestAWriteTogetherThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	server, _, _, failed := serveBodies(t, false)
	if a, err := http.Get(server.URL + "/4096?break"); err == nil {
		a.Body.Close()
		t.Errorf("answered %d", a.StatusCode)
	}
	if err := <-failed; !errors.Is(err, errBroken) {
		t.Errorf("the handler hears %v", err)
	}
}

// Streams of HTTP/2 share their connection, which is not corked.
func TestHTTP2IsNotCorked(t *testing.T) {
	t.Parallel()
	server, _, _, failed := serveBodies(t, true)
	client := &http.Client{Transport: &http.Transport{
		Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
	client.Transport.(*http.Transport).Protocols.SetHTTP2(true)
	for _, size := range []int{4096, 1, 16 << 10, 1 << 20} {
		a, err := client.Get(server.URL + "/" + strconv.Itoa(size))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.ProtoMajor != 2 || !bytes.Equal(body, bodyOf(size)) || <-failed != nil {
			t.Errorf("%d bytes over %s: %v", size, a.Proto, err)
		}
	}
}
