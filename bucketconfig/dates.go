package bucketconfig

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// dates knows the buckets' creation dates, and which rules were found to belong to a former bucket.
type dates struct {
	clock    clock
	logger   *slog.Logger
	interval time.Duration // how long a map answers
	flights  *flights[*dateMap]
	cur      atomic.Pointer[dateMap]
	failed   atomic.Pointer[instant] // when the last request failed; nil after a success

	mu    sync.Mutex
	stale map[string]staleRule // by bucket; at most one for each rule in the index
}

// dateMap is the creation dates at one moment. Not modified after it is published.
type dateMap struct {
	byBucket map[string]time.Time
	start    instant // from before the request was sent
}

// staleRule remembers that no bucket with this creation date existed.
type staleRule struct {
	created int64
	at      instant
}

func (m *dateMap) has(bucket string, created int64) bool {
	t, ok := m.byBucket[bucket]
	return ok && t.UnixMilli() == created
}

func newDates(buckets Buckets, c clock, logger *slog.Logger, interval, timeout time.Duration) *dates {
	d := &dates{clock: c, logger: logger, interval: interval, stale: make(map[string]staleRule)}
	d.flights = &flights[*dateMap]{timeout: timeout, run: func(ctx context.Context) (*dateMap, error) {
		start := c.now()
		byBucket, err := buckets.CreationDates(ctx)
		if err != nil {
			at := c.now()
			d.failed.Store(&at)
			logger.Warn("creation dates of buckets are unknown; all bucket rules apply", "error", err)
			return nil, err
		}
		m := &dateMap{byBucket: byBucket, start: start}
		d.failed.Store(nil)
		d.cur.Store(m)
		d.forget()
		return m, nil
	}}
	return d
}

// exists reports whether the bucket with that creation date exists. If that cannot be told it reports true: whoever
// stored the rule wanted the bucket's data encrypted. The error is the context's.
// now is the moment of the call; reading the clocks costs more than all the rest.
func (d *dates) exists(ctx context.Context, now instant, bucket string, created int64) (bool, error) {
	m := d.cur.Load()
	if m != nil && now.within(m.start, d.interval) {
		if !now.within(m.start, d.interval/8*7) && !d.failedLately(now) {
			d.flights.join() // ahead of time, so that a busy process never waits
		}
		if m.has(bucket, created) {
			return true, nil
		}
		if d.isStale(bucket, created, now) {
			return false, nil
		}
	}
	// The map is too old, or from before the bucket or its rule was made.
	if d.failedLately(now) {
		return true, nil
	}
	m, err := d.flights.fresh(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil || m.has(bucket, created) {
		return true, nil
	}
	d.setStale(bucket, created)
	return false, nil
}

// failedLately limits requests while they fail.
func (d *dates) failedLately(now instant) bool {
	at := d.failed.Load()
	return at != nil && now.within(*at, d.interval/10)
}

func (d *dates) isStale(bucket string, created int64, now instant) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.stale[bucket]
	return ok && s.created == created && now.within(s.at, d.interval)
}

func (d *dates) setStale(bucket string, created int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stale[bucket] = staleRule{created: created, at: d.clock.now()}
	d.logger.Warn("a bucket rule does not apply: it belongs to a former bucket of that name", "bucket", bucket)
}

// forget drops what isStale would not return any more.
func (d *dates) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.now()
	for bucket, s := range d.stale {
		if !now.within(s.at, d.interval) {
			delete(d.stale, bucket)
		}
	}
}
