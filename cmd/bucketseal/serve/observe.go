package serve

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
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
	end, err = traceRequests(c, files, &o, log)
	return o, served, end, err
}

// lastTraces is how long the end waits for traces to be sent.
const lastTraces = 3 * time.Second

// traceRequests has requests traced, if the configuration says where to, until end is called.
func traceRequests(c *config.Config, files *certs.Watcher, o *proxy.Options, log *slog.Logger) (end func(), err error) {
	tracer, err := build.Tracer(c.Tracing, files, o.Metrics, log)
	if tracer == nil || err != nil {
		return func() {}, err
	}
	o.Tracer = tracer
	log.Info("traces", "endpoint", c.Tracing.Endpoint.String(), "sample_ratio", c.Tracing.SampleRatio)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
		defer cancel()
		_ = tracer.Close(ctx) // what was lost is counted, and nobody reads that any more
	}, nil
}
