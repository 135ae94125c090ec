package integration

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// narrow are limits that a test reaches within seconds.
const narrow = `limits:
  read_header: 1s
  idle: 1s
  stall: 1s
  max_requests: 4
  queue_wait: 1s
`

func TestSlowClientsAreGivenUp(t *testing.T) {
	t.Parallel()
	e := newEdge(t, strings.Replace(narrow, "max_requests: 4", "max_requests: 100", 1))
	c := e.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "large", testData(24<<20, 1), nil).wantStatus(t, http.StatusOK)
	e.settles(t)

	t.Run("at once", func(t *testing.T) { e.slowRequests(t, bucket) })
	t.Run("an answer that nobody takes", func(t *testing.T) {
		conn := e.dial(t, "")
		send(conn, e.head(t, request{method: http.MethodGet, bucket: bucket, key: "large"})+"\r\n")
		waitUntil(t, "the request runs", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") == 1 })
		waitUntil(t, "the request has ended", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") == 0 })
		if n, err := io.Copy(io.Discard, conn); err == nil && n > 24<<20 {
			t.Error("the answer is whole")
		}
	})
	wantNothingStored(t, e.stack, bucket, "stalled")
	c.get(t, bucket, "large", nil).wantStatus(t, http.StatusOK).wantBody(t, testData(24<<20, 1))
}

// slowRequests are clients that stall or drip, side by side.
func (e *edge) slowRequests(t *testing.T, bucket string) {
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		endsWithin(t, e.dial(t, ""), 10*time.Second)
	})
	t.Run("headers that drip", func(t *testing.T) {
		t.Parallel()
		conn := e.dial(t, "")
		send(conn, "GET / HTTP/1.1\r\n")
		go func() {
			for i := 0; send(conn, fmt.Sprintf("X-%d: a\r\n", i)); i++ {
				time.Sleep(100 * time.Millisecond)
			}
		}()
		endsWithin(t, conn, 10*time.Second)
	})
	t.Run("idle after a request", func(t *testing.T) {
		t.Parallel()
		conn := e.dial(t, "")
		send(conn, "GET /minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
		if text := endsWithin(t, conn, 10*time.Second); !strings.HasPrefix(text, "HTTP/1.1 200") {
			t.Errorf("%s", text)
		}
	})
	t.Run("a health check with a body that never comes", func(t *testing.T) {
		t.Parallel()
		conn := e.dial(t, "")
		send(conn, "GET /minio/health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		endsWithin(t, conn, 15*time.Second)
	})
	for name, size := range map[string]int{"small": 100_000, "large": 20 << 20} {
		t.Run(name+" body that stalls", func(t *testing.T) {
			t.Parallel()
			conn := e.dial(t, "")
			send(conn, e.head(t, request{method: http.MethodPut, bucket: bucket, key: "stalled"})+fmt.Sprintf("Content-Length: %d\r\n\r\nabc", size))
			if text := endsWithin(t, conn, 15*time.Second); !strings.HasPrefix(text, "HTTP/1.1 400") || !strings.Contains(text, "<Code>RequestTimeout</Code>") {
				t.Errorf("%s", text)
			}
		})
		t.Run(name+" body that drips", func(t *testing.T) {
			t.Parallel()
			conn := e.dial(t, "")
			send(conn, e.head(t, request{method: http.MethodPut, bucket: bucket, key: "stalled"})+fmt.Sprintf("Content-Length: %d\r\n\r\n", size))
			go func() {
				for send(conn, "a") {
					time.Sleep(50 * time.Millisecond)
				}
			}()
			endsWithin(t, conn, 15*time.Second)
		})
	}
	t.Run("a refused body that stalls", func(t *testing.T) {
		t.Parallel()
		conn := e.dial(t, "")
		send(conn, "PUT /"+bucket+"/k HTTP/1.1\r\nHost: x\r\nAuthorization: nonsense\r\nContent-Length: 1000\r\n\r\nabc")
		if text := endsWithin(t, conn, 15*time.Second); !strings.HasPrefix(text, "HTTP/1.1 400") {
			t.Errorf("%s", text)
		}
	})
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience * 20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

func TestTooManyRequestsWaitAndAreThenRefused(t *testing.T) {
	e := newEdge(t, narrow)
	c := e.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", testData(5000, 2), nil).wantStatus(t, http.StatusOK)
	e.settles(t)

	release := make(chan struct{})
	e.liar.tell(lie{answer: func(r *http.Request) *http.Response {
		if isGet(r, bucket, "k") {
			<-release
		}
		return nil
	}})
	answers := make(chan answer, 20)
	var all sync.WaitGroup
	ask := func(n int) {
		for range n {
			all.Go(func() {
				a, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k"})
				if err != nil {
					t.Error(err)
				}
				answers <- a
			})
		}
	}
	ask(4)
	waitUntil(t, "all places are taken", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") == 4 })
	ask(4)
	waitUntil(t, "as many wait", func() bool { return e.metric(t, "bucketseal_s3_requests_queued") == 4 })
	refused := c.get(t, bucket, "k", nil).wantError(t, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	if refused.header.Get("Retry-After") == "" {
		t.Error("the refusal does not say when to come again")
	}
	if resp, err := http.Get(e.seal.endpoint() + "/minio/health/ready"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("not ready while it is busy: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	for range 4 { // whose wait is over
		(<-answers).wantError(t, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	}
	ask(2)
	waitUntil(t, "two wait", func() bool { return e.metric(t, "bucketseal_s3_requests_queued") == 2 })
	close(release)
	all.Wait()
	close(answers)
	for a := range answers {
		a.wantStatus(t, http.StatusOK).wantBody(t, testData(5000, 2))
	}
	if n := e.metric(t, "bucketseal_s3_requests_refused_total"); n != 5 {
		t.Errorf("%v refused, want 5", n)
	}
}

func TestHeadersBeyondTheLimit(t *testing.T) {
	t.Parallel()
	e := newEdge(t, narrow)
	ref := referenceClient(t)
	e.settles(t)
	for _, header := range []map[string]string{
		{"X-Big": strings.Repeat("a", 70<<10)},
		manyHeaders(2000),
	} {
		r := request{method: http.MethodGet, header: header}
		got := e.client().do(t, r)
		got.wantError(t, http.StatusBadRequest, "MetadataTooLarge", "")
		wantAsReference(t, got, ref.do(t, r))
	}
	before := memoryOf(t, e.seal.pid())
	for _, line := range []string{"X: " + strings.Repeat("a", 1000) + "\r\n", strings.Repeat("a", 1000)} {
		conn := e.dial(t, "")
		send(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
		sent := 0
		for sent < 100<<20 && send(conn, line) {
			sent += len(line)
		}
		if sent >= 100<<20 {
			t.Error("100 MiB of headers were taken")
		}
		t.Logf("%d KiB of headers were sent before the connection ended", sent>>10)
	}
	if after := memoryOf(t, e.seal.pid()); after.rss > before.rss+(32<<20) {
		t.Errorf("memory grew from %d to %d MiB", before.rss>>20, after.rss>>20)
	}
}

func manyHeaders(n int) map[string]string {
	all := make(map[string]string, n)
	for i := range n {
		all[fmt.Sprintf("X-Many-%d", i)] = "a"
	}
	return all
}

func TestXMLThatIsMadeToCost(t *testing.T) {
	t.Parallel()
	e := newEdge(t, narrow)
	c := e.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", testData(100, 3), nil).wantStatus(t, http.StatusOK)
	e.settles(t)
	lol := `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`
	bodies := map[string]func(root string) string{
		"entities": func(root string) string { return lol + "<" + root + ">&b;</" + root + ">" },
		"external": func(root string) string {
			return `<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><` + root + ">&x;</" + root + ">"
		},
		"deep": func(root string) string {
			return "<" + root + ">" + strings.Repeat("<a>", 5000) + strings.Repeat("</a>", 5000) + "</" + root + ">"
		},
	}
	for _, target := range []struct{ root, method, key, query string }{
		{"Delete", http.MethodPost, "", "delete="},
		{"Tagging", http.MethodPut, "k", "tagging="},
		{"Tagging", http.MethodPut, "", "tagging="},
		{"ServerSideEncryptionConfiguration", http.MethodPut, "", "encryption="},
		{"LifecycleConfiguration", http.MethodPut, "", "lifecycle="},
		{"CreateBucketConfiguration", http.MethodPut, "", ""},
		{"VersioningConfiguration", http.MethodPut, "", "versioning="},
		{"CompleteMultipartUpload", http.MethodPost, "k", "uploadId=" + startUpload(t, c, bucket, "k")},
	} {
		for name, body := range bodies {
			mark := e.liar.mark()
			data := []byte(body(target.root))
			got := c.do(t, request{
				method: target.method, bucket: bucket, key: target.key, query: target.query, body: data,
				header: map[string]string{"Content-Md5": contentMD5(data)}, payload: sha256Hex(data),
			})
			got.wantError(t, http.StatusBadRequest, "MalformedXML", "")
			for _, r := range e.liar.since(mark, "/"+bucket) {
				if ownQuestion := target.query == "encryption=" && r.sent < 300; r.sent > 0 && !ownQuestion { // whether the caller may
					t.Errorf("%s of %s reached MinIO: %v", name, target.root, r)
				}
			}
		}
	}
	long := []byte("<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 200_000) + "</Delete>")
	c.do(t, request{
		method: http.MethodPost, bucket: bucket, query: "delete=", body: long,
		header: map[string]string{"Content-Md5": contentMD5(long)}, payload: sha256Hex(long),
	}).wantError(t, http.StatusBadRequest, "EntityTooLarge", "")
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
}

func startUpload(t *testing.T, c *client, bucket, key string) string {
	t.Helper()
	a := c.do(t, request{method: http.MethodPost, bucket: bucket, key: key, query: "uploads="}).wantStatus(t, http.StatusOK)
	_, rest, _ := strings.Cut(string(a.body), "<UploadId>")
	id, _, ok := strings.Cut(rest, "</UploadId>")
	if !ok {
		t.Fatalf("no upload id in %s", a.body)
	}
	return escapePath(id)
}

func TestBodiesThatLie(t *testing.T) {
	t.Parallel()
	e := newEdge(t, narrow)
	c := e.client()
	bucket := newBucket(t, c)
	e.settles(t)
	chunked := func(length string) string {
		return e.head(t, request{
			method: http.MethodPut, bucket: bucket, key: "lie", payload: streamingUnsignedTrailer,
			header: map[string]string{"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": length, "X-Amz-Trailer": "x-amz-checksum-crc32c"},
		})
	}
	plain := e.head(t, request{method: http.MethodPut, bucket: bucket, key: "lie"})
	endless := strings.Repeat("a", 16<<10)
	for _, tc := range []struct {
		name, start, repeat, want string
	}{
		{"a chunk of a size beyond all", chunked("1000") + "Content-Length: 99999999\r\n\r\nffffffffffffffff\r\n", endless, "HTTP/1.1 400"},
		{"a chunk with a sign", chunked("1000") + "Content-Length: 2000\r\n\r\n-1\r\n", endless, "HTTP/1.1 400"},
		{"a chunk larger than declared", chunked("1000") + "Content-Length: 99999999\r\n\r\n5f5e000\r\n", endless, "HTTP/1.1 400"},
		{"a chunk's line that never ends", chunked("1000") + "Content-Length: 99999999\r\n\r\n", endless, "HTTP/1.1 400"},
		{"a trailer that never ends", chunked("1") + "Content-Length: 99999999\r\n\r\n1\r\na\r\n0\r\n", endless, "HTTP/1.1 400"},
		{"no length and no end", plain + "Transfer-Encoding: chunked\r\n\r\n", "4000\r\n" + endless + "\r\n", "HTTP/1.1 411"},
		{"a document without end", e.head(t, request{method: http.MethodPost, bucket: bucket, query: "delete="}) + "Transfer-Encoding: chunked\r\n\r\n", "4000\r\n" + endless + "\r\n", "HTTP/1.1 400"},
		{"two lengths that differ", plain + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", endless, "HTTP/1.1 400"},
		{"a negative length", plain + "Content-Length: -1\r\n\r\n", endless, "HTTP/1.1 400"},
		{"an unknown coding", plain + "Transfer-Encoding: gzip\r\n\r\n", endless, "HTTP/1.1 501"},
		{"chunk extensions without end", plain + "Transfer-Encoding: chunked\r\n\r\n5;" + endless, endless, "HTTP/1.1 4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn := e.dial(t, "")
			send(conn, tc.start)
			go func() {
				for send(conn, tc.repeat) {
				}
			}()
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			first, err := bufio.NewReader(conn).ReadString('\n')
			if !strings.HasPrefix(first, tc.want) {
				t.Errorf("%q, %v; want %s", first, err, tc.want)
			}
			conn.Close()
		})
	}
	t.Run("a second request behind two lengths", func(t *testing.T) {
		conn := e.dial(t, "")
		send(conn, plain+"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
		if text := endsWithin(t, conn, 10*time.Second); strings.Count(text, "HTTP/1.1 ") != 1 {
			t.Errorf("%s", text)
		}
	})
	wantNothingStored(t, e.stack, bucket, "lie")
}

// One byte a chunk is the most that a client can make a byte cost.
func TestTinyChunksCostLittle(t *testing.T) {
	e := newEdge(t, "")
	c := e.client()
	bucket := newBucket(t, c)
	e.settles(t)
	data := testData(200_000, 4)
	for _, kind := range []string{streamingSigned, streamingUnsignedTrailer} {
		b := chunkedBody{data: data, chunk: 1}
		if kind != streamingSigned {
			b.trailerName, b.trailerValue = "x-amz-checksum-crc32", crc32Of(data)
		}
		wire := len(b.encode("", "", time.Now(), kind))
		before := e.processSeconds(t)
		a, err := c.putChunked(bucket, "tiny", kind, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.wantStatus(t, http.StatusOK)
		used := e.processSeconds(t) - before
		t.Logf("%s: %d bytes of which %d are data took %.2f s, %.0f ns a byte", kind, wire, len(data), used, used/float64(wire)*1e9)
		if used > 10 {
			t.Errorf("%s: %.1f s of processor time", kind, used)
		}
		c.get(t, bucket, "tiny", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
}

func crc32Of(data []byte) string {
	return base64Std(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)))
}

func TestConnectionsOfOneClientAreLimited(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "limits: {max_connections_per_client: 5, max_connections: 12}\ntrusted_proxies: [127.0.0.9]\n")
	e.settles(t)
	open := func(from string) bool {
		conn := e.dial(t, from)
		send(conn, "GET /minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return strings.HasPrefix(line, "HTTP/1.1 200")
	}
	count := func(from string, n int) (opened int) {
		for range n {
			if open(from) {
				opened++
			}
		}
		return opened
	}
	waitUntil(t, "nobody is connected", func() bool {
		e.client().http.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		return e.metric(t, "bucketseal_connections_open") == 0
	})
	if n := count("127.0.0.2", 8); n != 5 {
		t.Errorf("one client has %d connections, want 5", n)
	}
	if n := count("127.0.0.9", 6); n != 6 {
		t.Errorf("a trusted proxy has %d connections, want 6", n)
	}
	if n := count("127.0.0.3", 3); n != 1 {
		t.Errorf("beside 11 others, %d connections were taken, want 1", n)
	}
	if n := e.metric(t, "bucketseal_client_connections_refused_total"); n != 3 {
		t.Errorf("%v refused of one client, want 3", n)
	}
	if n := e.metric(t, "bucketseal_connections_refused_total"); n != 2 {
		t.Errorf("%v refused of all, want 2", n)
	}
}

// Thousands of connections that do nothing, or send headers and no more, cost
// memory that is small and is given back.
func TestManySlowConnections(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "limits: {read_header: 2m, stall: 2m}\n") // longer than it takes to open all of them
	c := e.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", testData(5000, 5), nil).wantStatus(t, http.StatusOK)
	e.settles(t)
	const many = 2000
	before := memoryOf(t, e.seal.pid())
	body := e.head(t, request{method: http.MethodPut, bucket: bucket, key: "slow"}) + "Content-Length: 9000000\r\n\r\nabc"
	var conns []net.Conn
	for i := range many {
		conn := e.dial(t, "")
		if i%2 == 0 {
			send(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 3000)+"\r\n")
		} else {
			send(conn, body)
		}
		conns = append(conns, conn)
	}
	waitUntil(t, "all are served", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") >= many/2-1 })
	after := memoryOf(t, e.seal.pid())
	t.Logf("%d slow connections: %d MiB before, %d with them; %.0f goroutines", many, before.rss>>20, after.rss>>20, e.metric(t, "go_goroutines"))
	if grown := after.rss - before.rss; grown > many*256<<10 {
		t.Errorf("they take %d KiB each", grown/many>>10)
	}
	waitUntil(t, "others are served", func() bool { // a busy machine may be too slow for the first try
		a := c.get(t, bucket, "k", nil)
		return a.status == http.StatusOK && bytes.Equal(a.body, testData(5000, 5))
	})
	for _, conn := range conns {
		conn.Close()
	}
	waitUntil(t, "all have gone", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") == 0 })
}

// Many large transfers at once take what the promise of constant memory allows.
func TestManyLargeTransfers(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "")
	c := e.client()
	bucket := newBucket(t, c)
	size, many := 9<<20, 64
	data := testData(size, 6)
	before := memoryOf(t, e.seal.pid())
	resetPeak(t, e.seal.pid())
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			key := fmt.Sprint(i)
			a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: key, stream: bytes.NewReader(data), size: int64(size), limit: 3 * time.Minute})
			if err != nil || a.status != http.StatusOK {
				t.Errorf("PUT %s: %d %s, %v", key, a.status, a.code, err)
				return
			}
			a, err = c.try(request{method: http.MethodGet, bucket: bucket, key: key, limit: 3 * time.Minute})
			if err != nil || !bytes.Equal(a.body, data) {
				t.Errorf("GET %s: %d, %v", key, a.status, err)
			}
		})
	}
	all.Wait()
	after := memoryOf(t, e.seal.pid())
	grown := after.peak - before.rss
	t.Logf("%d PUTs and GETs of %d MiB at once: %d MiB before, %d at most, %d KiB for each", many, size>>20, before.rss>>20, after.peak>>20, grown/int64(many)>>10)
	if grown > int64(many)<<20 {
		t.Errorf("each transfer takes %d KiB, at most 1024 allowed", grown/int64(many)>>10)
	}
}

// Metrics are on their own address only, and say nothing of what is stored, or by
// whom.
func TestMetricsAreServedApart(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "")
	c := e.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "secret-name", testData(5000, 7), nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "secret-name", nil).wantStatus(t, http.StatusOK)
	var text []byte
	for range 100 { // a request is counted after its answer
		resp, err := http.Get(e.metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		if strings.Contains(string(text), `operation="GetObject",sse="SSE-S3",status="2xx"} 1`) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, want := range []string{
		`bucketseal_s3_requests_total{operation="PutObject",sse="SSE-S3",status="2xx"} 1`, `bucketseal_s3_requests_total{operation="GetObject",sse="SSE-S3",status="2xx"} 1`,
		"bucketseal_s3_requests_limit ", "bucketseal_connections_open ", "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	for _, secret := range []string{bucket, "secret-name", rootUser, rootPassword} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the metrics have %s", secret)
		}
	}
	c.anonymous().do(t, request{method: http.MethodGet, path: "/metrics"}).wantError(t, http.StatusForbidden, "AccessDenied", "")
	for path, want := range map[string]int{"/minio/health/ready": 200, "/minio/health/live": 200, "/": 404, "/debug/pprof/heap": 404, "/" + bucket + "/secret-name": 404} {
		if got := askedStatus(e.metrics + path); got != want {
			t.Errorf("the metrics' address answers %s with %d, want %d", path, got, want)
		}
	}
}
