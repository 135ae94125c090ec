package integration

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// command runs a subcommand of the binary with the proxy's own configuration.
func (s *stack) command(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	out, all, err := s.commandWith(t, "", args...)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, all)
	}
	return out, err
}

func (s *stack) commandWith(t *testing.T, stdin string, args ...string) (stdout, all string, err error) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir)
	args = append(args, s.seal.args...)
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	return runWith(t, env, s.dir, stdin, program, args...)
}

// tomorrow makes MinIO's clock run two days ahead for whoever asks for the time.
func (h *hostile) tomorrow() {
	h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
		if strings.HasPrefix(r.URL.Path, "/minio/health/") {
			resp.Header.Set("Date", time.Now().Add(48*time.Hour).UTC().Format(http.TimeFormat))
		}
	}})
}

// sweepHorizon is the least that a sweep takes; MinIO tells its time in seconds.
const sweepHorizon = 2100 * time.Millisecond

// sweepNow sweeps what is older than a second until nothing waits for another sweep,
// and returns what the last but one printed.
func (s *stack) sweepNow(t *testing.T) (out string) {
	t.Helper()
	for range 2 { // the first one only notes what it finds
		time.Sleep(sweepHorizon)
		var err error
		if out, err = s.command(t, "object", "sweep", "--force", "--older-than", "1s"); err != nil {
			t.Errorf("sweep: %v %s", err, out)
		}
	}
	return out
}

func (h *hostile) systemObjects(t *testing.T, prefix string) (names []string) {
	t.Helper()
	for _, o := range h.stack.raw().list(t, systemBucket, "list-type", "2", "encoding-type", "url", "prefix", prefix).Contents {
		names = append(names, o.Key)
	}
	return names
}

func TestSweepRemovesWhatIsLeftAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	c := h.root
	bucket, versioned := newBucket(t, c), newBucket(t, c)
	c.do(t, request{
		method: http.MethodPut, bucket: versioned, query: "versioning=",
		body: []byte("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
	}).wantStatus(t, http.StatusOK)
	streamed, part := testData(300_000, 1), partData(400_001, 60)
	uploaded := func(bucket, key string) {
		u := c.createUpload(t, bucket, key, nil)
		u.put(t, 1, part)
		u.complete(t)
	}
	long := strings.Repeat("k", 255) // whose manifests have hashed names
	for _, key := range []string{"stays", long, long[:254] + "/" + long, "with space"} {
		uploaded(bucket, key)                                             // overwritten
		c.put(t, bucket, key, streamed, nil).wantStatus(t, http.StatusOK) // overwritten
		uploaded(bucket, key)                                             // stays
		uploaded(bucket, "x"+key[1:])
		c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "x" + key[1:]}).wantStatus(t, http.StatusNoContent)
		c.put(t, bucket, "s"+key[1:], streamed, nil).wantStatus(t, http.StatusOK) // stays
	}
	uploaded(versioned, "v")
	c.put(t, versioned, "v", streamed, nil).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodDelete, bucket: versioned, key: "v"}).wantStatus(t, http.StatusNoContent)
	live := c.createUpload(t, bucket, "live", nil)
	live.put(t, 1, part)
	// An upload that ended where the proxy did not see it.
	ended := c.createUpload(t, bucket, "ended", nil)
	ended.put(t, 1, part)
	id := ended.id[:strings.LastIndexByte(ended.id, '.')]
	h.stack.raw().do(t, request{method: http.MethodDelete, bucket: bucket, key: "ended", query: query("uploadId", id)}).wantStatus(t, http.StatusNoContent)

	type object struct{ bucket, key, version string }
	var kept []object
	for _, b := range []string{bucket, versioned} {
		a := c.do(t, request{method: http.MethodGet, bucket: b, query: "versions="}).wantStatus(t, http.StatusOK)
		var l struct {
			Version []struct{ Key, VersionId string } //nolint:revive // S3's name
		}
		if err := xml.Unmarshal(a.body, &l); err != nil {
			t.Fatal(err)
		}
		for _, v := range l.Version {
			kept = append(kept, object{b, v.Key, v.VersionId})
		}
	}
	readable := func(when string) {
		t.Helper()
		for _, o := range kept {
			a := c.do(t, request{method: http.MethodGet, bucket: o.bucket, key: o.key, query: query("versionId", o.version)})
			if a.status != http.StatusOK || len(a.body) != len(part) && len(a.body) != len(streamed) {
				t.Errorf("%s: %s/%.20q %s: %d %s", when, o.bucket, o.key, o.version, a.status, a.code)
			}
		}
	}
	eventually(t, "finished uploads are dropped", func() bool { return len(h.systemObjects(t, "uploads")) == 2 })
	// The server's memory of manifests would hide that one is gone.
	restart := func() { h.seal.kill(); h.stack.restart(t); h.root = h.client(); c = h.root }
	restart()
	readable("before")
	if out, err := h.stack.command(t, "object", "sweep"); err != nil || !strings.Contains(out, "removed 0") {
		t.Errorf("a sweep of what is young: %v %s", err, out)
	}
	if _, err := h.stack.command(t, "object", "sweep", "--older-than", "59m"); err == nil {
		t.Error("a sweep of what was just written was not refused")
	}
	twice := func(what string) { // two at once
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := h.stack.command(t, "object", "sweep", "--force", "--older-than", "1s"); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wg.Wait()
	}
	time.Sleep(sweepHorizon)
	twice("a first look")
	if after := h.systemObjects(t, "late"); len(after) == len(kept) {
		t.Errorf("a first look removed manifests: %d left", len(after))
	}
	before := h.systemObjects(t, "")
	time.Sleep(sweepHorizon)
	// A storage whose clock has jumped to the day after tomorrow makes nothing old.
	h.tomorrow()
	if out, err := h.stack.command(t, "object", "sweep"); err != nil || !strings.Contains(out, "removed 0") || !slices.Equal(before, h.systemObjects(t, "")) {
		t.Errorf("a sweep after the storage's clock had jumped: %v %s", err, out)
	}
	h.up.honest()
	out, err := h.stack.command(t, "object", "sweep", "--force", "--older-than", "1s", "--dry-run")
	if after := h.systemObjects(t, ""); err != nil || !slices.Equal(before, after) || strings.Contains(out, "would remove 0") {
		t.Fatalf("a dry run: %v, %d of %d objects left: %s", err, len(after), len(before), out)
	}
	twice("a second look")
	if out, err := h.stack.command(t, "object", "sweep", "--force", "--older-than", "1s"); err != nil || !strings.Contains(out, "removed 0") {
		t.Errorf("a third sweep: %v %s", err, out)
	}
	late, uploads, parts := h.systemObjects(t, "late"), h.systemObjects(t, "uploads"), h.systemObjects(t, "parts")
	if len(late) != len(kept) || len(uploads) != 1 || len(parts) != 1 {
		t.Errorf("%d manifests of %d objects, %d uploads, %d parts are left\n%s", len(late), len(kept), len(uploads), len(parts), strings.Join(late, "\n"))
	}
	restart()
	readable("after")
	live = live.via(c)
	wantObject(t, c, bucket, "live", live.complete(t), nil, part)
}

// MinIO, just started again, says for some seconds that what it has does not exist.
func TestASweepDoesNotBelieveADenialOnce(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	c := h.root
	bucket := newBucket(t, c)
	data := testData(300_000, 2)
	c.put(t, bucket, "streamed", data, nil).wantStatus(t, http.StatusOK)
	live := c.createUpload(t, bucket, "live", nil)
	live.put(t, 1, data)
	time.Sleep(sweepHorizon)
	sweep := func() string {
		out, err := h.stack.command(t, "object", "sweep", "--force", "--older-than", "1s")
		if err != nil {
			t.Error(err)
		}
		time.Sleep(sweepHorizon)
		return out
	}
	for range 2 {
		h.up.order(func(w http.ResponseWriter, r *http.Request) bool { // neither listed nor known
			switch path := strings.TrimPrefix(r.URL.Path, "/"+bucket); {
			case path == r.URL.Path:
				return false
			case r.URL.Query().Has("versions"):
				w.Header().Set("Content-Type", "application/xml")
				_, _ = w.Write([]byte("<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"))
			case r.Method == http.MethodHead:
				w.WriteHeader(http.StatusNotFound)
			default:
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte("<Error><Code>NoSuchUpload</Code></Error>"))
			}
			return true
		})
		if out := sweep(); !strings.Contains(out, "removed 0, 2 wait") {
			t.Errorf("a denial was believed, or not noticed: %s", out)
		}
		h.up.honest()
		if out := sweep(); !strings.Contains(out, "removed 0, 0 wait") {
			t.Errorf("what is there waits: %s", out)
		}
	}
	// The version that is listed is not there: that is no proof either, however often.
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/"+bucket) {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	for range 2 {
		if out := sweep(); !strings.Contains(out, "removed 0, 0 wait") || !strings.Contains(out, "skipped 1") {
			t.Errorf("a listed version that is denied: %s", out)
		}
	}
	h.up.honest()
	h.seal.kill()
	h.stack.restart(t)
	c = h.client()
	c.get(t, bucket, "streamed", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	wantObject(t, c, bucket, "live", live.via(c).complete(t), nil, data)
}

func TestMetadataThatMakesListingsUnreadableDoesNotStopASweep(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	c := h.root
	bucket := newBucket(t, c)
	odd := testData(300_000, 3)
	c.put(t, bucket, "a-odd", odd, map[string]string{"X-Amz-Meta-A!b": "x"}).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "overwritten", testData(300_000, 1), nil).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "overwritten", []byte("small"), nil).wantStatus(t, http.StatusOK)
	if out := h.stack.sweepNow(t); !strings.Contains(out, "removed 1, 0 wait") || !strings.Contains(out, "skipped 0") {
		t.Error(out)
	}
	h.seal.kill()
	h.stack.restart(t)
	h.client().get(t, bucket, "a-odd", nil).wantStatus(t, http.StatusOK).wantBody(t, odd)
}

// Each change of a rule leaves a version of the index; MinIO bears only so many.
func TestOldVersionsOfIndexesAreSwept(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	h.root.do(t, request{method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(encryptionRule("AES256", ""))}).wantStatus(t, http.StatusOK)
	raw := h.stack.raw()
	stored := raw.get(t, systemBucket, "rules/index", nil).wantStatus(t, http.StatusOK)
	for range 50 {
		raw.put(t, systemBucket, "rules/index", stored.body, nil).wantStatus(t, http.StatusOK)
	}
	current := raw.head(t, systemBucket, "rules/index", nil).header.Get("X-Amz-Version-Id")
	time.Sleep(sweepHorizon)
	if out, err := h.stack.command(t, "object", "sweep", "--force", "--older-than", "1s"); err != nil || strings.Count(out, "version \"rules/index") < 20 {
		t.Errorf("%v %s", err, out)
	}
	a := raw.do(t, request{method: http.MethodGet, bucket: systemBucket, query: query("versions", "", "prefix", "rules/index")})
	if n := strings.Count(string(a.body), "<Version>"); n != 32 {
		t.Errorf("%d versions left, want 32", n)
	}
	if now := raw.head(t, systemBucket, "rules/index", nil).header.Get("X-Amz-Version-Id"); now != current {
		t.Error("the current version is not the one that was")
	}
	h.root.do(t, request{method: http.MethodGet, bucket: bucket, query: "encryption="}).wantStatus(t, http.StatusOK)
}
