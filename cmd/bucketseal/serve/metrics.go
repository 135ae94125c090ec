package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// newRegistry returns a registry with what is known of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	registerProcess(r)
	return r
}

func registerProcess(r prometheus.Registerer) {
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b := cli.ReadBuildInfo()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bucketseal_build_info", Help: "1, with the version, the commit and the version of Go of this binary.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go": b.Go},
	})
	info.Set(1)
	r.MustRegister(info)
}

// registerCertificates shows when certificates end. served is that of keys that are served
// to others, once they are.
func registerCertificates(r prometheus.Registerer, files *certs.Watcher, up *upstream.Client, keys *build.Keys) (served *servedKeys) {
	served = new(servedKeys)
	r.MustRegister(newCertificates(func() map[string]time.Time {
		server, client := files.Expires()
		keyServer, keyClient := keys.Expires()
		return map[string]time.Time{
			"server": server, "upstream_client": client, "upstream": up.Expires(), "key_server": keyServer, "key_client": keyClient,
			"key_listener": served.expires(),
		}
	}))
	return served
}

// tendKeys has the keys of this process looked after until ctx ends, and shows whether
// they are rotated as the configuration says. It returns what does that, nil for the keys
// of another server.
func tendKeys(ctx context.Context, keys *build.Keys, r prometheus.Registerer, log *slog.Logger) (*kms.Tender, error) {
	tender, err := keys.Tender(log)
	if tender == nil || err != nil {
		return nil, err
	}
	go tender.Run(ctx)
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bucketseal_kms_keys_overdue",
		Help: "KMS keys that are older than rotate_after allows, because their rotation failed.",
	}, func() float64 { return float64(tender.Overdue()) }))
	return tender, nil
}

// metricsServer answers what only operators may ask, on an address of its own:
// nobody signs these requests.
type metricsServer struct {
	listener net.Listener
	server   *http.Server
	profiles atomic.Bool // are served
}

// newMetricsServer listens at metrics.address. health answers MinIO's health paths, here without
// the client certificate that the S3 address may want; ready that of readiness, in
// words besides.
func newMetricsServer(ctx context.Context, c *config.Config, inherited sockets, r *prometheus.Registry, health http.Handler, ready http.HandlerFunc, more ...extra) (*metricsServer, error) {
	l, err := inherited.listen(ctx, socketMetrics, c.MetricsAddress)
	if err != nil {
		return nil, fmt.Errorf("metrics.address: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second, EnableOpenMetrics: true, // which has exemplars
	}))
	mux.Handle("GET /minio/health/", health)
	mux.HandleFunc("GET /minio/health/ready", ready)
	for _, e := range more {
		mux.Handle(e.pattern, e.handler)
	}
	m := &metricsServer{listener: l, server: &http.Server{
		Handler: edge.Handler(mux), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}}
	mux.Handle("GET /debug/pprof/", m.profiled(profiles()))
	m.profile(c.Profiling)
	return m, nil
}

// extra is served besides.
type extra struct {
	pattern string
	handler http.Handler
}

// profile turns profiles on or off.
func (m *metricsServer) profile(on bool) {
	const contention = 100 // one in so many waits for a lock is recorded
	switch {
	case m.profiles.Swap(on) == on:
	case on:
		runtime.SetMutexProfileFraction(contention)
		runtime.SetBlockProfileRate(int(time.Millisecond)) // a sample for each millisecond of waiting
	default:
		runtime.SetMutexProfileFraction(0)
		runtime.SetBlockProfileRate(0)
	}
}

// profiled serves profiles while they are on.
func (m *metricsServer) profiled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.profiles.Load() {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// profiles are those that tell how often functions ran, and have nothing of
// what they ran on. Left out are stacks of goroutines, whose arguments can be pieces
// of keys, and the command line. net/http/pprof adds all of them to
// http.DefaultServeMux by itself, which nobody serves.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for _, name := range []string{"heap", "allocs", "mutex", "block", "threadcreate"} {
		mux.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
	}
	return mux
}

// serve answers until close is called.
func (m *metricsServer) serve() { _ = m.server.Serve(newSideDoor(m.listener, forwarded.Trust{})) }

func (m *metricsServer) close() { _ = m.server.Close() }
