package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tally passes requests on to MinIO and counts them. It remembers none, so that it can count
// hundreds of thousands.
type tally struct {
	up     *lyingUpstream
	server *http.Server
	addr   string

	mu sync.Mutex
	// requests are all but questions about health; lists are those of them that list a bucket.
	requests, lists int64
	// objects are requests for objects of clients, objectBytes the bytes of their bodies, up and
	// down.
	objects, objectBytes int64
	// up and down are bytes of the bodies of all other requests.
	sent, received int64
	example        string
}

func newTally(t *testing.T, target string) *tally {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &tally{addr: l.Addr().String(), up: &lyingUpstream{target: target, outbound: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}}}
	y.server = &http.Server{Handler: y, ReadHeaderTimeout: time.Minute}
	go func() { _ = y.server.Serve(l) }()
	t.Cleanup(func() { _ = y.server.Close(); y.up.outbound.CloseIdleConnections() })
	return y
}

// ServeHTTP passes one request on.
func (y *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	seen := &upstreamRequest{method: r.Method, path: path}
	resp, err := y.up.forward(r, path, seen)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	copyAnswer(w, resp, func(n int64) { seen.received += n })
	if strings.HasPrefix(path, "/minio/health/") {
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	y.up.mu.Lock()
	sent := seen.sent
	y.up.mu.Unlock()
	y.mu.Lock()
	defer y.mu.Unlock()
	y.requests++
	switch {
	case key != "" && bucket != systemBucket:
		y.objects++
		y.objectBytes += sent + seen.received
		y.example = r.Method + " " + r.RequestURI
	case key == "":
		y.lists++
		fallthrough
	default:
		y.sent, y.received = y.sent+sent, y.received+seen.received
	}
}

// heap is a stack with many small objects in two buckets: a versioned one, and one under
// COMPLIANCE retention. Of twenty objects, nine lie under SSE-S3, nine under SSE-KMS, with one
// KMS key, and two under SSE-C.
type heap struct {
	*stack
	versioned, locked string
	versions          int
	// sealed are those that lie under a KMS key.
	sealed int
}

// newHeap writes n versions.
func newHeap(t *testing.T, n int) *heap {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yml")
	saveFile(t, config, []byte("customer_keys_over_http: true\n"))
	h := &heap{stack: newStack(t, stackOptions{args: []string{"--config", config}}), versions: n}
	c := h.client()
	h.versioned, h.locked = bucketName(t)+"-v", bucketName(t)+"-l"
	c.do(t, request{method: http.MethodPut, bucket: h.versioned}).wantStatus(t, http.StatusOK)
	c.do(t, request{
		method: http.MethodPut, bucket: h.versioned, query: "versioning=",
		body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
	}).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodPut, bucket: h.locked, header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}}).wantStatus(t, http.StatusOK)
	retention := []byte(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`)
	h.raw().do(t, request{method: http.MethodPut, bucket: h.locked, query: "object-lock=", body: retention, header: map[string]string{"Content-Md5": contentMD5(retention)}}).wantStatus(t, http.StatusOK)

	began := time.Now()
	var wait sync.WaitGroup
	for worker := range 12 {
		wait.Go(func() {
			for i := worker; i < n; i += 12 {
				bucket, key := h.place(i)
				a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: key, body: h.data(i), header: h.mode(i)})
				if err != nil || a.status != http.StatusOK {
					t.Errorf("PUT %s/%s: %d %s, %v", bucket, key, a.status, a.code, err)
					return
				}
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i := range n {
		if h.mode(i)["X-Amz-Server-Side-Encryption"] != "" {
			h.sealed++
		}
	}
	t.Logf("%d versions written in %v", n, time.Since(began).Round(time.Second))
	return h
}

// place is where version i lies. Each key of the versioned bucket has two: i, and half of all
// versions later.
func (h *heap) place(i int) (bucket, key string) {
	if i%2 == 0 {
		return h.locked, fmt.Sprintf("%02d/%06d", i%50, i)
	}
	return h.versioned, fmt.Sprintf("%02d/%06d", i%50, i%(h.versions/2)|1)
}

func (h *heap) data(i int) []byte { return fmt.Appendf(nil, "version %d of so many", i) }

func (h *heap) mode(i int) map[string]string {
	switch m := i / 2 % 20; {
	case m < 9:
		return map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}
	case m < 18:
		return kmsWith(defaultKey)
	}
	return customerKey(1)
}

// pass is one run of the re-wrap.
type pass struct {
	done, seen int
	took       time.Duration
	// memory is the largest that the command was, in bytes.
	memory int64
	// cpu is the processor time that the command took, and minio MinIO's meanwhile.
	cpu, minio time.Duration
}

var sealedAnew = regexp.MustCompile(`sealed anew (\d+) of (\d+) `)

// rewrap rotates the key and runs the re-wrap by way of an address of MinIO's.
func (h *heap) rewrap(t *testing.T, upstream string) (p pass) {
	t.Helper()
	h.mustKey(t, "rotate", defaultKey)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"key", "rewrap", "--key", defaultKey, "--upstream", upstream, "--data-dir", h.seal.dataDir}, h.seal.args...)
	cmd := exec.Command(program, args...) //nolint:noctx // it ends
	cmd.Env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began, minio := time.Now(), processorTime(h.minio.pid())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; {
		select {
		case err = <-ended:
			running = false
		case <-time.After(100 * time.Millisecond):
			if runtime.GOOS == "linux" {
				p.memory = max(p.memory, peakOf(cmd.Process.Pid))
			}
		}
	}
	p.took, p.minio = time.Since(began), processorTime(h.minio.pid())-minio
	p.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	found := sealedAnew.FindStringSubmatch(out.String())
	if err != nil || found == nil {
		t.Fatalf("key rewrap: %v\n%s", err, out.String())
	}
	p.done, _ = strconv.Atoi(found[1])
	p.seen, _ = strconv.Atoi(found[2])
	return p
}

// processorTime is what a process has taken so far, to ten milliseconds; 0 where /proc is not.
func processorTime(pid int) time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// perObject says what one object costs, however busy the machine is: on two cores that do
// nothing else, so many are done in a second.
func (p pass) perObject() string {
	each := (p.cpu + p.minio) / time.Duration(max(p.done, 1))
	return fmt.Sprintf("%v of processor time for each object, %v of it MinIO's: %.0f/s on two cores", each.Round(time.Microsecond), (p.minio / time.Duration(max(p.done, 1))).Round(time.Microsecond), 2/max(each.Seconds(), 1e-6))
}

// peakOf is the largest that a process was, in bytes; 0 if it has just ended.
func peakOf(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.ParseInt(kilobytes, 10, 64)
	return n << 10
}

// wantNoData says that a re-wrap touched no object, and how few requests it made.
func (h *heap) wantNoData(t *testing.T, y *tally, p pass) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if p.done != h.sealed || p.seen != h.versions {
		t.Errorf("sealed anew %d of %d, want %d of %d", p.done, p.seen, h.sealed, h.versions)
	}
	if y.objects != 0 || y.objectBytes != 0 {
		t.Errorf("%d requests for objects, with %d bytes of data, such as %s", y.objects, y.objectBytes, y.example)
	}
	if y.requests > int64(3*p.done) || y.requests < int64(p.done) {
		t.Errorf("%d requests for %d objects", y.requests, p.done)
	}
	t.Logf("%d requests for %d objects, %d of them listings; bodies: %d bytes to MinIO, %d from it (listings), 0 of objects", y.requests, p.done, y.lists, y.sent, y.received)
}

// wantRead retires all versions of the key but the newest, and reads every nth version by a
// proxy that was started since.
func (h *heap) wantRead(t *testing.T, newest, nth int) {
	t.Helper()
	for v := 1; v < newest; v++ {
		h.mustKey(t, "retire", "--force", defaultKey, strconv.Itoa(v))
	}
	h.seal.kill()
	h.restart(t)
	c := h.client()
	read := 0
	for i := 0; i < h.versions; i += nth {
		bucket, key := h.place(i)
		if bucket == h.versioned && i < h.versions/2 { // not the current one
			continue
		}
		var header map[string]string
		if h.mode(i)["X-Amz-Server-Side-Encryption"] == "" {
			header = customerKey(1)
		}
		c.get(t, bucket, key, header).wantStatus(t, http.StatusOK).wantBody(t, h.data(i))
		read++
	}
	if read < h.versions/nth/2 {
		t.Errorf("only %d were read", read)
	}
}

// A re-wrap reads and writes no byte of an object, with at most three requests for each.
func TestRewrapMovesNoData(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	h := newHeap(t, 2000)
	y := newTally(t, h.minio.addr)
	p := h.rewrap(t, "http://"+y.addr)
	h.wantNoData(t, y, p)
	t.Log(p.perObject())
	h.wantRead(t, 2, 19)
}

// scan scans the buckets for what uses the key, all under at least one version, and returns how
// many versions a second; without what it waits for before, after a rotation.
func (h *heap) scan(t *testing.T, least uint32) float64 {
	t.Helper()
	minio := processorTime(h.minio.pid())
	out, err := h.command(t, "key", "usage", defaultKey, "--json", "--scan")
	if err != nil {
		t.Fatal(err)
	}
	var scan struct {
		Began, Ended time.Time
		Counts       []struct {
			Version uint32 `json:"kms_key_version"`
			Objects int
		}
	}
	if err := json.Unmarshal([]byte(out), &scan); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, n := range scan.Counts {
		if found += n.Objects; n.Version < least {
			t.Errorf("%d objects lie under version %d", n.Objects, n.Version)
		}
	}
	if found != h.sealed {
		t.Errorf("%d objects are found, want %d", found, h.sealed)
	}
	took := scan.Ended.Sub(scan.Began)
	rate := float64(h.versions) / took.Seconds()
	t.Logf("%d versions scanned in %v, %.0f/s, with %v of MinIO's processor time for each", h.versions, took.Round(time.Millisecond), rate,
		((processorTime(h.minio.pid()) - minio) / time.Duration(h.versions)).Round(time.Microsecond))
	return rate
}

// TestRewrapOfManyObjects measures; its bounds are those of two cores that do nothing else.
func TestRewrapOfManyObjects(t *testing.T) {
	needsSeal(t)
	needsTime(t)
	n := 100_000
	if text := os.Getenv("BUCKETSEAL_OBJECTS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	h := newHeap(t, n)
	h.scan(t, 1)
	before := peakOf(h.seal.pid())
	p := h.rewrap(t, h.minio.endpoint())
	rate := float64(p.done) / p.took.Seconds()
	t.Log(p.perObject())
	t.Logf("re-wrapped %d of %d in %v, %.0f/s, largest %d MiB; the proxy's peak was %d MiB and is %d MiB", p.done, p.seen, p.took.Round(time.Second), rate, p.memory>>20, before>>20, peakOf(h.seal.pid())>>20)
	if rate < 500 {
		t.Errorf("%.0f objects are re-wrapped in a second, want 500", rate)
	}
	if p.memory > 128<<20 {
		t.Errorf("the re-wrap needs %d MiB", p.memory>>20)
	}
	if rate := h.scan(t, 2); rate < 5000 {
		t.Errorf("%.0f objects are scanned in a second, want 5000", rate)
	}
	y := newTally(t, h.minio.addr)
	h.wantNoData(t, y, h.rewrap(t, "http://"+y.addr))
	h.wantRead(t, 3, max(n/5000, 1)|1)
}
