package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stress is two proxies over one MinIO and one key server, and clients that do
// everything at once to a few objects. What it was told is stored must be there.
type stress struct {
	t       *testing.T
	up      *saboteur
	gate    *gate // before the key server
	proxies [2]*sealServer
	clients [2]*client
	dir     string
	yaml    string
	seed    uint64
	began   time.Time
	next    atomic.Uint64 // of bodies
	objects []*stressObject
	done    map[string]*atomic.Int64
	failed  atomic.Int64
}

// stressObject is one key, with all that was ever written to it.
type stressObject struct {
	bucket, key string
	// versioned says that each write has a version of its own.
	versioned bool
	// copied says that it is copied onto itself too, which may bring an older state
	// back where there are no versions (docs/compatibility.md).
	copied bool

	mu     sync.Mutex
	writes []*stressWrite
	bodies map[[32]byte]*stressWrite
	// removed are versions that were deleted; an upload that was ended twice is one.
	removed map[string]bool
}

// stressWrite is one write, or a DELETE, and what became of it.
type stressWrite struct {
	name         string
	sum          [32]byte // of the body; zero for a DELETE, and for a copy
	began, ended time.Duration
	acked        bool
	version      string
	read         map[string]string // what a read must carry
	copy         bool
}

func (w *stressWrite) String() string {
	return fmt.Sprintf("%s %x from %v to %v acknowledged %v", w.name, w.sum[:4], w.began, w.ended, w.acked)
}

// stressTime is how long the test writes.
func stressTime() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("BUCKETSEAL_STRESS")); err == nil {
		return d
	}
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		return time.Hour
	}
	return time.Minute
}

func newStress(t *testing.T) *stress {
	t.Helper()
	needsSeal(t)
	s := &stress{t: t, seed: uint64(time.Now().UnixNano()), began: time.Now(), done: map[string]*atomic.Int64{}}
	if seed, err := strconv.ParseUint(os.Getenv("BUCKETSEAL_SEED"), 10, 64); err == nil {
		s.seed = seed
	}
	t.Logf("BUCKETSEAL_SEED=%d", s.seed)
	proxy := newAPIKey(t)
	k := startKMS(t, kesYAML+proxyPolicy+"keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n",
		"PROXY="+proxy.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	s.gate = newGate(t, k.addr)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	if s.up, err = newSaboteur(minio.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.up.close)
	yaml := k.remoteYAML(t, dir, proxy, "auto_encryption: off\nplain_read: [\"*\"]\nsmall_object: {size: 256KiB}\ncustomer_keys_over_http: true\n")
	text, err := os.ReadFile(yaml)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "bucketseal.yml", bytes.ReplaceAll(text, []byte(k.addr), []byte(s.gate.addr)))
	s.dir, s.yaml = dir, yaml
	for i := range s.proxies {
		logs := fmt.Sprintf("%s/proxy%d", dir, i)
		if err := os.Mkdir(logs, 0o700); err != nil {
			t.Fatal(err)
		}
		if s.proxies[i], err = startSealWith(logs, "http://"+s.up.at, yaml); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.proxies[i].kill)
		s.clients[i] = newClient(s.proxies[i].endpoint(), rootUser, rootPassword)
		waitFor(t, startLimit, "the proxy to be ready", s.proxies[i].isReady)
	}
	for _, state := range []string{"", "Enabled", "Suspended"} {
		bucket := newBucket(t, s.clients[0])
		if state != "" {
			s.clients[0].do(t, request{
				method: http.MethodPut, bucket: bucket, query: "versioning=",
				body: []byte("<VersioningConfiguration><Status>" + state + "</Status></VersioningConfiguration>"),
			}).wantStatus(t, http.StatusOK)
		}
		for _, key := range []string{"one", "dir/two", "copied", "dir/copied too"} {
			s.objects = append(s.objects, &stressObject{
				bucket: bucket, key: key, versioned: state == "Enabled", copied: strings.Contains(key, "copied"),
				bodies: map[[32]byte]*stressWrite{}, removed: map[string]bool{},
			})
		}
	}
	return s
}

func (s *stress) now() time.Duration { return time.Since(s.began) }

// fault reports what must not be, and does not flood the log.
func (s *stress) fault(format string, args ...any) {
	if s.failed.Add(1) <= 20 {
		s.t.Errorf(format, args...)
	}
}

// body returns a body that nobody else writes.
func (s *stress) body(size int) []byte {
	data := testData(size, s.seed)
	copy(data, fmt.Sprintf("%016x", s.next.Add(1)))
	return data
}

// stressModes are how a client may ask to encrypt, and what reads then carry.
func stressModes() []sseMode {
	c := customerKey(5)
	return []sseMode{sseModes()[0], sseModes()[1], {name: "sse-c", put: c, want: c}, {name: "none"}}
}

// begin notes a write before it is sent.
func (s *stress) begin(o *stressObject, name string, data []byte, read map[string]string) *stressWrite {
	w := &stressWrite{name: name, began: s.now(), read: read}
	if data != nil {
		w.sum = sha256.Sum256(data)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = append(o.writes, w)
	if data != nil {
		o.bodies[w.sum] = w
	}
	return w
}

// end notes what a write was answered. Answers that say nothing of whether it was
// done leave it open.
func (s *stress) end(o *stressObject, w *stressWrite, a answer, err error, open ...int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w.ended = s.now()
	switch {
	case err == nil && a.bodyErr == nil && (a.status == http.StatusOK || a.status == http.StatusNoContent):
		w.acked, w.version = true, a.header.Get("X-Amz-Version-Id")
		s.done[w.name].Add(1)
		return
	case err == nil && (a.status == http.StatusServiceUnavailable || a.status == http.StatusConflict):
		return
	}
	for _, status := range open {
		if err == nil && a.status == status {
			return
		}
	}
	s.fault("%s of %s/%s: %v %d %s %s", w.name, o.bucket, o.key, err, a.status, a.code, a.message)
}

func (s *stress) put(r *rand.Rand, o *stressObject, c *client) {
	m := stressModes()[r.IntN(4)]
	size := []int{0, 1, 5000, packageSize, 100_000, 256 << 10, 300_000, 700_001}[r.IntN(8)]
	data := s.body(size)
	if size < 16 {
		data = fmt.Appendf(nil, "%d", s.next.Add(1)) // so that it is like no other
	}
	w := s.begin(o, "put", data, m.want)
	if m.name != "sse-c" {
		w.read = nil
	}
	a, err := c.try(request{method: http.MethodPut, bucket: o.bucket, key: o.alias(r), body: data, header: m.put})
	s.end(o, w, a, err)
}

// alias is one of the names of the object: MinIO cleans a key that begins with a slash.
func (o *stressObject) alias(r *rand.Rand) string {
	return []string{o.key, o.key, "/" + o.key, "//" + o.key}[r.IntN(4)]
}

// upload ends an upload in parts twice at once, through both proxies, with the
// same list or another.
func (s *stress) upload(r *rand.Rand, o *stressObject) {
	m := stressModes()[r.IntN(4)]
	var read map[string]string
	if m.name == "sse-c" {
		read = m.want
	}
	a, err := s.clients[0].try(request{method: http.MethodPost, bucket: o.bucket, key: o.key, query: "uploads=", header: m.put})
	if err != nil || a.status != http.StatusOK {
		return
	}
	u := uploadOf(s.t, s.clients[0], o.bucket, o.key, a)
	u.read = read
	parts := [][]byte{s.body(minPart + r.IntN(1000)), s.body(70_000), s.body(1000)}
	for i, data := range parts {
		a, err := s.clients[i%2].try(u.partRequest(i+1, data))
		if err != nil || a.status != http.StatusOK {
			return
		}
		u.etags[i+1] = a.header.Get("Etag")
	}
	lists := [][]int{{1, 2, 3}, {1, 3}}
	var group sync.WaitGroup
	for i := range 2 {
		list := lists[r.IntN(2)]
		var data []byte
		for _, n := range list {
			data = append(data, parts[n-1]...)
		}
		w := s.begin(o, "complete", data, read)
		group.Go(func() {
			a, err := s.clients[i].try(u.completeRequest(list...))
			s.end(o, w, a, err, http.StatusNotFound, http.StatusBadRequest, http.StatusPreconditionFailed)
		})
	}
	group.Wait()
}

func (s *stress) remove(r *rand.Rand, o *stressObject, c *client) {
	var victim *stressWrite
	query := ""
	if o.versioned && r.IntN(2) == 0 {
		o.mu.Lock()
		for _, w := range o.writes {
			if w.acked && w.version != "" && !o.removed[w.version] && w.name != "delete" && r.IntN(8) == 0 {
				victim = w
				o.removed[w.version] = true
				break
			}
		}
		o.mu.Unlock()
		if victim == nil {
			return
		}
		query = "versionId=" + victim.version
	}
	w := s.begin(o, "delete", nil, nil)
	if victim != nil {
		w.name = "delete version"
	}
	a, err := c.try(request{method: http.MethodDelete, bucket: o.bucket, key: o.key, query: query})
	s.end(o, w, a, err)
}

// copyOnto copies an object onto itself with other metadata.
func (s *stress) copyOnto(r *rand.Rand, o *stressObject, c *client) {
	m := stressModes()[r.IntN(4)]
	header := map[string]string{"X-Amz-Copy-Source": "/" + o.bucket + "/" + escapePath(o.alias(r)), "X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-Copied": strconv.Itoa(r.IntN(100))}
	maps.Copy(header, m.put)
	w := s.begin(o, "copy", nil, nil)
	w.copy = true
	if m.name == "sse-c" {
		w.read = m.want
	}
	a, err := c.try(request{method: http.MethodPut, bucket: o.bucket, key: o.alias(r), header: header})
	s.end(o, w, a, err, http.StatusNotFound, http.StatusBadRequest) // there is none, or it needs a customer key
}

// fetch reads an object whose mode is not known.
func (s *stress) fetch(c *client, o *stressObject, version string) (a answer, err error) {
	query := ""
	if version != "" {
		query = "versionId=" + version
	}
	for try := range 12 {
		header := map[string]string{}
		if try%2 == 1 {
			header = customerKey(5)
		}
		a, err = c.try(request{method: http.MethodGet, bucket: o.bucket, key: o.key, query: query, header: header})
		if err != nil || a.bodyErr == nil && a.status != http.StatusBadRequest && a.status != http.StatusServiceUnavailable {
			return a, err
		}
		if a.status == http.StatusServiceUnavailable {
			time.Sleep(200 * time.Millisecond)
		}
	}
	return a, err
}

// check says what is wrong with an answer, "" for nothing: a body must be one that
// was written to the object, and 404 is one too.
func (s *stress) check(o *stressObject, a answer, err error) (w *stressWrite, wrong string) {
	if err != nil || a.bodyErr != nil || a.status != http.StatusOK {
		if err == nil && (a.status == http.StatusNotFound || a.status == http.StatusServiceUnavailable) {
			return nil, ""
		}
		return nil, fmt.Sprintf("%v %v %d %s %s", err, a.bodyErr, a.status, a.code, a.message)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w = o.bodies[sha256.Sum256(a.body)]
	if w == nil {
		return nil, fmt.Sprintf("%d bytes that nobody wrote: %.40q", len(a.body), a.body)
	}
	return w, ""
}

func (s *stress) read(o *stressObject, c *client) {
	a, err := s.fetch(c, o, "")
	if _, wrong := s.check(o, a, err); wrong != "" && a.status != http.StatusBadRequest {
		s.fault("GET %s/%s: %s", o.bucket, o.key, wrong)
	}
	s.done["get"].Add(1)
}

// work does one thing after another until stop.
func (s *stress) work(worker int, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(s.seed, uint64(worker)))
	for {
		select {
		case <-stop:
			return
		default:
		}
		o, c := s.objects[r.IntN(len(s.objects))], s.clients[r.IntN(2)]
		switch n := r.IntN(100); {
		case n < 40:
			s.put(r, o, c)
		case n < 43:
			s.upload(r, o)
		case n < 53:
			s.remove(r, o, c)
		case n < 65 && o.copied:
			s.copyOnto(r, o, c)
		default:
			s.read(o, c)
		}
	}
}

// trouble takes the key server away now and then, and sweeps all the time.
func (s *stress) trouble(stop <-chan struct{}) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for wait := range s.every(stop, 7*time.Second) {
			s.gate.shut()
			time.Sleep(wait / 8)
			s.gate.reopen(s.t)
		}
	})
	group.Go(func() {
		for range s.every(stop, 2*time.Second) {
			if err := s.sweep(); err != nil {
				s.t.Logf("sweep: %v", err)
				continue
			}
			s.done["sweep"].Add(1)
		}
	})
}

// every yields again and again until stop.
func (s *stress) every(stop <-chan struct{}, wait time.Duration) func(func(time.Duration) bool) {
	return func(yield func(time.Duration) bool) {
		for {
			select {
			case <-stop:
				return
			case <-time.After(wait):
			}
			if !yield(wait) {
				return
			}
		}
	}
}

// verify reads everything back when all is quiet.
func (s *stress) verify() {
	versions := 0
	for _, o := range s.objects {
		for i, c := range s.clients {
			a, err := s.fetch(c, o, "")
			w, wrong := s.check(o, a, err)
			if wrong == "" && a.status == http.StatusServiceUnavailable {
				wrong = "503 although everything is there"
			}
			if wrong == "" && !o.copied {
				wrong = o.superseded(w)
			}
			if wrong != "" {
				s.fault("%s/%s at the end, by proxy %d: %s", o.bucket, o.key, i, wrong)
			}
		}
		for _, w := range o.writes {
			if !o.versioned || !w.acked || w.version == "" || o.removed[w.version] || strings.HasPrefix(w.name, "delete") {
				continue
			}
			versions++
			a, err := s.fetch(s.clients[versions%2], o, w.version)
			found, wrong := s.check(o, a, err)
			if wrong == "" && (found == nil || !w.copy && found.sum != w.sum) {
				wrong = fmt.Sprintf("%d %s, and not what was acknowledged", a.status, a.code)
			}
			if wrong != "" {
				s.fault("%s/%s version %s, %v: %s", o.bucket, o.key, w.version, w, wrong)
			}
		}
	}
	s.t.Logf("%d versions read back", versions)
}

// superseded says by which acknowledged write the final state, nil for an absent
// object, should have been replaced; "" for none.
func (o *stressObject) superseded(final *stressWrite) string {
	var writes, removals []*stressWrite
	for _, w := range o.writes {
		switch w.name {
		case "delete":
			removals = append(removals, w)
		case "put", "complete":
			writes = append(writes, w)
		}
	}
	// before says that a and b were done, one after the other.
	before := func(a, b *stressWrite) bool { return a.acked && b.acked && a.ended < b.began }
	if final != nil {
		for _, w := range append(writes, removals...) {
			if before(final, w) {
				return fmt.Sprintf("%v is there, and should have been replaced by %v", final, w)
			}
		}
		return ""
	}
	if o.versioned {
		return "" // versions are deleted too
	}
	for _, removal := range removals {
		last := true
		for _, w := range writes {
			last = last && !before(removal, w)
		}
		if last {
			return ""
		}
	}
	for _, w := range writes {
		if w.acked {
			return fmt.Sprintf("absent, although %v was written and nothing deleted it", w)
		}
	}
	return ""
}

// Whatever happens at once, what was acknowledged is there and can be read, and
// nothing is there that nobody wrote.
func TestStressLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s := newStress(t)
	for _, name := range []string{"put", "complete", "delete", "delete version", "copy", "get", "sweep"} {
		s.done[name] = new(atomic.Int64)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() { s.work(worker, stop) })
	}
	group.Go(func() { s.trouble(stop) })
	time.Sleep(stressTime())
	close(stop)
	group.Wait()
	for name, n := range s.done {
		t.Logf("%s: %d", name, n.Load())
		if n.Load() == 0 {
			t.Errorf("no %s was done", name)
		}
	}
	s.verify()
	if t.Failed() {
		for _, p := range s.proxies {
			for line := range strings.SplitSeq(p.logSince(0), "\n") {
				if line != "" && !strings.Contains(line, "level=INFO") {
					t.Log(line)
				}
			}
		}
	}
}

// sweep sweeps with a horizon of seconds: a write that takes longer between its
// manifest and its end loses that manifest, which the program refuses without force.
func (s *stress) sweep() error {
	program, err := sealBinary()
	if err != nil {
		return err
	}
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	_, all, err := runWith(s.t, env, s.dir, "", program, "object", "sweep", "--force", "--older-than", "4s", "--upstream", "http://"+s.up.at, "--config", s.yaml)
	if err != nil {
		return fmt.Errorf("%w: %s", err, all)
	}
	return nil
}
