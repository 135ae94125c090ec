package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// After a lost answer only what changes nothing is sent again, once, and only where the
// connection may have been about to be closed.
func TestWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	const reused, fresh = true, false
	for _, tt := range []struct {
		name, method string
		body         string
		used         bool
		partial      string // of an answer
		sent         int32
	}{
		{"GET", "GET", "", reused, "", 2},
		{"HEAD", "HEAD", "", reused, "", 2},
		{"GET on a new connection", "GET", "", fresh, "", 1},
		{"GET with an answer that began", "GET", "", reused, "H", 1},
		{"GET with an informational answer", "GET", "", reused, "HTTP/1.1 102 Processing\r\n\r\n", 1},
		{"GET with a body", "GET", "x", reused, "", 1},
		{"DELETE", "DELETE", "", reused, "", 1},
		{"POST", "POST", "", reused, "", 1},
		{"PUT without a body", "PUT", "", reused, "", 1},
		{"PUT", "PUT", "x", reused, "", 1},
		{"long PUT", "PUT", strings.Repeat("x", 1<<20), reused, "", 1},
	} {
		var sent atomic.Int32
		url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
			for {
				req, _, err := readRequest(r)
				if err != nil {
					return
				}
				if req.URL.Path == "/first" {
					say(conn, fine)
					continue
				}
				sent.Add(1)
				say(conn, tt.partial)
				return
			}
		})
		rt := newTransport(t, nil)
		if tt.used {
			if _, err := ask(t, rt, "GET", url+"/first"); err != nil {
				t.Fatal(err)
			}
		}
		var req *http.Request
		if tt.body == "" {
			req = request(t, tt.method, url, nil, 0)
		} else {
			req = request(t, tt.method, url, strings.NewReader(tt.body), len(tt.body))
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(tt.body)), nil }
		}
		if _, err := whole(rt.RoundTrip(req)); err == nil || err == io.EOF {
			t.Errorf("%s: %v", tt.name, err)
		}
		if n := sent.Load(); n != tt.sent {
			t.Errorf("%s: sent %d times", tt.name, n)
		}
	}
}

// brokenWrites is a connection on which nothing can be written any more.
type brokenWrites struct {
	net.Conn
	broken *atomic.Bool
}

func (b *brokenWrites) Write(p []byte) (int, error) {
	if b.broken.Swap(false) {
		return 0, errors.New("broken pipe")
	}
	return b.Conn.Write(p)
}

func (b *brokenWrites) SyscallConn() (any, error) { return nil, errors.ErrUnsupported }

func TestWhatWasNotSentAtAllIsSentAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, r.Method, n)
	}))
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		method string
		n      int
		again  bool
		want   string
	}{{"DELETE", 0, false, "DELETE0"}, {"PUT", 10, true, "PUT10"}, {"PUT", 10, false, ""}, {"PUT", 1 << 20, true, "PUT1048576"}, {"PUT", 1 << 20, false, ""}} {
		var broken atomic.Bool
		rt := newTransport(t, func(o *Options) {
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return &brokenWrites{conn, &broken}, err
			}
		})
		if _, err := ask(t, rt, "GET", server.URL); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		req := request(t, tt.method, server.URL, nil, 0)
		if tt.n > 0 {
			body := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, tt.n))), nil }
			req.Body, _ = body()
			req.ContentLength = int64(tt.n)
			if tt.again {
				req.GetBody = body
			}
		}
		got, err := whole(rt.RoundTrip(req))
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
}

func TestServersThatWaitAreLeft(t *testing.T) {
	noLeak(t)
	quick := func(o *Options) {
		o.HeaderTimeout, o.StallTimeout = 50*time.Millisecond, 50*time.Millisecond
	}
	for name, tt := range map[string]struct {
		says string
		n    int // bytes of the request
	}{
		"no answer":                {"", 0},
		"no answer to a body":      {"", 10},
		"no answer to a long body": {"", 1 << 20},
		"half a head":              {"HTTP/1.1 200 OK\r\nA: ", 0},
		"informational":            {"HTTP/1.1 100 Continue\r\n\r\n", 0},
		"half a body":              {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 0},
		"half a chunk":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 0},
		"no end of chunks":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 0},
	} {
		url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
			_, _, _ = readRequest(r)
			say(conn, tt.says)
			_, _ = r.ReadByte()
		})
		rt := newTransport(t, quick)
		var body io.Reader
		if tt.n > 0 {
			body = bytes.NewReader(make([]byte, tt.n))
		}
		if _, err := whole(rt.RoundTrip(request(t, "PUT", url, body, tt.n))); !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServersThatTakeNothingAreLeft(t *testing.T) {
	noLeak(t)
	url := rawServer(t, func(_ int, conn net.Conn, _ *bufio.Reader) {
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		time.Sleep(3 * time.Second)
	})
	rt := newTransport(t, func(o *Options) { o.StallTimeout = 200 * time.Millisecond })
	const n = 64 << 20
	for _, reader := range []io.Reader{bytes.NewReader(make([]byte, n)), onlyReader{bytes.NewReader(make([]byte, n))}} {
		body := watch(reader)
		req := request(t, "PUT", url, nil, 0)
		req.Body, req.ContentLength = body, n
		start := time.Now()
		if _, err := whole(rt.RoundTrip(req)); err == nil || time.Since(start) > 2900*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		within(t, body.closed, "the body is closed")
	}
}

func TestWhoGoesAwayIsNotWaitedFor(t *testing.T) {
	noLeak(t)
	gone := errors.New("the client went away")
	for name, says := range map[string]string{
		"before an answer": "",
		"in a head":        "HTTP/1.1 200 OK\r\nA: ",
		"in a body":        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
		"in chunks":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
		"up to the end":    "HTTP/1.1 200 OK\r\n\r\nab",
	} {
		for _, n := range []int{0, 10, 1 << 20} {
			asked, ended := make(chan struct{}), make(chan struct{})
			url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				_, _, _ = readRequest(r)
				say(conn, says)
				close(asked)
				_, _ = r.ReadByte()
				close(ended)
			})
			rt := newTransport(t, nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-asked
				time.Sleep(10 * time.Millisecond)
				cancel(gone)
			}()
			req, _ := http.NewRequestWithContext(ctx, "PUT", url, bytes.NewReader(make([]byte, n)))
			if _, err := whole(rt.RoundTrip(req)); !errors.Is(err, gone) {
				t.Errorf("%s, %d bytes: %v", name, n, err)
			}
			within(t, ended, name+": the connection is closed")
		}
	}
}

func TestWhoGoesAwayWhileAConnectionIsMade(t *testing.T) {
	noLeak(t)
	gone := errors.New("the client went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	rt := newTransport(t, func(o *Options) {
		o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			cancel(gone)
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	body := watch(bytes.NewReader(make([]byte, 1<<20)))
	req, _ := http.NewRequestWithContext(ctx, "PUT", "http://minio.example", body)
	req.ContentLength = 1 << 20
	if _, err := whole(rt.RoundTrip(req)); !errors.Is(err, gone) {
		t.Error(err)
	}
	within(t, body.closed, "the body is closed")
}

func TestWhoIsGoneAsksNothing(t *testing.T) {
	t.Parallel()
	rt := newTransport(t, func(o *Options) {
		o.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Error("a connection is made")
			return nil, errors.ErrUnsupported
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := watch(strings.NewReader("x"))
	req, _ := http.NewRequestWithContext(ctx, "PUT", "http://minio.example", body)
	req.ContentLength = 1
	if _, err := whole(rt.RoundTrip(req)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	within(t, body.closed, "the body is closed")
}

// A body that fails, or has not its length, is never taken for a whole one.
func TestBodiesThatAreNotWhole(t *testing.T) {
	noLeak(t)
	for _, n := range []int{1, 100, gathered, gathered + 1, 1 << 20, 1<<20 + 1} {
		data := bytes.Repeat([]byte("x"), n)
		for name, tt := range map[string]struct {
			body io.Reader
			want error
		}{
			"too short":               {onlyReader{bytes.NewReader(data[:n-1])}, ErrBodyLength},
			"too short, from memory":  {bytes.NewReader(data[:n-1]), ErrBodyLength},
			"too long":                {onlyReader{io.MultiReader(bytes.NewReader(data), strings.NewReader("x"))}, ErrBodyLength},
			"too long, from memory":   {bytes.NewReader(append(data, 'x')), ErrBodyLength},
			"fails":                   {onlyReader{failing(bytes.NewReader(data[:n-1]))}, errOwn},
			"fails, from memory":      {failing(bytes.NewReader(data[:n-1])), errOwn},
			"fails at its end":        {onlyReader{failing(bytes.NewReader(data))}, errOwn},
			"fails at its end itself": {failing(bytes.NewReader(data)), errOwn},
		} {
			took := make(chan error, 1)
			url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				_, _, err := readRequest(r)
				took <- err
				say(conn, fine)
			})
			rt := newTransport(t, nil)
			body := watch(tt.body)
			req := request(t, "PUT", url, nil, 0)
			req.Body, req.ContentLength = body, int64(n)
			if w, can := tt.body.(io.WriterTo); can {
				req.Body = struct {
					io.ReadCloser
					io.WriterTo
				}{body, w}
			}
			if _, err := whole(rt.RoundTrip(req)); !errors.Is(err, tt.want) {
				t.Errorf("%s, %d bytes: %v", name, n, err)
			}
			within(t, body.closed, "the body is closed")
			select {
			case err := <-took:
				if err == nil {
					t.Errorf("%s, %d bytes: the server took it for whole", name, n)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("%s, %d bytes: the connection stays open", name, n)
			default:
				if n > gathered { // else nothing was begun
					if err := <-took; err == nil {
						t.Errorf("%s, %d bytes: the server took it for whole", name, n)
					}
				}
			}
		}
	}
}

// endsContext is a body that ends its request's context just before it fails, as that of
// a client that stalls does.
type endsContext struct{ end context.CancelFunc }

func (e endsContext) Read([]byte) (int, error) {
	e.end()
	time.Sleep(10 * time.Millisecond)
	return 0, errOwn
}

func TestWhyABodyFailedIsTheReason(t *testing.T) {
	noLeak(t)
	url := rawServer(t, func(_ int, _ net.Conn, r *bufio.Reader) { _, _, _ = readRequest(r) })
	for _, n := range []int{10, 1 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "PUT", url, endsContext{cancel})
		req.ContentLength = int64(n)
		if _, err := whole(newTransport(t, nil).RoundTrip(req)); !errors.Is(err, errOwn) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A server that refuses a body before it has it is heard at once.
func TestAnAnswerThatComesEarly(t *testing.T) {
	noLeak(t)
	url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		_, _ = http.ReadRequest(r)
		say(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		time.Sleep(100 * time.Millisecond) // not closed at once: what is unread would have it reset
	})
	var dialled counter
	rt := newTransport(t, dialled.count)
	for range 2 {
		pipe, feed := io.Pipe()
		body := watch(pipe)
		go func() { _, _ = feed.Write(make([]byte, 1<<20)) }() // and then no more
		req := request(t, "PUT", url, nil, 0)
		req.Body, req.ContentLength = body, 1<<30
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := whole(resp, nil); got != "no" || err != nil || resp.StatusCode != 403 {
			t.Errorf("%d %q, %v", resp.StatusCode, got, err)
		}
		_ = feed.CloseWithError(errOwn)
		within(t, body.closed, "the body is closed")
	}
	if n := dialled.n.Load(); n != 2 {
		t.Errorf("%d connections for two requests that were not sent whole", n)
	}
}

func TestExpectations(t *testing.T) {
	noLeak(t)
	for name, tt := range map[string]struct {
		first string
		wait  time.Duration
		sent  bool
		want  string
	}{
		"wanted":                    {"HTTP/1.1 100 Continue\r\n\r\n", time.Minute, true, "ok"},
		"wanted after other":        {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", time.Minute, true, "ok"},
		"refused":                   {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", time.Minute, false, "no"},
		"not understood":            {"", 50 * time.Millisecond, true, "ok"},
		"not understood, half said": {"HTTP/1.1 10", 50 * time.Millisecond, true, "ok"},
	} {
		for _, n := range []int{1, 1 << 20} {
			got := make(chan int, 1)
			url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil || req.Header.Get("Expect") != "100-continue" {
					t.Errorf("%s: %v, %v", name, req, err)
					return
				}
				say(conn, tt.first)
				body, _ := io.ReadAll(req.Body)
				got <- len(body)
				if strings.HasSuffix(tt.first, "10") {
					say(conn, "2 Processing\r\n\r\n")
				}
				say(conn, fine)
			})
			rt := newTransport(t, func(o *Options) { o.ContinueTimeout = tt.wait })
			body := watch(bytes.NewReader(make([]byte, n)))
			req := request(t, "PUT", url, nil, 0)
			req.Body, req.ContentLength = body, int64(n)
			req.Header.Set("Expect", "100-continue")
			said, err := whole(rt.RoundTrip(req))
			if err != nil || said != tt.want {
				t.Errorf("%s: %q, %v", name, said, err)
			}
			within(t, body.closed, "the body is closed")
			if took := <-got; tt.sent != (took == n) || !tt.sent && took > 0 {
				t.Errorf("%s: %d of %d bytes were sent", name, took, n)
			}
			if len(rt.pool.idle[strings.TrimPrefix(url, "http://")]) > 0 && !tt.sent {
				t.Errorf("%s: the connection is kept", name)
			}
		}
	}
}

func TestClosingWhileSomebodyReads(t *testing.T) {
	noLeak(t)
	url := rawServer(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		_, _, _ = readRequest(r)
		say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
		_, _ = r.ReadByte()
	})
	rt := newTransport(t, nil)
	resp, err := rt.RoundTrip(request(t, "GET", url, nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if b, err := io.ReadAll(resp.Body); string(b) != "ab" || err == nil {
			t.Errorf("%q, %v", b, err)
		}
	}()
	time.Sleep(20 * time.Millisecond)
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	within(t, done, "the read ends")
}

// Whatever happens to requests, no byte of one's answer is another's.
func TestAnswersBelongToTheirRequests(t *testing.T) {
	noLeak(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Id")
		var n int
		_, _ = fmt.Sscan(id, &n)
		if n%7 == 0 {
			panic(http.ErrAbortHandler)
		}
		if n%5 != 0 {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		w.Header().Set("X-Id", id)
		_, _ = io.WriteString(w, strings.Repeat(id+";", 1+n%3*2000))
	}))
	t.Cleanup(server.Close)
	rt := newTransport(t, nil)
	var good, next atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := next.Add(1); n < 1200; n = next.Add(1) {
				id := fmt.Sprint(n)
				ctx, cancel := context.WithCancel(t.Context())
				if n%11 == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(n%5)*200*time.Microsecond)
				}
				var body io.Reader
				if n%4 > 0 {
					body = bytes.NewReader(make([]byte, n%4*50_000))
				}
				req, _ := http.NewRequestWithContext(ctx, []string{"GET", "PUT"}[n%2], server.URL, body)
				req.Header.Set("X-Id", id)
				resp, err := rt.RoundTrip(req)
				if err == nil {
					if resp.Header.Get("X-Id") != id && resp.StatusCode == 200 {
						t.Errorf("%s has the answer of %s", id, resp.Header.Get("X-Id"))
					}
					if n%13 > 0 {
						b, err := io.ReadAll(resp.Body)
						if strings.ReplaceAll(string(b), id+";", "") != "" && err == nil {
							t.Errorf("%s has the body %.100q", id, b)
						}
					}
					_ = resp.Body.Close()
					good.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if good.Load() < 600 {
		t.Errorf("only %d answers", good.Load())
	}
}
