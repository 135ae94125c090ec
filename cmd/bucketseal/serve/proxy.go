// Package serve runs the two servers, the proxy and the key server, until they are
// asked to end: listeners, limits that follow from the machine, keys that are made at
// the start, signals, and configurations that change meanwhile.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// Proxy runs the proxy until ctx ends. It returns nil after an orderly end.
// reload reads the configuration anew.
func Proxy(ctx context.Context, a *cli.App, c *config.Config, reload func() (*config.Config, error)) error {
	log := build.Logger(a, c.Log)
	_, stopHangups := hangups() // from the start: a SIGHUP while the key store opens must not end the server
	defer stopHangups()
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	protectMemory(log, false)
	keys, err := build.OpenKeys(ctx, a, c, true, log)
	if err != nil {
		return err
	}
	defer keys.Close()
	files := certs.NewWatcher(log)
	up, err := build.Upstream(c, files)
	if err != nil {
		return err
	}
	defer up.Close()
	asRead := fitMachine(c, log)
	registry := newRegistry()
	options := build.ProxyOptions(c, up, keys, log)
	options.Metrics = registry
	handler, err := proxy.New(options)
	if err != nil {
		return err
	}
	if err := followConfig(asRead, files, reload, handler, log); err != nil {
		return err
	}
	front, err := newFront(ctx, c, files, log)
	if err != nil {
		return err
	}
	defer front.close()
	options.Gate.Register(registry)
	front.listener.Register(registry)
	stopMetrics, err := serveMetrics(ctx, c, registry, handler, log)
	if err != nil {
		return err
	}
	defer stopMetrics()

	// What runs in the background outlives ctx: it serves transfers that finish.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := begin(background, c, keys, handler, log); err != nil {
		return err
	}
	if err := tendKeys(background, keys, registry, log); err != nil {
		return err
	}
	serving, failed := context.WithCancelCause(drained(ctx, c.Limits.Drain, handler, log))
	defer failed(nil)
	ended, err := exposeKeys(serving, a, c, keys, reload, failed, log)
	if err != nil {
		return err
	}
	logStart(c, up, keys, front, log)
	defer findSupervisor(log).serving(ctx, c.Limits.Drain+c.Limits.Shutdown+spareTime)()
	err = front.serve(serving, handler)
	if err == nil && ctx.Err() == nil { // nobody asked for the end
		err = context.Cause(serving)
	}
	failed(nil)
	<-ended
	return err
}

// fitMachine sets what follows from the machine's memory, and returns the configuration as
// it was read.
func fitMachine(c *config.Config, log *slog.Logger) *config.Config {
	limitMemory(log)
	paceGC(log)
	asRead := *c
	setCapacity(c)
	warnMemory(c, log)
	return &asRead
}

// drained returns a context that ends a while after ctx. When that while begins, the
// server says that it is not ready any more.
func drained(ctx context.Context, delay time.Duration, handler *proxy.Server, log *slog.Logger) context.Context {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		handler.Drain()
		if delay > 0 {
			log.Info("asked to end: not ready any more, and serving on until load balancers have noticed", "drain", delay)
		}
		time.AfterFunc(delay, end)
	})
	return later
}

// serveMetrics serves metrics and health on an address of their own, if there is
// one, until stop is called.
func serveMetrics(ctx context.Context, c *config.Config, registry *prometheus.Registry, handler *proxy.Server, log *slog.Logger) (stop func(), err error) {
	if c.MetricsAddress == "" {
		return func() {}, nil
	}
	m, err := newMetricsServer(ctx, c, registry, handler, handler.ServeReadiness)
	if err != nil {
		return nil, err
	}
	log.Info("metrics and health", "address", m.listener.Addr().String())
	if c.Profiling {
		log.Warn("metrics.profiling is on: whoever can reach this address can have the server profile itself", "address", m.listener.Addr().String())
	}
	go m.serve()
	return m.close, nil
}

// exposeKeys serves the embedded keys to others, if the KES configuration has an
// address. A server that fails ends everything, by failed. ended is closed when
// none runs any more.
func exposeKeys(ctx context.Context, a *cli.App, c *config.Config, keys *build.Keys, reload func() (*config.Config, error), failed context.CancelCauseFunc, log *slog.Logger) (ended <-chan struct{}, err error) {
	done := make(chan struct{})
	if keys.Settings == nil || keys.Settings.Address == "" {
		close(done)
		return done, nil
	}
	watch := []string{c.File}
	if c.KMS.File != "" {
		watch = []string{c.KMS.File}
	}
	s, listener, err := newKeyServer(ctx, a, keys.Settings, keys, true, watch, func() (*kmsconfig.Config, error) {
		fresh, err := reload()
		if err != nil {
			return nil, err
		}
		settings, err := build.ReadKMS(a, fresh)
		if err == nil && (settings == nil || settings.Address == "") {
			err = errors.New("the kms section is gone, or has no address any more; start the server again")
		}
		return settings, err
	})
	if err != nil {
		return nil, err
	}
	log.Info("bucketseal key server", "address", listener.Addr().String())
	go func() {
		defer close(done)
		hup, stop := hangups()
		defer stop()
		if err := runKeyServer(ctx, s, listener, hup, log); err != nil {
			failed(err)
		}
	}()
	return done, nil
}

// logStart logs the one line that says what runs, and what of it can be read on the
// way or stays readable.
func logStart(c *config.Config, up *upstream.Client, keys *build.Keys, front *front, log *slog.Logger) {
	b := cli.ReadBuildInfo()
	log.Info("bucketseal server", "version", b.Version, "commit", b.Commit, "fips", b.FIPS, "address", front.listener.Addr().String(),
		"tls", c.TLS.Enabled(), "upstream", c.Upstream.Endpoint.String(), "auto_encryption", string(c.AutoEncryption), "keys", keys.Where,
		"max_requests", c.Limits.MaxRequests, "max_connections", c.Limits.MaxConnections, "max_http2_connections", c.Limits.MaxHTTP2Connections)
	if addr, ok := front.listener.Addr().(*net.TCPAddr); ok && !c.TLS.Enabled() && !addr.IP.IsLoopback() {
		log.Warn("S3 is served without TLS: passwords are safe, but objects can be read on the way; set tls", "address", addr.String())
	}
	if c.AutoEncryption == config.Off {
		log.Warn("auto_encryption is off: objects that neither client nor bucket asks to encrypt are stored readable")
	}
	if !up.Secure() {
		log.Warn("the upstream is reached by plain HTTP: what is not encrypted by bucketseal can be read on the way", "upstream", c.Upstream.Endpoint.String())
	}
}
