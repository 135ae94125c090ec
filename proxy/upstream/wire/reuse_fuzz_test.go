package wire

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever a server says to one request, the next gets its own answer: the connection is used
// again only where net/http, too, takes what came for one whole answer and nothing more.
func FuzzReuse(f *testing.F) {
	for _, a := range answers {
		if len(a.says) < 4<<10 {
			f.Add([]byte(a.says), false)
			f.Add([]byte(a.says+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), true)
		}
	}
	f.Add([]byte(fine+"\r\n"), false)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"+fine+"H"), false)
	var says atomic.Pointer[[]byte]
	// The connections that the last requests came over; a first one may not come in time.
	var firstOver, secondOver atomic.Int64
	url := rawServer(f, func(number int, conn net.Conn, r *bufio.Reader) {
		for {
			req, _, err := readRequest(r)
			if err != nil {
				return
			}
			if req.URL.Path == "/first" {
				firstOver.Store(int64(number))
				_, _ = conn.Write(*says.Load())
			} else {
				secondOver.Store(int64(number))
				say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
			}
		}
	})
	f.Fuzz(func(t *testing.T, first []byte, head bool) {
		if len(first) == 0 || len(first) > 8<<10 { // what fits one segment comes at once
			return
		}
		o := testOptions()
		o.HeaderTimeout, o.StallTimeout = 5*time.Second, 5*time.Second
		rt := New(o)
		defer rt.CloseIdleConnections()
		says.Store(&first)
		firstOver.Store(-1)
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, url+"/first", nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := whole(rt.RoundTrip(req))
		if second, err := ask(t, rt, http.MethodGet, url); err != nil || second != "second" {
			t.Fatalf("after %q, the next request gets %q, %v", first, second, err)
		}
		if firstOver.Load() == secondOver.Load() && !isOneAnswer(first, method, got) {
			t.Fatalf("after %q, which is not one answer, the connection is used again", first)
		}
	})
}

// isOneAnswer says whether net/http takes text for one answer of the given body, and nothing
// more.
func isOneAnswer(text []byte, method, body string) bool {
	r := bufio.NewReader(bytes.NewReader(text))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return false
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			return false
		}
		if resp.StatusCode >= http.StatusOK {
			_, more := r.Peek(1)
			return more == io.EOF && !resp.Close && string(got) == body
		}
	}
}
