package upstream_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// spans is a trace.Tracer that remembers.
type spans struct {
	mu    sync.Mutex
	begun []*span
}

type span struct {
	all    *spans
	name   string
	ids    trace.IDs
	said   map[string]any
	failed string
	ended  bool
}

// Begin implements trace.Tracer.
func (s *spans) Begin(name string, _ trace.Parent) trace.Recorder { return s.add(name) }

func (s *spans) add(name string) *span {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &span{all: s, name: name, said: make(map[string]any), ids: trace.IDs{Trace: [16]byte{1}, Span: [8]byte{byte(len(s.begun) + 1)}, Sampled: true}}
	s.begun = append(s.begun, one)
	return one
}

// Child implements trace.Recorder.
func (s *span) Child(name string) trace.Recorder { return s.all.add(name) }

// Set implements trace.Recorder.
func (s *span) Set(key, value string) { s.said[key] = value }

// SetInt implements trace.Recorder.
func (s *span) SetInt(key string, value int64) { s.said[key] = value }

// Fail implements trace.Recorder.
func (s *span) Fail(why string) { s.failed = why }

// End implements trace.Recorder.
func (s *span) End() { s.ended = true }

// IDs implements trace.Recorder.
func (s *span) IDs() trace.IDs { return s.ids }

func clientAt(t *testing.T, at string) *upstream.Client {
	t.Helper()
	endpoint, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// MinIO is told which span asks, and the signature does not cover that: what lies between may
// have spans of its own.
func TestRequestsCarryTheirSpan(t *testing.T) {
	t.Parallel()
	var got http.Header
	minio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(minio.Close)
	c := clientAt(t, minio.URL)
	all := new(spans)
	ctx, request := trace.Begin(context.Background(), all, "request", trace.Parent{})
	do := func(ctx context.Context) {
		resp, err := c.Do(ctx, &upstream.Request{
			Method: http.MethodGet, Bucket: "bucket", Key: "secret-name", Credential: &storage.Credential{AccessKey: "someone", SecretKey: "secret-0123456789"},
		})
		if err != nil {
			t.Fatal(err)
		}
		upstream.Discard(resp)
	}
	do(ctx)
	request.End()
	one := all.begun[1]
	if one.name != "upstream" || !one.ended || one.failed != "" || got.Get("Traceparent") != one.ids.String() {
		t.Errorf("%+v; MinIO got %q", one, got.Get("Traceparent"))
	}
	if a := got.Get("Authorization"); a == "" || containsFold(a, "traceparent") {
		t.Errorf("signed: %q", a)
	}
	for key, value := range one.said {
		if text, is := value.(string); is && containsFold(text, "secret-name") {
			t.Errorf("%s tells the object's key", key)
		}
	}
	do(context.Background())
	if got.Get("Traceparent") != "" {
		t.Errorf("a request that is not traced carries %q", got.Get("Traceparent"))
	}
	minio.Close()
	if _, err := c.Do(ctx, &upstream.Request{Method: http.MethodGet}); err == nil || all.begun[2].failed == "" || !all.begun[2].ended {
		t.Errorf("without an answer: %v, %+v", err, all.begun[2])
	}
}

func TestRequestsAreCountedByHowTheyEnd(t *testing.T) {
	t.Parallel()
	minio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken/" || r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	c := clientAt(t, minio.URL)
	r := prometheus.NewRegistry()
	c.Register(r)
	ask := func(bucket string) {
		if resp, err := c.Do(context.Background(), &upstream.Request{Method: http.MethodPut, Bucket: bucket}); err == nil {
			upstream.Discard(resp)
		}
	}
	ask("answered")
	ask("broken")
	minio.Close()
	ask("gone")
	for _, want := range []struct {
		name   string
		labels []string
		n      float64
	}{
		{"bucketseal_upstream_requests_total", []string{"PUT", "5xx"}, 1},
		{"bucketseal_upstream_requests_total", []string{"PUT", "none"}, 2},
		{"bucketseal_upstream_failures_total", []string{"broken"}, 1},
		{"bucketseal_upstream_failures_total", []string{"connect"}, 1},
		{"bucketseal_upstream_requests_active", nil, 0},
	} {
		if n := valueOf(t, r, want.name, want.labels...); n != want.n {
			t.Errorf("%s %q: %v, want %v", want.name, want.labels, n, want.n)
		}
	}
	if sent := valueOf(t, r, "bucketseal_upstream_bytes_total", "sent"); sent < 100 {
		t.Errorf("%v bytes were sent", sent)
	}
	if skew, ok := c.Skew(); !ok || skew.Abs().Seconds() > 2 {
		t.Errorf("skew %v, %v", skew, ok)
	}
}
