package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// newRegistry returns a registry with what is known of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// tendKeys has the keys of this process looked after until ctx ends, and shows whether
// they are rotated as the configuration says.
func tendKeys(ctx context.Context, keys *build.Keys, r *prometheus.Registry, log *slog.Logger) error {
	tender, err := keys.Tender(log)
	if tender == nil || err != nil {
		return err
	}
	go tender.Run(ctx)
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bucketseal_kms_keys_overdue",
		Help: "KMS keys that are older than rotate_after allows, because their rotation failed.",
	}, func() float64 { return float64(tender.Overdue()) }))
	return nil
}

// metricsServer answers what only operators may ask, on an address of its own:
// nobody signs these requests.
type metricsServer struct {
	listener net.Listener
	server   *http.Server
}

// newMetricsServer listens at metrics.address. health answers MinIO's health paths, here without
// the client certificate that the S3 address may want; ready that of readiness, in
// words besides.
func newMetricsServer(ctx context.Context, c *config.Config, r *prometheus.Registry, health http.Handler, ready http.HandlerFunc) (*metricsServer, error) {
	l, err := listen(ctx, socketMetrics, c.MetricsAddress)
	if err != nil {
		return nil, fmt.Errorf("metrics.address: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.Handle("GET /minio/health/", health)
	mux.HandleFunc("GET /minio/health/ready", ready)
	if c.Profiling {
		serveProfiles(mux)
	}
	return &metricsServer{l, &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}}, nil
}

// serveProfiles adds profiles that tell how often functions ran, and have nothing of
// what they ran on. Left out are stacks of goroutines, whose arguments can be pieces
// of keys, and the command line. net/http/pprof adds all of them to
// http.DefaultServeMux by itself, which nobody serves.
func serveProfiles(mux *http.ServeMux) {
	const contention = 100 // one in so many waits for a lock is recorded
	runtime.SetMutexProfileFraction(contention)
	runtime.SetBlockProfileRate(int(time.Millisecond)) // a sample for each millisecond of waiting
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for _, name := range []string{"heap", "allocs", "mutex", "block", "threadcreate"} {
		mux.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
	}
}

// serve answers until close is called.
func (m *metricsServer) serve() { _ = m.server.Serve(m.listener) }

func (m *metricsServer) close() { _ = m.server.Close() }
