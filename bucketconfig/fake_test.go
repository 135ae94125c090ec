package bucketconfig

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken on purpose")

// fault says how one call of a fake goes. The zero value is a call that takes no time and succeeds.
type fault struct {
	before time.Duration // until the call takes effect
	after  time.Duration // from then until it answers
	err    error         // the answer
	lost   bool          // with err: a Save stores nothing
	late   time.Duration // a Save with lost takes effect this much later all the same, if its condition still holds
	data   []byte        // what a Load gives instead of the stored blob
}

// fakeBackend keeps a blob in memory. The hooks are called once for each call, without the lock.
type fakeBackend struct {
	onLoad, onSave func() fault

	mu           sync.Mutex
	data         []byte // nil: none
	version      int
	loads, saves int
	notModified  int
}

func (b *fakeBackend) etag() string { return strconv.Itoa(b.version) }

func (b *fakeBackend) Load(ctx context.Context, etag string) ([]byte, string, error) {
	b.mu.Lock()
	b.loads++
	hook := b.onLoad
	b.mu.Unlock()
	var f fault
	if hook != nil {
		f = hook()
	}
	if err := (systemClock{}).sleep(ctx, f.before); err != nil {
		return nil, "", err
	}
	b.mu.Lock()
	data, current := b.data, b.etag()
	unchanged := etag != "" && etag == current && f.data == nil && f.err == nil
	if unchanged {
		b.notModified++
	}
	b.mu.Unlock()
	if err := (systemClock{}).sleep(ctx, f.after); err != nil {
		return nil, "", err
	}
	switch {
	case f.err != nil:
		return nil, "", f.err
	case f.data != nil:
		return f.data, "other", nil
	case unchanged:
		return nil, "", ErrNotModified
	case data == nil:
		return nil, "", ErrNotFound
	}
	return data, current, nil
}

func (b *fakeBackend) Save(ctx context.Context, data []byte, etag string) (string, error) {
	b.mu.Lock()
	b.saves++
	hook := b.onSave
	b.mu.Unlock()
	var f fault
	if hook != nil {
		f = hook()
	}
	if err := (systemClock{}).sleep(ctx, f.before); err != nil {
		return "", err
	}
	if f.lost {
		if f.late > 0 {
			time.AfterFunc(f.late, func() { _, _ = b.store(data, etag) })
		}
		_ = (systemClock{}).sleep(ctx, f.after)
		return "", f.err
	}
	newETag, err := b.store(data, etag)
	if err := (systemClock{}).sleep(ctx, f.after); err != nil {
		return "", err
	}
	if f.err != nil {
		return "", f.err
	}
	return newETag, err
}

func (b *fakeBackend) store(data []byte, etag string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if (b.data == nil) != (etag == "") || etag != "" && etag != b.etag() {
		return "", ErrConflict
	}
	b.data = bytes.Clone(data)
	b.version++
	return b.etag(), nil
}

// hooks sets both hooks; nil is none.
func (b *fakeBackend) hooks(onLoad, onSave func() fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onLoad, b.onSave = onLoad, onSave
}

// put replaces the blob behind everybody's back.
func (b *fakeBackend) put(data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = data
	b.version++
}

func (b *fakeBackend) blob() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data
}

func (b *fakeBackend) counts() (loads, saves int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads, b.saves
}

func always(f fault) func() fault { return func() fault { return f } }

// first gives the faults to the first calls, later calls go well.
func first(faults ...fault) func() fault {
	var mu sync.Mutex
	return func() fault {
		mu.Lock()
		defer mu.Unlock()
		if len(faults) == 0 {
			return fault{}
		}
		f := faults[0]
		faults = faults[1:]
		return f
	}
}

// fakeBuckets is a list of buckets that can fail and be slow.
type fakeBuckets struct {
	mu    sync.Mutex
	dates map[string]time.Time
	fault fault
	calls int
}

func (b *fakeBuckets) CreationDates(ctx context.Context) (map[string]time.Time, error) {
	b.mu.Lock()
	b.calls++
	dates, f := maps.Clone(b.dates), b.fault
	b.mu.Unlock()
	if err := (systemClock{}).sleep(ctx, f.before+f.after); err != nil {
		return nil, err
	}
	return dates, f.err
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

func (b *fakeBuckets) set(f fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

func (b *fakeBuckets) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

// fakeClock runs on the bubble's time, at its own rate, and can be set.
type fakeClock struct {
	rate float64 // 0 = 1

	mu         sync.Mutex
	wall, boot time.Duration // what the clocks were set forward by
}

func (c *fakeClock) now() instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := float64(time.Now().UnixNano() - bubbleStart)
	if c.rate != 0 {
		t *= c.rate
	}
	return instant{wall: bubbleStart + int64(t) + int64(c.wall), boot: int64(t) + int64(c.boot)}
}

// bubbleStart is where synctest's time begins: midnight UTC 2000-01-01.
const bubbleStart = 946684800 * int64(time.Second)

func (c *fakeClock) sleep(ctx context.Context, d time.Duration) error {
	if c.rate != 0 {
		d = time.Duration(float64(d) / c.rate)
	}
	return systemClock{}.sleep(ctx, d)
}

func (c *fakeClock) jump(wall, boot time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += wall
	c.boot += boot
}

// world is one deployment: an index, buckets "b0" to "b9", and any number of processes over them.
type world struct {
	t       *testing.T
	backend *fakeBackend
	buckets *fakeBuckets
}

// inWorld runs fn in a bubble of its own time, over an index that is empty.
func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, backend: &fakeBackend{}, buckets: &fakeBuckets{}}
		for i := range 10 {
			w.buckets.create("b"+strconv.Itoa(i), time.Unix(int64(1000+i), 0))
		}
		if err := w.process().Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.backend.loads, w.backend.saves, w.backend.notModified = 0, 0, 0
		fn(t, w)
		time.Sleep(time.Hour) // what runs in the background ends by itself, else the bubble reports a deadlock
	})
}

// process returns a new process.
func (w *world) process() *Rules { return w.processWith(&fakeClock{}) }

func (w *world) processWith(c clock) *Rules {
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
	if loads, _ := w.backend.counts(); loads != want {
		t.Fatalf("%d loads, want %d", loads, want)
	}
}
