package intake

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/operator/trace"
)

// Bounds of label sets: no client adds series by what it sends.
const (
	// mostOperations bounds the names of operations, which come from tables.
	mostOperations = 200
	// otherLabel stands for what is beyond a bound.
	otherLabel = "other"
)

// Modes of encryption, as labels. noMode is the label of requests that are not about an
// object's data, and of those that failed.
var modeLabels = [...]string{noMode: "", modeNone: "none", modeS3: "SSE-S3", modeKMS: "SSE-KMS", modeC: "SSE-C"}

const (
	noMode = iota
	modeNone
	modeS3
	modeKMS
	modeC
)

// classLabels are the classes of statuses; the first is of requests that had no answer.
var classLabels = [...]string{"none", "2xx", "3xx", "4xx", "5xx"}

// dataOperations are those about an object's data: counted by mode, and timed by name.
var dataOperations = map[string]bool{
	"GetObject": true, "HeadObject": true, "PutObject": true, "PostObject": true, "CopyObject": true,
	"CreateMultipartUpload": true, "UploadPart": true, "UploadPartCopy": true, "CompleteMultipartUpload": true,
	"GetObjectAttributes": true,
}

// timedOperations are others whose time is known by name.
var timedOperations = map[string]bool{
	"DeleteObject": true, "DeleteObjects": true, "ListObjects": true, "ListObjectsV2": true, "ListObjectVersions": true,
	"ListParts": true, "ListMultipartUploads": true, "ListBuckets": true, "HeadBucket": true, "AbortMultipartUpload": true,
}

// metrics count requests by operation, status and mode, and say how long they took. A nil
// *metrics counts nothing.
type metrics struct {
	requests  *prometheus.CounterVec
	responses *prometheus.CounterVec
	integrity *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	active    prometheus.Gauge
	plain     prometheus.Counter

	mu  sync.Mutex // held while ops is replaced
	ops atomic.Pointer[map[string]*operationMetrics]
	// byStatus are resolved at first use.
	byStatus [600]atomic.Pointer[prometheus.Counter]
}

// operationMetrics are those of one operation, resolved at first use: a request looks
// nothing up by its labels.
type operationMetrics struct {
	label    string
	data     bool
	requests [len(classLabels)][len(modeLabels)]atomic.Pointer[prometheus.Counter]
	seconds  prometheus.Observer
}

func newMetrics(r prometheus.Registerer, failures []Failure) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bucketseal_s3_requests_total", Help: "S3 requests by operation, class of status, and mode of encryption where the answer tells one.",
		}, []string{"operation", "status", "sse"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bucketseal_s3_responses_total", Help: "Answers to S3 requests by status.",
		}, []string{"status"}),
		integrity: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bucketseal_s3_integrity_failures_total", Help: "Requests that failed because something stored is not what was written, by what is damaged, missing or was exchanged.",
		}, []string{"kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bucketseal_s3_request_seconds", Help: "Time from a request's headers to the end of its answer.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 100},
		}, []string{"operation"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bucketseal_s3_requests_active", Help: "S3 requests that are being answered.",
		}),
		plain: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bucketseal_s3_plain_refused_total", Help: "Requests refused because the object has no record: it is stored without encryption, and plain_read does not list its bucket.",
		}),
	}
	for _, f := range failures {
		m.integrity.WithLabelValues(string(f))
	}
	m.ops.Store(new(map[string]*operationMetrics))
	r.MustRegister(m.requests, m.responses, m.integrity, m.seconds, m.active, m.plain)
	return m
}

// begin counts a request in.
func (m *metrics) begin() {
	if m != nil {
		m.active.Inc()
	}
}

// end counts a request out. span is nil if it is not traced.
func (m *metrics) end(r *Request, w *Answer, failure Failure, span *trace.Span) {
	if m == nil {
		return
	}
	m.active.Dec()
	op := m.operation(r.Op())
	mode := noMode
	if op.data && w.status >= 200 && w.status < 300 {
		mode = modeLabel(w.Header())
	}
	m.counter(op, min(max(w.status/100-1, 0), len(classLabels)-1), mode).Inc()
	m.response(w.status).Inc()
	switch {
	case failure == PlainObject:
		m.plain.Inc()
	case failure != "":
		m.integrity.WithLabelValues(string(failure)).Inc()
	}
	took := time.Since(r.began).Seconds()
	if id := span.SampledID(); id != "" {
		if e, can := op.seconds.(prometheus.ExemplarObserver); can {
			e.ObserveWithExemplar(took, prometheus.Labels{"trace_id": id})
			return
		}
	}
	op.seconds.Observe(took)
}

// modeLabel is the label of the mode that an answer tells of.
func modeLabel(h http.Header) int {
	switch modeOf(h) {
	case "SSE-S3":
		return modeS3
	case "SSE-KMS":
		return modeKMS
	case "SSE-C":
		return modeC
	}
	return modeNone
}

func (m *metrics) operation(name string) *operationMetrics {
	if op := (*m.ops.Load())[name]; op != nil {
		return op
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := *m.ops.Load()
	if op := known[name]; op != nil {
		return op
	}
	if len(known) >= mostOperations {
		name = otherLabel
		if op := known[name]; op != nil {
			return op
		}
	}
	timed := name
	if !dataOperations[name] && !timedOperations[name] {
		timed = otherLabel
	}
	op := &operationMetrics{label: name, data: dataOperations[name], seconds: m.seconds.WithLabelValues(timed)}
	next := make(map[string]*operationMetrics, len(known)+1)
	for name, op := range known {
		next[name] = op
	}
	next[name] = op
	m.ops.Store(&next)
	return op
}

func (m *metrics) counter(op *operationMetrics, class, mode int) prometheus.Counter {
	if c := op.requests[class][mode].Load(); c != nil {
		return *c
	}
	c := m.requests.WithLabelValues(op.label, classLabels[class], modeLabels[mode])
	op.requests[class][mode].Store(&c)
	return c
}

// response returns the counter of a status. Statuses without a name, which only the
// storage could make up, are counted together.
func (m *metrics) response(status int) prometheus.Counter {
	if status < 0 || status >= len(m.byStatus) || http.StatusText(status) == "" && status != statusClientGone {
		status = 0
	}
	if c := m.byStatus[status].Load(); c != nil {
		return *c
	}
	label := otherLabel
	if status != 0 {
		label = strconv.Itoa(status)
	}
	c := m.responses.WithLabelValues(label)
	m.byStatus[status].Store(&c)
	return c
}

// statusClientGone is MinIO's status for a client that went away.
const statusClientGone = 499

// Failure is a kind of failure that operators count: what of the stored is not what was
// written, or PlainObject. "" is none of them.
type Failure string

// PlainObject says that an object has no record, and may not be read without one.
const PlainObject Failure = "plain"
