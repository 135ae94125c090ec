package bucketconfig

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/register"
)

// dates knows the buckets' creation dates, and which rules were found to belong to a former bucket.
type dates struct {
	clock    register.Clock
	logger   *slog.Logger
	interval time.Duration // how long a map answers
	flights  *register.Flights[*dateMap]
	cur      atomic.Pointer[dateMap]
	failed   atomic.Pointer[register.Instant] // when the last request failed; nil after a success

	mu    sync.Mutex
	stale map[string]staleRule // by bucket; at most one for each rule in the index
}

// dateMap is the creation dates at one moment. Not modified after it is published.
type dateMap struct {
	byBucket map[string]time.Time
	home     string           // the bucket that keeps the index, "" if it is not known
	start    register.Instant // from before the request was sent
}

// staleRule remembers that the bucket of a rule, with the creation date created, was not there.
type staleRule struct {
	created int64
	other   int64 // the creation date that the name had instead, 0 if there was no such bucket
	// first and last are the first and the last of the looks that found that, all of them the same other date.
	first, last register.Instant
}

// confirmAfter is how many intervals apart two looks must have found the same before a rule stops binding: MinIO gives a
// directory's date where it cannot read a bucket's metadata, as in the seconds after a node has started again.
const confirmAfter = 6

// has reports whether the bucket may be the one that was created at that time. A bucket that took its name is younger:
// an older date is a false one, or the rule was stored under one. Where the index lies in a younger bucket than the rule
// tells of, all of them were restored from a copy and have new dates: the rule then binds who has the name.
func (m *dateMap) has(bucket string, created int64) bool {
	t, ok := m.byBucket[bucket]
	return ok && (t.UnixMilli() <= created || m.other(m.home) > created)
}

// other is the bucket's creation date, 0 if there is none.
func (m *dateMap) other(bucket string) int64 {
	if t, ok := m.byBucket[bucket]; ok {
		return t.UnixMilli()
	}
	return 0
}

func newDates(buckets Buckets, home string, c register.Clock, logger *slog.Logger, interval, timeout time.Duration) *dates {
	d := &dates{clock: c, logger: logger, interval: interval, stale: make(map[string]staleRule)}
	d.flights = register.NewFlights(timeout, func(ctx context.Context) (*dateMap, error) {
		start := c.Now()
		byBucket, err := buckets.CreationDates(ctx)
		if err != nil {
			at := c.Now()
			d.failed.Store(&at)
			logger.Warn("creation dates of buckets are unknown; all bucket rules apply", "error", err)
			return nil, err
		}
		m := &dateMap{byBucket: byBucket, home: home, start: start}
		d.failed.Store(nil)
		d.cur.Store(m)
		d.seen(m)
		return m, nil
	})
	return d
}

// exists reports whether the bucket with that creation date exists. If that cannot be told, or was not found in two looks
// far enough apart, it reports true: whoever stored the rule wanted the bucket's data encrypted. The error is the
// context's. now is the moment of the call; reading the clocks costs more than all the rest.
func (d *dates) exists(ctx context.Context, now register.Instant, bucket string, created int64) (bool, error) {
	m := d.cur.Load()
	if m != nil && now.Within(m.start, d.interval) {
		if !now.Within(m.start, d.interval/8*7) && !d.failedLately(now) {
			d.flights.Begin() // ahead of time, so that a busy process never waits
		}
		if m.has(bucket, created) {
			return true, nil
		}
		if known, gone := d.judged(bucket, created, now); known {
			return !gone, nil
		}
	}
	// The map is too old, or from before the bucket or its rule was made.
	if d.failedLately(now) {
		return true, nil
	}
	m, err := d.flights.Fresh(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil || m.has(bucket, created) {
		return true, nil
	}
	return !d.missed(bucket, created, m.other(bucket)), nil
}

// failedLately limits requests while they fail.
func (d *dates) failedLately(now register.Instant) bool {
	at := d.failed.Load()
	return at != nil && now.Within(*at, d.interval/10)
}

// judged returns what the last look found, if that was less than an interval ago.
func (d *dates) judged(bucket string, created int64, now register.Instant) (known, gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.stale[bucket]
	known = ok && s.created == created && now.Within(s.last, d.interval)
	return known, known && d.confirmed(s)
}

func (d *dates) confirmed(s staleRule) bool { return s.last.Since(s.first) >= confirmAfter*d.interval }

// missed notes that the bucket was not there, and reports whether that is confirmed.
func (d *dates) missed(bucket string, created, other int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	s, ok := d.stale[bucket]
	before := ok && s.created == created && s.other == other && d.confirmed(s)
	if !ok || s.created != created || s.other != other {
		s = staleRule{created: created, other: other, first: now}
	}
	s.last = now
	d.stale[bucket] = s
	if d.confirmed(s) && !before {
		d.logger.Warn("a bucket rule does not apply: it belongs to a former bucket of that name", "bucket", bucket)
	}
	return d.confirmed(s)
}

// seen drops what is remembered of buckets that a list shows as their rules know them, and what nobody asks for.
func (d *dates) seen(m *dateMap) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	for bucket, s := range d.stale {
		if m.has(bucket, s.created) || m.other(bucket) != s.other || !now.Within(s.last, 10*confirmAfter*d.interval) {
			delete(d.stale, bucket)
		}
	}
}
