package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/upstream/wire"
)

// Labels of requests to upstream.
var (
	methodLabels = [...]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, "other"}
	// statusLabels are classes of statuses; the first is of requests that had no answer.
	statusLabels = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
)

// metrics count requests to upstream. A nil *metrics counts nothing.
type metrics struct {
	requests [len(methodLabels)][len(statusLabels)]prometheus.Counter
	seconds  [len(methodLabels)]prometheus.Observer
	failures *prometheus.CounterVec
	active   atomic.Int64
}

// Register adds the client's metrics to r. It is called once, before the first request.
func (c *Client) Register(r prometheus.Registerer) {
	m := &metrics{failures: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bucketseal_upstream_failures_total", Help: "Requests to MinIO that had no whole answer, by what went wrong: connect, tls, timeout, malformed or broken.",
	}, []string{"kind"})}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bucketseal_upstream_requests_total", Help: "Requests to MinIO by method and class of status; none is no answer.",
	}, []string{"method", "status"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "bucketseal_upstream_request_seconds", Help: "Time until the head of MinIO's answer, the sending of the body included.",
		Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 100},
	}, []string{"method"})
	for i, method := range methodLabels {
		m.seconds[i] = seconds.WithLabelValues(method)
		for j, status := range statusLabels {
			m.requests[i][j] = requests.WithLabelValues(method, status)
		}
	}
	for _, kind := range []string{"connect", "tls", "timeout", "malformed", "broken"} {
		m.failures.WithLabelValues(kind)
	}
	t := &c.seen.traffic
	bytes := func(direction string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "bucketseal_upstream_bytes_total", Help: "Bytes on the wire to and from MinIO.", ConstLabels: prometheus.Labels{"direction": direction},
		}, func() float64 { return float64(n.Load()) })
	}
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	r.MustRegister(
		requests, seconds, m.failures, bytes("sent", &t.Sent), bytes("received", &t.Received),
		count("bucketseal_upstream_retries_total", "Requests that were sent to MinIO a second time, because an idle connection had ended.", &t.Repeated),
		count("bucketseal_upstream_connections_total", "Connections made to MinIO.", &t.Dialled),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bucketseal_upstream_requests_active", Help: "Requests to MinIO that wait for the head of its answer.",
		}, func() float64 { return float64(m.active.Load()) }),
		newSeenCollector(c),
	)
	c.metrics = m
}

// begin counts a request in, and returns when it began.
func (m *metrics) begin() (now time.Time) {
	if m == nil {
		return now
	}
	m.active.Add(1)
	return time.Now()
}

// end counts a request out. status is 0 for no answer.
func (m *metrics) end(method string, status int, began time.Time) {
	if m == nil {
		return
	}
	m.active.Add(-1)
	i := 0
	for i < len(methodLabels)-1 && methodLabels[i] != method {
		i++
	}
	m.requests[i][min(max(status/100, 0), len(statusLabels)-1)].Inc()
	if status != 0 {
		m.seconds[i].Observe(time.Since(began).Seconds())
	}
}

// failed counts a request without an answer.
func (m *metrics) failed(err error) {
	if m != nil {
		m.failures.WithLabelValues(kindOf(err)).Inc()
	}
}

// kindOf says what went wrong with a request.
func kindOf(err error) string {
	var op *net.OpError
	var verification *tls.CertificateVerificationError
	var alert tls.AlertError
	var plain tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &verification), errors.As(err, &alert), errors.As(err, &plain), errors.As(err, &unknown):
		return "tls"
	case errors.As(err, &op) && op.Op == "dial":
		return "connect"
	case errors.Is(err, wire.ErrTimeout):
		return "timeout"
	case errors.Is(err, wire.ErrMalformed):
		return "malformed"
	}
	return "broken"
}

// seenCollector shows what is known of upstream only once it has answered.
type seenCollector struct {
	c    *Client
	skew *prometheus.Desc
}

func newSeenCollector(c *Client) *seenCollector {
	return &seenCollector{
		c:    c,
		skew: prometheus.NewDesc("bucketseal_upstream_clock_skew_seconds", "By how much MinIO's clock is ahead of this machine's, to half a second.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *seenCollector) Describe(out chan<- *prometheus.Desc) { out <- s.skew }

// Collect implements prometheus.Collector.
func (s *seenCollector) Collect(out chan<- prometheus.Metric) {
	if skew, ok := s.c.Skew(); ok {
		out <- prometheus.MustNewConstMetric(s.skew, prometheus.GaugeValue, skew.Seconds())
	}
}

// endSpan says what a request to upstream was. What it names beside the bucket stays here.
func endSpan(span *trace.Span, r *Request, status int, err error) {
	if span == nil {
		return
	}
	span.Set("http.request.method", r.Method)
	span.Set("bucketseal.bucket", r.Bucket)
	if err != nil {
		span.Fail("no answer")
	} else {
		span.Status(status)
	}
	span.End()
}
