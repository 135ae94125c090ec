package bucketconfig

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/register/registertest"
)

func TestInit(t *testing.T) {
	const empty = `{"version":1,"generation":1,"rules":[]}`
	for name, c := range map[string]struct {
		stored string
		save   registertest.Fault
		want   string
		err    bool
	}{
		"creates":                   {want: empty},
		"leaves an index alone":     {stored: exampleJSON, want: exampleJSON},
		"does not repair":           {stored: "torn", want: "torn", err: true},
		"failed but stored":         {save: registertest.Fault{Err: errBroken}, want: empty},
		"failed and nothing stored": {save: registertest.Fault{Err: errBroken, Lost: true}, err: true},
		"somebody else was first":   {save: registertest.Fault{Err: ErrConflict}, want: empty},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.backend.Put(nil)
				if c.stored != "" {
					w.backend.Put([]byte(c.stored))
				}
				w.backend.Hook(nil, registertest.First(c.save))
				err := w.process().Init(t.Context())
				if c.err != errors.Is(err, ErrUnavailable) || c.err != (err != nil) {
					t.Errorf("error %v", err)
				}
				if got := string(w.backend.Blob()); got != c.want {
					t.Errorf("index %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestManyProcessesInitOneIndex(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.backend.Put(nil)
		w.backend.Hook(registertest.Always(registertest.Fault{Before: time.Millisecond}), registertest.Always(registertest.Fault{Before: time.Millisecond}))
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := w.process().Init(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestInitRefusesToReplaceAnIndexItHasSeen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		wantRule(t, r, "b0", Rule{})
		w.backend.Put(nil)
		if err := r.Init(t.Context()); !errors.Is(err, ErrUnavailable) || w.backend.Blob() != nil {
			t.Errorf("error %v, index %s", err, w.backend.Blob())
		}
	})
}

func TestSetReturnsTwoLeasesAfterTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(nil, registertest.Always(registertest.Fault{Before: 200 * time.Millisecond, After: 300 * time.Millisecond}))
		for _, c := range []struct {
			name string
			call func() error
			want time.Duration
		}{
			{"set", func() error { return r.Set(t.Context(), "b0", kmsRule("k")) }, 500*time.Millisecond + 2*DefaultLease},
			{"set the same", func() error { return r.Set(t.Context(), "b0", kmsRule("k")) }, 0},
			{"delete", func() error { return r.Delete(t.Context(), "b0") }, 500*time.Millisecond + 2*DefaultLease},
			{"delete none", func() error { return r.Delete(t.Context(), "b0") }, 0},
			{"set again", func() error { return r.Set(t.Context(), "b0", kmsRule("k")) }, 500*time.Millisecond + 2*DefaultLease},
			{"bucket removed", func() error { w.buckets.remove("b0"); return r.BucketRemoved(t.Context(), "b0") }, 500 * time.Millisecond},
			{"bucket without rule removed", func() error { return r.BucketRemoved(t.Context(), "b1") }, 0},
		} {
			start := time.Now()
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if d := time.Since(start); d != c.want {
				t.Errorf("%s took %v, want %v", c.name, d, c.want)
			}
		}
		if saves := w.backend.Count().Saves; saves != 4 {
			t.Errorf("%d stores, want 4", saves)
		}
	})
}

// Another process may have dropped the rule a moment ago and be waiting still: then a third one may obey it still.
func TestDeleteOfNothingWaitsForAnotherProcessesDelete(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		obeys, deletes, finds := w.process(), w.process(), w.process()
		wantRule(t, obeys, "b0", kmsRule("k"))
		go func() {
			if err := deletes.Delete(t.Context(), "b0"); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(10 * time.Millisecond)
		wantRule(t, obeys, "b0", kmsRule("k"))
		start := time.Now()
		if err := finds.Delete(t.Context(), "b0"); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 2*DefaultLease {
			t.Errorf("took %v", d)
		}
		wantRule(t, obeys, "b0", Rule{})
	})
}

// A read that was sent before the change was asked for may be from before a rule that was acknowledged.
func TestDeleteReliesOnNoReadSentBeforeIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(registertest.First(registertest.Fault{After: 4 * time.Second}), nil)
		go func() { _, _ = r.index.Fresh(t.Context()) }() // finds no rule, and says so late
		time.Sleep(time.Second)
		w.set("b0", kmsRule("k"))
		if err := r.Delete(t.Context(), "b0"); err != nil {
			t.Fatal(err)
		}
		wantRule(t, w.process(), "b0", Rule{})
	})
}

func TestRestOfTheFenceCountsOnNoClockThatWasSet(t *testing.T) {
	for name, c := range map[string]struct{ jump, want time.Duration }{
		"neither":  {0, 2*DefaultLease - time.Second},
		"forward":  {time.Hour, 2*DefaultLease - time.Second},
		"set back": {-time.Hour, 2 * DefaultLease},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c0 := &registertest.Clock{}
				r := w.processWith(c0)
				wantRule(t, r, "b0", Rule{}) // from here on this generation is known
				time.Sleep(time.Second)
				c0.Jump(c.jump, 0)
				start := time.Now()
				if err := r.Delete(t.Context(), "b0"); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d != c.want {
					t.Errorf("took %v, want %v", d, c.want)
				}
			})
		})
	}
}

func TestSetOutcomes(t *testing.T) {
	unreadable := func() registertest.Fault { return registertest.Fault{Err: errBroken} }
	for name, c := range map[string]struct {
		load   func() registertest.Fault
		save   func() registertest.Fault
		err    error // nil: success
		stored bool
	}{
		"failed but stored":                       {save: registertest.First(registertest.Fault{Err: errBroken}), stored: true},
		"timed out but stored":                    {save: registertest.First(registertest.Fault{After: time.Hour}), stored: true},
		"failed and nothing stored":               {save: registertest.First(registertest.Fault{Err: errBroken, Lost: true}), err: errBroken},
		"hangs and nothing stored":                {save: registertest.First(registertest.Fault{Before: time.Hour}), err: context.DeadlineExceeded},
		"failed but stored, cannot be read":       {load: registertest.AfterCalls(1, unreadable), save: registertest.First(registertest.Fault{Err: errBroken}), err: errBroken, stored: true},
		"cannot be read":                          {load: unreadable, err: errBroken},
		"conflict":                                {save: registertest.First(registertest.Fault{Err: ErrConflict, Lost: true}, registertest.Fault{Err: ErrConflict, Lost: true}), stored: true},
		"stored, but said to be a conflict":       {save: registertest.First(registertest.Fault{Err: ErrConflict}), stored: true},
		"conflict for ever":                       {save: registertest.Always(registertest.Fault{Err: ErrConflict, Lost: true}), err: ErrConflict},
		"failed, stored later than it is checked": {save: registertest.First(registertest.Fault{Err: errBroken, Lost: true, Late: time.Minute}), err: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := w.process()
				w.backend.Hook(c.load, c.save)
				start := time.Now()
				err := r.Set(t.Context(), "b0", kmsRule("k"))
				took := time.Since(start)
				if c.err == nil && (err != nil || took < 2*DefaultLease) {
					t.Errorf("error %v after %v, want success after two leases", err, took)
				}
				if c.err != nil && (!errors.Is(err, c.err) || !errors.Is(err, ErrUnavailable)) {
					t.Errorf("error %v, want %v", err, c.err)
				}
				w.backend.Hook(nil, nil)
				want := Rule{}
				if c.stored {
					want = kmsRule("k")
				}
				wantRule(t, w.process(), "b0", want)
			})
		})
	}
}

func TestSetRefuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		for _, c := range []struct {
			bucket string
			rule   Rule
			want   error
		}{
			{"nowhere", kmsRule("k"), ErrNoSuchBucket},
			{"", kmsRule("k"), ErrNoSuchBucket},
			{"b\xff", kmsRule("k"), ErrNoSuchBucket},
			{"b0", Rule{}, ErrMalformedXML},
			{"b0", Rule{Algorithm: AES256, KMSKeyID: "k"}, ErrMalformedXML},
			{"b0", kmsRule("k\xff"), ErrMalformedXML},
		} {
			if err := r.Set(t.Context(), c.bucket, c.rule); !errors.Is(err, c.want) {
				t.Errorf("Set(%q, %+v): %v, want %v", c.bucket, c.rule, err, c.want)
			}
		}
		w.buckets.set(registertest.Fault{Err: errBroken})
		if err := r.Set(t.Context(), "b0", kmsRule("k")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errBroken) {
			t.Errorf("without creation dates: %v", err)
		}
		if saves := w.backend.Count().Saves; saves != 0 {
			t.Errorf("%d stores", saves)
		}
	})
}

func TestFullIndexRefusesOneMoreRule(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("k"))
		r := w.process()
		r.maxSize = len(w.backend.Blob()) + 1
		if err := r.Set(t.Context(), "b1", kmsRule("k")); !errors.Is(err, ErrIndexFull) {
			t.Errorf("error %v", err)
		}
		if err := r.Set(t.Context(), "b0", kmsRule("kk")); err != nil {
			t.Errorf("a rule that fits: %v", err)
		}
		if err := r.Delete(t.Context(), "b0"); err != nil {
			t.Errorf("a full index can still be emptied: %v", err)
		}
	})
}

func TestClientThatGoesAwayDoesNotEndTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.backend.Hook(nil, registertest.Always(registertest.Fault{Before: 300 * time.Millisecond}))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := r.Set(ctx, "b0", kmsRule("k")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		wantRule(t, r, "b0", kmsRule("k"))
		// While one change of this process is stuck, another one's client need not wait for it.
		go func() { _ = r.Delete(t.Context(), "b0") }()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := r.Delete(ctx, "b1"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		time.Sleep(time.Minute)
	})
}

func TestRivalChangesAllLand(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.backend.Hook(registertest.Always(registertest.Fault{Before: 3 * time.Millisecond, After: 2 * time.Millisecond}), registertest.Always(registertest.Fault{Before: 5 * time.Millisecond, After: time.Millisecond}))
		var wg sync.WaitGroup
		for i := range 10 {
			r, bucket := w.process(), "b"+strconv.Itoa(i)
			for j := range 5 {
				wg.Go(func() {
					if err := r.Set(t.Context(), bucket, kmsRule(strconv.Itoa(j))); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		x, err := decodeIndex(w.backend.Blob())
		if err != nil || x.generation != 51 || len(x.rules) != 10 {
			t.Errorf("index %+v, %v; want generation 51 and 10 rules", x, err)
		}
	})
}

// The answer to a store comes after this process has read what another one stored on top of it.
func TestStoreOvertakenByAnotherProcess(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.process(), w.process()
		w.backend.Hook(nil, registertest.First(registertest.Fault{After: 3 * time.Second}))
		done := make(chan error)
		go func() { done <- a.Set(t.Context(), "b0", kmsRule("a")) }()
		time.Sleep(time.Second)
		go func() { done <- b.Set(t.Context(), "b1", kmsRule("b")) }()
		time.Sleep(time.Second)
		wantRule(t, a, "b1", kmsRule("b"))
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		wantRule(t, a, "b0", kmsRule("a"))
		wantRule(t, a, "b1", kmsRule("b"))
	})
}

// On the machine's own clocks, not a test's.
func TestFenceOnSystemClock(t *testing.T) {
	t.Parallel()
	const lease = 30 * time.Millisecond
	backend, buckets := newBackend(), &fakeBuckets{}
	buckets.create("b0", time.Unix(1, 0))
	var processes [2]*Rules
	for i := range processes {
		var err error
		if processes[i], err = New(Options{Backend: backend, Buckets: buckets, Lease: lease}); err != nil {
			t.Fatal(err)
		}
	}
	if err := processes[0].Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		want := kmsRule("k" + strconv.Itoa(n))
		wantRule(t, processes[1], "b1", Rule{}) // fills its cache
		start := time.Now()
		if err := processes[0].Set(t.Context(), "b0", want); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 2*lease {
			t.Errorf("acknowledged after %v", d)
		}
		wantRule(t, processes[1], "b0", want)
	}
	c := register.SystemClock()
	before := c.Now()
	time.Sleep(lease)
	if d := c.Now().Since(before); d < lease*9/10 || d > time.Minute {
		t.Errorf("%v passed on the clocks, %v in fact", d, lease)
	}
}
