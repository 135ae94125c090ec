package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// cutBody hands on MinIO's answer, and breaks off after so many bytes of its body.
func cutBody(h *hostile, after int) act {
	return func(w http.ResponseWriter, r *http.Request) bool {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		resp, err := h.up.forward(r, path, &upstreamRequest{})
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		text := wire(resp.Status, resp.Header, body)
		return raw(text[:len(text)-len(body)+after], 0)(w, r)
	}
}

// What breaks off on its way from MinIO is no proof of anything: 503, which
// clients repeat, and not "tampered with".
func TestAnswersThatBreakOffMayBeRepeated(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	c := h.root
	bucket := newBucket(t, c)
	objects := h.hostileObjects(t, bucket)
	for _, o := range objects {
		h.up.order(onObject(bucket, o.key, http.MethodGet, cutBody(h, 3000)))
		c.get(t, bucket, o.key, o.read).wantError(t, http.StatusServiceUnavailable, "SlowDown", "The storage cannot be reached. Please try again.")
		header := map[string]string{"Range": "bytes=100-200"}
		for name, value := range o.read {
			header[name] = value
		}
		c.get(t, bucket, o.key, header).wantError(t, http.StatusServiceUnavailable, "SlowDown", "")
	}
	for _, path := range []string{bucket, systemBucket} {
		h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
			return isListing(r, path) && r.URL.Query().Has("list-type") && cutBody(h, 200)(w, r)
		})
		a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: query("list-type", "2")})
		if path == bucket || a.status != http.StatusOK { // the manifests were read one by one, or are known
			a.wantError(t, http.StatusServiceUnavailable, "SlowDown", "")
		}
	}
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/minio/") {
			return false
		}
		return raw("HTTP/1.1 499 status code 499\r\nContent-Type: application/xml\r\nContent-Length: 69\r\n\r\n"+
			"<Error><Code>ClientDisconnected</Code><Message>Client</Message></Error", 0)(w, r)
	})
	for _, r := range []request{
		{method: http.MethodGet, bucket: bucket, key: objects[0].key},
		{method: http.MethodPut, bucket: bucket, key: "new", body: testData(100, 1)},
		{method: http.MethodPut, bucket: bucket, key: "new", body: testData(400_000, 1)},
		{method: http.MethodDelete, bucket: bucket, key: objects[0].key},
		{method: http.MethodGet, bucket: bucket, query: query("list-type", "2")},
		{method: http.MethodGet, bucket: bucket, query: "location="},
	} {
		if a := c.do(t, r); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s %s?%s: %d %s", r.method, r.key, r.query, a.status, a.code)
		}
	}
	h.up.honest()
	for _, o := range objects {
		h.readEveryWay(t, o)
	}
}

// A copy may take longer than any other answer.
func TestCopiesMayTakeLongerThanOtherAnswers(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "") // upstream_header is 2 s
	c := h.root
	bucket := newBucket(t, c)
	data := testData(300_000, 4)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	u := c.createUpload(t, bucket, "parts", nil)
	u.put(t, 1, data)
	h.up.tell(lie{alter: func(r *http.Request, _ *http.Response) {
		if r.Header.Get("X-Amz-Copy-Source") != "" || r.Method == http.MethodPost && strings.HasPrefix(u.id, r.URL.Query().Get("uploadId")) {
			time.Sleep(4 * time.Second)
		}
	}})
	c.put(t, bucket, "copy", nil, map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/k"}).wantStatus(t, http.StatusOK)
	u.complete(t, 1)
	h.up.honest()
	for _, key := range []string{"copy", "parts"} {
		c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
}

// Clients give up after a minute of silence, and MinIO may need longer.
func TestClientsWaitForWhatTakesMoreThanAMinute(t *testing.T) {
	needsTime(t)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{stack: &stack{dir: dir, minio: minio}}
	t.Cleanup(h.end)
	if h.up, err = newSaboteur(minio.addr); err != nil {
		t.Fatal(err)
	}
	if h.seal, err = startSealWith(dir, "http://"+h.up.at, writeFile(t, dir, "bucketseal.yml", []byte("small_object: {size: 256KiB}\ndata_dir: keys\n"))); err != nil {
		t.Fatal(err)
	}
	c := h.client()
	bucket := newBucket(t, c)
	data := testData(300_000, 4)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	h.up.tell(lie{alter: func(r *http.Request, _ *http.Response) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/"+bucket+"/") {
			time.Sleep(65 * time.Second)
		}
	}})
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: "late", body: data, limit: 2 * time.Minute})
		if err != nil || a.status != http.StatusOK {
			t.Errorf("%v %d %s", err, a.status, a.code)
		}
	})
	t.Run("copy", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: "copy", header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/k"}, limit: 2 * time.Minute})
		if err != nil || a.status != http.StatusOK || !strings.Contains(string(a.body), "  <CopyObjectResult") {
			t.Errorf("%v %d %q after %v", err, a.status, a.body, time.Since(began))
		}
	})
	t.Cleanup(func() {
		h.up.honest()
		for _, key := range []string{"late", "copy"} {
			c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		}
	})
}

// Clients compare what a listing says with what they have, and copy or delete.
func TestListingsAreRefusedWhileTheKeyServiceIsAway(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	k, minio, proxy := startKeysAndMinIO(t, proxyPolicy)
	dir := minio.dir
	yaml := k.remoteYAML(t, dir, proxy, "small_object: {size: 256KiB}\n")
	s := &stack{dir: dir, minio: minio}
	var err error
	if s.seal, err = startSealWith(dir, minio.endpoint(), yaml); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.seal.kill() })
	s.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", s.seal.isReady)
	c := s.client()
	sizes := map[string]map[string]int64{}
	for name, put := range map[string]func(bucket string){
		"in the record":     func(b string) { c.put(t, b, "small", testData(5000, 1), nil).wantStatus(t, http.StatusOK) },
		"in a manifest":     func(b string) { c.put(t, b, "late", testData(400_000, 2), nil).wantStatus(t, http.StatusOK) },
		"in the parts":      func(b string) { uploadParts(t, c, b, "parts", sseModes()[0], oddParts()...) },
		"parts under a KMS": func(b string) { uploadParts(t, c, b, "kms", sseModes()[2], oddParts()...) },
	} {
		bucket := newBucket(t, c)
		put(bucket)
		sizes[bucket] = map[string]int64{}
		for _, e := range c.list(t, bucket, "list-type", "2").Contents {
			sizes[bucket][e.Key+e.ETag] = e.Size
		}
		t.Logf("%s: %v", name, sizes[bucket])
	}
	if err := s.seal.stop(10 * time.Second); err != nil { // so that nothing is cached
		t.Error(err)
	}
	if err := k.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if s.seal, err = startSealWith(dir, minio.endpoint(), yaml); err != nil {
		t.Fatal(err)
	}
	c = s.client()
	kinds := []string{"list-type=2", "", "versions="}
	for bucket := range sizes {
		for _, kind := range kinds {
			c.do(t, request{method: http.MethodGet, bucket: bucket, query: kind}).wantError(t, http.StatusServiceUnavailable, "SlowDown", "The key service cannot be reached. Please try again.")
		}
		kinds = kinds[:1] // each takes its time
	}
	k.start(t)
	waitFor(t, startLimit, "the proxy to be ready again", s.seal.isReady)
	for bucket, want := range sizes {
		got := map[string]int64{}
		for _, e := range c.list(t, bucket, "list-type", "2").Contents {
			got[e.Key+e.ETag] = e.Size
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("listed as %v, before as %v", got, want)
		}
	}
}
