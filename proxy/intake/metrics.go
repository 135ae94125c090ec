package intake

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count requests by operation and status, and say how long they took.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	active   prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bucketseal_s3_requests_total", Help: "S3 requests by operation and status.",
		}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bucketseal_s3_request_seconds", Help: "Time from a request's headers to the end of its answer.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 100},
		}, []string{"operation"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bucketseal_s3_requests_active", Help: "S3 requests that are being answered.",
		}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.seconds, m.active)
	}
	return m
}

func (m *metrics) observe(r *Request, status int) {
	m.requests.WithLabelValues(r.Op(), strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(r.Op()).Observe(time.Since(r.began).Seconds())
}
