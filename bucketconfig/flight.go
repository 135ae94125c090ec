package bucketconfig

import (
	"context"
	"sync"
	"time"
)

// flights runs one call at a time on behalf of everybody who wants its result. A call does not end because one of those
// who wait for it gives up. Safe for concurrent use.
type flights[T any] struct {
	run     func(ctx context.Context) (T, error)
	timeout time.Duration // bounds one run

	mu      sync.Mutex
	started uint64     // number of runs begun
	running *flight[T] // nil if none
}

type flight[T any] struct {
	number uint64        // 1 for the first run
	done   chan struct{} // closed when val and err are set
	val    T
	err    error
}

// mark returns a number that only runs beginning after this call exceed.
func (f *flights[T]) mark() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.started
}

// join returns the run in progress, beginning one if there is none. It does not wait.
func (f *flights[T]) join() *flight[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running
	}
	f.started++
	fl := &flight[T]{number: f.started, done: make(chan struct{})}
	f.running = fl
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
		defer cancel()
		fl.val, fl.err = f.run(ctx)
		f.mu.Lock()
		f.running = nil
		f.mu.Unlock()
		close(fl.done)
	}()
	return fl
}

// wait returns the run's result, or the context's error if that ends first.
func (fl *flight[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-fl.done:
		return fl.val, fl.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// fresh returns the result of a run that began after this call did.
func (f *flights[T]) fresh(ctx context.Context) (T, error) {
	mark := f.mark()
	for {
		fl := f.join()
		val, err := fl.wait(ctx)
		if fl.number > mark || ctx.Err() != nil {
			return val, err
		}
	}
}
