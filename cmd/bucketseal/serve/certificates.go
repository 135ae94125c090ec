package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificates show when certificates end: this process's own, and those that others showed
// it last.
type certificates struct {
	desc *prometheus.Desc
	// of returns the ends by what the certificate is, zero for what is not there.
	of func() map[string]time.Time
}

func newCertificates(of func() map[string]time.Time) *certificates {
	return &certificates{of: of, desc: prometheus.NewDesc(
		"bucketseal_certificate_expiry_timestamp_seconds",
		"When a certificate ends, in Unix seconds: the S3 address's (server), the client's one at MinIO (upstream_client), what MinIO showed last (upstream), what the remote key server showed last (key_server), and the client's one there (key_client).",
		[]string{"certificate"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(out chan<- prometheus.Metric) {
	for name, at := range c.of() {
		if !at.IsZero() {
			out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(at.Unix()), name)
		}
	}
}
