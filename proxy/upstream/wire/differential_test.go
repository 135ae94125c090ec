package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is a connection whose other side says one thing, once it was asked, and ends.
type script struct {
	net.Conn
	says  *bytes.Reader
	asked chan struct{}
	once  sync.Once
	step  int // bytes a read; 0 for as many as fit
}

func newScript(says []byte, step int) *script {
	return &script{says: bytes.NewReader(says), asked: make(chan struct{}), step: step}
}

func (s *script) Read(p []byte) (int, error) {
	<-s.asked
	if s.step > 0 && len(p) > s.step {
		p = p[:s.step]
	}
	return s.says.Read(p)
}

func (s *script) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.asked) })
	return len(p), nil
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.asked) })
	return nil
}
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// heard is what a client makes of an answer.
type heard struct {
	status string
	code   int
	length int64
	header http.Header
	body   []byte
	err    error // of the body
}

func hear(rt http.RoundTripper, method string) (*heard, error) {
	req, err := http.NewRequest(method, "http://minio.example:9000/b/k", nil)
	if err != nil {
		return nil, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	h := &heard{status: resp.Status, code: resp.StatusCode, length: resp.ContentLength, header: resp.Header}
	h.body, h.err = io.ReadAll(resp.Body)
	return h, nil
}

func hearWire(says []byte, method string, step int) (*heard, error) {
	t := New(Options{Dial: func(context.Context, string, string) (net.Conn, error) { return newScript(says, step), nil }})
	return hear(t, method)
}

func hearStandard(says []byte, method string) (*heard, error) {
	t := &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return newScript(says, 0), nil },
		DisableCompression: true,
		DisableKeepAlives:  true,
	}
	defer t.CloseIdleConnections()
	return hear(t, method)
}

// agree fails if this package believes more of an answer than net/http does, or something
// else.
func agree(t *testing.T, says []byte, method string) {
	t.Helper()
	ours, err := hearWire(says, method, 0)
	slow, slowErr := hearWire(says, method, 1+len(says)>>16)
	if (err == nil) != (slowErr == nil) || err == nil && (!bytes.Equal(ours.body, slow.body) || (ours.err == nil) != (slow.err == nil)) {
		t.Fatalf("%q depends on how it arrives: %v, %v; %+v, %+v", says, err, slowErr, ours, slow)
	}
	if err != nil {
		return
	}
	theirs, err := hearStandard(says, method)
	if err != nil {
		t.Fatalf("%q: net/http refuses: %v", says, err)
	}
	if ours.status != theirs.status || ours.code != theirs.code || ours.length != theirs.length || !maps.EqualFunc(ours.header, theirs.header, slices.Equal) {
		t.Fatalf("%q is\n%+v, to net/http\n%+v", says, ours, theirs)
	}
	switch {
	case ours.err == nil && theirs.err != nil:
		t.Fatalf("%q: net/http refuses the body: %v", says, theirs.err)
	case ours.err == nil && !bytes.Equal(ours.body, theirs.body):
		t.Fatalf("%q has the body %q, to net/http %q", says, ours.body, theirs.body)
	case !bytes.HasPrefix(theirs.body, ours.body):
		t.Fatalf("%q begins with %q, to net/http with %q", says, ours.body, theirs.body)
	}
}

// answers are answers, and whether they are believed whole.
var answers = []struct {
	says string
	good bool
}{
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true},
	{"HTTP/1.1 200 OK\r\ncontent-length:3\r\nETag: \"x\" \r\nX-Amz-Meta-A: 1\r\nx-amz-meta-a: 2\r\n\r\nabc", true},
	{"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true},
	{"HTTP/1.1 204 No Content\r\n\r\n", true},
	{"HTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nup to the end", true},
	{"HTTP/1.0 200 OK\r\n\r\nup to the end", true},
	{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", true},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;a=b\r\n0123456789abcdef\r\n0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: X-A\r\n\r\n3;x\r\nabc\r\n00\r\nX-A: b\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 4000) + "Content-Length: 0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 1<<20) + "\r\nContent-Length: 0\r\n\r\n", true},
	{"HTTP/1.1 503 Slow Down\r\nContent-Length: 2\r\n\r\nno and more", true},

	{"", false},
	{"HTTP/1.1 200 OK\r\n", false},
	{"HTTP/1.1 200 OK\nContent-Length: 0\n\n", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\n Content-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 3\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 ;x\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA b\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("x", 300) + "\r\nabc\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\na\r\n", 60) + "0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 2000) + "\r\n", false},
	{"HTTP/1.1 101 Switching Protocols\r\n\r\n", false},
	{"HTTP/1.1 099 Low\r\n\r\n", false},
	{"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 5000) + "\r\n", false},
	{"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 3<<20) + "\r\nContent-Length: 0\r\n\r\n", false},
}

func TestAnswersThatAreBelievedAndThoseThatAreNot(t *testing.T) {
	t.Parallel()
	for _, tt := range answers {
		for _, step := range []int{0, 1 + len(tt.says)>>16, 7 + len(tt.says)>>16} {
			h, err := hearWire([]byte(tt.says), http.MethodGet, step)
			if good := err == nil && h.err == nil; good != tt.good {
				t.Errorf("%.120q: %v %+v", tt.says, err, h)
			}
		}
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
			agree(t, []byte(tt.says), method)
		}
	}
}

func TestErrorsOfAnswersAreNamed(t *testing.T) {
	t.Parallel()
	if _, err := hearWire([]byte("HTTP/1.1 200 OK\r\nA : b\r\n\r\n"), http.MethodGet, 0); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if h, err := hearWire([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"), http.MethodGet, 0); err != nil || !errors.Is(h.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, %+v", err, h)
	}
}

// Of answers this package believes nothing that net/http does not.
func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		if len(a.says) < 4<<10 {
			f.Add([]byte(a.says), false)
			f.Add([]byte(a.says), true)
		}
	}
	f.Fuzz(func(t *testing.T, says []byte, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		agree(t, says, method)
	})
}
