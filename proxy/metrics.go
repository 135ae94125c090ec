package proxy

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
	restored prometheus.Counter
}

func newMetrics(r prometheus.Registerer, replaced func() uint64) *metrics {
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
	m.restored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "bucketseal_s3_restored_total", Help: "Objects seen whose manifest was found by their data, as in a backup that was copied over S3.",
	})
	if r != nil {
		r.MustRegister(m.requests, m.seconds, m.active, m.restored, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "bucketseal_kms_key_replaced_total", Help: "Data keys that were refused because their KMS key is not the one that was pinned.",
		}, func() float64 { return float64(replaced()) }))
	}
	return m
}

func (m *metrics) observe(r *request, status int) {
	m.requests.WithLabelValues(r.op(), strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(r.op()).Observe(time.Since(r.began).Seconds())
}
