package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is a connection that keeps what is sent and answers at the end of it.
type recorder struct {
	*script
	mu   sync.Mutex
	sent bytes.Buffer
	want int // bytes of the body
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, _ := r.sent.Write(p)
	if head := bytes.Index(r.sent.Bytes(), headEnd); head >= 0 && r.sent.Len() >= head+len(headEnd)+r.want {
		_, _ = r.script.Write(nil)
	}
	return n, nil
}

// record returns what a client sends: its first line, its header sorted, its body.
func record(t *testing.T, client func(conn net.Conn) http.RoundTripper, req *http.Request) (string, error) {
	t.Helper()
	r := &recorder{script: newScript([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 0), want: max(0, int(req.ContentLength))}
	resp, err := client(r).RoundTrip(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	head, body, _ := strings.Cut(r.sent.String(), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n") + "\n\n" + body, nil
}

func TestRequestsAreSentAsNetHTTPSendsThem(t *testing.T) {
	t.Parallel()
	ours := func(conn net.Conn) http.RoundTripper {
		return newTransport(t, func(o *Options) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
		})
	}
	theirs := func(conn net.Conn) http.RoundTripper {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }, DisableCompression: true}
	}
	long := strings.Repeat("0123456789abcdef", 20_000)
	for _, tt := range []struct {
		method, url, host, body string
		header                  http.Header
		close                   bool
	}{
		{method: "GET", url: "http://minio:9000/b/k"},
		{method: "", url: "http://minio:9000"},
		{method: "GET", url: "http://minio/b/a%2Fb//c%20d?versions=&x=%20y%2B"},
		{method: "HEAD", url: "http://[::1]:9000/b?"},
		{method: "HEAD", url: "http://[fe80::1%25eth0]:9000/b"},
		{method: "DELETE", url: "http://minio:80/b/k"},
		{method: "PUT", url: "http://minio:9000/b"},
		{method: "POST", url: "http://minio:9000/b?delete", body: "<Delete/>"},
		{method: "PATCH", url: "http://minio:9000/b"},
		{method: "OPTIONS", url: "http://minio:9000/b"},
		{method: "PUT", url: "http://minio:9000/b/k", body: "x", close: true},
		{method: "PUT", url: "http://minio:9000/b/k", body: long[:gathered]},
		{method: "PUT", url: "http://minio:9000/b/k", body: long[:gathered+1]},
		{method: "PUT", url: "http://minio:9000/b/k", body: long},
		{method: "DELETE", url: "http://minio:9000/b/k", body: "x"},
		{method: "GET", url: "http://minio:9000/b/k", host: "other:1"},
		{method: "GET", url: "http://minio:9000/b/k", header: http.Header{"User-Agent": {"agent/1 "}, "X-Amz-Meta-A": {" a\tb ", "c"}, "x-lower": {"ü"}, "X-Empty": {""}}},
		{method: "GET", url: "http://minio:9000/b/k", header: http.Header{"User-Agent": {""}, "X-None": {}, "Host": {"evil"}, "Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"X"}}},
		{method: "GET", url: "http://minio:9000/b/k", header: http.Header{"User-Agent": {}}},
	} {
		build := func() *http.Request {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			req := (&http.Request{Method: tt.method, URL: u, Host: tt.host, Header: tt.header.Clone(), Close: tt.close}).WithContext(t.Context())
			if req.Header == nil {
				req.Header = http.Header{}
			}
			if tt.body != "" {
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader(tt.body)), int64(len(tt.body))
			}
			return req
		}
		got, err := record(t, ours, build())
		want, wantErr := record(t, theirs, build())
		if err != nil || wantErr != nil {
			t.Errorf("%s %s: %v, %v", tt.method, tt.url, err, wantErr)
		} else if got != want {
			t.Errorf("%.600s\nnot\n%.600s", got, want)
		}
	}
}

// What could end a line, and so begin another request, is never sent.
func TestRequestsThatAreNotSent(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"a line in a value":     func(r *http.Request) { r.Header["X-A"] = []string{"a\r\nX-B: c"} },
		"a line feed":           func(r *http.Request) { r.Header["X-A"] = []string{"a\nb"} },
		"a zero byte":           func(r *http.Request) { r.Header["X-A"] = []string{"a\x00b"} },
		"a line in a name":      func(r *http.Request) { r.Header["X-A: b\r\nX-C"] = []string{"a"} },
		"no name":               func(r *http.Request) { r.Header[""] = []string{"a"} },
		"a line in the agent":   func(r *http.Request) { r.Header["User-Agent"] = []string{"a\r\nb"} },
		"a line in the method":  func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\n\r\nGET" },
		"a tunnel":              func(r *http.Request) { r.Method = "CONNECT" },
		"a line in the host":    func(r *http.Request) { r.Host = "minio\r\nX-A: b" },
		"a line in the query":   func(r *http.Request) { r.URL.RawQuery = "a=b HTTP/1.1\r\nX-A: b" },
		"a blank in the query":  func(r *http.Request) { r.URL.RawQuery = "a=b c" },
		"an opaque line":        func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1\r\n\r\n" },
		"no host":               func(r *http.Request) { r.URL.Host = "" },
		"another scheme":        func(r *http.Request) { r.URL.Scheme = "ftp" },
		"TLS without a setup":   func(r *http.Request) { r.URL.Scheme = "https" },
		"a body without length": func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("x")) },
		"a body of any length":  func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1 },
		"a length without body": func(r *http.Request) { r.ContentLength = 1 },
		"chunks":                func(r *http.Request) { r.TransferEncoding = []string{"chunked"} },
		"a trailer":             func(r *http.Request) { r.Trailer = http.Header{"X-A": {"b"}} },
		"no URL":                func(r *http.Request) { r.URL = nil },
		"no header":             func(r *http.Request) { r.Header = nil },
	} {
		s := newScript(nil, 0)
		rt := newTransport(t, func(o *Options) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) { return s, nil }
		})
		req := request(t, "GET", "http://minio:9000/b/k", nil, 0)
		change(req)
		closed := watch(strings.NewReader("x"))
		if req.Body != nil {
			req.Body = struct {
				io.Reader
				io.Closer
			}{req.Body, closed}
		}
		if resp, err := rt.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s is sent", name)
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s reached the connection: %v", name, err)
		}
		if req.Body != nil {
			within(t, closed.closed, name+": the body is closed")
		}
	}
}
