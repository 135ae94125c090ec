package serve

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/operator/collector"
	"github.com/bucketseal/bucketseal/operator/otlp"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// observed returns a proxy's options with what counts and traces its requests, where the
// configuration says so. served is told of an embedded key server; it is nil if nothing is
// counted. end sends the last traces.
func observed(c *config.Config, files *certs.Watcher, up *upstream.Client, keys *build.Keys, r *prometheus.Registry, log *slog.Logger) (o proxy.Options, served *servedKeys, end func(), err error) {
	o = build.ProxyOptions(c, up, keys, log)
	if c.MetricsAddress != "" {
		o.Metrics = r
		served = registerCertificates(r, files, up, keys)
	}
	tracer, end, err := traceRequests(c.Tracing, files, o.Metrics, log)
	if tracer != nil {
		o.Tracer, keys.Tracer = tracer, tracer
	}
	return o, served, end, err
}

// lastTraces is how long the end waits for traces to be sent.
const lastTraces = 3 * time.Second

// traceRequests returns what traces requests, nil if the settings do not say where to. end
// sends the last traces.
func traceRequests(t collector.Settings, files *certs.Watcher, metrics prometheus.Registerer, log *slog.Logger) (tracer *otlp.Tracer, end func(), err error) {
	tracer, err = build.Tracer(t, files, metrics, log)
	if tracer == nil || err != nil {
		return nil, func() {}, err
	}
	log.Info("traces", "endpoint", t.Endpoint.String(), "sample_ratio", t.SampleRatio)
	return tracer, func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
		defer cancel()
		_ = tracer.Close(ctx) // what was lost is counted, and nobody reads that any more
	}, nil
}
