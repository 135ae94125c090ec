package bucketconfig

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/register/registertest"
)

var errBroken = errors.New("broken on purpose")

// fakeBuckets is a list of buckets that can fail and be slow.
type fakeBuckets struct {
	mu    sync.Mutex
	dates map[string]time.Time
	fault registertest.Fault
	calls int
}

func (b *fakeBuckets) CreationDates(ctx context.Context) (map[string]time.Time, error) {
	b.mu.Lock()
	b.calls++
	dates, f := maps.Clone(b.dates), b.fault
	b.mu.Unlock()
	if err := register.SystemClock().Sleep(ctx, f.Before+f.After); err != nil {
		return nil, err
	}
	return dates, f.Err
}

func (b *fakeBuckets) create(bucket string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dates == nil {
		b.dates = make(map[string]time.Time)
	}
	b.dates[bucket] = at
}

func (b *fakeBuckets) remove(bucket string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.dates, bucket)
}

func (b *fakeBuckets) set(f registertest.Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

func (b *fakeBuckets) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// newBackend returns an index in memory that fails on purpose, with the errors of a Backend.
func newBackend() *registertest.Store {
	return &registertest.Store{NotModified: ErrNotModified, NotFound: ErrNotFound, Conflict: ErrConflict}
}

// world is one deployment: an index, buckets "b0" to "b9", and any number of processes over them.
type world struct {
	t       *testing.T
	backend *registertest.Store
	buckets *fakeBuckets
}

// inWorld runs fn in a bubble of its own time, over an index that is empty.
func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, backend: newBackend(), buckets: &fakeBuckets{}}
		for i := range 10 {
			w.buckets.create("b"+strconv.Itoa(i), time.Unix(int64(1000+i), 0))
		}
		if err := w.process().Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.backend.Reset()
		fn(t, w)
		time.Sleep(time.Hour) // what runs in the background ends by itself, else the bubble reports a deadlock
	})
}

// process returns a new process.
func (w *world) process() *Rules { return w.processWith(&registertest.Clock{}) }

func (w *world) processWith(c register.Clock) *Rules {
	w.t.Helper()
	r, err := New(Options{Backend: w.backend, Buckets: w.buckets, clock: c})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// set gives bucket a rule by way of another process.
func (w *world) set(bucket string, rule Rule) {
	w.t.Helper()
	if err := w.process().Set(w.t.Context(), bucket, rule); err != nil {
		w.t.Fatal(err)
	}
}

func kmsRule(key string) Rule { return Rule{Algorithm: AWSKMS, KMSKeyID: key} }

// wantRule fails unless the process answers with the rule; the zero Rule stands for none.
func wantRule(t *testing.T, r *Rules, bucket string, want Rule) {
	t.Helper()
	rule, ok, err := r.Effective(t.Context(), bucket)
	if err != nil || ok != (want != Rule{}) || rule != want {
		t.Fatalf("rule of %s: %+v, %v, %v; want %+v", bucket, rule, ok, err, want)
	}
}

func wantUnavailable(t *testing.T, r *Rules, bucket string) {
	t.Helper()
	if rule, ok, err := r.Effective(t.Context(), bucket); !errors.Is(err, ErrUnavailable) || ok || rule != (Rule{}) {
		t.Fatalf("rule of %s: %+v, %v, %v; want ErrUnavailable", bucket, rule, ok, err)
	}
}

func wantLoads(t *testing.T, w *world, want int) {
	t.Helper()
	synctest.Wait()
	if loads := w.backend.Count().Loads; loads != want {
		t.Fatalf("%d loads, want %d", loads, want)
	}
}
