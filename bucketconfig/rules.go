package bucketconfig

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/bucketseal/bucketseal/register"
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

	clock register.Clock // nil = the system's
}

// Rules answers which default encryption a bucket has, and changes it. Safe for concurrent use.
type Rules struct {
	index   *register.Register[*index]
	maxSize int // of the encoded index, in bytes
	dates   *dates
	keep    bool
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
		maxSize: maxIndexSize,
		dates:   newDates(o.Buckets, o.Home, o.clock, o.Logger, o.DatesInterval, o.Timeout),
		keep:    o.KeepStale,
	}
	var err error
	r.index, err = register.New(register.Options[*index]{
		Store: store{o.Backend}, Name: "index", Unavailable: ErrUnavailable,
		Encode:     func(x *index) ([]byte, error) { return x.encode(r.maxSize) },
		Decode:     decodeIndex,
		Generation: func(x *index) uint64 { return x.generation },
		Lease:      o.Lease, Timeout: o.Timeout, Clock: o.clock,
		Observe: register.LogTurns(o.Logger, "the index of bucket rules cannot be used", "the index of bucket rules can be used again"),
	})
	if err != nil {
		return nil, err
	}
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
		o.clock = register.SystemClock()
	}
}

// Effective returns the rule that binds a write to bucket which begins with this call; ok is false if there is none.
// It waits for a request only if the copy of the index is older than one lease, or the list of creation dates too old
// for a bucket that has a rule. The error is ErrUnavailable if it cannot be told which rule is in force, or the
// context's.
func (r *Rules) Effective(ctx context.Context, bucket string) (rule Rule, ok bool, err error) {
	x, now, err := r.index.Get(ctx)
	if err != nil {
		return Rule{}, false, err
	}
	e, ok := x.rules[bucket]
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

// store is a Backend as a register sees it.
type store struct{ Backend }

// Load implements register.Store.
func (s store) Load(ctx context.Context, etag string) (data []byte, newETag string, err error) {
	data, newETag, err = s.Backend.Load(ctx, etag)
	return data, newETag, outcome(err)
}

// Save implements register.Store.
func (s store) Save(ctx context.Context, data []byte, etag string) (newETag string, err error) {
	newETag, err = s.Backend.Save(ctx, data, etag)
	return newETag, outcome(err)
}

func outcome(err error) error {
	switch {
	case errors.Is(err, ErrNotModified):
		return register.Meaning(register.ErrNotModified, err)
	case errors.Is(err, ErrNotFound):
		return register.Meaning(register.ErrNotFound, err)
	case errors.Is(err, ErrConflict):
		return register.Meaning(register.ErrConflict, err)
	}
	return err
}
