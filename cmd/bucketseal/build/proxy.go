// Package build makes what configurations describe: key stores and key services, the
// client of the storage, certificates, and a proxy that serves nobody yet. Servers and
// commands build the same way. Nothing here listens.
package build

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
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

// Logger logs to the standard error.
func Logger(a *cli.App, l config.Log) *slog.Logger {
	return logs.New(a.Stderr, l.Level, l.Format == "json")
}

// Identities returns who may sign requests, and what each may do with keys.
func Identities(c *config.Config) identity.Settings {
	s := identity.Settings{Credentials: make(map[string]string, len(c.Credentials)), Upstream: make(map[string]identity.Pair), Access: c.Access}
	for _, one := range c.Credentials {
		s.Credentials[one.AccessKey] = one.SecretKey.Reveal()
		if at := one.Upstream; at != nil {
			s.Upstream[one.AccessKey] = identity.Pair{AccessKey: at.AccessKey, SecretKey: at.SecretKey.Reveal()}
		}
	}
	return s
}

// shareDEK is how long the writes of a bucket share a DEK of a remote key server,
// as AWS's bucket keys do for a while.
const shareDEK = 5 * time.Minute

// ProxyOptions returns what proxy.New needs. The proxy closes neither up nor keys.
func ProxyOptions(c *config.Config, up *upstream.Client, keys kms.Service, log *slog.Logger) proxy.Options {
	mode := sse.ModeS3
	if c.AutoEncryption == config.Off {
		mode = sse.ModeNone
	}
	var share time.Duration
	var cache func(kms.Service) kms.Service
	if c.KMS.Remote != nil {
		share = shareDEK
		cache = func(s kms.Service) kms.Service { return client.Cached(s, client.CacheOptions{Recheck: recheckKeys}) }
	}
	own := c.Upstream.Credentials
	return proxy.Options{
		Upstream:             up,
		Service:              storage.Credential{AccessKey: own.AccessKey, SecretKey: own.SecretKey.Reveal()},
		Identities:           Identities(c),
		KMS:                  keys,
		CacheKeys:            cache,
		SystemBucket:         c.SystemBucket,
		Deployment:           c.Deployment,
		AutoEncryption:       mode,
		DefaultKey:           c.DefaultKey,
		S3Key:                c.SSES3.Key,
		FormerS3Keys:         c.SSES3.FormerKeys,
		OpaqueETag:           c.SSES3.OpaqueETag,
		MD5ETag:              c.SSES3.MD5ETag,
		ShareDEK:             share,
		AllowAnonymous:       c.AllowAnonymous,
		PlainRead:            c.PlainRead,
		SmallObject:          c.SmallObject.Size,
		SmallObjectBudget:    c.SmallObject.Budget,
		ListingCache:         c.ListingCache,
		UsageScan:            c.UsageScan.Interval,
		UsageRate:            float64(c.UsageScan.Rate),
		KeysOffline:          offlineOf(keys),
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

// offlineOf returns how long a key service seals without its store, as far as that is known
// here.
func offlineOf(service kms.Service) time.Duration {
	if keys, ok := service.(*Keys); ok && keys.Settings != nil {
		return keys.Settings.Cache.Offline
	}
	return 0
}

// Upstream returns the client of the storage, which the caller closes. Its certificates
// follow their files while files is watched.
func Upstream(c *config.Config, files *certs.Watcher) (*upstream.Client, error) {
	secure, err := upstreamTLS(c, files)
	if err != nil {
		return nil, err
	}
	return upstream.New(upstream.Options{
		Endpoint: c.Upstream.Endpoint, Region: c.Upstream.Region, HeaderTimeout: c.Limits.UpstreamHeader, TLS: secure,
	})
}

// WithServer calls f with a proxy that serves nobody. Flags and configuration are
// those of the server.
func WithServer(a *cli.App, cmd *cobra.Command, f func(context.Context, *config.Config, *proxy.Server) error) error {
	c, err := a.LoadConfig(cmd)
	if err != nil {
		return err
	}
	if err := c.CheckServer(); err != nil {
		return err
	}
	server, done, err := OpenServer(cmd.Context(), a, c)
	if err != nil {
		return err
	}
	defer done()
	err = f(cmd.Context(), c, server)
	if shared := server.Uses().Flush(context.WithoutCancel(cmd.Context())); shared != nil && err == nil {
		err = shared
	}
	return err
}

// OpenServer makes the server that a command works with, which serves nobody. done
// closes what it needs.
func OpenServer(ctx context.Context, a *cli.App, c *config.Config) (server *proxy.Server, done func(), err error) {
	log := Logger(a, c.Log)
	keys, err := OpenKeys(ctx, a, c, false, log)
	if err != nil {
		return nil, nil, err
	}
	up, err := Upstream(c, certs.NewWatcher(log))
	if err != nil {
		keys.Close()
		return nil, nil, err
	}
	done = func() { up.Close(); keys.Close() }
	if server, err = proxy.New(ProxyOptions(c, up, keys, log)); err != nil {
		done()
	}
	return server, done, err
}
