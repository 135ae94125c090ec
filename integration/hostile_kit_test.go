package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// saboteur is the hostile MinIO of these tests: a real one, behind somebody who
// decides for each request whether to pass it on, to change what passes, or to
// speak HTTP of his own.
type saboteur struct {
	*lyingUpstream
	front *http.Server
	at    string

	mu  sync.Mutex
	act act
}

// act answers a request in MinIO's stead, and says whether it did.
type act func(w http.ResponseWriter, r *http.Request) bool

func newSaboteur(target string) (*saboteur, error) {
	u, err := newLyingUpstream(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		u.close()
		return nil, err
	}
	s := &saboteur{lyingUpstream: u, at: l.Addr().String()}
	s.front = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.front.Serve(l) }()
	return s, nil
}

func (s *saboteur) close() {
	s.front.Close()
	s.lyingUpstream.close()
}

// ServeHTTP does what was ordered, or passes the request on.
func (s *saboteur) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	act := s.act
	s.mu.Unlock()
	if act != nil && act(w, r) {
		return
	}
	s.lyingUpstream.ServeHTTP(w, r)
}

// order sets what happens to requests from now on; nil means nothing.
func (s *saboteur) order(a act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.act = a
}

// honest ends every lie.
func (s *saboteur) honest() {
	s.order(nil)
	s.tell(lie{})
}

// onObject does a for requests that concern one object, with any of the methods.
func onObject(bucket, key string, methods string, a act) act {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(methods, r.Method) && !asksOnly(r) && r.URL.Path == "/"+bucket+"/"+key && a(w, r)
	}
}

// asksOnly says whether the proxy only asks what the caller may do with uploads, on
// one that does not exist.
func asksOnly(r *http.Request) bool {
	return r.URL.Query().Get("uploadId") == "bucketseal-asks-whether-the-caller-may"
}

// raw answers with bytes of the test's own making, then keeps the connection
// open for hold, and closes it. The request's body is not read.
func raw(wire string, hold time.Duration) act {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return false
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(wire))
		holdOpen(conn, hold)
		return true
	}
}

// holdOpen waits until the other side closes, at most for d.
func holdOpen(conn net.Conn, d time.Duration) {
	if d <= 0 {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(d))
	_, _ = bufio.NewReader(conn).WriteTo(discard{})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// hostile is a stack whose upstream is a saboteur.
type hostile struct {
	*stack
	up *saboteur
	// root speaks to the proxy; one for all requests, so that files can be counted.
	root *client
	// metrics is where the proxy's metrics are served.
	metrics string
}

// hostileLimit bounds every answer in these tests. What waits for upstream is
// configured to wait for two seconds.
const hostileLimit = 9 * time.Second

// Small uploads are few here: what is larger gets a manifest.
const hostileConfig = `
customer_keys_over_http: true
small_object: {size: 256KiB}
limits: {upstream_header: 2s, rule_lease: 300ms}
`

// newHostile starts MinIO, a saboteur and the proxy, with extra lines of
// configuration.
func newHostile(t *testing.T, config string, args ...string) *hostile {
	t.Helper()
	needsSeal(t)
	h, err := startHostile(t.TempDir(), config, args...)
	t.Cleanup(h.end)
	if err != nil {
		t.Fatal(err)
	}
	h.seal.dumpOnFailure(t)
	return h
}

func startHostile(dir, config string, args ...string) (h *hostile, err error) {
	h = &hostile{stack: &stack{dir: dir}}
	if h.minio, err = startMinIO(dir, "", false); err != nil {
		return h, err
	}
	if h.up, err = newSaboteur(h.minio.addr); err != nil {
		return h, err
	}
	address, err := freeAddress()
	if err != nil {
		return h, err
	}
	h.metrics = "http://" + address
	file := filepath.Join(dir, "bucketseal.yml")
	if err = os.WriteFile(file, []byte(hostileConfig+"metrics: {address: \""+address+"\"}\n"+config), 0o600); err != nil {
		return h, err
	}
	h.seal, err = startSeal(dir, "", "http://"+h.up.at, append([]string{"--config", file}, args...)...)
	if err != nil {
		return h, err
	}
	h.root = h.client()
	return h, nil
}

func (h *hostile) end() {
	_ = h.stop()
	if h.up != nil {
		h.up.close()
	}
}

// sharedHostile is started once for the tests that only read or only use
// buckets of their own. It dies with the test binary.
var sharedHostile struct {
	once sync.Once
	h    *hostile
	err  error
}

// commonHostile returns the shared one, honest.
func commonHostile(t *testing.T) *hostile {
	t.Helper()
	needsSeal(t)
	s := &sharedHostile
	s.once.Do(func() { s.h, s.err = startHostile(filepath.Join(runDir, "hostile"), "") })
	if s.err != nil {
		t.Fatal(s.err)
	}
	s.h.seal.dumpOnFailure(t)
	t.Cleanup(s.h.up.honest)
	return s.h
}

// unharmed checks, at the end of a test, that the proxy is the same process,
// serves, and holds no more files and goroutines than before: whatever was broken
// off left none behind.
func (h *hostile) unharmed(t *testing.T) {
	t.Helper()
	pid, files := h.seal.pid(), h.openFiles(t)
	goroutines := metric(t, h.metrics, "go_goroutines")
	t.Cleanup(func() {
		h.up.honest()
		select {
		case <-h.seal.done:
			t.Errorf("the proxy ended: %v", h.seal.waitErr)
			return
		default:
		}
		if h.seal.pid() != pid {
			t.Error("the proxy is another process than before")
		}
		if log := h.seal.logSince(0); strings.Contains(log, "panic") {
			t.Error("the proxy's log mentions a panic")
		}
		// Idle connections to MinIO, which the tests cannot close, have two goroutines each.
		const slack = 6
		var filesNow int
		var goroutinesNow float64
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			filesNow, goroutinesNow = h.openFiles(t), metric(t, h.metrics, "go_goroutines")
			if filesNow <= files+slack && goroutinesNow <= goroutines+2*slack {
				t.Logf("%d files and %.0f goroutines before, %d and %.0f after", files, goroutines, filesNow, goroutinesNow)
				return
			}
		}
		t.Errorf("the proxy has %d files open, %d before, and %.0f goroutines, %.0f before", filesNow, files, goroutinesNow, goroutines)
	})
}

// openFiles counts the proxy's file descriptors, once idle connections to it
// are closed.
func (h *hostile) openFiles(t *testing.T) int {
	t.Helper()
	h.root.http.CloseIdleConnections()
	h.up.outbound.CloseIdleConnections()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.seal.pid()))
	if err != nil {
		t.Skipf("cannot count open files: %v", err)
	}
	return len(entries)
}

// stored is an object as its client knows it.
type stored struct {
	name        string
	bucket, key string
	data        []byte
	etag        string
	// authentic says that the ETag is the plaintext's MD5, and not upstream's word.
	authentic bool
	read      map[string]string
}

// hostileObjects writes one object of each kind that is read in its own way.
func (h *hostile) hostileObjects(t *testing.T, bucket string) []stored {
	t.Helper()
	s3, kms, c := sseModes()[0].put, sseModes()[2].put, customerKey(7)
	kinds := []struct {
		name      string
		size      int
		put, read map[string]string
		authentic bool
	}{
		{"sse-s3", 3*packageSize + 100, s3, nil, true},
		{"sse-kms", 3*packageSize + 100, kms, nil, false},
		{"sse-c", 3*packageSize + 100, c, c, false},
		{"one package", 5000, s3, nil, true},
		{"whole packages", 2 * packageSize, s3, nil, true},
		{"with manifest", 400_000, s3, nil, true},
	}
	objects := make([]stored, 0, len(kinds))
	for i, k := range kinds {
		o := stored{name: k.name, bucket: bucket, key: "k" + strconv.Itoa(i), data: testData(k.size, uint64(200+i)), authentic: k.authentic, read: k.read}
		o.etag = h.root.put(t, bucket, o.key, o.data, k.put).wantStatus(t, http.StatusOK).header.Get("Etag")
		if k.authentic && o.etag != md5ETag(o.data) {
			t.Fatalf("%s: ETag %s", k.name, o.etag)
		}
		objects = append(objects, o)
	}
	return objects
}

// customerKey returns the headers of SSE-C.
func customerKey(seed uint64) map[string]string {
	key := testData(32, seed)
	return map[string]string{
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256",
		"X-Amz-Server-Side-Encryption-Customer-Key":       base64Std(key),
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5":   contentMD5(key),
	}
}

// readEveryWay reads o whole, in ranges and by HEAD. Whatever the upstream does,
// an answer that looks complete must be right.
func (h *hostile) readEveryWay(t *testing.T, o stored) {
	t.Helper()
	size := len(o.data)
	h.readOnce(t, o, http.MethodGet, 0, size, "")
	h.readOnce(t, o, http.MethodGet, size/2, min(size, size/2+70_000), "bytes="+strconv.Itoa(size/2)+"-"+strconv.Itoa(min(size, size/2+70_000)-1))
	h.readOnce(t, o, http.MethodGet, size-50, size, "bytes=-50")
	h.readOnce(t, o, http.MethodHead, 0, size, "")
}

func (h *hostile) readOnce(t *testing.T, o stored, method string, from, to int, rng string) answer {
	t.Helper()
	header := map[string]string{}
	for name, value := range o.read {
		header[name] = value
	}
	if rng != "" {
		header["Range"] = rng
	}
	began := time.Now()
	a, err := h.root.try(request{method: method, bucket: o.bucket, key: o.key, header: header, limit: hostileLimit})
	if took := time.Since(began); took > hostileLimit-time.Second {
		t.Errorf("%s %s %s: took %v, then status %d, %v", o.name, method, rng, took, a.status, err)
	}
	if err != nil { // cut before the buffered head of the answer was on its way
		a.bodyErr = err
		return a
	}
	o.judge(t, method, rng, a, from, to)
	return a
}

// judge checks that a is right, or an S3 error, or visibly incomplete.
func (o stored) judge(t *testing.T, method, rng string, a answer, from, to int) {
	t.Helper()
	what := fmt.Sprintf("%s %s %s: status %d", o.name, method, rng, a.status)
	complete := a.status == http.StatusOK || a.status == http.StatusPartialContent
	switch {
	case a.status >= 400 && a.status < 600:
		if a.code == "" {
			t.Errorf("%s without an S3 error: %q", what, a.body)
		}
		return
	case !complete:
		t.Errorf("%s: neither the object nor an error", what)
		return
	case len(a.body) > to-from || !bytes.Equal(a.body, o.data[from:from+len(a.body)]):
		t.Errorf("%s: %d bytes that are not the object's", what, len(a.body))
	case a.bodyErr != nil:
		return
	case method == http.MethodGet && len(a.body) != to-from:
		t.Errorf("%s: %d bytes, as if complete, of %d", what, len(a.body), to-from)
	case a.size(t) != int64(to-from):
		t.Errorf("%s: Content-Length %d, want %d", what, a.size(t), to-from)
	}
	if rng != "" {
		if want := fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(o.data)); a.status != http.StatusPartialContent || a.header.Get("Content-Range") != want {
			t.Errorf("%s: Content-Range %q, want %q", what, a.header.Get("Content-Range"), want)
		}
	} else if a.status != http.StatusOK {
		t.Errorf("%s for a whole object", what)
	}
	if etag := a.header.Get("Etag"); o.authentic && etag != o.etag {
		t.Errorf("%s: ETag %s, want %s", what, etag, o.etag)
	}
	for _, name := range []string{"Location", "Alt-Svc", "Refresh", "Set-Cookie", "Trailer"} {
		if v := a.header.Get(name); v != "" {
			t.Errorf("%s: upstream's header %s: %s reaches the client", what, name, v)
		}
	}
}

// weakness skips a test of something that the proxy does not stand up to; why
// says what happens. BUCKETSEAL_WEAKNESSES=1 runs these tests.
func weakness(t *testing.T, why string) {
	t.Helper()
	if why != "" && os.Getenv("BUCKETSEAL_WEAKNESSES") == "" {
		t.Skip("not defended: " + why)
	}
}

// needsTime skips what takes long unless BUCKETSEAL_LONG=1.
func needsTime(t *testing.T) {
	t.Helper()
	if os.Getenv("BUCKETSEAL_LONG") == "" {
		t.Skip("takes long; set BUCKETSEAL_LONG=1")
	}
}
