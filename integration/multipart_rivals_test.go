package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rivalry is an upload that two clients end at once through two proxies, while
// something befalls upstream's commit.
type rivalry struct {
	h       *hostile
	u       *mp
	clients [2]*client
	// ends are the two requests, and what each makes of the object if it wins.
	ends [2]request
	// results are all bytes that the object may have.
	results [][]byte
}

const (
	againstList = iota
	againstAbort
	againstPart
)

func rivalNames() []string { return []string{"another list", "Abort", "a part sent again"} }

// newRivalry uploads parts 1 to 3 and prepares Complete of them and its rival.
func newRivalry(t *testing.T, h *hostile, second *client, bucket, key string, m sseMode, against int) *rivalry {
	t.Helper()
	r := &rivalry{h: h, clients: [2]*client{h.root, second}, u: h.root.createUpload(t, bucket, key, m.put)}
	parts := [][]byte{partData(minPart+1, 81), partData(minPart+2, 82), partData(70_000, 83)}
	again := partData(minPart+9, 84)
	for i, data := range parts {
		r.u.via(r.clients[i%2]).put(t, i+1, data)
	}
	r.ends[0] = r.u.completeRequest(1, 2, 3)
	r.results = [][]byte{bytes.Join(parts, nil)}
	switch against {
	case againstList:
		r.ends[1] = r.u.completeRequest(1, 3)
		r.results = append(r.results, bytes.Join([][]byte{parts[0], parts[2]}, nil))
	case againstAbort:
		r.ends[1] = r.u.request(http.MethodDelete)
	case againstPart:
		r.ends[1] = r.u.partRequest(1, again)
	}
	for i := range r.ends {
		r.ends[i].limit = hostileLimit
	}
	return r
}

// state reads the object: which of the results it is, or -1 if it is absent.
func (r *rivalry) state(t *testing.T, when string) int {
	t.Helper()
	a := r.h.root.get(t, r.u.bucket, r.u.key, nil)
	if a.status == http.StatusNotFound {
		return -1
	}
	for i, data := range r.results {
		if a.status == http.StatusOK && bytes.Equal(a.body, data) {
			return i
		}
	}
	t.Errorf("%s: GET: %d %s, %d bytes that nobody put together", when, a.status, a.code, len(a.body))
	return -2
}

// run lets both end the upload while fault befalls the first commit.
func (r *rivalry) run(t *testing.T, fault uploadFault, against int) {
	t.Helper()
	h := r.h
	var happened atomic.Bool
	h.up.order(func(w http.ResponseWriter, req *http.Request) bool {
		if !uploadSteps()[7].matches(req, r.u.bucket, r.u.key) || !happened.CompareAndSwap(false, true) {
			return false
		}
		fault.do(h, w, req, h.seal.kill)
		return true
	})
	var answers [2]answer
	var wg sync.WaitGroup
	for i := range r.ends {
		wg.Go(func() { answers[i], _ = r.clients[i].try(r.ends[i]) })
	}
	wg.Wait()
	h.up.honest()
	if strings.Contains(fault.name, "kills") {
		select {
		case <-h.seal.done:
			h.stack.restart(t)
			h.settled(t)
		case <-time.After(time.Second): // the rival was first, and no commit came
			if happened.Load() {
				t.Error("the proxy was not killed")
			}
		}
	}
	state := r.state(t, "afterwards")
	for i, a := range answers {
		if a.status == http.StatusOK && r.ends[i].method == http.MethodPost && state != i {
			t.Errorf("Complete %d was acknowledged, the object is %d", i, state)
		}
	}
	// Whoever got no answer asks again.
	a := h.root.do(t, r.ends[0])
	switch after := r.state(t, "after a repeat"); {
	case a.status == http.StatusOK && after != 0:
		t.Errorf("repeat of Complete: 200, the object is %d", after)
	case state >= 0 && after != state:
		t.Errorf("repeat of Complete: the object was %d and is %d", state, after)
	case state == 0 && a.status != http.StatusOK:
		t.Errorf("repeat of what was done: %d %s", a.status, a.code)
	case a.status != http.StatusOK && a.code != "NoSuchUpload" && a.code != "InvalidPart":
		t.Errorf("repeat of Complete: %d %s", a.status, a.code)
	case a.code == "InvalidPart" && against != againstPart, a.code == "NoSuchUpload" && against == againstPart:
		t.Errorf("repeat of Complete: %s", a.code)
	case after == -1 && a.code == "NoSuchUpload" && against != againstAbort:
		t.Errorf("the upload is lost: %s", a.code)
	}
	if a.code == "InvalidPart" { // the part was exchanged: the upload goes on
		r.u.etags[1] = md5ETag(partData(minPart+9, 84))
		listed, _, _ := r.u.via(h.root).parts(t)
		if len(listed) != 3 {
			t.Fatalf("parts: %v", listed)
		}
		r.u.etags[1] = listed[0].ETag
		r.u.via(h.root).complete(t, 1, 2, 3)
		r.results = append(r.results, bytes.Join([][]byte{partData(minPart+9, 84), partData(minPart+2, 82), partData(70_000, 83)}, nil))
		if state := r.state(t, "with the exchanged part"); state != len(r.results)-1 {
			t.Errorf("with the exchanged part the object is %d", state)
		}
	}
}

func TestRivalEndsSurviveFaults(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	second := secondProxy(t, h.stack)
	bucket := newBucket(t, h.root)
	long := os.Getenv("BUCKETSEAL_LONG") != ""
	faults, modes, rounds := uploadFaults(), sseModes()[:1], 1
	if long {
		modes, rounds = sseModes()[:2], 4
	}
	n := 0
	for against, rival := range rivalNames() {
		for i, fault := range faults {
			if !long && (fault.slow || i%3 != against%3) {
				continue
			}
			for _, m := range modes {
				for range rounds {
					n++
					t.Run(fmt.Sprintf("commit %s, against %s/%s", fault.name, rival, m.name), func(t *testing.T) {
						newRivalry(t, h, second, bucket, fmt.Sprint("k", n), m, against).run(t, fault, against)
						h.root.remove(t, bucket, fmt.Sprint("k", n))
					})
				}
			}
		}
	}
	// Nothing that is left keeps the janitor from its work, and it takes all of it.
	for _, left := range h.root.uploads(t, bucket).Upload {
		h.root.do(t, request{method: http.MethodDelete, bucket: bucket, key: left.Key, query: query("uploadId", left.UploadId)})
	}
	h.stack.sweepNow(t)
	for _, root := range []string{"late", "uploads", "parts"} {
		if names := h.systemObjects(t, root); len(names) != 0 {
			t.Errorf("left: %q", names)
		}
	}
}
