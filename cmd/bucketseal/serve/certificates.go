package serve

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms/server"
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
		"When a certificate ends, in Unix seconds: the S3 address's (server), the client's one at MinIO (upstream_client), what MinIO showed last (upstream), the embedded key server's (key_listener), what the remote key server showed last (key_server), and the client's one there (key_client).",
		[]string{"certificate"}, nil)}
}

// servedKeys is the embedded key server, if it runs. A nil *servedKeys knows none.
type servedKeys struct{ atomic.Pointer[server.Server] }

// run notes that a server runs.
func (s *servedKeys) run(keys *server.Server) {
	if s != nil {
		s.Store(keys)
	}
}

func (s *servedKeys) expires() time.Time {
	if keys := s.Load(); keys != nil {
		return keys.Expires()
	}
	return time.Time{}
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
