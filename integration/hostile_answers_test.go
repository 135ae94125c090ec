package integration

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// oddity is a way to answer a read of an object that no S3 server would choose.
type oddity struct {
	name string
	// head and body are MinIO's answer, to be sent another way.
	wire func(head http.Header, body []byte) string
	// hold keeps the connection open afterwards.
	hold time.Duration
	// right says that the answer is a proper one all the same.
	right bool
	// weakness says what is wrong with the proxy's reaction, if something is.
	weakness string
}

// wire writes an answer with the headers of MinIO's but for those given, "" to
// leave one out.
func wire(status string, head http.Header, body []byte, pairs ...string) string {
	h := head.Clone()
	h.Set("Content-Length", strconv.Itoa(len(body)))
	for i := 0; i+1 < len(pairs); i += 2 {
		if h.Del(pairs[i]); pairs[i+1] != "" {
			h[pairs[i]] = []string{pairs[i+1]}
		}
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + status + "\r\n")
	_ = h.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	return b.String()
}

func statusOf(head http.Header) string {
	if head.Get("Content-Range") != "" {
		return "206 Partial Content"
	}
	return "200 OK"
}

func oddities(trap string) []oddity {
	const forever = time.Minute
	as := func(status string, pairs ...string) func(http.Header, []byte) string {
		return func(h http.Header, b []byte) string { return wire(status, h, b, pairs...) }
	}
	with := func(pairs ...string) func(http.Header, []byte) string {
		return func(h http.Header, b []byte) string { return wire(statusOf(h), h, b, pairs...) }
	}
	before := func(prefix string) func(http.Header, []byte) string {
		return func(h http.Header, b []byte) string { return prefix + wire(statusOf(h), h, b) }
	}
	return []oddity{
		{name: "201", wire: as("201 Created")},
		{name: "203", wire: as("203 Non-Authoritative Information")},
		{name: "204", wire: func(h http.Header, _ []byte) string { return wire("204 No Content", h, nil, "Content-Length", "") }},
		{name: "304 unasked", wire: func(h http.Header, _ []byte) string { return wire("304 Not Modified", h, nil) }},
		{name: "304 as an S3 error", wire: func(h http.Header, _ []byte) string {
			return wire("304 Not Modified", h, nil, "X-Minio-Error-Code", "NotModified", "X-Minio-Error-Desc", `"x"`)
		}},
		{name: "301 to elsewhere", wire: as("301 Moved Permanently", "Location", trap)},
		{name: "302 to elsewhere", wire: as("302 Found", "Location", trap)},
		{name: "307 to elsewhere", wire: as("307 Temporary Redirect", "Location", trap)},
		{name: "307 as an S3 error", wire: func(h http.Header, _ []byte) string {
			return wire("307 Temporary Redirect", h, []byte("<Error><Code>TemporaryRedirect</Code><Message>m</Message><Endpoint>"+trap+"</Endpoint></Error>"), "Location", trap)
		}},
		{name: "418", wire: as("418 I'm a teapot")},
		{name: "500 in HTML", wire: func(h http.Header, _ []byte) string { return wire("500 Oops", h, []byte("<html>oops")) }},
		{name: "600", wire: as("600 Beyond")},
		{name: "999", wire: as("999 Far Beyond")},
		{name: "099", wire: as("099 Below")},
		{name: "101", wire: func(h http.Header, _ []byte) string {
			return wire("101 Switching Protocols", h, nil, "Content-Length", "", "Connection", "Upgrade", "Upgrade", "x")
		}, hold: forever, weakness: "ends after 30 s, which is longer than this test waits"},
		{name: "103 first", wire: before("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nX-Amz-Meta-Bucketseal: AA\r\n\r\n"), right: true},
		{name: "100 first", wire: before("HTTP/1.1 100 Continue\r\n\r\n"), right: true},
		{name: "a flood of 102", wire: before(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5000))},
		{name: "only 100", wire: func(http.Header, []byte) string { return "HTTP/1.1 100 Continue\r\n\r\n" }, hold: forever},
		{name: "HTTP/0.9", wire: func(_ http.Header, b []byte) string { return string(b) }},
		{name: "HTTP/2.0", wire: func(h http.Header, b []byte) string { return "HTTP/2.0" + wire(statusOf(h), h, b)[8:] }},
		{name: "nothing", wire: func(http.Header, []byte) string { return "" }},
		{name: "half a head, for ever", wire: func(h http.Header, b []byte) string { return wire(statusOf(h), h, b)[:60] }, hold: forever},
		{name: "huge head", wire: with("X-Huge", strings.Repeat("a", 12<<20))},
		{name: "many headers", wire: func(h http.Header, b []byte) string {
			h = h.Clone()
			for i := range 3000 {
				h.Set("X-Amz-Meta-"+strconv.Itoa(i), "x")
			}
			return wire(statusOf(h), h, b)
		}, right: true},
		{name: "header of a megabyte", wire: with("X-Amz-Meta-Big", strings.Repeat("a", 1<<20)), right: true},
		{name: "header with a control character", wire: with("X-Amz-Meta-Odd", "a\x00b")},
		{name: "Content-Length too long", wire: func(h http.Header, b []byte) string {
			return wire(statusOf(h), h, b, "Content-Length", strconv.Itoa(len(b)+1))
		}},
		{name: "Content-Length too short", wire: func(h http.Header, b []byte) string {
			return wire(statusOf(h), h, b, "Content-Length", strconv.Itoa(len(b)-1))
		}},
		{name: "no Content-Length", wire: with("Content-Length", "", "Connection", "close")},
		{name: "negative Content-Length", wire: with("Content-Length", "-1")},
		{name: "huge Content-Length", wire: with("Content-Length", "9223372036854775807")},
		{name: "two Content-Lengths", wire: with("Content-length", "5", "CONTENT-LENGTH", "7")},
		{name: "chunked", wire: func(h http.Header, b []byte) string {
			return wire(statusOf(h), h, []byte(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(b), b)), "Content-Length", "", "Transfer-Encoding", "chunked")
		}},
		{name: "chunked, silent", wire: func(h http.Header, _ []byte) string {
			return wire(statusOf(h), h, nil, "Content-Length", "", "Transfer-Encoding", "chunked")
		}, hold: forever, weakness: "ends after 30 s, which is longer than this test waits"},
		{name: "error, silent", wire: func(h http.Header, _ []byte) string {
			return wire("403 Forbidden", h, nil, "Content-Length", "900")
		}, hold: forever, weakness: "ends after 30 s, which is longer than this test waits"},
		{
			name: "silent after the head", wire: func(h http.Header, b []byte) string { return strings.TrimSuffix(wire(statusOf(h), h, b), string(b)) }, hold: forever,
			weakness: "ends after 30 s, which is longer than this test waits",
		},
		{name: "silent in the body", wire: func(h http.Header, b []byte) string {
			w := wire(statusOf(h), h, b)
			return w[:len(w)-len(b)/3]
		}, hold: forever, weakness: "ends after 30 s, which is longer than this test waits"},
		{name: "cut in the body", wire: func(h http.Header, b []byte) string {
			w := wire(statusOf(h), h, b)
			return w[:len(w)-len(b)/3]
		}},
		{name: "gzip in name only", wire: with("Content-Encoding", "gzip"), right: true},
		{name: "gzip", wire: func(h http.Header, b []byte) string {
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			_, _ = w.Write(b)
			_ = w.Close()
			return wire(statusOf(h), h, z.Bytes(), "Content-Encoding", "gzip")
		}},
		{name: "no ETag", wire: with("Etag", ""), right: true},
		{name: "another ETag", wire: with("Etag", `"00000000000000000000000000000000"`), right: true},
		{name: "an ETag of 100 KiB", wire: with("Etag", strings.Repeat("e", 100<<10)), right: true},
		{name: "dates from nowhere", wire: with("Last-Modified", "yesterday", "Date", "never"), right: true},
		{name: "multipart ranges", wire: as("206 Partial Content", "Content-Type", "multipart/byteranges; boundary=x", "Content-Range", "")},
		{name: "a Content-Range too many", wire: as("206 Partial Content", "Content-Range", "bytes 0-9/10")},
		{name: "another total", wire: as("206 Partial Content", "Content-Range", "bytes 0-65567/99999")},
		{name: "a trailer", wire: with("Trailer", "X-Amz-Meta-Bucketseal"), right: true},
		{name: "headers that steer clients", wire: with("Location", trap, "Alt-Svc", `h2="`+trap+`"`, "Refresh", "0; url="+trap, "Set-Cookie", "a=b"), right: true},
		{name: "a second answer behind the first", wire: func(h http.Header, b []byte) string {
			return wire(statusOf(h), h, b) + wire("200 OK", h, []byte("planted"))
		}, right: true},
	}
}

func TestHostileUpstreamAnswersOddly(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	objects := h.hostileObjects(t, bucket)[:2]
	trap, visits := newTrap(t)
	h.unharmed(t)
	for _, odd := range oddities(trap) {
		t.Run(odd.name, func(t *testing.T) {
			weakness(t, odd.weakness)
			for _, o := range objects {
				h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
					if !isRead(r, o) {
						return false
					}
					header := map[string]string{}
					if rng := r.Header.Get("Range"); rng != "" {
						header["Range"] = rng
					}
					theirs := h.fetchRaw(http.MethodGet, bucket, o.key, header)
					body, _ := io.ReadAll(theirs.Body)
					answer := odd.wire(theirs.Header, body)
					if r.Method == http.MethodHead {
						answer, _, _ = strings.Cut(answer, "\r\n\r\n")
						answer += "\r\n\r\n"
					}
					return raw(answer, odd.hold)(w, r)
				})
				whole := h.readOnce(t, o, http.MethodGet, 0, len(o.data), "")
				if odd.right && !whole.complete() {
					t.Errorf("%s: status %d %s, body error %v; the answer was right", o.name, whole.status, whole.code, whole.bodyErr)
				}
				if odd.hold > 0 {
					break // each of these costs seconds
				}
				h.readOnce(t, o, http.MethodGet, len(o.data)-50, len(o.data), "bytes=-50")
				h.readOnce(t, o, http.MethodHead, 0, len(o.data), "")
			}
		})
	}
	h.up.honest()
	for _, o := range objects {
		if a := h.readOnce(t, o, http.MethodGet, 0, len(o.data), ""); !a.complete() {
			t.Errorf("%s: not readable when the upstream is honest again: %d %s", o.name, a.status, a.code)
		}
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the proxy or the client followed the upstream elsewhere, %d times", n)
	}
}

// newTrap is where redirects lead; it counts who comes.
func newTrap(t *testing.T) (url string, visits *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	visits = new(atomic.Int32)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) })}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String() + "/", visits
}
