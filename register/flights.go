package register

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// Flights runs one call at a time on behalf of everybody who wants its result, and tells those apart who need one that
// began after they asked. A call does not end because one of those who wait for it gives up. Safe for concurrent use.
type Flights[T any] struct {
	run     func(ctx context.Context) (T, error)
	timeout time.Duration
	group   singleflight.Group
	started atomic.Uint64 // number of runs begun
}

// landing is what a run brought.
type landing[T any] struct {
	number uint64 // 1 for the first run
	val    T
	err    error
}

// NewFlights returns Flights of run, each bounded by the timeout.
func NewFlights[T any](timeout time.Duration, run func(ctx context.Context) (T, error)) *Flights[T] {
	return &Flights[T]{run: run, timeout: timeout}
}

// Begin begins a run if none is in progress. It does not wait.
func (f *Flights[T]) Begin() { f.current() }

// Fresh returns the result of a run that began after this call did, or the context's error if that ends first.
func (f *Flights[T]) Fresh(ctx context.Context) (T, error) {
	mark := f.mark()
	for {
		val, fresh, err := f.join(ctx, mark)
		if fresh {
			return val, err
		}
		if err := ctx.Err(); err != nil {
			var none T
			return none, err
		}
	}
}

// mark returns a number that only runs beginning after this call exceed.
func (f *Flights[T]) mark() uint64 { return f.started.Load() }

// current returns where the result of the run in progress will be, beginning one if there is none.
func (f *Flights[T]) current() <-chan singleflight.Result {
	return f.group.DoChan("", func() (any, error) {
		number := f.started.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
		defer cancel()
		val, err := f.run(ctx)
		return landing[T]{number, val, err}, nil
	})
}

// join waits for the run in progress, beginning one if there is none. fresh says whether it began after mark. The error
// is the run's, or the context's if that ends first.
func (f *Flights[T]) join(ctx context.Context, mark uint64) (val T, fresh bool, err error) {
	select {
	case result := <-f.current():
		l := result.Val.(landing[T])
		return l.val, l.number > mark, l.err
	case <-ctx.Done():
		return val, false, ctx.Err()
	}
}
