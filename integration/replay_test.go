package integration

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// tapped is one request as it went to MinIO.
type tapped struct {
	method, host, uri string
	header            http.Header
	body              []byte
}

// wiretap keeps what the proxy signs towards MinIO, as whoever sees the way there can.
type wiretap struct {
	mu   sync.Mutex
	seen []tapped
}

// listen is an act that passes every request on.
func (w *wiretap) listen(_ http.ResponseWriter, r *http.Request) bool {
	query := r.URL.Query()
	if r.Header.Get("Authorization") == "" && query.Get("X-Amz-Signature") == "" {
		return false // nobody's
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, tapped{r.Method, r.Host, r.RequestURI, r.Header.Clone(), body})
	return false
}

// replay sends a request to the proxy, without the headers left out.
func (s *tapped) replay(t *testing.T, h *hostile, without ...string) (status int, body string) {
	t.Helper()
	u, err := url.Parse(h.seal.endpoint() + s.uri)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), s.method, u.String(), bytes.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.RawPath, req.Host, req.Header = u.RawPath, s.host, s.header.Clone()
	for _, name := range without {
		req.Header.Del(name)
	}
	resp, err := h.root.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// Whoever sees what the proxy signs towards MinIO, as clients and as itself, gets nothing by sending
// it to the proxy within the quarter of an hour for which it is valid.
func TestWhatIsSignedTowardsMinIOIsOfNoUseAtTheProxy(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	tap := &wiretap{}
	h.up.order(tap.listen)
	kinds := h.everyKindOfRequest(t)
	h.up.honest()

	for kind, path := range kinds {
		if !tap.has(path) {
			t.Errorf("no request of the kind %q was seen", kind)
		}
	}
	const mark = "X-Bucketseal-Hop"
	for _, s := range tap.seen {
		what := s.method + " " + s.uri
		if status, body := s.replay(t, h); status < 400 || status >= 500 {
			t.Errorf("%s as it was: %d %.200s", what, status, body)
		}
		if status, body := s.replay(t, h, mark); status < 400 || status >= 500 {
			t.Errorf("%s without its mark: %d %.200s", what, status, body)
		}
	}
}

// has says whether a request was seen whose URI contains some text.
func (w *wiretap) has(text string) bool {
	for _, s := range w.seen {
		if strings.Contains(s.method+" "+s.uri, text) {
			return true
		}
	}
	return false
}

// everyKindOfRequest has the proxy ask MinIO in all the ways it has, and returns what each is
// recognized by.
func (h *hostile) everyKindOfRequest(t *testing.T) map[string]string {
	t.Helper()
	bucket := newBucket(t, h.root)
	kinds := map[string]string{
		"put": "PUT /" + bucket + "/object", "read": "GET /" + bucket + "/object", "list": "list-type=2",
		"part": "partNumber=1", "complete": "POST /" + bucket + "/parts?uploadId", "delete": "DELETE /" + bucket + "/object",
		"delete many": "?delete", "system": "/bucketseal-system",
	}
	data := []byte("what nobody may read")
	h.root.put(t, bucket, "object", data, nil).wantStatus(t, 200)
	h.root.get(t, bucket, "object", nil).wantStatus(t, 200).wantBody(t, data)
	h.root.head(t, bucket, "object", nil).wantStatus(t, 200)
	h.root.put(t, bucket, "copy", nil, map[string]string{"x-amz-copy-source": "/" + bucket + "/object"}).wantStatus(t, 200)
	up := h.root.createUpload(t, bucket, "parts", nil)
	up.put(t, 1, data)
	up.complete(t)
	h.root.do(t, request{method: "GET", bucket: bucket, query: "list-type=2"}).wantStatus(t, 200)
	h.root.do(t, request{method: "GET"}).wantStatus(t, 200)
	resp, err := h.root.http.Get(h.root.presign("GET", bucket, "object", time.Minute))
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	h.root.do(t, deleteMany(bucket, `<Delete><Object><Key>copy</Key></Object></Delete>`)).wantStatus(t, 200)
	h.root.do(t, request{method: "DELETE", bucket: bucket, key: "object"}).wantStatus(t, 204)
	if _, err := exec.LookPath("python3"); err == nil {
		kinds["session"] = "POST /"
		temporary := assumeRole(t, h.root)
		c := h.root.as(temporary.AccessKey, temporary.SecretKey)
		c.do(t, request{method: "GET", bucket: bucket, key: "parts", token: temporary.Token}).wantStatus(t, 200)
	}
	mc := newMC(t, h.stack)
	kinds["admin"] = "/minio/admin/"
	mc.must(t, "admin", "user", "list", "seal")
	return kinds
}
