package bucketconfig

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultLease         = time.Second
	DefaultDatesInterval = 10 * time.Second
	DefaultTimeout       = 5 * time.Second
)

// Options is what New needs.
type Options struct {
	// Backend keeps the index. Required.
	Backend Backend
	// Buckets tells creation dates. Required.
	Buckets Buckets
	// Home is the bucket that keeps the index; "" if it is none of Buckets. Rules that are older than it were restored
	// with it from a copy, and bind buckets of their names though these are younger.
	Home string
	// Lease is how long a copy of the index answers. It must be the same for all processes over one index. 0 =
	// DefaultLease.
	Lease time.Duration
	// DatesInterval is how long a list of creation dates answers. A re-created bucket may keep the rule of its
	// predecessor for eight of them. 0 = DefaultDatesInterval.
	DatesInterval time.Duration
	// KeepStale lets a rule apply to a re-created bucket too. It is for callers to whom no rule means no encryption:
	// whoever tells creation dates could turn a rule off by a false one.
	KeepStale bool
	// Timeout bounds one call of Backend or Buckets. 0 = DefaultTimeout.
	Timeout time.Duration
	// Logger gets what goes wrong in the background. nil = nothing is logged.
	Logger *slog.Logger

	clock clock // nil = the system's
}

// Rules answers which default encryption a bucket has, and changes it. Safe for concurrent use.
type Rules struct {
	cache
	logger  *slog.Logger
	timeout time.Duration
	maxSize int // of the encoded index, in bytes
	loads   *flights[*snapshot]
	dates   *dates
	keep    bool
	// ahead is the boot time in nanoseconds before which no other load is begun ahead of time.
	ahead atomic.Int64
	// failing says that the last load failed, which is logged once.
	failing atomic.Bool
	// changing has room for one: changes of this process go one after another, waiting for the fence not included.
	changing chan struct{}
}

// New returns Rules over the given index. It makes no request.
func New(o Options) (*Rules, error) {
	if o.Backend == nil || o.Buckets == nil {
		return nil, errors.New("bucket rules need a backend and a source of creation dates")
	}
	if o.Lease < 0 || o.DatesInterval < 0 || o.Timeout < 0 {
		return nil, errors.New("bucket rules: lease, interval and timeout must not be negative")
	}
	o.setDefaults()
	r := &Rules{
		cache:    cache{backend: o.Backend, clock: o.clock, lease: o.Lease},
		logger:   o.Logger,
		timeout:  o.Timeout,
		maxSize:  maxIndexSize,
		dates:    newDates(o.Buckets, o.Home, o.clock, o.Logger, o.DatesInterval, o.Timeout),
		keep:     o.KeepStale,
		changing: make(chan struct{}, 1),
	}
	r.loads = &flights[*snapshot]{timeout: o.Timeout, run: func(ctx context.Context) (*snapshot, error) {
		s, err := r.load(ctx)
		switch failing := err != nil; {
		case r.failing.Swap(failing) == failing:
		case failing:
			r.logger.Warn("the index of bucket rules cannot be used", "error", err)
		default:
			r.logger.Info("the index of bucket rules can be used again")
		}
		return s, err
	}}
	return r, nil
}

func (o *Options) setDefaults() {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.DatesInterval == 0 {
		o.DatesInterval = DefaultDatesInterval
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.clock == nil {
		o.clock = systemClock{epoch: time.Now()}
	}
}

// Effective returns the rule that binds a write to bucket which begins with this call; ok is false if there is none.
// It waits for a request only if the copy of the index is older than one lease, or the list of creation dates too old
// for a bucket that has a rule. The error is ErrUnavailable if it cannot be told which rule is in force, or the
// context's.
func (r *Rules) Effective(ctx context.Context, bucket string) (rule Rule, ok bool, err error) {
	s, now, valid := r.valid()
	if !valid {
		if s, err = r.refresh(ctx); err != nil {
			return Rule{}, false, err
		}
		now = r.clock.now()
	} else if !now.within(s.start, r.lease/2) {
		r.refreshAhead(now)
	}
	e, ok := s.index.rules[bucket]
	if !ok {
		return Rule{}, false, nil
	}
	if r.keep {
		return e.rule, true, nil
	}
	ok, err = r.dates.exists(ctx, now, bucket, e.created)
	if err != nil || !ok {
		return Rule{}, false, err
	}
	return e.rule, true, nil
}

// Get returns the rule of bucket for GetBucketEncryption: the one that Effective binds writes with, so the two never
// contradict each other. It is at most one lease old, and never older than a change that was acknowledged.
func (r *Rules) Get(ctx context.Context, bucket string) (Rule, bool, error) {
	return r.Effective(ctx, bucket)
}

// refresh returns a snapshot that answers for a call that begins now: one whose lease has not ended, or one that was
// read after the call began, however long the read took.
func (r *Rules) refresh(ctx context.Context) (*snapshot, error) {
	mark := r.loads.mark()
	for {
		fl := r.loads.join()
		s, err := fl.wait(ctx)
		if err != nil || fl.number > mark {
			return s, err
		}
		if s, _, ok := r.valid(); ok {
			return s, nil
		}
	}
}

// refreshAhead begins a load in the background, so that the next call after the lease's end need not wait. If loads
// fail it tries again only after a while.
func (r *Rules) refreshAhead(now instant) {
	next := r.ahead.Load()
	pause := int64(r.lease / 8)
	// The second condition is a boot clock that was set back.
	if now.boot < next && now.boot >= next-pause {
		return
	}
	if r.ahead.CompareAndSwap(next, now.boot+pause) {
		r.loads.join()
	}
}
