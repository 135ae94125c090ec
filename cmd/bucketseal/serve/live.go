package serve

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/console"
	"github.com/bucketseal/bucketseal/proxy/doctor"
	"github.com/bucketseal/bucketseal/proxy/edge"
)

// adoptTimeout bounds how long a KMS key that a changed configuration names is looked for.
const adoptTimeout = 10 * time.Second

// running is a proxy that serves, and takes up changed settings.
type running struct {
	logs    *logs.Live
	log     *slog.Logger
	keys    kms.Service
	handler *proxy.Server
	gate    *edge.Gate
	front   *front
	metrics *metricsHolder
	served  *servedKeys     // nil if nothing is counted
	recent  *console.Recent // nil without a console
	console *consoleServer  // nil without one
	// asked tells when to hand over; nil for never.
	asked <-chan os.Signal
	// config is what is in force, as it was read: auto is 0.
	config atomic.Pointer[config.Config]
	doctor atomic.Pointer[doctor.Doctor] // nil before the start
}

// adopt takes up what is live of a configuration. Either all of it, or nothing and why.
func (r *running) adopt(c *config.Config) error {
	before := r.config.Load()
	if c.SSES3.Key != before.SSES3.Key {
		ctx, cancel := context.WithTimeout(context.Background(), adoptTimeout)
		defer cancel()
		if err := ensureKey(ctx, r.keys, c.SSES3.Key, r.log); err != nil {
			return fmt.Errorf("sse_s3.key: %w", err)
		}
	}
	if err := r.metrics.follow(c); err != nil {
		return err
	}
	r.logs.Set(c.Log.Level, c.Log.Format == "json")
	fitted := *c
	setCapacity(&fitted)
	l := fitted.Limits
	r.gate.Resize(l.MaxRequests, l.QueueWait)
	r.front.adjust(&fitted)
	o := build.ProxyOptions(c, nil, nil, r.log)
	o.Gate = r.gate
	r.handler.Adopt(o)
	r.config.Store(c)
	return nil
}

// adjust takes up the limits of connections and of the end.
func (f *front) adjust(c *config.Config) {
	l := c.Limits
	f.listener.Adjust(l.MaxConnections, l.MaxConnectionsPerClient, l.MaxHTTP2Connections, forwarded.Trust{Proxies: c.TrustedProxies})
	f.shutdown.Store(int64(l.Shutdown))
}
