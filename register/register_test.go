package register_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/register/registertest"
)

func TestNewRefusesIncompleteOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*register.Options[*club]){
		"no store":         func(o *register.Options[*club]) { o.Store = nil },
		"no name":          func(o *register.Options[*club]) { o.Name = "" },
		"no unavailable":   func(o *register.Options[*club]) { o.Unavailable = nil },
		"no encode":        func(o *register.Options[*club]) { o.Encode = nil },
		"no decode":        func(o *register.Options[*club]) { o.Decode = nil },
		"no generation":    func(o *register.Options[*club]) { o.Generation = nil },
		"no lease":         func(o *register.Options[*club]) { o.Lease = 0 },
		"negative lease":   func(o *register.Options[*club]) { o.Lease = -1 },
		"no timeout":       func(o *register.Options[*club]) { o.Timeout = 0 },
		"negative timeout": func(o *register.Options[*club]) { o.Timeout = -1 },
		"negative pause":   func(o *register.Options[*club]) { o.Pause = -1 },
	} {
		o := options(&registertest.Store{})
		change(&o)
		if r, err := register.New(o); err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOneConditionalLoadPerLeaseAndNoneWhenIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		wantMembers(t, r)
		wantMembers(t, r)
		w.wantLoads(1)
		time.Sleep(time.Hour)
		w.wantLoads(1)
		wantMembers(t, r)
		w.wantLoads(2)
		if n := w.store.Count().NotModified; n != 1 {
			t.Errorf("%d loads were conditional, want 1", n)
		}
	})
}

func TestLeaseEndsByEitherClockAndByOneSetBack(t *testing.T) {
	for name, c := range map[string]struct {
		wall, boot time.Duration
		ended      bool
	}{
		"neither":           {0, 0, false},
		"almost":            {lease/2 - 1, lease/2 - 1, false},
		"wall":              {lease, 0, true},
		"boot":              {0, lease, true},
		"wall set back":     {-1, 0, true},
		"boot set back":     {0, -1, true},
		"one each way":      {-time.Hour, lease, true},
		"both set back":     {-time.Hour, -time.Hour, true},
		"wall far set back": {-lease * 3, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				clock := &registertest.Clock{}
				r := w.process(withClock(clock))
				wantMembers(t, r)
				clock.Jump(c.wall, c.boot)
				wantMembers(t, r)
				want := 1
				if c.ended {
					want = 2
				}
				w.wantLoads(want)
			})
		})
	}
}

func TestLeaseCountsFromBeforeTheReadWasSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(registertest.First(registertest.Fault{After: 900 * time.Millisecond}), nil)
		wantMembers(t, r)
		w.store.Put(nil)
		time.Sleep(99 * time.Millisecond)
		wantMembers(t, r) // 999 ms after the read was sent
		time.Sleep(time.Millisecond)
		wantUnavailable(t, r)
	})
}

func TestLeaseCountsFromBeforeTheStoreWasSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(nil, registertest.First(registertest.Fault{After: 900 * time.Millisecond}))
		if _, err := r.Change(t.Context(), join("ann")); err != nil {
			t.Fatal(err)
		}
		w.store.Put(nil)
		time.Sleep(99 * time.Millisecond)
		wantMembers(t, r, "ann")
		time.Sleep(time.Millisecond)
		wantUnavailable(t, r)
	})
}

func TestBusyProcessNeverWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("ann")
		r := w.process()
		wantMembers(t, r, "ann")
		w.store.Hook(registertest.Always(registertest.Fault{Before: 100 * time.Millisecond, After: 100 * time.Millisecond}), nil)
		w.store.Reset()
		for range 6000 {
			start := time.Now()
			wantMembers(t, r, "ann")
			if d := time.Since(start); d != 0 {
				t.Fatalf("a call waited %v", d)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.store.Count().Loads; n > 121 { // one each half lease in 60 s
			t.Errorf("%d loads in a minute", n)
		}
	})
}

func TestFailingBackgroundLoadsArePacedAndEndInUnavailable(t *testing.T) {
	for name, c := range map[string]struct{ pause, most int64 }{
		"by the lease": {0, 6},
		"by the pause": {int64(lease / 4), 4},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := w.process(withPause(time.Duration(c.pause)))
				wantMembers(t, r)
				w.store.Hook(registertest.Always(registertest.Fault{Err: errBroken}), nil)
				for range 999 {
					time.Sleep(time.Millisecond)
					wantMembers(t, r)
				}
				if n := int64(w.store.Count().Loads); n < 3 || n > c.most {
					t.Errorf("%d loads, want the first and one each pause from half of the lease on", n)
				}
				time.Sleep(time.Millisecond)
				if _, _, err := r.Get(t.Context()); !errors.Is(err, errUnavailable) || !errors.Is(err, errBroken) {
					t.Fatalf("error %v", err)
				}
				w.store.Hook(nil, nil)
				time.Sleep(time.Duration(c.pause))
				wantMembers(t, r)
			})
		})
	}
}

func TestFailureStandsForThePauseAndNotForChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		clock := &registertest.Clock{}
		r := w.process(withPause(500*time.Millisecond), withClock(clock))
		w.store.Hook(registertest.First(registertest.Fault{Err: errBroken}, registertest.Fault{Err: errBroken}), nil)
		for range 100 {
			wantUnavailable(t, r)
			time.Sleep(time.Millisecond)
		}
		w.wantLoads(1)
		clock.Jump(-time.Second, 0) // for how long it stands is not known any more
		wantUnavailable(t, r)
		w.wantLoads(2)
		if _, err := r.Change(t.Context(), join("ann")); err != nil {
			t.Errorf("a change does not wait for the pause: %v", err)
		}
		wantMembers(t, r, "ann") // and ends it
	})
}

func TestWithoutAPauseEveryCallLooksOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(registertest.Always(registertest.Fault{Err: errBroken}), nil)
		for range 10 {
			wantUnavailable(t, r)
		}
		w.wantLoads(10)
	})
}

func TestOneLoadForManyCallersAndNobodyFailsForAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(registertest.Always(registertest.Fault{After: 500 * time.Millisecond}), nil)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, _, err := r.Get(ctx)
			gone <- err
		}()
		synctest.Wait() // the one that will go away began the load
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, _, err := r.Get(t.Context()); err != nil {
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
		w.wantLoads(1)
	})
}

// A read that takes longer than a lease answers whoever began before it, but not those who joined it and find the lease
// over.
func TestReadSlowerThanTheLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(registertest.First(registertest.Fault{After: 1500 * time.Millisecond}, registertest.Fault{After: 1500 * time.Millisecond}), nil)
		var wg sync.WaitGroup
		wg.Go(func() { wantMembers(t, r) })
		time.Sleep(500 * time.Millisecond)
		start := time.Now()
		wantMembers(t, r)
		if d := time.Since(start); d != 2500*time.Millisecond {
			t.Errorf("the second caller waited %v, want the rest of the first read and one of its own", d)
		}
		wg.Wait()
		w.wantLoads(2)
	})
}

func TestHangingStoreEndsInUnavailable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(registertest.Always(registertest.Fault{Before: time.Hour}), nil)
		start := time.Now()
		wantUnavailable(t, r)
		if d := time.Since(start); d != timeout {
			t.Errorf("answered after %v", d)
		}
	})
}

func TestDocumentThatCannotBeTrustedIsUnavailable(t *testing.T) {
	for name, blob := range map[string][]byte{
		"missing":       nil,
		"torn":          []byte(`{"generation":9,"mem`),
		"rolled back":   []byte(`{"generation":2,"members":["ann"]}`),
		"same number":   []byte(`{"generation":3,"members":["eve"]}`),
		"begun anew":    []byte(`{"generation":1,"members":[]}`),
		"no generation": []byte(`{"generation":0,"members":[]}`),
		"empty":         {},
	} {
		for kind, o := range map[string][]func(*register.Options[*club]){"": nil, ", where none may be absent": {withAbsent}} {
			t.Run(name+kind, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.add("ann")
					w.add("bob") // generation 3
					r := w.process(o...)
					wantMembers(t, r, "ann", "bob")
					good := w.store.Blob()
					w.store.Put(blob)
					wantMembers(t, r, "ann", "bob") // until the lease ends
					time.Sleep(lease)
					w.store.Reset()
					for range 3 {
						wantUnavailable(t, r)
					}
					w.wantLoads(3) // one look each: what was put back is not asked for again and again
					if _, err := r.Fresh(t.Context()); !errors.Is(err, errUnavailable) {
						t.Errorf("Fresh: %v", err)
					}
					if _, err := r.Change(t.Context(), join("eve")); !errors.Is(err, errUnavailable) {
						t.Errorf("Change: %v", err)
					}
					if err := r.Init(t.Context(), &club{Generation: 1}); !errors.Is(err, errUnavailable) {
						t.Errorf("Init: %v", err)
					}
					if string(w.store.Blob()) != string(blob) {
						t.Errorf("it was overwritten with %s", w.store.Blob())
					}
					w.store.Put(good)
					wantMembers(t, r, "ann", "bob")
				})
			})
		}
	}
}

// noETag is a store that breaks its contract.
type noETag struct{}

func (noETag) Load(context.Context, string) ([]byte, string, error) {
	return []byte(`{"generation":1,"members":[]}`), "", nil
}

func (noETag) Save(context.Context, []byte, string) (string, error) { return "", nil }

func TestDocumentWithoutETagIsUnavailable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		wantUnavailable(t, w.process(func(o *register.Options[*club]) { o.Store = noETag{} }))
	})
}

func TestStoredDocumentWithoutAGenerationIsUnavailable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Put([]byte(`{"generation":0,"members":[]}`))
		wantUnavailable(t, w.process())
		wantUnavailable(t, w.process(withAbsent))
	})
}

func TestMissingDocument(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Put(nil)
		wantUnavailable(t, w.process())
		if _, _, err := w.process().Get(t.Context()); !errors.Is(err, register.ErrNotFound) {
			t.Errorf("error %v", err)
		}
		r := w.process(withAbsent)
		wantMembers(t, r)
		time.Sleep(lease)
		wantMembers(t, r) // still
		if _, err := r.Change(t.Context(), join("ann")); err != nil {
			t.Fatal(err)
		}
		if c := w.stored(); c.Generation != 1 {
			t.Errorf("stored is %+v", c)
		}
		w.store.Put(nil)
		time.Sleep(lease)
		if _, _, err := r.Get(t.Context()); !errors.Is(err, errUnavailable) || !errors.Is(err, register.ErrNotFound) { // it has seen one
			t.Errorf("error %v", err)
		}
		wantMembers(t, w.process(withAbsent))
	})
}

// Two processes that both know of no document make one, and the other one's change is made on top of it.
func TestFirstDocumentIsMadeOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Put(nil)
		w.store.Hook(registertest.Always(registertest.Fault{Before: time.Millisecond}), registertest.Always(registertest.Fault{Before: time.Millisecond}))
		processes := map[string]*register.Register[*club]{"ann": w.process(withAbsent), "bob": w.process(withAbsent), "eve": w.process(withAbsent)}
		for _, r := range processes {
			wantMembers(t, r)
		}
		var wg sync.WaitGroup
		for name, r := range processes {
			wg.Go(func() {
				if err := change(t.Context(), r, join(name)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if c := w.stored(); c.Generation != 3 || len(c.Members) != 3 {
			t.Errorf("stored is %+v", c)
		}
	})
}

// A background read that was sent before a change of the same process, and answers after it, is old but not a rollback.
func TestReadOvertakenByOwnChangeIsNoRollback(t *testing.T) {
	for kind, absent := range map[string]bool{"a document": false, "none": true} {
		t.Run(kind, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r, want := w.process(withAbsent), uint64(2)
				if absent {
					w.store.Put(nil)
					want = 1
				}
				wantMembers(t, r)
				// The change reads and stores; then a read that began before the store took effect brings the old document.
				w.store.Hook(registertest.First(registertest.Fault{}, registertest.Fault{After: 300 * time.Millisecond}), registertest.Always(registertest.Fault{Before: 100 * time.Millisecond}))
				done, slow := make(chan error), make(chan error)
				go func() { done <- change(t.Context(), r, join("ann")) }()
				time.Sleep(50 * time.Millisecond)
				go func() {
					c, err := r.Fresh(t.Context())
					if err == nil && c.Generation != want {
						err = errors.New("it is the old one")
					}
					slow <- err
				}()
				time.Sleep(100 * time.Millisecond)
				wantMembers(t, r, "ann")
				if err := <-slow; err != nil {
					t.Errorf("overtaken read: %v", err)
				}
				wantMembers(t, r, "ann")
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestObserveGetsEveryOutcome(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var seen []bool
		r := w.process(func(o *register.Options[*club]) { o.Observe = func(err error) { seen = append(seen, err == nil) } })
		w.store.Hook(registertest.First(registertest.Fault{}, registertest.Fault{Err: errBroken}), nil)
		for range 3 {
			_, _ = r.Fresh(t.Context())
		}
		if len(seen) != 3 || !seen[0] || seen[1] || !seen[2] {
			t.Errorf("observed %v", seen)
		}
	})
}

func TestMeaningKeepsTheText(t *testing.T) {
	t.Parallel()
	err := register.Meaning(register.ErrConflict, errBroken)
	if err.Error() != errBroken.Error() || !errors.Is(err, errBroken) || !errors.Is(err, register.ErrConflict) || errors.Is(err, register.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
