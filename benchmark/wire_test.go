package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The lean client is held to what net/http answers.
func TestClientReadsWhatNetHTTPAnswers(t *testing.T) {
	const long = 300 << 10
	mux := http.NewServeMux()
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "0123456789") })
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			fmt.Fprint(w, strings.Repeat("x", long/3))
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("ETag", `"tag"`)
		w.WriteHeader(http.StatusPartialContent)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	addr := s.Listener.Addr().String()
	c, err := dial(context.Background(), addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now := time.Now()
	a := func(method, path string, body []byte, want int, length int64) *request {
		size := int64(-1)
		if body != nil {
			size = int64(len(body))
		}
		return ready(signedHead(now, method, addr, path, "", size), body, want, length)
	}
	var said strings.Builder
	c.keep = func(b []byte) { said.Write(b) }
	for range 2 { // over one connection
		for _, r := range []*request{
			a("GET", "/length", nil, 200, 10), a("GET", "/chunks", nil, 200, long), a("GET", "/none", nil, 204, -1),
			a("GET", "/early", nil, 206, 0),
			{head: signedHead(now, "HEAD", addr, "/length", "", -1), want: 200, bodyless: true},
			a("PUT", "/echo", content()[:100], 200, 3), a("PUT", "/echo", content()[:inline+1], 200, 5),
		} {
			said.Reset()
			if _, n, err := c.do(r); err != nil || n != int64(said.Len()) {
				t.Errorf("%.20q: %d bytes of which %d were kept, %v", r.head, n, said.Len(), err)
			}
		}
	}
	if said.String() != fmt.Sprint(inline+1) {
		t.Errorf("a long body arrived as %q bytes", said.String())
	}
	if got, _, err := c.do(a("GET", "/early", nil, 206, 0)); err != nil || got.etag != `"tag"` {
		t.Errorf("ETag %q, %v", got.etag, err)
	}
	if _, _, err := c.do(a("GET", "/length", nil, 200, 11)); err == nil {
		t.Error("a body of another length was taken")
	}
	if _, _, err := c.do(a("GET", "/length", nil, 206, 10)); err == nil || !strings.Contains(err.Error(), "0123456789") {
		t.Errorf("an unexpected status: %v", err)
	}
}

func TestParseHeadRefusesWhatIsNoAnswer(t *testing.T) {
	for _, bad := range []string{"", "HTTP/1.1 \r\n", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc no\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n"} {
		if a, err := parseHead([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, a)
		}
	}
}
