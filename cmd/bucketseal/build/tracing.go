package build

import (
	"crypto/tls"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/operator/collector"
	"github.com/bucketseal/bucketseal/operator/otlp"
	"github.com/bucketseal/bucketseal/proxy/certs"
)

// Tracer returns what sends traces, which the caller closes; nil if nothing does. metrics is
// nil for none.
func Tracer(t collector.Settings, files *certs.Watcher, metrics prometheus.Registerer, log *slog.Logger) (*otlp.Tracer, error) {
	if t.Endpoint == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	o := otlp.Options{
		Endpoint: t.Endpoint, Ratio: t.SampleRatio, Headers: make(map[string]string, len(t.Headers)),
		Service: t.Service, Version: cli.ReadBuildInfo().Version, Logger: log, Metrics: metrics,
	}
	for _, h := range t.Headers {
		o.Headers[h.Name] = h.Value()
	}
	if t.CA != "" {
		roots, err := files.Pool("tracing.ca", t.CA, false)
		if err != nil {
			return nil, err
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots.Get()}
	}
	return otlp.New(o)
}
