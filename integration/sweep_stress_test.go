package integration

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sweepStress is two proxies over one storage and one key server, both of which go
// away now and then, while clients write and sweeps with a horizon of a second run.
type sweepStress struct {
	t       *testing.T
	up      *saboteur
	kms     *kmsServer
	proxies []*client
	sweep   func() (string, error)
	// versioned and plain are buckets, the one with versions and the other without.
	versioned, plain string
	end              time.Time
	key              apiKey
	// away is how many things are away, last when the last came back, in nanoseconds
	// since 1970.
	away, last atomic.Int64

	mu       sync.Mutex
	versions map[stressVersion][]byte // acknowledged; nil after a delete that may have been done
	counts   map[string]int
}

type stressVersion struct{ bucket, key, version string }

func newSweepStress(t *testing.T, length time.Duration) *sweepStress {
	needsSeal(t)
	s := &sweepStress{t: t, versions: make(map[stressVersion][]byte), counts: make(map[string]int)}
	s.key = newAPIKey(t)
	s.kms = startKMS(t, kesYAML+proxyPolicy+"keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n",
		"PROXY="+s.key.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	minio.dumpOnFailure(t)
	if s.up, err = newSaboteur(minio.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.up.close)
	for range 2 {
		s.start()
	}
	s.versioned, s.plain = newBucket(t, s.proxies[0]), newBucket(t, s.proxies[0])
	s.proxies[0].do(t, request{
		method: http.MethodPut, bucket: s.versioned, query: "versioning=",
		body: []byte("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
	}).wantStatus(t, http.StatusOK)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	config := s.config(s.key, t.TempDir())
	s.sweep = func() (string, error) {
		out, all, err := runWith(t, baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword), dir, "", program,
			"object", "sweep", "--force", "--older-than", "1s", "--upstream", "http://"+s.up.at, "--config", config)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, all)
		}
		return out, err
	}
	s.end = time.Now().Add(length)
	return s
}

func (s *sweepStress) config(key apiKey, dir string) string {
	return s.kms.remoteYAML(s.t, dir, key, "small_object: {size: 256KiB}\nlimits: {upstream_header: 5s}\n")
}

// start starts another proxy.
func (s *sweepStress) start() {
	s.t.Helper()
	dir := s.t.TempDir()
	seal, err := startSealWith(dir, "http://"+s.up.at, s.config(s.key, dir))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(seal.kill)
	seal.dumpOnFailure(s.t)
	waitFor(s.t, startLimit, "the proxy to be ready", seal.isReady)
	s.proxies = append(s.proxies, newClient(seal.endpoint(), rootUser, rootPassword))
}

// calm says whether nothing was away since a moment, and shortly before.
func (s *sweepStress) calm(began time.Time) bool {
	return s.away.Load() == 0 && began.UnixNano()-s.last.Load() > int64(3*time.Second)
}

// do sends a request and says whether it succeeded; a failure is one of the test
// unless something was away.
func (s *sweepStress) do(c *client, r request) (a answer, ok bool) {
	began := time.Now()
	a, err := c.try(r)
	if err == nil && a.bodyErr == nil && a.status < 300 {
		return a, true
	}
	denied := a.code == "NoSuchUpload" || a.code == "NoSuchKey" // as in outages of the third kind
	if s.calm(began) || err == nil && a.status < 500 && a.status != 499 && !denied {
		s.t.Errorf("%s %s/%s?%s: %d %s %s, %v", r.method, r.bucket, r.key, r.query, a.status, a.code, a.message, err)
	}
	return a, false
}

// stressWorker is a client with keys of its own, which uses either proxy.
type stressWorker struct {
	*sweepStress
	id, n int
	rnd   *rand.Rand
	open  []*stressUpload
}

type stressUpload struct {
	*mp
	data []byte
	// asked says that a Complete of it was sent.
	asked bool
}

func (w *stressWorker) proxy() *client { return w.proxies[w.rnd.IntN(2)] }

func (w *stressWorker) data() []byte {
	w.n++
	return testData(270_000+w.rnd.IntN(30_000), uint64(w.id<<32+w.n))
}

func (w *stressWorker) keep(v stressVersion, data []byte, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.versions[v] = data
	w.counts[what]++
}

func (w *stressWorker) step() {
	switch w.rnd.IntN(10) {
	case 0, 1:
		key := fmt.Sprintf("w%d/k%d", w.id, w.rnd.IntN(3))
		data := w.data()
		if a, ok := w.do(w.proxy(), request{method: http.MethodPut, bucket: w.versioned, key: key, body: data}); ok {
			w.keep(stressVersion{w.versioned, key, a.header.Get("X-Amz-Version-Id")}, data, "versions")
		}
	case 2, 3:
		key := fmt.Sprintf("w%d/k%d", w.id, w.rnd.IntN(3))
		data := w.data()
		if _, ok := w.do(w.proxy(), request{method: http.MethodPut, bucket: w.plain, key: key, body: data}); ok {
			w.keep(stressVersion{w.plain, key, ""}, data, "overwrites")
		} else {
			w.keep(stressVersion{w.plain, key, ""}, nil, "unknown overwrites")
		}
	case 4, 5:
		w.create()
	case 6, 7:
		if len(w.open) > 3 {
			w.complete(0)
		}
	case 8:
		if len(w.open) > 1 {
			w.abort(w.rnd.IntN(len(w.open)))
		}
	default:
		w.remove()
	}
}

func (w *stressWorker) create() {
	bucket := []string{w.versioned, w.plain}[w.n%2]
	u := &stressUpload{data: w.data()}
	key := fmt.Sprintf("w%d/u%d", w.id, w.n)
	a, ok := w.do(w.proxy(), request{method: http.MethodPost, bucket: bucket, key: key, query: "uploads="})
	if !ok {
		return
	}
	var answer struct{ UploadId string } //nolint:revive // S3's name
	if err := xml.Unmarshal(a.body, &answer); err != nil {
		w.t.Error(err)
		return
	}
	u.mp = &mp{c: w.proxy(), bucket: bucket, key: key, id: answer.UploadId, etags: map[int]string{}}
	w.listed(u, true)
	if a, ok = w.do(w.proxy(), u.partRequest(1, u.data)); ok {
		u.etags[1] = a.header.Get("Etag")
		w.open = append(w.open, u)
	}
}

// listed checks that the other proxies, too, list an upload or do not.
func (w *stressWorker) listed(u *stressUpload, want bool) {
	for _, c := range w.proxies[:2] {
		began := time.Now()
		a, ok := w.do(c, request{method: http.MethodGet, bucket: u.bucket, query: query("uploads", "", "prefix", u.key)})
		if got := bytes.Contains(a.body, []byte(u.id)); ok && got != want && (got || w.calm(began)) {
			w.t.Errorf("upload of %s: listed %v, want %v", u.key, got, want)
		}
		if want || w.rnd.IntN(4) > 0 {
			continue
		}
		r := u.partRequest(2, []byte("late"))
		if w.rnd.IntN(2) == 0 {
			r = u.request(http.MethodGet)
		}
		if a, err := c.try(r); w.calm(began) && (err != nil || a.code != "NoSuchUpload") {
			w.t.Errorf("%s of an ended upload of %s: %d %s, %v", r.method, u.key, a.status, a.code, err)
		}
	}
}

func (w *stressWorker) complete(i int) bool {
	u := w.open[i]
	u.asked = true
	a, ok := w.do(w.proxy(), u.completeRequest())
	if !ok {
		return false // and again later
	}
	w.open = append(w.open[:i], w.open[i+1:]...)
	w.keep(stressVersion{u.bucket, u.key, a.header.Get("X-Amz-Version-Id")}, u.data, "uploads")
	w.listed(u, false)
	return true
}

func (w *stressWorker) abort(i int) {
	u := w.open[i]
	if u.asked {
		return
	}
	w.open = append(w.open[:i], w.open[i+1:]...)
	if _, ok := w.do(w.proxy(), u.request(http.MethodDelete)); ok {
		w.keep(stressVersion{u.bucket, u.key, "aborted"}, nil, "aborts")
		w.listed(u, false)
	}
}

// remove deletes a version, or an object without one, or puts a delete marker.
func (w *stressWorker) remove() {
	var chosen *stressVersion
	w.mu.Lock()
	for v, data := range w.versions {
		if data != nil && strings.HasPrefix(v.key, fmt.Sprintf("w%d/", w.id)) {
			chosen = &v
			w.versions[v] = nil // whatever becomes of the request
			break
		}
	}
	w.counts["deletes"]++
	w.mu.Unlock()
	if chosen == nil {
		return
	}
	r := request{method: http.MethodDelete, bucket: chosen.bucket, key: chosen.key}
	if chosen.version != "" {
		r.query = query("versionId", chosen.version)
		if w.rnd.IntN(2) == 0 { // a delete marker, under which the versions stay
			w.do(w.proxy(), request{method: http.MethodDelete, bucket: chosen.bucket, key: chosen.key})
		}
	}
	w.do(w.proxy(), r)
}

// keepSweeping sweeps again and again until the end.
func (s *sweepStress) keepSweeping() {
	for time.Now().Before(s.end) {
		began := time.Now()
		out, err := s.sweep()
		if err != nil && s.calm(began) {
			s.t.Errorf("sweep: %v", err)
		}
		s.mu.Lock()
		s.counts["sweeps"]++
		s.counts["removed by sweeps"] += strings.Count(out, "removed ") - strings.Count(out, "wait for")
		s.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
	}
}

// outage takes the storage or the key server away for a moment, or has the storage
// deny all that it has, as a MinIO does that was just started again.
func (s *sweepStress) outage(kind int) {
	s.away.Add(1)
	const length = 400 * time.Millisecond
	switch kind {
	case 0:
		s.up.order(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
		time.Sleep(length)
		s.up.honest()
	case 1:
		s.up.order(s.deny)
		time.Sleep(length)
		s.up.honest()
	default:
		s.kms.kill()
		time.Sleep(length)
		s.kms.start(s.t)
	}
	s.last.Store(time.Now().UnixNano())
	s.away.Add(-1)
}

// deny answers as if there were neither versions nor uploads.
func (s *sweepStress) deny(w http.ResponseWriter, r *http.Request) bool {
	switch q := r.URL.Query(); {
	case strings.HasPrefix(r.URL.Path, "/"+systemBucket):
		return false
	case q.Has("versions"):
		_, _ = w.Write([]byte("<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"))
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	case q.Has("uploadId") && r.Method != http.MethodDelete:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("<Error><Code>NoSuchUpload</Code></Error>"))
	default:
		return false
	}
	return true
}

// Uploads, overwrites, aborts and deletes by two proxies, while what they leave is
// swept without a pause and storage and key server go away now and then: no version
// that was acknowledged is lost, and what ended is listed by nobody.
func TestSweepsUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	length := 14 * time.Second
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		length = 10 * time.Minute
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := newSweepStress(t, length)
	var wg sync.WaitGroup
	workers := make([]*stressWorker, 3)
	for i := range workers {
		workers[i] = &stressWorker{sweepStress: s, id: i, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		wg.Go(func() {
			for time.Now().Before(s.end) {
				workers[i].step()
			}
		})
	}
	for range 2 {
		wg.Go(s.keepSweeping)
	}
	for i := 1; time.Until(s.end) > 4*time.Second; i++ {
		time.Sleep(3500 * time.Millisecond)
		s.outage(i % 3)
	}
	wg.Wait()
	s.start() // a proxy that remembers nothing
	fresh := s.proxies[2]
	s.proxies = []*client{fresh, s.proxies[1]}
	for _, w := range workers {
		for len(w.open) > 0 && w.complete(0) {
		}
	}
	if _, err := s.sweep(); err != nil {
		t.Errorf("sweep: %v", err)
	}
	read := 0
	for v, data := range s.versions {
		if data == nil {
			continue
		}
		r := request{method: http.MethodGet, bucket: v.bucket, key: v.key}
		if v.version != "" {
			r.query = query("versionId", v.version)
		}
		if a := fresh.do(t, r); a.status != http.StatusOK || !bytes.Equal(a.body, data) {
			t.Errorf("%+v: %d %s, %d of %d bytes", v, a.status, a.code, len(a.body), len(data))
		}
		read++
	}
	t.Logf("%d versions read back; %v", read, s.counts)
	if read == 0 || s.counts["removed by sweeps"] == 0 || s.counts["aborts"] == 0 || s.counts["uploads"] == 0 {
		t.Error("the test did not do what it is there for")
	}
}
