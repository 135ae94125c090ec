package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lyingUpstream is an HTTP proxy between bucketseal and MinIO. As it stands it
// passes everything on unchanged and keeps a list of the requests; a test can
// make it alter answers, give its own, or break off.
type lyingUpstream struct {
	target   string
	addr     string
	server   *http.Server
	outbound *http.Transport

	mu       sync.Mutex
	requests []*upstreamRequest
	lie      lie
}

// upstreamRequest is one request that bucketseal sent to MinIO.
type upstreamRequest struct {
	method, path, query string
	header              http.Header
	status              int
	// sent and received are bytes of bodies, towards MinIO and back.
	sent, received int64
}

func (r *upstreamRequest) String() string {
	return fmt.Sprintf("%s %s?%s Range=%q -> %d (%d bytes up, %d down)",
		r.method, r.path, r.query, r.header.Get("Range"), r.status, r.sent, r.received)
}

// lie alters what passes. Each function may be nil.
type lie struct {
	// answer gives an answer in MinIO's stead; nil asks MinIO.
	answer func(*http.Request) *http.Response
	// alter changes MinIO's answer before it is passed on.
	alter func(*http.Request, *http.Response)
}

func newLyingUpstream(target string) (*lyingUpstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &lyingUpstream{
		target: target, addr: l.Addr().String(),
		outbound: &http.Transport{
			DisableCompression: true, MaxIdleConnsPerHost: 64,
			ExpectContinueTimeout: 10 * time.Second,
		},
	}
	u.server = &http.Server{Handler: u, ReadHeaderTimeout: time.Minute}
	go func() { _ = u.server.Serve(l) }()
	return u, nil
}

func (u *lyingUpstream) endpoint() string { return "http://" + u.addr }

func (u *lyingUpstream) close() {
	u.server.Close()
	u.outbound.CloseIdleConnections()
}

// tell makes it lie from now on; an empty lie ends that.
func (u *lyingUpstream) tell(l lie) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lie = l
}

// mark returns a position in the list of requests, for since.
func (u *lyingUpstream) mark() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// since returns the requests after mark whose path begins with prefix.
func (u *lyingUpstream) since(mark int, prefix string) []*upstreamRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	var found []*upstreamRequest
	for _, r := range u.requests[mark:] {
		if strings.HasPrefix(r.path, prefix) {
			c := *r
			found = append(found, &c)
		}
	}
	return found
}

// ServeHTTP passes one request on.
func (u *lyingUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	seen := &upstreamRequest{method: r.Method, path: path, query: r.URL.RawQuery, header: r.Header.Clone()}
	u.mu.Lock()
	u.requests = append(u.requests, seen)
	l := u.lie
	u.mu.Unlock()

	var resp *http.Response
	if l.answer != nil {
		resp = l.answer(r)
	}
	if resp == nil {
		var err error
		if resp, err = u.forward(r, path, seen); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	defer resp.Body.Close()
	if l.alter != nil {
		l.alter(r, resp)
	}
	u.note(func() { seen.status = resp.StatusCode })
	copyAnswer(w, resp, func(n int64) { u.note(func() { seen.received += n }) })
}

func (u *lyingUpstream) note(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

func (u *lyingUpstream) forward(r *http.Request, path string, seen *upstreamRequest) (*http.Response, error) {
	body := countingReader{r.Body, func(n int) { u.note(func() { seen.sent += int64(n) }) }}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+u.target, body)
	if err != nil {
		return nil, err
	}
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	out.ContentLength = r.ContentLength
	out.TransferEncoding = r.TransferEncoding
	out.URL.Opaque, out.URL.RawQuery = path, r.URL.RawQuery
	// The signature covers Host: MinIO must see the one bucketseal signed.
	out.Host = r.Host
	out.Header = r.Header.Clone()
	resp, err := u.outbound.RoundTrip(out)
	if errors.Is(err, context.Canceled) {
		return nil, http.ErrAbortHandler
	}
	return resp, err
}

// copyAnswer writes an answer as it is; a body that is shorter than its
// Content-Length breaks the connection off, as a failing MinIO would.
func copyAnswer(w http.ResponseWriter, resp *http.Response, count func(int64)) {
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	if resp.ContentLength >= 0 && resp.Header.Get("Content-Length") == "" && resp.Request != nil && resp.Request.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	w.WriteHeader(resp.StatusCode)
	body := countingReader{resp.Body, func(n int) { count(int64(n)) }}
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

type countingReader struct {
	io.ReadCloser
	count func(int)
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.count(n)
	return n, err
}

// alterBody reads a whole answer body, gives it to change, and sets what change
// returns, with a fitting Content-Length.
func alterBody(resp *http.Response, change func([]byte) []byte) {
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil {
		data = change(data)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	resp.ContentLength = int64(len(data))
	resp.Header.Set("Content-Length", strconv.Itoa(len(data)))
}

// isGet says whether a request reads the object bucket/key.
func isGet(r *http.Request, bucket, key string) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/"+bucket+"/"+key
}
