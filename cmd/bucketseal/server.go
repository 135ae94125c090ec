package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

func (a *app) serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the S3 encryption proxy",
		Long: `Serves S3 in front of a MinIO. Settings come from a YAML file (--config), from the
environment, and from flags, of which the last wins. Without a file it needs
BUCKETSEAL_ROOT_USER and BUCKETSEAL_ROOT_PASSWORD, which are the clients' credential and the
proxy's own at MinIO, and --data-dir for the keys:

  BUCKETSEAL_ROOT_USER=user BUCKETSEAL_ROOT_PASSWORD=password \
    bucketseal server --address :8080 --upstream http://127.0.0.1:9000 --data-dir /var/lib/bucketseal

SIGTERM lets running transfers finish, after limits.drain; a second one ends at once. SIGHUP, and a change of the files,
read the certificates again, and the credentials and access of the configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckServer(); err != nil {
				return err
			}
			return a.serve(cmd.Context(), c, func() (*config.Config, error) { return a.loadConfig(cmd) })
		},
	}
	configFlags(cmd)
	return cmd
}

// newLogger logs to the standard error.
func (a *app) newLogger(l config.Log) *slog.Logger {
	return newLog(a.stderr, l.Level, l.Format == "json")
}

// serve runs the proxy until ctx ends. It returns nil after an orderly end.
// reload reads the configuration anew.
func (a *app) serve(ctx context.Context, c *config.Config, reload func() (*config.Config, error)) error {
	log := a.newLogger(c.Log)
	_, stopHangups := hangups() // from the start: a SIGHUP while the key store opens must not end the server
	defer stopHangups()
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	protectMemory(log, false)
	keys, err := a.openKeys(ctx, c, true, log)
	if err != nil {
		return err
	}
	defer keys.Close()
	files := certs.NewWatcher(log)
	up, err := newUpstream(c, files)
	if err != nil {
		return err
	}
	defer up.Close()
	limitMemory(log)
	asRead := *c // before what follows from the machine
	setCapacity(c)
	warnMemory(c, log)
	registry := newRegistry()
	options := proxyOptions(c, up, keys, log)
	options.Metrics = registry
	handler, err := proxy.New(options)
	if err != nil {
		return err
	}
	if err := followConfig(&asRead, files, reload, handler, log); err != nil {
		return err
	}
	front, err := a.newFront(ctx, c, files, log)
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
	serving, failed := context.WithCancelCause(drained(ctx, c.Limits.Drain, func() {
		handler.Drain()
		if c.Limits.Drain > 0 {
			log.Info("asked to end: not ready any more, and serving on until load balancers have noticed", "drain", c.Limits.Drain)
		}
	}))
	defer failed(nil)
	ended, err := a.exposeKeys(serving, c, keys, reload, failed, log)
	if err != nil {
		return err
	}
	logStart(c, keys, front, log)
	if !up.Secure() {
		log.Warn("the upstream is reached by plain HTTP: what is not encrypted by bucketseal can be read on the way", "upstream", c.Upstream.Endpoint.String())
	}
	err = front.serve(serving, handler)
	if err == nil && ctx.Err() == nil { // nobody asked for the end
		err = context.Cause(serving)
	}
	failed(nil)
	<-ended
	return err
}

// drained returns a context that ends a while after ctx. begin is called when that
// while begins.
func drained(ctx context.Context, delay time.Duration, begin func()) context.Context {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		begin()
		time.AfterFunc(delay, end)
	})
	return later
}

// begin creates the configured keys and starts what the proxy does by itself.
func begin(ctx context.Context, c *config.Config, keys *keySource, handler *proxy.Server, log *slog.Logger) error {
	if err := handler.CheckKeys(ctx); err != nil {
		log.Error("no keys are made and nothing is served: these are not the keys of this MinIO's data", "keys", keys.where, "error", err)
		go makeKeysLater(ctx, 2*time.Second, handler.SetUp, func(ctx context.Context) error { return makeKeys(ctx, c, keys, log) }, log)
		return handler.Start(ctx)
	}
	if err := makeKeys(ctx, c, keys, log); err != nil {
		return err
	}
	return handler.Start(ctx)
}

// makeKeys makes the keys that the configuration lists or names.
func makeKeys(ctx context.Context, c *config.Config, keys *keySource, log *slog.Logger) error {
	if err := keys.createListed(ctx); err != nil {
		return err
	}
	return createKeys(ctx, c, keys, log)
}

// makeKeysLater waits until the right keys are there, or the data of others is gone,
// and makes the configured keys then: again and again until it succeeds or ctx ends.
func makeKeysLater(ctx context.Context, pause time.Duration, setUp, makeThem func(context.Context) error, log *slog.Logger) {
	for wait := pause; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if setUp(ctx) != nil {
			continue
		}
		// What one try leaves in the background ends with it, if it failed.
		try, end := context.WithCancel(ctx)
		context.AfterFunc(ctx, end)
		err := makeThem(try)
		if err == nil {
			return
		}
		end()
		log.Error("cannot make the configured keys; it is tried again", "error", err)
		wait = min(2*wait, 15*pause)
	}
}

// serveMetrics serves metrics and health on an address of their own, if there is
// one, until stop is called.
func serveMetrics(ctx context.Context, c *config.Config, registry *prometheus.Registry, handler *proxy.Server, log *slog.Logger) (stop func(), err error) {
	if c.MetricsAddress == "" {
		return func() {}, nil
	}
	m, err := newMetricsServer(ctx, c.MetricsAddress, registry, handler, handler.ServeReadiness)
	if err != nil {
		return nil, err
	}
	log.Info("metrics and health", "address", m.listener.Addr().String())
	go m.serve()
	return m.close, nil
}

// exposeKeys serves the embedded keys to others, if the KES configuration has an
// address. A server that fails ends everything, by failed. ended is closed when
// none runs any more.
func (a *app) exposeKeys(ctx context.Context, c *config.Config, keys *keySource, reload func() (*config.Config, error), failed context.CancelCauseFunc, log *slog.Logger) (ended <-chan struct{}, err error) {
	done := make(chan struct{})
	if keys.settings == nil || keys.settings.Address == "" {
		close(done)
		return done, nil
	}
	watch := []string{c.File}
	if c.KMS.File != "" {
		watch = []string{c.KMS.File}
	}
	s, listener, err := a.newKeyServer(ctx, keys.settings, keys, true, watch, func() (*kmsconfig.Config, error) {
		fresh, err := reload()
		if err != nil {
			return nil, err
		}
		settings, err := a.readKMS(fresh)
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

// identities returns who may sign requests, and what each may do with keys.
func identities(c *config.Config) identity.Settings {
	s := identity.Settings{Credentials: make(map[string]string, len(c.Credentials)), Access: c.Access}
	for _, one := range c.Credentials {
		s.Credentials[one.AccessKey] = one.SecretKey.Reveal()
	}
	return s
}

// shareDEK is how long the writes of a bucket share a DEK of a remote key server,
// as AWS's bucket keys do for a while.
const shareDEK = 5 * time.Minute

func proxyOptions(c *config.Config, up *upstream.Client, keys kms.Service, log *slog.Logger) proxy.Options {
	mode := sse.ModeS3
	if c.AutoEncryption == config.Off {
		mode = sse.ModeNone
	}
	var share time.Duration
	var cache func(kms.Service) kms.Service
	if c.KMS.Remote != nil {
		share = shareDEK
		cache = func(s kms.Service) kms.Service { return client.Cached(s, client.CacheOptions{}) }
	}
	own := c.Upstream.Credentials
	return proxy.Options{
		Upstream:             up,
		Service:              storage.Credential{AccessKey: own.AccessKey, SecretKey: own.SecretKey.Reveal()},
		Identities:           identities(c),
		KMS:                  keys,
		CacheKeys:            cache,
		SystemBucket:         c.SystemBucket,
		Deployment:           c.Deployment,
		AutoEncryption:       mode,
		DefaultKey:           c.DefaultKey,
		S3Key:                c.SSES3.Key,
		FormerS3Keys:         c.SSES3.FormerKeys,
		ShareDEK:             share,
		AllowAnonymous:       c.AllowAnonymous,
		PlainRead:            c.PlainRead,
		SmallObject:          c.SmallObject.Size,
		SmallObjectBudget:    c.SmallObject.Budget,
		Domains:              c.Domains,
		AllowOrigin:          c.AllowOrigin,
		Trust:                forwarded.Trust{Proxies: c.TrustedProxies, Header: forwarded.Header(c.ForwardedHeader)},
		Gate:                 edge.NewGate(c.Limits.MaxRequests, c.Limits.QueueWait),
		Patience:             edge.Patience{Stall: c.Limits.Stall},
		MaxHeader:            c.Limits.MaxHeader,
		CustomerKeysOverHTTP: c.CustomerKeysOverHTTP,
		SignatureV2:          c.SignatureV2,
		MaxSkew:              c.Limits.MaxClockSkew,
		Lease:                c.Limits.RuleLease,
		ReadyWithoutKeys:     !c.ReadinessKeyService,
		Logger:               log,
	}
}

func newUpstream(c *config.Config, files *certs.Watcher) (*upstream.Client, error) {
	secure, err := upstreamTLS(c, files)
	if err != nil {
		return nil, err
	}
	return upstream.New(upstream.Options{
		Endpoint: c.Upstream.Endpoint, Region: c.Upstream.Region, HeaderTimeout: c.Limits.UpstreamHeader, TLS: secure,
	})
}

// createKeys makes the configured keys that do not exist. A key service that
// does not answer does not keep the server from starting: it is asked again in
// the background.
func createKeys(ctx context.Context, c *config.Config, keys kms.Service, log *slog.Logger) error {
	names := []string{c.DefaultKey}
	if c.SSES3.Key != c.DefaultKey {
		names = append(names, c.SSES3.Key)
	}
	for _, name := range names {
		err := ensureKey(ctx, keys, name, log)
		if errors.Is(err, kms.ErrUnavailable) {
			log.Error("the key service does not answer; requests get 503 until it does", "key", name, "error", err)
			go retryKey(ctx, keys, name, log)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// ensureKey creates a key if it does not exist. An identity that may not look at
// keys, or not create them, may be all the same one that may use them.
func ensureKey(ctx context.Context, keys kms.Service, name string, log *slog.Logger) error {
	_, err := keys.DescribeKey(ctx, name)
	if !errors.Is(err, kms.ErrKeyNotFound) && !errors.Is(err, kms.ErrNotPermitted) {
		if err != nil {
			return fmt.Errorf("KMS key %q: %w", name, err)
		}
		return nil
	}
	switch err = keys.CreateKey(ctx, name); {
	case err == nil:
		log.Info("created KMS key", "key", name)
	case errors.Is(err, kms.ErrKeyExists):
	case errors.Is(err, kms.ErrNotPermitted):
		log.Warn("the key service does not let us create the KMS key; it must exist already", "key", name, "error", err)
	default:
		return fmt.Errorf("create KMS key %q: %w", name, err)
	}
	return nil
}

func retryKey(ctx context.Context, keys kms.Service, name string, log *slog.Logger) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := ensureKey(ctx, keys, name, log)
		if err == nil {
			log.Info("the key service answers again", "key", name)
			return
		}
		if !errors.Is(err, kms.ErrUnavailable) {
			log.Error("cannot create KMS key", "key", name, "error", err)
		}
	}
}

// logStart logs the one line that says what runs.
func logStart(c *config.Config, keys *keySource, front *front, log *slog.Logger) {
	b := readBuildInfo()
	log.Info("bucketseal server", "version", b.Version, "commit", b.Commit, "address", front.listener.Addr().String(),
		"tls", c.TLS.Enabled(), "upstream", c.Upstream.Endpoint.String(), "auto_encryption", string(c.AutoEncryption), "keys", keys.where,
		"max_requests", c.Limits.MaxRequests, "max_connections", c.Limits.MaxConnections, "max_http2_connections", c.Limits.MaxHTTP2Connections)
	if addr, ok := front.listener.Addr().(*net.TCPAddr); ok && !c.TLS.Enabled() && !addr.IP.IsLoopback() {
		log.Warn("S3 is served without TLS: passwords are safe, but objects can be read on the way; set tls", "address", addr.String())
	}
	if c.AutoEncryption == config.Off {
		log.Warn("auto_encryption is off: objects that neither client nor bucket asks to encrypt are stored readable")
	}
}
