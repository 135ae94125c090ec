package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrBusy says that too many requests are being served.
var ErrBusy = errors.New("too many requests at once")

// Gate lets a number of requests in at once. Others wait in a queue of limited
// length, first come first served, and for a limited time. It is safe for
// concurrent use; a nil Gate lets everybody in.
type Gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
	refused atomic.Int64
}

// NewGate returns a gate for most requests at once. As many more may wait, each
// for at most wait.
func NewGate(most int, wait time.Duration) *Gate {
	return &Gate{slots: make(chan struct{}, most), queue: int64(most), wait: wait}
}

// Enter waits for a place and returns how to give it back. ErrBusy if there is
// none in time, or ctx's error.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	select {
	case g.slots <- struct{}{}:
		return g.leave, nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		g.refused.Add(1)
		return nil, ErrBusy
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return g.leave, nil
	case <-timer.C:
		g.refused.Add(1)
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *Gate) leave() { <-g.slots }

// Register adds the gate's metrics to r.
func (g *Gate) Register(r prometheus.Registerer) {
	r.MustRegister(
		gauge("bucketseal_s3_requests_in_flight", "S3 requests that hold a place.", func() float64 { return float64(len(g.slots)) }),
		gauge("bucketseal_s3_requests_limit", "S3 requests that may be served at once.", func() float64 { return float64(cap(g.slots)) }),
		gauge("bucketseal_s3_requests_queued", "S3 requests that wait for a place.", func() float64 { return float64(g.waiting.Load()) }),
		counter("bucketseal_s3_requests_refused_total", "S3 requests that found no place in time.", &g.refused),
	)
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func counter(name, help string, value *atomic.Int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value.Load()) })
}
