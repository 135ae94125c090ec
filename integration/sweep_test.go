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
func (h *hostile) tomorrow() { h.up.tell(twoDaysAhead()) }

func twoDaysAhead() lie {
	return lie{alter: func(r *http.Request, resp *http.Response) {
		if strings.HasPrefix(r.URL.Path, "/minio/health/") {
			resp.Header.Set("Date", time.Now().Add(48*time.Hour).UTC().Format(http.TimeFormat))
		}
	}}
}

func (h *hostile) systemObjects(t *testing.T, prefix string) (names []string) {
	t.Helper()
	for _, o := range h.stack.raw().list(t, systemBucket, "list-type", "2", "encoding-type", "url", "prefix", prefix).Contents {
		names = append(names, o.Key)
	}
	return names
}

func TestSweepRemovesWhatIsLeftAndNothingElse(t *testing.T) {
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
	before := h.systemObjects(t, "")
	if out, err := h.stack.command(t, "object", "sweep"); err != nil || !strings.Contains(out, "removed 0") {
		t.Errorf("a sweep of what is young: %v %s", err, out)
	}
	h.tomorrow()
	out, err := h.stack.command(t, "object", "sweep", "--dry-run")
	if after := h.systemObjects(t, ""); err != nil || !slices.Equal(before, after) || strings.Contains(out, "would remove 0") {
		t.Fatalf("a dry run: %v, %d of %d objects left: %s", err, len(after), len(before), out)
	}
	var wg sync.WaitGroup
	for range 2 { // two at once
		wg.Go(func() {
			if _, err := h.stack.command(t, "object", "sweep"); err != nil {
				t.Errorf("sweep: %v", err)
			}
		})
	}
	wg.Wait()
	if out, err := h.stack.command(t, "object", "sweep"); err != nil || !strings.Contains(out, "removed 0") {
		t.Errorf("a second sweep: %v %s", err, out)
	}
	h.up.honest()
	late, uploads, parts := h.systemObjects(t, "late"), h.systemObjects(t, "uploads"), h.systemObjects(t, "parts")
	if len(late) != len(kept) || len(uploads) != 1 || len(parts) != 1 {
		t.Errorf("%d manifests of %d objects, %d uploads, %d parts are left\n%s", len(late), len(kept), len(uploads), len(parts), strings.Join(late, "\n"))
	}
	restart()
	readable("after")
	live = live.via(c)
	wantObject(t, c, bucket, "live", live.complete(t), nil, part)
}
