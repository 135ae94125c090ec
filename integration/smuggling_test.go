package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// smuggled is what somebody sends over one connection to get a second request, of which
// a balancer in front would know nothing, past it. In wire, {put} is the head of a signed PUT
// of the object "outer" without its empty line, {delete} that of a signed DeleteObjects whose
// document is {document}, and {inner} a whole signed PUT of the object "inner".
type smuggled struct {
	name, wire string
	// two says that RFC 9112 takes it for two requests; else {inner} must never run. last says
	// that the proxy ends the connection after the first all the same, which it has to where
	// others may see another end.
	two, last bool
	// stored is what may be stored as "outer"; "" for nothing.
	stored string
	// refused says that RFC 9112 wants it refused, by a status or by the end of the connection.
	refused bool
}

const deleteDocument = "<Delete><Object><Key>nothing</Key></Object></Delete>"

// lengths are ways to say, or not to say, that a body has three bytes.
func lengths() (all []smuggled) {
	for _, l := range []struct {
		text         string
		two, refused bool
	}{
		{"Content-Length: 3", true, false},
		{"content-length:3", true, false},
		{"Content-Length: \t3 \t", true, false},
		{"Content-Length: 003", true, false},
		{"Content-Length: 3\r\nContent-Length: 3", true, false}, // may be refused, too
		{"Content-Length: 3\r\nContent-Length: 4", false, true},
		{"Content-Length: 0\r\nContent-Length: 3", false, true},
		{"Content-Length: 3, 4", false, true},
		{"Content-Length: +3", false, true},
		{"Content-Length: -3", false, true},
		{"Content-Length: -0", false, true},
		{"Content-Length: 3 3", false, true},
		{"Content-Length: 0x3", false, true},
		{"Content-Length: 3.0", false, true},
		{"Content-Length: 1e0", false, true},
		{"Content-Length: 3;", false, true},
		{"Content-Length: \"3\"", false, true},
		{"Content-Length: \x0b3", false, true},
		{"Content-Length: 3\x00", false, true},
		{"Content-Length: \uff13", false, true},
		{"Content-Length: 18446744073709551619", false, true},
		{"Content-Length: 9223372036854775808", false, true},
		{"Content-Length : 3", false, true},
		{"Content-Length\t: 3", false, true},
		{"Content-Length\x00: 3", false, true},
		{"Content-Length: 3\rX: y", false, true},
		{"X: y\rContent-Length: 3", false, true},
	} {
		all = append(all, smuggled{
			name: fmt.Sprintf("length %q", l.text), wire: "{put}" + l.text + "\r\n\r\nabc{inner}",
			two: l.two, refused: l.refused, stored: "abc",
		})
	}
	return all
}

// codings are ways to say that a body has chunks, beside a length that takes all for the body.
func codings() (all []smuggled) {
	const chunks = "0\r\n\r\n{inner}"
	for _, c := range []struct {
		text    string
		refused bool // else it may be read by the length
	}{
		{"Transfer-Encoding: chunked", true}, // 411: S3 wants to know the length
		{"transfer-encoding:chunked", true},
		{"Transfer-Encoding: Chunked", true},
		{"Transfer-Encoding: xchunked", true},
		{"Transfer-Encoding: chunkedx", true},
		{"Transfer-Encoding: chunked, identity", true},
		{"Transfer-Encoding: identity, chunked", true},
		{"Transfer-Encoding: gzip, chunked", true},
		{"Transfer-Encoding: chunked, chunked", true},
		{"Transfer-Encoding: \"chunked\"", true},
		{"Transfer-Encoding: 'chunked'", true},
		{"Transfer-Encoding: chunked;q=1", true},
		{"Transfer-Encoding: \x0bchunked", true},
		{"Transfer-Encoding: chunked\x00", true},
		{"Transfer-Encoding:\r\n chunked", true},
		{"Transfer-Encoding:\r\n\tchunked\r\n\t, x", true},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", true},
		{"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", true},
		{"Transfer-Encoding: identity", true},
		{"Transfer-Encoding:", true},
		{"Transfer-Encoding : chunked", true},
		{"Transfer-Encoding\x0b: chunked", true},
		{" Transfer-Encoding: chunked", false}, // goes on with the field before it, or is refused
		{"X: y\rTransfer-Encoding: chunked", true},
		{"X: y\nTransfer-Encoding: chunked", true}, // a line end as RFC 9112 allows it, or none
		{"X: y\r\rTransfer-Encoding: chunked", true},
		{"X: y\r\n\rTransfer-Encoding: chunked", true},
		{"Transfer_Encoding: chunked", false},
		{"X-Transfer-Encoding: chunked", false},
		{"Content-Encoding: chunked", false},
		{"TE: chunked", false},
		{"Connection: Content-Length", false},
		{"Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked", true},
		{"Trailer: Content-Length", false},
	} {
		all = append(all, smuggled{
			name: fmt.Sprintf("coding %q", c.text), wire: fmt.Sprintf("{put}%s\r\nContent-Length: {rest}\r\n\r\n%s", c.text, chunks),
			refused: c.refused, stored: chunks,
		})
		all = append(all, smuggled{
			name: fmt.Sprintf("coding after the length %q", c.text), wire: fmt.Sprintf("{put}Content-Length: {rest}\r\n%s\r\n\r\n%s", c.text, chunks),
			refused: c.refused, stored: chunks,
		})
	}
	// The other way round: the chunk takes all, the length ends in it.
	return append(all, smuggled{
		name: "a length that ends in a chunk", last: true, wire: "{delete}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{size}\r\n{document}\r\n0\r\n\r\n{inner}",
	})
}

// chunks are ways to write a body of chunks that {inner} follows.
func chunks() (all []smuggled) {
	for _, c := range []struct {
		name, body string
		two        bool
	}{
		{"plain", "{size}\r\n{document}\r\n0\r\n\r\n", true},
		{"capitals", "{SIZE}\r\n{document}\r\n00\r\n\r\n", true},
		{"an extension", "{size};a=b;c=\"d\"\r\n{document}\r\n0;e\r\n\r\n", true},
		{"a trailer", "{size}\r\n{document}\r\n0\r\nX: y\r\n\r\n", true},
		{"a size that ends with LF", "{size}\n{document}\r\n0\r\n\r\n", false},
		{"a size that ends with CR", "{size}\r{document}\r\n0\r\n\r\n", false},
		{"a size that ends with CR CR LF", "{size}\r\r\n{document}\r\n0\r\n\r\n", false},
		{"an extension with LF", "{size};a\nb\r\n{document}\r\n0\r\n\r\n", false},
		{"an extension with CR", "{size};a\rb\r\n{document}\r\n0\r\n\r\n", false},
		{"an extension that hides a chunk", "{size};\n{document}\r\n0\r\n\r\n", false},
		{"a last extension with LF", "{size}\r\n{document}\r\n0;a\n\r\n", false},
		{"a sign", "+{size}\r\n{document}\r\n0\r\n\r\n", false},
		{"a minus", "-{size}\r\n{document}\r\n0\r\n\r\n", false},
		{"0x", "0x{size}\r\n{document}\r\n0\r\n\r\n", false},
		{"an underscore", "0_{size}\r\n{document}\r\n0\r\n\r\n", false},
		{"a blank before", " {size}\r\n{document}\r\n0\r\n\r\n", false},
		{"a size that overflows", "100000000000000{size}\r\n{document}\r\n0\r\n\r\n", false},
		{"a size that is none", "g\r\n{document}\r\n0\r\n\r\n", false},
		{"no size", "\r\n{document}\r\n0\r\n\r\n", false},
		{"data that is longer", "{size}\r\n{document}x\r\n0\r\n\r\n", false},
		{"data that ends with LF", "{size}\r\n{document}\n0\r\n\r\n", false},
		{"data that ends with nothing", "{size}\r\n{document}0\r\n\r\n", false},
		{"data that ends with two bytes", "{size}\r\n{document}xx0\r\n\r\n", false},
		{"a last chunk with a sign", "{size}\r\n{document}\r\n-0\r\n\r\n", false},
		{"a trailer that does not parse", "{size}\r\n{document}\r\n0\r\nX\r\n\r\n", false},
		{"a trailer with CR", "{size}\r\n{document}\r\n0\r\nX: y\rz\r\n\r\n", false},
	} {
		all = append(all, smuggled{name: "chunks: " + c.name, wire: "{delete}Transfer-Encoding: chunked\r\n\r\n" + c.body + "{inner}", two: c.two, last: true, refused: !c.two})
	}
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Trailer"} {
		all = append(all, smuggled{
			name: "a trailer that is announced and forbidden: " + name, refused: true,
			wire: "{delete}Transfer-Encoding: chunked\r\nTrailer: " + name + "\r\n\r\n{size}\r\n{document}\r\n0\r\n" + name + ": 5\r\n\r\n{inner}",
		})
	}
	for _, name := range []string{"X : y", "Content-Length: 5", "Transfer-Encoding: chunked", "Host: x", "Authorization: x", "X-Amz-Date: x", "Connection: close"} {
		all = append(all, smuggled{
			name: "a trailer that means nothing: " + name, two: true, last: true,
			wire: "{delete}Transfer-Encoding: chunked\r\n\r\n{size}\r\n{document}\r\n0\r\n" + name + "\r\n\r\n{inner}",
		})
	}
	return all
}

// oddRequests have other oddities than those of bodies.
func oddRequests() []smuggled {
	const live = "GET /minio/health/live HTTP/1.1\r\n"
	return []smuggled{
		{name: "a body that is a request", wire: "{put}Content-Length: {rest}\r\n\r\n{inner}", stored: "{inner}"},
		{name: "a GET with a body that is a request", wire: live + "Host: x\r\nContent-Length: {rest}\r\n\r\n{inner}"},
		{name: "two hosts", wire: live + "Host: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n{inner}", refused: true},
		{name: "no host", wire: live + "\r\n{inner}", refused: true},
		{name: "a host with a blank", wire: live + "Host: x y\r\n\r\n{inner}", refused: true},
		{name: "a host with a path", wire: live + "Host: x/y\r\n\r\n{inner}", two: true}, // means nothing here: there is one host
		{name: "a field without a colon", wire: live + "Host: x\r\nnonsense\r\n\r\n{inner}", refused: true},
		{name: "a field without a name", wire: live + "Host: x\r\n: y\r\n\r\n{inner}", refused: true},
		{name: "a name with a blank", wire: live + "Host: x\r\nX Y: z\r\n\r\n{inner}", refused: true},
		{name: "a value with NUL", wire: live + "Host: x\r\nX: y\x00z\r\n\r\n{inner}", refused: true},
		{name: "a blank before the first field", wire: live + " Host: x\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "HTTP/0.9", wire: "GET /\r\n{inner}", refused: true},
		{name: "HTTP/1.2", wire: "GET /minio/health/live HTTP/1.2\r\nHost: x\r\n\r\n{inner}", two: true}, // as 1.1, RFC 9110, 2.5
		{name: "HTTP/2.0", wire: "GET /minio/health/live HTTP/2.0\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "HTTP/1.10", wire: "GET /minio/health/live HTTP/1.10\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "http/1.1", wire: "GET /minio/health/live http/1.1\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "four words", wire: "GET / x HTTP/1.1\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "a tab between words", wire: "GET\t/minio/health/live\tHTTP/1.1\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "a path with NUL", wire: "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "a path with CR", wire: "GET /\rx HTTP/1.1\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "a method with a colon", wire: "GE:T / HTTP/1.1\r\nHost: x\r\n\r\n{inner}", refused: true},
		{name: "the preface of HTTP/2", wire: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00{inner}", refused: true},
		{name: "an upgrade to h2c", wire: live + "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{inner}", two: true},
		{name: "an upgrade to a web socket", wire: live + "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n{inner}", two: true},
		{name: "CONNECT", wire: "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n{inner}", two: true}, // no tunnel where it is refused
		{name: "TRACE", wire: "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n{inner}", two: true},
		{name: "an expectation that is none", wire: "{put}Expect: nonsense\r\nContent-Length: 3\r\n\r\n{inner}", refused: true},
		{name: "an expectation twice", wire: "{put}Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc{inner}", two: true, stored: "abc"},
		{name: "an expectation that does not wait", wire: "{put}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc{inner}", two: true, stored: "abc"},
		{name: "an expectation of a refused body", wire: "PUT /x/y HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\nExpect: 100-continue\r\nContent-Length: {rest}\r\n\r\n{inner}", refused: true},
		{name: "another authority in the target", wire: "GET http://other.example/minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n{inner}", two: true},
		{name: "HTTP/1.0 without a length", wire: "GET /minio/health/live HTTP/1.0\r\n\r\n{inner}"},
		{name: "HTTP/1.0 with chunks", last: true, wire: "POST /minio/health/live HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"},
		{
			name: "HTTP/1.0 with a length that ends in a chunk", last: true,
			wire: "POST /minio/health/live HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n300\r\n{inner}\r\n0\r\n\r\n",
		},
	}
}

// spoken is what a connection brought back.
type spoken struct {
	statuses []int
	ended    bool // by the server
}

// speak sends wire over a connection of its own and reads answers until none has come for a while.
func (e *edge) speak(t *testing.T, wire string) (s spoken) {
	t.Helper()
	conn := e.dial(t, "")
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, wire) }()
	reader, wait := bufio.NewReader(conn), 10*time.Second
	for {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			s.ended = !errors.Is(err, os.ErrDeadlineExceeded)
			return s
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		s.statuses, wait = append(s.statuses, resp.StatusCode), 700*time.Millisecond
	}
}

// fillIn replaces the names in braces. {rest} is the length of what follows the empty line.
func (e *edge) fillIn(t *testing.T, text, bucket string) string {
	t.Helper()
	put := e.head(t, request{method: http.MethodPut, bucket: bucket, key: "outer"})
	inner := e.head(t, request{method: http.MethodPut, bucket: bucket, key: "inner"}) + "Content-Length: 5\r\n\r\ninner"
	remove := e.head(t, request{
		method: http.MethodPost, bucket: bucket, query: "delete=", header: map[string]string{"Content-Md5": contentMD5([]byte(deleteDocument))},
	})
	text = strings.NewReplacer("{put}", put, "{inner}", inner, "{delete}", remove, "{document}", deleteDocument,
		"{size}", fmt.Sprintf("%x", len(deleteDocument)), "{SIZE}", fmt.Sprintf("%X", len(deleteDocument))).Replace(text)
	_, rest, _ := strings.Cut(text, "\r\n\r\n")
	return strings.ReplaceAll(text, "{rest}", fmt.Sprint(len(rest)))
}

// Whatever is sent, what reaches MinIO is what RFC 9112 says that was asked for, or nothing:
// no server in front that keeps to it can be made to let a second request pass unseen.
func TestNoRequestIsSmuggledInAnother(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "")
	e.settles(t)
	e.servedMeanwhile(t)
	before := memoryOf(t, e.seal.pid())
	all := append(append(append(lengths(), codings()...), chunks()...), oddRequests()...)
	c := e.client()
	defer c.http.CloseIdleConnections()
	places := make(chan struct{}, 8)
	var group sync.WaitGroup
	for i, s := range all {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			e.smuggle(t, c, s, fmt.Sprintf("smuggled-%d", i))
		})
	}
	group.Wait()
	if after := memoryOf(t, e.seal.pid()); after.rss > before.rss+(48<<20) {
		t.Errorf("memory grew from %d to %d MiB", before.rss>>20, after.rss>>20)
	}
	t.Logf("%d ways to write a request", len(all))
}

func (e *edge) smuggle(t *testing.T, c *client, s smuggled, bucket string) {
	t.Helper()
	c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	mark := e.liar.mark()
	wire := e.fillIn(t, s.wire, bucket)
	got := e.speak(t, wire)
	ran, writes := 0, 0
	for _, r := range e.liar.since(mark, "/"+bucket+"/") {
		switch {
		case strings.HasSuffix(r.path, "/inner"):
			ran++
		case r.method == http.MethodPut:
			writes++
		}
	}
	what := fmt.Sprintf("%s: answers %v", s.name, got.statuses)
	most := 1
	if s.two {
		most = 2
	}
	refused := len(got.statuses) == 0 && got.ended || len(got.statuses) == 1 && got.statuses[0] >= 400 && got.ended
	served := len(got.statuses) == 1 && got.statuses[0] < 300 && got.ended
	switch {
	case s.last && !refused && !served:
		t.Errorf("%s, and the connection goes on", what)
	case s.last && s.two && !served:
		t.Errorf("%s: it is right, and refused", what)
	case len(got.statuses) > most:
		t.Errorf("%s to %d requests", what, most)
	case !s.two && ran > 0:
		t.Errorf("%s: the inner request ran", what)
	case s.two && !s.last && !refused && (len(got.statuses) != 2 || ran == 0):
		t.Errorf("%s: two requests, of which the second did not run", what)
	case s.refused && !refused:
		t.Errorf("%s: not refused", what)
	case writes > 1:
		t.Errorf("%s: %d writes of one request", what, writes)
	}
	a := c.do(t, request{method: http.MethodGet, bucket: bucket, key: "outer"})
	_, stored, _ := strings.Cut(wire, "\r\n\r\n")
	if s.stored == "abc" {
		stored = s.stored
	}
	if a.status != http.StatusNotFound && (s.refused || s.stored == "" || string(a.body) != stored) {
		t.Errorf("%s: stored is %d %q", what, a.status, a.body)
	}
}

// servedMeanwhile has another client write and read until the test ends, and checks that
// each of its requests is answered within two seconds.
func (e *edge) servedMeanwhile(t *testing.T) {
	t.Helper()
	e.servedMeanwhileBy(t, e.client())
}

func (e *edge) servedMeanwhileBy(t *testing.T, c *client) {
	t.Helper()
	bucket, data := newBucket(t, c), testData(20_000, 9)
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		defer c.http.CloseIdleConnections()
		slowest := time.Duration(0)
		for n := 0; ; n++ {
			select {
			case <-stop:
				t.Logf("another client was served %d times meanwhile, in at most %v", n, slowest)
				return
			case <-time.After(20 * time.Millisecond):
			}
			began := time.Now()
			put, err := c.try(request{method: http.MethodPut, bucket: bucket, key: "k", body: data})
			if err != nil || put.status != http.StatusOK {
				t.Errorf("another client's PUT: %v %d", err, put.status)
				continue
			}
			got, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k"})
			if err != nil || got.status != http.StatusOK || len(got.body) != len(data) {
				t.Errorf("another client's GET: %v %d", err, got.status)
			}
			slowest = max(slowest, time.Since(began))
		}
	}()
}
