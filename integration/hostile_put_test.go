package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hostilePut is what a hostile MinIO does with an upload.
type hostilePut struct {
	name string
	act  func(h *hostile) act
	// sizes says which uploads it is tried with: "small", "large" or both.
	sizes    string
	weakness string
	// slow says that it takes the time that the proxy waits for upstream.
	slow bool
}

func hostilePuts() []hostilePut {
	const stored = "HTTP/1.1 200 OK\r\nEtag: \"0123456789abcdef0123456789abcdef\"\r\nContent-Length: 0\r\n\r\n"
	always := func(a act) func(*hostile) act { return func(*hostile) act { return a } }
	afterBody := func(wire string, hold time.Duration) func(*hostile) act {
		return always(func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			return raw(wire, hold)(w, r)
		})
	}
	const unread = "upstream's connection took the whole body: an upstream that acknowledges what it does not store cannot be told apart"
	return []hostilePut{
		{name: "200 unread", act: always(raw(stored, 0)), sizes: "small", weakness: unread},
		{name: "200 unread, streamed", act: always(raw(stored, 0)), sizes: "large"},
		{name: "200 unread, connection kept", act: always(raw(stored, time.Second)), sizes: "small large", weakness: unread},
		{name: "200 for the half", act: always(func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.CopyN(io.Discard, r.Body, 100_000)
			return raw(stored, 0)(w, r)
		}), sizes: "large"},
		{name: "100 and 200 unread", act: always(raw("HTTP/1.1 100 Continue\r\n\r\n"+stored, 0)), sizes: "small large", weakness: unread},
		{name: "nothing unread", act: always(raw("", 0)), sizes: "small large"},
		{name: "nothing after the body", act: afterBody("", 0), sizes: "small large"},
		{name: "204", act: afterBody("HTTP/1.1 204 No Content\r\n\r\n", 0), sizes: "small large"},
		{name: "206", act: afterBody("HTTP/1.1 206 Partial\r\nContent-Length: 0\r\n\r\n", 0), sizes: "small large"},
		{name: "304", act: afterBody("HTTP/1.1 304 Not Modified\r\n\r\n", 0), sizes: "small large"},
		{name: "307", act: always(raw("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0)), sizes: "small large"},
		{name: "500 in HTML", act: afterBody("HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\n<html", 0), sizes: "small large"},
		{name: "half a head", act: afterBody("HTTP/1.1 200 OK\r\nEt", 0), sizes: "small large"},
		{name: "silent after the body", act: afterBody("", time.Minute), sizes: "small large", slow: true},
		{
			name: "200, body silent", act: afterBody("HTTP/1.1 200 OK\r\nEtag: \"1\"\r\nContent-Length: 9\r\n\r\n", time.Minute), sizes: "small",
			weakness: unread, slow: true,
		},
		{name: "body never read", act: always(func(w http.ResponseWriter, r *http.Request) bool {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return false
			}
			defer conn.Close()
			time.Sleep(hostileLimit + time.Second) // without reading: the other side's writes stall
			return true
		}), sizes: "huge", weakness: "ends after 30 s, which is longer than this test waits", slow: true},
		{name: "stored, answer lost", act: func(h *hostile) act {
			return func(w http.ResponseWriter, r *http.Request) bool {
				h.passOn(r)
				return raw("", 0)(w, r)
			}
		}, sizes: "small large"},
		{name: "stored, said to have failed", act: func(h *hostile) act {
			return func(w http.ResponseWriter, r *http.Request) bool {
				h.passOn(r)
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
		}, sizes: "small large"},
		{name: "stored, another ETag", act: func(h *hostile) act {
			return func(w http.ResponseWriter, r *http.Request) bool {
				h.passOn(r)
				return raw(stored, 0)(w, r)
			}
		}, sizes: "small large"},
		{name: "stored without metadata", act: func(h *hostile) act {
			return func(w http.ResponseWriter, r *http.Request) bool {
				r.URL.RawQuery = ""
				body, _ := io.ReadAll(r.Body)
				_, _ = h.stack.raw().try(request{method: http.MethodPut, path: r.URL.EscapedPath(), body: body})
				return raw(stored, 0)(w, r)
			}
		}, sizes: "small large"},
	}
}

// passOn lets MinIO have a request and keeps its answer.
func (h *hostile) passOn(r *http.Request) {
	sink := &sink{header: http.Header{}}
	h.up.lyingUpstream.ServeHTTP(sink, r)
}

// sink is a http.ResponseWriter that nobody reads.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

func TestHostileUpstreamTakesUploads(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.root.put(t, bucket, "warm", []byte("x"), nil).wantStatus(t, http.StatusOK)
	h.unharmed(t)
	old := testData(1000, 3)
	for i, tc := range hostilePuts() {
		for size, data := range map[string][]byte{"small": testData(200_000, 4), "large": testData(3<<20, 5), "huge": nil} {
			if !strings.Contains(tc.sizes, size) {
				continue
			}
			t.Run(tc.name+"/"+size, func(t *testing.T) {
				weakness(t, tc.weakness)
				if tc.slow && size == "large" {
					needsTime(t)
				}
				if size == "huge" { // more than sockets hold
					data = testData(32<<20, 6)
				}
				key := fmt.Sprintf("%d-%s", i, size)
				h.up.honest()
				h.root.put(t, bucket, key, old, nil).wantStatus(t, http.StatusOK)
				h.up.order(onObject(bucket, key, http.MethodPut, tc.act(h)))
				h.tryPut(t, bucket, key, old, data, strings.HasPrefix(tc.name, "stored,"))
			})
		}
	}
}

// tryPut uploads to a hostile MinIO, and looks at the result with an honest one.
func (h *hostile) tryPut(t *testing.T, bucket, key string, old, data []byte, mayBeStored bool) {
	t.Helper()
	began := time.Now()
	a, err := h.root.try(request{method: http.MethodPut, bucket: bucket, key: key, body: data, limit: hostileLimit})
	if took := time.Since(began); took > hostileLimit-time.Second {
		t.Errorf("took %v", took)
	}
	if err == nil && a.status < 400 && a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
	if err == nil && a.status == http.StatusOK && !mayBeStored && !strings.Contains(t.Name(), "stored_without") {
		t.Errorf("acknowledged with %s", a.header.Get("Etag"))
	}
	if err == nil && a.status == http.StatusOK && a.header.Get("Etag") != md5ETag(data) {
		t.Errorf("ETag %s is not the MD5 %s", a.header.Get("Etag"), md5ETag(data))
	}
	h.up.honest()
	got := h.root.get(t, bucket, key, nil)
	switch {
	case got.status == http.StatusOK && bytes.Equal(got.body, old) && (a.status != http.StatusOK || err != nil):
	case got.status == http.StatusOK && bytes.Equal(got.body, data) && mayBeStored:
	case got.status >= 400 && strings.Contains(t.Name(), "stored_without"):
	default:
		t.Errorf("afterwards: status %d, %d bytes, %s", got.status, len(got.body), got.code)
	}
	again, err := h.root.try(request{method: http.MethodPut, bucket: bucket, key: key, body: data, limit: hostileLimit})
	if err != nil || again.status != http.StatusOK {
		t.Fatalf("the repeat: %d %s, %v", again.status, again.code, err)
	}
	h.root.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

func TestHostileUpstreamRefusesManifests(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	data := testData(2<<20, 6)
	for name, answer := range map[string]string{
		"refused": "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "failed": "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
		"exists": "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n", "no bucket": "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"cut": "", "moved": "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
		"no content": "HTTP/1.1 204 No Content\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
				return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/late/") && raw(answer, 0)(w, r)
			})
			key := strings.ReplaceAll(name, " ", "-")
			a, err := h.root.try(request{method: http.MethodPut, bucket: bucket, key: key, body: data, limit: hostileLimit})
			if err != nil || a.status < 500 {
				t.Errorf("status %d %s, %v; want 5xx: it is not the client's fault", a.status, a.code, err)
			}
			h.up.honest()
			if a := h.root.head(t, bucket, key, nil); a.status != http.StatusNotFound {
				t.Errorf("HEAD afterwards: %d", a.status)
			}
			h.root.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK)
			h.root.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		})
	}
}

func TestHostileUpstreamAnswersCopies(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	data, old := testData(150_000, 7), testData(1000, 8)
	h.root.put(t, bucket, "source", data, nil).wantStatus(t, http.StatusOK)
	answer := func(status, body string) act {
		return raw(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body), 0)
	}
	for name, a := range map[string]act{
		"garbage":        answer("200 OK", "garbage"),
		"an error in it": answer("200 OK", "<Error><Code>InternalError</Code><Message>m</Message></Error>"),
		"empty":          answer("200 OK", ""),
		"cut":            raw("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<CopyObjectResult>", 0),
		"redirect":       raw("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 0),
		"nothing":        raw("", 0),
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			h.up.honest()
			h.root.put(t, bucket, key, old, nil).wantStatus(t, http.StatusOK)
			h.up.order(onObject(bucket, key, http.MethodPut, a))
			got, err := h.root.try(request{
				method: http.MethodPut, bucket: bucket, key: key, limit: hostileLimit,
				header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/source"},
			})
			if err != nil || got.status < 400 {
				t.Errorf("status %d, %v, %s", got.status, err, got.body)
			}
			h.up.honest()
			h.root.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, old)
		})
	}
	// MinIO copies another object than it was asked to.
	h.root.put(t, bucket, "other", testData(150_000, 9), nil).wantStatus(t, http.StatusOK)
	h.up.order(onObject(bucket, "swapped", http.MethodPut, func(w http.ResponseWriter, r *http.Request) bool {
		a, err := h.stack.raw().try(request{
			method: http.MethodPut, bucket: bucket, key: "swapped", query: r.URL.RawQuery,
			header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/other", "X-Amz-Metadata-Directive": "REPLACE"},
		})
		if err == nil {
			w.WriteHeader(a.status)
			_, _ = w.Write(a.body)
		}
		return err == nil
	}))
	h.root.do(t, request{method: http.MethodPut, bucket: bucket, key: "swapped", header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/source"}})
	h.up.honest()
	o := stored{name: "swapped", bucket: bucket, key: "swapped", data: data, etag: md5ETag(data), authentic: true}
	if a := h.readOnce(t, o, http.MethodGet, 0, len(data), ""); a.complete() {
		t.Error("the wrong copy is read")
	}
}
