package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRelayCountsRequestsAndBytes(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header()["Date"] = nil
		fmt.Fprint(w, n)
	}))
	defer s.Close()
	r, err := newRelay(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	c, err := dial(context.Background(), r.addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	counted := &countingConn{Conn: c.Conn}
	c.Conn = counted
	ask := func(method, path, query string, body []byte) {
		t.Helper()
		size := int64(-1)
		if body != nil {
			size = int64(len(body))
		}
		if _, _, err := c.do(ready(signedHead(time.Now(), method, r.addr(), path, query, size), body, 200, -1)); err != nil {
			t.Fatal(err)
		}
	}
	ask("GET", "/own/work", "x=1", nil)
	r.count()
	before := counted.n.Load()
	// Bodies that look like requests are none.
	trap := []byte("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
	ask("PUT", "/bucket/trap", "", trap)
	ask("PUT", "/bucket/large", "", content()[:200<<10])
	ask("GET", "/bucket/key", "", nil)
	want := counted.n.Load() - before
	ask("GET", "/own/work", "x=2", nil)
	got, err := r.read()
	if err != nil || got.requests != 3 || got.bytes != want {
		t.Errorf("counted %+v, %v, want 3 requests and %d bytes", got, err, want)
	}
}

func TestRequestReaderFollowsPiecesOfAnySize(t *testing.T) {
	const stream = "PUT /b/1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET /b/2?policy= HTTP/1.1\r\nHost: x\r\n\r\nDELETE /b/3 HTTP/1.1\r\n\r\n"
	for size := 1; size <= len(stream); size++ {
		var names []string
		total := int64(0)
		r := &requestReader{begin: func(head []byte) bool { names = append(names, requestName(head)); return true }, bytes: func(n int64) { total += n }}
		for at := 0; at < len(stream); at += size {
			_, _ = r.Write([]byte(stream[at:min(at+size, len(stream))]))
		}
		if fmt.Sprint(names) != "[PUT /b/1 policy DELETE /b/3]" || total != int64(len(stream)) || r.err != nil {
			t.Fatalf("in pieces of %d: %q, %d bytes of %d, %v", size, names, total, len(stream), r.err)
		}
	}
}

func TestRequestReaderSaysWhatItCannotFollow(t *testing.T) {
	for _, bad := range []string{
		"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "PUT /b HTTP/1.1\r\nContent-Length: x\r\n\r\n", string(make([]byte, maxHead+1)),
	} {
		r := &requestReader{begin: func([]byte) bool { return true }, bytes: func(int64) {}}
		if _, _ = r.Write([]byte(bad)); r.err == nil {
			t.Errorf("%.60q: no error", bad)
		}
	}
}
