package intake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// mostSeries is what requests may add to the 2,000 series that a proxy may have.
const mostSeries = 1500

// answered ends a request as Serve does.
func answered(m *metrics, op string, status int, failure Failure, header http.Header) {
	w := &Answer{ResponseWriter: httptest.NewRecorder(), status: status}
	for name, values := range header {
		w.Header()[name] = values
	}
	r := &Request{Route: &Route{Op: op}, began: time.Now()}
	m.begin()
	m.end(r, w, failure, nil)
}

func series(t *testing.T, r *prometheus.Registry) int {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				n += len(h.GetBucket()) + 2 // with +Inf, the sum and the count; less the one that is +Inf's
			}
			n++
		}
	}
	return n
}

func modeHeaders() []http.Header {
	return []http.Header{
		{},
		{"X-Amz-Server-Side-Encryption": {"AES256"}},
		{"X-Amz-Server-Side-Encryption": {"aws:kms"}},
		{"X-Amz-Server-Side-Encryption-Customer-Algorithm": {"AES256"}},
	}
}

// Whatever is asked for, however it ends: the series are bounded.
func TestSeriesOfRequestsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newMetrics(registry, []Failure{"data"})
	var ops []string
	for op := range dataOperations {
		ops = append(ops, op)
	}
	for op := range timedOperations {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	for i := range 2 * mostOperations {
		ops = append(ops, fmt.Sprintf("Operation%d", i))
	}
	failures := []Failure{"", PlainObject, "data", "truncated", "record", "manifest", "system_object", "answer", "dek", "kms_key", "key_replaced"}
	statuses := []int{0, 101, 200, 206, 304, 404, 503, 999}
	for i, op := range ops {
		for _, status := range statuses {
			for _, h := range modeHeaders() {
				answered(m, op, status, failures[i%len(failures)], h)
			}
		}
	}
	for status := range 1000 {
		answered(m, "GetObject", status, "", nil)
	}
	if n := series(t, registry); n > mostSeries {
		t.Errorf("%d series, more than %d", n, mostSeries)
	} else {
		t.Logf("%d series at most", n)
	}
}

func TestRequestsAreCountedByModeAndFailure(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newMetrics(registry, []Failure{"data"})
	for i, mode := range []string{"none", "SSE-S3", "SSE-KMS", "SSE-C"} {
		answered(m, "GetObject", http.StatusPartialContent, "", modeHeaders()[i])
		if n := value(t, registry, "bucketseal_s3_requests_total", "GetObject", mode, "2xx"); n != 1 {
			t.Errorf("%s: %v", mode, n)
		}
	}
	answered(m, "GetObject", http.StatusForbidden, PlainObject, nil)
	answered(m, "GetObject", http.StatusInternalServerError, "manifest", nil)
	answered(m, "GetBucketPolicy", http.StatusOK, "", nil)
	answered(m, "GetObject", 0, "", nil)
	for _, want := range []struct {
		name   string
		labels []string
		n      float64
	}{
		{"bucketseal_s3_requests_total", []string{"GetObject", "", "4xx"}, 1},
		{"bucketseal_s3_requests_total", []string{"GetObject", "", "5xx"}, 1},
		{"bucketseal_s3_requests_total", []string{"GetBucketPolicy", "", "2xx"}, 1},
		{"bucketseal_s3_requests_total", []string{"GetObject", "", "none"}, 1},
		{"bucketseal_s3_plain_refused_total", nil, 1},
		{"bucketseal_s3_integrity_failures_total", []string{"manifest"}, 1},
		{"bucketseal_s3_integrity_failures_total", []string{"data"}, 0},
		{"bucketseal_s3_responses_total", []string{"206"}, 4},
		{"bucketseal_s3_responses_total", []string{"other"}, 1},
		{"bucketseal_s3_requests_active", nil, 0},
	} {
		if n := value(t, registry, want.name, want.labels...); n != want.n {
			t.Errorf("%s %q: %v, want %v", want.name, want.labels, n, want.n)
		}
	}
}

// value returns a counter or gauge by the values of its labels, in the order of their names.
func value(t *testing.T, r *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(got, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Errorf("there is no %s of %q", name, labels)
	return -1
}

// Counting a request that is like one before allocates nothing.
func TestCountingAllocatesNothing(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry(), nil)
	w := &Answer{ResponseWriter: httptest.NewRecorder(), status: http.StatusOK}
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	r := &Request{Route: &Route{Op: "PutObject"}, began: time.Now()}
	count := func(m *metrics) func() { return func() { m.begin(); m.end(r, w, "", nil) } }
	count(m)()
	for name, m := range map[string]*metrics{"on": m, "off": nil} {
		if n := testing.AllocsPerRun(100, count(m)); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What counting costs a request, on and off.
func BenchmarkCounting(b *testing.B) {
	w := &Answer{ResponseWriter: httptest.NewRecorder(), status: http.StatusOK}
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	r := &Request{Route: &Route{Op: "GetObject"}, began: time.Now()}
	for name, m := range map[string]*metrics{"on": newMetrics(prometheus.NewRegistry(), nil), "off": nil} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				m.begin()
				m.end(r, w, "", nil)
			}
		})
	}
}
