package serve

import (
	"context"
	"log/slog"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

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
