package client

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
)

// cacheCounts are what operators want to know of a cache.
type cacheCounts struct {
	hits, misses, offline atomic.Int64
	// downSince is when the service was first found not to answer, in Unix nanoseconds; 0
	// while it answers.
	downSince atomic.Int64
}

// answered notes the outcome of a call of the service. That a caller went away says nothing.
func (c *cacheCounts) answered(err error, now func() time.Time) {
	switch {
	case err == nil:
		c.downSince.Store(0)
	case errors.Is(err, kms.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		c.downSince.CompareAndSwap(0, now().UnixNano())
	case errors.Is(err, context.Canceled):
	default:
		c.downSince.Store(0)
	}
}

// Down returns how long the service has not answered; 0 while it answers.
func (c *Cache) Down() time.Duration {
	since := c.counts.downSince.Load()
	if since == 0 {
		return 0
	}
	return max(c.now().Sub(time.Unix(0, since)), 1)
}

// Register adds the cache's metrics to r.
func (c *Cache) Register(r prometheus.Registerer) {
	lookups := func(result string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "bucketseal_kms_cache_lookups_total", Help: "Data keys looked for in the cache before a remote key server: hit, miss, or offline for one that was used past its time because the server did not answer.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(n.Load()) })
	}
	r.MustRegister(
		lookups("hit", &c.counts.hits), lookups("miss", &c.counts.misses), lookups("offline", &c.counts.offline),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bucketseal_kms_cache_keys", Help: "Data keys in the cache before a remote key server.",
		}, func() float64 { return float64(c.Len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bucketseal_kms_cache_offline_seconds", Help: "How long the remote key server has not answered, so that only cached data keys can be used; 0 while it answers.",
		}, func() float64 { return c.Down().Seconds() }),
	)
}
