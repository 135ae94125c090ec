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

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/operator/watch"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// Proxy runs the proxy until ctx ends, or another process has taken over. It returns nil
// after an orderly end. reload reads the configuration anew.
func Proxy(ctx context.Context, a *cli.App, c *config.Config, reload func() (*config.Config, error)) error {
	live := logs.NewLive(a.Stderr, c.Log.Level, c.Log.Format == "json")
	log := live.Logger()
	_, stopHangups := hangups() // from the start: a SIGHUP while the key store opens must not end the server
	defer stopHangups()
	asked, stopAsking := handOverSignals() // and a SIGUSR2 waits
	defer stopAsking()
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	inherited, err := inheritedSockets(a)
	if err != nil {
		return err
	}
	defer inherited.close()
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
	options, served, endTraces, err := observed(c, files, up, keys, registry, log)
	if err != nil {
		return err
	}
	defer endTraces()
	stopAudit, err := openAudit(a, c, files, keys, &options, log)
	if err != nil {
		return err
	}
	defer stopAudit()
	options.AuditRewrap = auditRewrap(options.Audit, log)
	handler, err := proxy.New(options)
	if err != nil {
		return err
	}
	front, err := newFront(ctx, c, inherited, files, log)
	if err != nil {
		return err
	}
	defer front.close()
	options.Gate.Register(registry)
	front.listener.Register(registry)
	r := &running{
		logs: live, log: log, keys: keys, handler: handler, gate: options.Gate, front: front, served: served, recent: recentOf(options.Audit),
		metrics: &metricsHolder{registry: registry, handler: handler, inherited: inherited, log: log},
	}
	r.config.Store(asRead)
	r.pages()
	if err := r.metrics.follow(c); err != nil {
		return err
	}
	defer r.metrics.close()
	if err := followConfig(&follower{current: asRead, waiting: watch.Steady{For: steady}, log: log, adopt: r.adopt}, files, reload, handler); err != nil {
		return err
	}
	r.asked = asked
	return r.run(ctx, a, c, up, keys, inherited, reload)
}

// run serves until ctx ends, or another process has taken over.
func (r *running) run(ctx context.Context, a *cli.App, c *config.Config, up *upstream.Client, keys *build.Keys, inherited sockets, reload func() (*config.Config, error)) error {
	// What runs in the background outlives ctx: it serves transfers that finish.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := begin(background, c, keys, r.handler, r.log); err != nil {
		return err
	}
	tender, err := tendKeys(background, keys, r.metrics.registry, r.log)
	if err != nil {
		return err
	}
	if err := r.examine(background, up, keys, tender); err != nil {
		return err
	}
	serving, failed := context.WithCancelCause(r.drained(ctx))
	defer failed(nil)
	exposed, err := exposeKeys(serving, a, c, keys, inherited, reload, failed, r.served, r.log)
	if err != nil {
		return err
	}
	logStart(c, up, keys, r.front, r.log)
	if err := r.openConsole(background, c, up, inherited); err != nil {
		return err
	}
	defer r.console.close()
	inherited.leave(r.log)
	if err := takeOver(ctx, a, r.handler, r.log); err != nil {
		return err
	}
	defer findSupervisor(r.log).serving(ctx, c.Limits.Drain+c.Limits.Shutdown+proxy.CommitPatience+spareTime)()
	h := r.handOver(a, exposed.listener, func() { failed(errHandedOver) })
	h.keys = keys.Settings
	h.audit, _ = keys.Audit.(*build.Audit)
	h.follow(serving, r.asked)
	err = r.front.serve(serving, r.handler)
	r.handler.End(background)
	stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobsAtEnd)
	defer cancel()
	r.handler.Wait(last)
	if err == nil && ctx.Err() == nil && !errors.Is(context.Cause(serving), errHandedOver) { // nobody asked for the end
		err = context.Cause(serving)
	}
	failed(nil)
	<-exposed.ended
	return err
}

// handOver returns what hands this server's sockets to the next process. ended is called
// when that serves, and this one has had time to answer what it has.
func (r *running) handOver(a *cli.App, keyServer *restListener, ended func()) *handOver {
	h := &handOver{
		app: a, log: r.log, ended: ended, grace: func() time.Duration { return r.config.Load().Limits.Drain },
		rest: func() {
			r.front.leave()
			r.front.listener.Rest()
			r.metrics.rest()
			r.console.rest()
			if keyServer != nil {
				keyServer.rest()
			}
		},
		sockets: func() []handed {
			all := []handed{{socketS3, r.front.listener.Socket()}}
			if l := r.metrics.listener(); l != nil {
				all = append(all, handed{socketMetrics, l})
			}
			if r.console != nil {
				all = append(all, handed{socketConsole, r.console.listener})
			}
			if keyServer != nil {
				all = append(all, handed{socketKMS, keyServer.Listener})
			}
			return all
		},
	}
	return h
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
// server says that it is not ready any more, and each answer is the last one of its
// connection.
func (r *running) drained(ctx context.Context) context.Context {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		r.handler.Drain()
		r.front.leave()
		delay := r.config.Load().Limits.Drain
		if delay > 0 {
			r.log.Info("asked to end: not ready any more, and serving on until load balancers have noticed", "drain", delay)
		}
		time.AfterFunc(delay, end)
	})
	return later
}

// exposeKeys serves the embedded keys to others, if the KES configuration has an
// address. A server that fails ends everything, by failed.
func exposeKeys(ctx context.Context, a *cli.App, c *config.Config, keys *build.Keys, inherited sockets, reload func() (*config.Config, error), failed context.CancelCauseFunc, served *servedKeys, log *slog.Logger) (exposed, error) {
	done := make(chan struct{})
	if keys.Settings == nil || keys.Settings.Address == "" {
		close(done)
		return exposed{ended: done}, nil
	}
	watch := []string{c.File}
	if c.KMS.File != "" {
		watch = []string{c.KMS.File}
	}
	s, listener, err := newKeyServer(ctx, a, keys.Settings, keys, inherited, true, watch, func() (*kmsconfig.Config, error) {
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
		return exposed{}, err
	}
	served.run(s)
	log.Info("bucketseal key server", "address", listener.Addr().String())
	go func() {
		defer close(done)
		hup, stop := hangups()
		defer stop()
		if err := runKeyServer(ctx, s, listener, hup, log); err != nil {
			failed(err)
		}
	}()
	return exposed{listener, done}, nil
}

// exposed is the server of the embedded keys.
type exposed struct {
	listener *restListener   // nil without one
	ended    <-chan struct{} // is closed when none runs any more
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
