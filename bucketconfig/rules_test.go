package bucketconfig

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register/registertest"
)

func TestNewRefusesMissingParts(t *testing.T) {
	t.Parallel()
	b, l := newBackend(), &fakeBuckets{}
	for _, o := range []Options{
		{},
		{Backend: b},
		{Buckets: l},
		{Backend: b, Buckets: l, Lease: -1},
		{Backend: b, Buckets: l, DatesInterval: -1},
		{Backend: b, Buckets: l, Timeout: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("accepted %+v", o)
		}
	}
}

func TestWithoutRulesNobodyAsksForBuckets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b1", Rule{Algorithm: AES256})
		r, before := w.process(), w.buckets.count()
		wantRule(t, r, "b0", Rule{})
		time.Sleep(time.Minute)
		wantRule(t, r, "b0", Rule{})
		if n := w.buckets.count(); n != before {
			t.Errorf("%d requests for creation dates", n-before)
		}
	})
}

func TestOneConditionalLoadPerLeaseAndNoneWhenIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		wantRule(t, r, "b0", Rule{})
		wantRule(t, r, "b0", Rule{})
		wantLoads(t, w, 1)
		time.Sleep(time.Hour)
		wantLoads(t, w, 1)
		wantRule(t, r, "b0", Rule{})
		wantLoads(t, w, 2)
		if w.backend.Count().NotModified != 1 {
			t.Errorf("%d loads were conditional, want 1", w.backend.Count().NotModified)
		}
	})
}

func TestLeaseEndsByEitherClockAndByOneSetBack(t *testing.T) {
	for name, c := range map[string]struct {
		wall, boot time.Duration
		ended      bool
	}{
		"neither":           {0, 0, false},
		"almost":            {DefaultLease/2 - 1, DefaultLease/2 - 1, false},
		"wall":              {DefaultLease, 0, true},
		"boot":              {0, DefaultLease, true},
		"wall set back":     {-1, 0, true},
		"boot set back":     {0, -1, true},
		"one each way":      {-time.Hour, DefaultLease, true},
		"both set back":     {-time.Hour, -time.Hour, true},
		"wall far set back": {-DefaultLease * 3, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c0 := &registertest.Clock{}
				r := w.processWith(c0)
				wantRule(t, r, "b0", Rule{})
				c0.Jump(c.wall, c.boot)
				wantRule(t, r, "b0", Rule{})
				want := 1
				if c.ended {
					want = 2
				}
				wantLoads(t, w, want)
			})
		})
	}
}

func TestLeaseCountsFromBeforeTheReadWasSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(registertest.First(registertest.Fault{After: 900 * time.Millisecond}), nil)
		wantRule(t, r, "b0", Rule{})
		w.backend.Put(nil)
		time.Sleep(99 * time.Millisecond)
		wantRule(t, r, "b0", Rule{}) // 999 ms after the read was sent
		time.Sleep(time.Millisecond)
		wantUnavailable(t, r, "b0")
	})
}

func TestBusyProcessNeverWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		r := w.process()
		wantRule(t, r, "b0", kmsRule("k"))
		w.backend.Hook(registertest.Always(registertest.Fault{Before: 100 * time.Millisecond, After: 100 * time.Millisecond}), nil)
		w.buckets.set(registertest.Fault{After: 200 * time.Millisecond})
		loads := w.backend.Count().Loads
		lists := w.buckets.count()
		for range 6000 {
			start := time.Now()
			wantRule(t, r, "b0", kmsRule("k"))
			if d := time.Since(start); d != 0 {
				t.Fatalf("a call waited %v", d)
			}
			time.Sleep(10 * time.Millisecond)
		}
		after := w.backend.Count().Loads
		if n := after - loads; n > 121 { // one each half lease in 60 s
			t.Errorf("%d loads in a minute", n)
		}
		if n := w.buckets.count() - lists; n > 7 {
			t.Errorf("%d requests for creation dates in a minute", n)
		}
	})
}

func TestFailingBackgroundLoadsArePacedAndEndInUnavailable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		wantRule(t, r, "b0", Rule{})
		w.backend.Hook(registertest.Always(registertest.Fault{Err: errBroken}), nil)
		for range 999 {
			time.Sleep(time.Millisecond)
			wantRule(t, r, "b0", Rule{})
		}
		if loads := w.backend.Count().Loads; loads < 3 || loads > 6 {
			t.Errorf("%d loads, want the first and one each eighth of a lease from its half on", loads)
		}
		time.Sleep(time.Millisecond)
		_, _, err := r.Effective(t.Context(), "b0")
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errBroken) {
			t.Fatalf("error %v", err)
		}
		w.backend.Hook(nil, nil)
		wantRule(t, r, "b0", Rule{})
	})
}

func TestOneLoadForManyCallersAndNobodyFailsForAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(registertest.Always(registertest.Fault{After: 500 * time.Millisecond}), nil)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, _, err := r.Effective(ctx, "b0")
			gone <- err
		}()
		synctest.Wait() // the one that will go away began the load
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, _, err := r.Effective(t.Context(), "b0"); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("cancelled caller: %v after %v", err, time.Since(start))
		}
		wg.Wait()
		wantLoads(t, w, 1)
	})
}

// A read that takes longer than a lease answers whoever began before it, but not those who joined it and find the lease
// over.
func TestReadSlowerThanTheLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(registertest.First(registertest.Fault{After: 1500 * time.Millisecond}, registertest.Fault{After: 1500 * time.Millisecond}), nil)
		var wg sync.WaitGroup
		wg.Go(func() { wantRule(t, r, "b0", Rule{}) })
		time.Sleep(500 * time.Millisecond)
		start := time.Now()
		wantRule(t, r, "b0", Rule{})
		if d := time.Since(start); d != 2500*time.Millisecond {
			t.Errorf("the second caller waited %v, want the rest of the first read and one of its own", d)
		}
		wg.Wait()
		wantLoads(t, w, 2)
	})
}

func TestHangingBackendEndsInUnavailable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(registertest.Always(registertest.Fault{Before: time.Hour}), nil)
		start := time.Now()
		wantUnavailable(t, r, "b0")
		if d := time.Since(start); d != DefaultTimeout {
			t.Errorf("answered after %v", d)
		}
	})
}

func TestIndexThatCannotBeTrustedIsUnavailable(t *testing.T) {
	older := []byte(`{"version":1,"generation":2,"rules":[]}`)
	for name, blob := range map[string][]byte{
		"missing":        nil,
		"torn":           []byte(`{"version":1,"generation":9,"rul`),
		"rolled back":    older,
		"same number":    []byte(`{"version":1,"generation":3,"rules":[]}`),
		"begun anew":     []byte(`{"version":1,"generation":1,"rules":[]}`),
		"of the future":  []byte(`{"version":2,"generation":9,"rules":[]}`),
		"empty":          {},
		"unknown field":  []byte(`{"version":1,"generation":9,"rules":[],"more":1}`),
		"not what it is": []byte("<Error/>"),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.set("b0", kmsRule("k1"))
				w.set("b0", kmsRule("k2")) // generation 3
				r := w.process()
				wantRule(t, r, "b0", kmsRule("k2"))
				good := w.backend.Blob()
				w.backend.Put(blob)
				time.Sleep(DefaultLease)
				loads := w.backend.Count().Loads
				for range 3 {
					wantUnavailable(t, r, "b0")
					wantUnavailable(t, r, "b1")
				}
				wantLoads(t, w, loads+6) // one look each: what was put back is not asked for again and again
				for what, err := range map[string]error{
					"Set":           r.Set(t.Context(), "b0", kmsRule("k3")),
					"Delete":        r.Delete(t.Context(), "b0"),
					"BucketRemoved": r.BucketRemoved(t.Context(), "b0"),
					"Init":          r.Init(t.Context()),
				} {
					if !errors.Is(err, ErrUnavailable) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if string(w.backend.Blob()) != string(blob) {
					t.Errorf("the index was overwritten with %s", w.backend.Blob())
				}
				w.backend.Put(good)
				wantRule(t, r, "b0", kmsRule("k2"))
			})
		})
	}
}

func TestLoadWithoutETagIsUnavailable(t *testing.T) {
	t.Parallel()
	r, err := New(Options{Backend: noETag{}, Buckets: &fakeBuckets{}})
	if err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, r, "b0")
}

// noETag is a backend that breaks its contract.
type noETag struct{}

func (noETag) Load(context.Context, string) ([]byte, string, error) {
	return []byte(`{"version":1,"generation":1,"rules":[]}`), "", nil
}

func (noETag) Save(context.Context, []byte, string) (string, error) { return "", nil }

// A background read that was sent before a change of the same process, and answers after it, is old but not a rollback.
func TestReadOvertakenByOwnChangeIsNoRollback(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		wantRule(t, r, "b0", Rule{})
		// The change reads and stores; then a read that began before the store took effect brings the old index.
		w.backend.Hook(registertest.First(registertest.Fault{}, registertest.Fault{After: 300 * time.Millisecond}), registertest.Always(registertest.Fault{Before: 100 * time.Millisecond}))
		done := make(chan error)
		go func() { done <- r.Set(t.Context(), "b0", kmsRule("k")) }()
		time.Sleep(50 * time.Millisecond)
		slow := make(chan error)
		go func() {
			x, err := r.index.Fresh(t.Context())
			if err == nil && x.generation != 2 {
				err = errors.New("it is the old one")
			}
			slow <- err
		}()
		time.Sleep(100 * time.Millisecond)
		wantRule(t, r, "b0", kmsRule("k"))
		if err := <-slow; err != nil {
			t.Errorf("overtaken read: %v", err)
		}
		wantRule(t, r, "b0", kmsRule("k"))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkEffectiveWarm(b *testing.B) {
	for name, bucket := range map[string]string{"rule": "b0", "none": "b1"} {
		b.Run(name, func(b *testing.B) {
			buckets := &fakeBuckets{}
			buckets.create("b0", time.Unix(1, 0))
			r, err := New(Options{Backend: newBackend(), Buckets: buckets})
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Init(b.Context()); err != nil {
				b.Fatal(err)
			}
			if _, err := r.change(b.Context(), "b0", func(entry, bool) (entry, bool) {
				return entry{rule: kmsRule("k"), created: 1000}, true
			}); err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := r.Effective(ctx, bucket); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
