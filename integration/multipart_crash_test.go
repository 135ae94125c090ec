package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// uploadStep is one of the upstream requests that an upload in parts takes.
type uploadStep struct {
	name    string
	matches func(r *http.Request, bucket, key string) bool
}

func uploadSteps() []uploadStep {
	object := func(method string, parameters ...string) func(*http.Request, string, string) bool {
		return func(r *http.Request, bucket, key string) bool {
			ok := r.Method == method && !asksOnly(r) && r.URL.Path == "/"+bucket+"/"+key
			for _, p := range parameters {
				ok = ok && r.URL.Query().Has(p)
			}
			return ok
		}
	}
	note := func(prefix string) func(*http.Request, string, string) bool {
		return func(r *http.Request, bucket, key string) bool {
			return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/"+strings.NewReplacer("BUCKET", bucket, "KEY", key).Replace(prefix))
		}
	}
	return []uploadStep{
		{"create", object(http.MethodPost, "uploads")},
		{"note of the upload", note("uploads/BUCKET/KEY\x01")},
		{"part", object(http.MethodPut, "partNumber", "uploadId")},
		{"note of a part", note("parts/")},
		{"list of parts", object(http.MethodGet, "uploadId")},
		{"notes of parts", func(r *http.Request, _, _ string) bool {
			return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Query().Get("prefix"), "parts/") && !r.URL.Query().Has("versions")
		}},
		{"manifest", note("late/BUCKET/KEY\x01")},
		{"commit", object(http.MethodPost, "uploadId")},
		{"clean-up", func(r *http.Request, _, _ string) bool {
			return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/"+systemBucket) && r.URL.Query().Has("delete")
		}},
	}
}

// uploadFault is what befalls one such request. h.kill ends the proxy.
type uploadFault struct {
	name string
	slow bool // waits for a time limit
	do   func(h *hostile, w http.ResponseWriter, r *http.Request, kill func())
}

func uploadFaults() []uploadFault {
	fail := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>"))
	}
	cut := func() { panic(http.ErrAbortHandler) }
	hang := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	}
	return []uploadFault{
		{"fails", false, func(_ *hostile, w http.ResponseWriter, _ *http.Request, _ func()) { fail(w) }},
		{"is cut", false, func(_ *hostile, _ http.ResponseWriter, _ *http.Request, _ func()) { cut() }},
		{"happens, and fails", false, func(h *hostile, w http.ResponseWriter, r *http.Request, _ func()) { h.passOn(r); fail(w) }},
		{"happens, and is cut", false, func(h *hostile, _ http.ResponseWriter, r *http.Request, _ func()) { h.passOn(r); cut() }},
		{"hangs", true, func(_ *hostile, _ http.ResponseWriter, r *http.Request, _ func()) { hang(r); cut() }},
		{"happens, and hangs", true, func(h *hostile, _ http.ResponseWriter, r *http.Request, _ func()) { h.passOn(r); hang(r); cut() }},
		{"kills the proxy", false, func(_ *hostile, _ http.ResponseWriter, _ *http.Request, kill func()) { kill(); cut() }},
		{"happens, and kills the proxy", false, func(h *hostile, _ http.ResponseWriter, r *http.Request, kill func()) { h.passOn(r); kill(); cut() }},
	}
}

// stubbornClient repeats what failed, as SDKs do, and starts the proxy again
// where it was killed.
type stubbornClient struct {
	h *hostile
	// dies says that the proxy will be killed.
	dies  bool
	check func(where string)
}

// revive waits for the death of the proxy and starts it again.
func (s *stubbornClient) revive(t *testing.T) {
	t.Helper()
	select {
	case <-s.h.seal.done:
		s.dies = false
		s.h.stack.restart(t)
		s.h.settled(t)
	case <-time.After(5 * time.Second):
		t.Error("the proxy was not killed")
	}
}

func (s *stubbornClient) do(t *testing.T, r request) answer {
	t.Helper()
	r.limit = hostileLimit
	var last answer
	for range 4 {
		a, err := s.h.root.try(r)
		if err == nil && a.status < 500 {
			return a
		}
		if s.dies && err != nil {
			s.revive(t)
		}
		s.check(fmt.Sprintf("%s, after %d %s, %v", r.method, a.status, a.code, err))
		last = a
	}
	t.Fatalf("%s %s: %d %s %s: repeating it does not help", r.method, r.query, last.status, last.code, last.message)
	return last
}

// uploadDespite makes an upload of parts during which fault befalls the first
// request of step, and checks at every instant that the object is old or new.
func uploadDespite(t *testing.T, h *hostile, bucket, key string, step uploadStep, fault uploadFault, m sseMode, old []byte, parts ...[]byte) {
	t.Helper()
	data := bytes.Join(parts, nil)
	s := &stubbornClient{h: h, dies: strings.Contains(fault.name, "kills")}
	s.check = func(where string) {
		t.Helper()
		switch a := h.root.get(t, bucket, key, nil); {
		case a.status == http.StatusOK && (bytes.Equal(a.body, data) || old != nil && bytes.Equal(a.body, old)):
		case a.status == http.StatusNotFound && old == nil:
		default:
			t.Errorf("%s: GET: %d %s, %d bytes", where, a.status, a.code, len(a.body))
		}
	}
	if old != nil {
		h.root.put(t, bucket, key, old, m.put).wantStatus(t, http.StatusOK)
	}
	var happened atomic.Bool
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if !step.matches(r, bucket, key) {
			return false
		}
		if !happened.CompareAndSwap(false, true) {
			return false
		}
		fault.do(h, w, r, h.seal.kill)
		return true
	})
	defer h.up.honest()
	a := s.do(t, request{method: http.MethodPost, bucket: bucket, key: key, query: "uploads=", header: m.put}).wantStatus(t, http.StatusOK)
	u := uploadOf(t, h.root, bucket, key, a)
	for i, part := range parts {
		u.etags[i+1] = s.do(t, u.partRequest(i+1, part)).wantStatus(t, http.StatusOK).header.Get("Etag")
	}
	s.check("before Complete")
	etag := completedETag(t, s.do(t, u.completeRequest()).wantStatus(t, http.StatusOK))
	if m.md5 && etag != multipartETag(parts...) {
		t.Errorf("ETag %s", etag)
	}
	if step.name == "clean-up" {
		eventually(t, "the clean-up", happened.Load)
	}
	if !happened.Load() {
		t.Error("the step never happened")
	}
	h.up.honest()
	if s.dies { // in what no answer waits for
		s.revive(t)
	}
	wantObject(t, h.root, bucket, key, etag, nil, parts...)
	if again := u.complete(t); again != etag {
		t.Errorf("Complete repeated: %s, then %s", etag, again)
	}
	// What a client never heard of, and what is left, can be aborted.
	for _, left := range h.root.uploads(t, bucket, "prefix", key).Upload {
		a := h.root.do(t, request{method: http.MethodDelete, bucket: bucket, key: left.Key, query: query("uploadId", left.UploadId)})
		if a.status != http.StatusNoContent && a.code != "NoSuchUpload" {
			t.Errorf("abort of what is left: %d %s", a.status, a.code)
		}
	}
	eventually(t, "no upload is listed", func() bool { return len(h.root.uploads(t, bucket, "prefix", key).Upload) == 0 })
	wantObject(t, h.root, bucket, key, etag, nil, parts...)
}

func TestUploadsInPartsSurviveFaultsAtEveryStep(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	long := os.Getenv("BUCKETSEAL_LONG") != ""
	small := [][]byte{partData(400_001, 40)}
	n := 0
	for _, step := range uploadSteps() {
		for _, fault := range uploadFaults() {
			if fault.slow && !long && step.name != "commit" {
				continue
			}
			modes, old := sseModes()[:1], []byte(nil)
			if n%2 == 1 {
				old = testData(300_000, 41)
			}
			if long {
				modes = sseModes()[:3]
			}
			for _, m := range modes {
				n++
				key := fmt.Sprint("k", n)
				t.Run(step.name+" "+fault.name+"/"+m.name, func(t *testing.T) {
					uploadDespite(t, h, bucket, key, step, fault, m, old, small...)
					if long {
						uploadDespite(t, h, bucket, key+"-large", step, fault, m, nil, partData(minPart+3, 42), partData(minPart, 43), partData(70_000, 44))
					}
				})
			}
		}
	}
}

// MinIO, cut off in the middle of a Complete, loses the upload: the proxy does not
// pass a client's disconnection on.
func TestClientThatGoesAwayDuringCompleteDoesNotStopIt(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	data := partData(400_001, 40)
	u := h.root.createUpload(t, bucket, "k", nil)
	u.put(t, 1, data)
	req, err := h.root.build(u.completeRequest())
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	stopped := make(chan bool, 1)
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if !uploadSteps()[7].matches(r, bucket, "k") {
			return false
		}
		body, _ := io.ReadAll(r.Body) // a server notices disconnections from then on
		r.Body = io.NopCloser(bytes.NewReader(body))
		leave()
		select {
		case <-r.Context().Done():
			stopped <- true
		case <-time.After(500 * time.Millisecond):
			stopped <- false
		}
		h.up.lyingUpstream.ServeHTTP(w, r)
		return true
	})
	if resp, err := h.root.http.Do(req.WithContext(ctx)); err == nil {
		resp.Body.Close()
		t.Error("an answer, although the client left")
	}
	if <-stopped {
		t.Error("the upstream request was broken off")
	}
	eventually(t, "the object is there", func() bool { return h.root.head(t, bucket, "k", nil).status == http.StatusOK })
	wantObject(t, h.root, bucket, "k", u.complete(t), nil, data)
}

// What is small and would cost a client a whole part or object is written again
// where MinIO is too busy to take it.
func TestBusyUpstreamCostsNoPart(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	data := partData(400_001, 40)
	h.root.put(t, bucket, "before", data, nil).wantStatus(t, http.StatusOK) // the key is pinned
	var refused atomic.Int64
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/") ||
			strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/canary/") || refused.Add(1)%3 == 0 {
			return false
		}
		return answerXML(w, http.StatusServiceUnavailable, "<Error><Code>SlowDown</Code><Message>Resource requested is unreadable, please reduce your request rate</Message></Error>")
	})
	u := h.root.createUpload(t, bucket, "k", nil)
	u.put(t, 1, data)
	etag := u.complete(t)
	h.root.put(t, bucket, "streamed", data, nil).wantStatus(t, http.StatusOK)
	h.up.honest()
	if n := refused.Load(); n != 12 {
		t.Errorf("%d writes to the system bucket, want each of four repeated twice", n)
	}
	wantObject(t, h.root, bucket, "k", etag, nil, data)
	h.root.get(t, bucket, "streamed", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}
