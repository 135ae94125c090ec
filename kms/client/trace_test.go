package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/trace"
)

// fixed is a trace.Tracer with one span.
type fixed struct{ trace.Recorder }

var fixedIDs = trace.IDs{Trace: [16]byte{1}, Span: [8]byte{2}, Sampled: true}

// Begin implements trace.Tracer.
func (fixed) Begin(string, trace.Parent) trace.Recorder { return fixed{} }

// IDs implements trace.Recorder.
func (fixed) IDs() trace.IDs { return fixedIDs }

// A key server is told which span asks, and when its certificate ends is seen.
func TestCallsCarryTheirSpan(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Traceparent"))
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{Endpoints: []string{server.URL}, APIKey: "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, _ := trace.Begin(t.Context(), fixed{}, "request", trace.Parent{})
	for _, ctx := range []context.Context{ctx, t.Context()} {
		if _, err := c.DescribeKey(ctx, "k"); err == nil {
			t.Error("a key that is not there is described")
		}
	}
	if len(got) != 2 || got[0] != fixedIDs.String() || got[1] != "" {
		t.Errorf("%q", got)
	}
	if at, own := c.Expires(); !at.Equal(server.Certificate().NotAfter) || !own.IsZero() {
		t.Errorf("ends at %v and %v, want %v", at, own, server.Certificate().NotAfter)
	}
}

// The cache says how often it answered, and for how long nobody else did.
func TestTheCacheIsMeasured(t *testing.T) {
	t.Parallel()
	f := new(fakeService)
	f.set([32]byte{1}, nil)
	c := Cached(f, CacheOptions{TTL: time.Minute, Offline: time.Hour})
	now := time.Now()
	c.now = func() time.Time { return now }
	r := prometheus.NewRegistry()
	c.Register(r)
	get := func() {
		t.Helper()
		if _, err := c.DecryptDEK(t.Context(), "k", []byte("sealed"), nil); err != nil {
			t.Fatal(err)
		}
	}
	get() // a miss
	get() // a hit
	f.set([32]byte{}, kms.ErrUnavailable)
	now = now.Add(2 * time.Minute)
	get() // past its time
	now = now.Add(40 * time.Second)
	want := map[string]float64{"hit": 1, "miss": 2, "offline": 1, "bucketseal_kms_cache_offline_seconds": 40, "bucketseal_kms_cache_keys": 1}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			if len(m.GetLabel()) > 0 {
				name = m.GetLabel()[0].GetValue()
			}
			if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want[name] {
				t.Errorf("%s: %v, want %v", name, got, want[name])
			}
			delete(want, name)
		}
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
	f.set([32]byte{}, errors.New("another answer"))
	if _, err := c.DecryptDEK(kms.Uncached(t.Context()), "k", []byte("sealed"), nil); err == nil || c.Down() != 0 {
		t.Errorf("after an answer: %v, %v", err, c.Down())
	}
}
