package register_test

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
	const first, other = `{"generation":1,"members":[]}`, `{"generation":4,"members":["ann"]}`
	for name, c := range map[string]struct {
		stored string
		save   registertest.Fault
		want   string
		err    bool
	}{
		"creates":                   {want: first},
		"leaves a document alone":   {stored: other, want: other},
		"does not repair":           {stored: "torn", want: "torn", err: true},
		"failed but stored":         {save: registertest.Fault{Err: errBroken}, want: first},
		"failed and nothing stored": {save: registertest.Fault{Err: errBroken, Lost: true}, err: true},
		"somebody else was first":   {save: registertest.Fault{Err: register.ErrConflict}, want: first},
	} {
		for kind, o := range map[string][]func(*register.Options[*club]){"": nil, ", where none may be absent": {withAbsent}} {
			t.Run(name+kind, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.store.Put(nil)
					if c.stored != "" {
						w.store.Put([]byte(c.stored))
					}
					w.store.Hook(nil, registertest.First(c.save))
					err := w.process(o...).Init(t.Context(), &club{Generation: 1, Members: []string{}})
					if c.err != errors.Is(err, errUnavailable) || c.err != (err != nil) {
						t.Errorf("error %v", err)
					}
					if got := string(w.store.Blob()); got != c.want {
						t.Errorf("stored is %q, want %q", got, c.want)
					}
				})
			})
		}
	}
}

func TestManyProcessesInitOneDocument(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Put(nil)
		w.store.Hook(registertest.Always(registertest.Fault{Before: time.Millisecond}), registertest.Always(registertest.Fault{Before: time.Millisecond}))
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := w.process().Init(t.Context(), &club{Generation: 1}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestObeyedEndsTwoLeasesAfterTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(nil, registertest.Always(registertest.Fault{Before: 200 * time.Millisecond, After: 300 * time.Millisecond}))
		for _, c := range []struct {
			edit register.Edit[*club]
			want time.Duration
		}{
			{join("ann"), 500*time.Millisecond + 2*lease},
			{join("ann"), 0},
			{leave("ann"), 500*time.Millisecond + 2*lease},
			{leave("bob"), 0},
		} {
			start := time.Now()
			if err := change(t.Context(), r, c.edit); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d != c.want {
				t.Errorf("took %v, want %v", d, c.want)
			}
		}
		if n := w.store.Count().Saves; n != 2 {
			t.Errorf("%d stores, want 2", n)
		}
	})
}

// The fence at its edge: a copy read in the instant before the store is obeyed for one lease, not a nanosecond beyond,
// and the change is acknowledged after that, also by a process that finds it made already.
func TestOldDocumentIsObeyedForOneLeaseAtMost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.process()
		wantMembers(t, b)
		w.store.Hook(registertest.Always(registertest.Fault{Err: errBroken}), nil) // b hears nothing new
		start := time.Now()
		w.store.Put([]byte(`{"generation":2,"members":["ann"]}`))
		time.Sleep(lease - 1)
		wantMembers(t, b)
		time.Sleep(time.Nanosecond)
		wantUnavailable(t, b)
		w.store.Hook(nil, nil)
		wantMembers(t, b, "ann")
		if err := change(t.Context(), w.process(), join("ann")); err != nil { // it cannot know for how long that was so
			t.Fatal(err)
		}
		if d := time.Since(start); d != 3*lease {
			t.Errorf("acknowledged after %v", d)
		}
	})
}

func TestRestOfTheFenceCountsOnNoClockThatWasSet(t *testing.T) {
	for name, c := range map[string]struct{ wall, boot, want time.Duration }{
		"neither":       {0, 0, 2*lease - time.Second/2},
		"forward":       {time.Hour, 0, 2*lease - time.Second/2},
		"boot forward":  {0, time.Hour, 2*lease - time.Second/2},
		"set back":      {-time.Hour, 0, 2 * lease},
		"boot set back": {0, -time.Hour, 2 * lease},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				clock := &registertest.Clock{}
				r := w.process(withClock(clock))
				wantMembers(t, r) // from here on this generation is known
				time.Sleep(time.Second / 2)
				clock.Jump(c.wall, c.boot)
				start := time.Now()
				if err := change(t.Context(), r, leave("ann")); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d != c.want {
					t.Errorf("took %v, want %v", d, c.want)
				}
			})
		})
	}
}

// A read that was sent before the change was asked for may be from before another one that was acknowledged.
func TestChangeReliesOnNoReadSentBeforeIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(registertest.First(registertest.Fault{After: 4 * time.Second}), nil)
		go func() { _, _ = r.Fresh(t.Context()) }() // finds no member, and says so late
		time.Sleep(time.Second)
		w.add("ann")
		if err := change(t.Context(), r, leave("ann")); err != nil {
			t.Fatal(err)
		}
		wantMembers(t, w.process())
	})
}

func TestOutcomes(t *testing.T) {
	unreadable := func() registertest.Fault { return registertest.Fault{Err: errBroken} }
	conflict := registertest.Fault{Err: register.ErrConflict, Lost: true}
	for name, c := range map[string]struct {
		load   func() registertest.Fault
		save   func() registertest.Fault
		err    error // nil: success
		stored bool
		saves  int
	}{
		"failed but stored":                       {save: registertest.First(registertest.Fault{Err: errBroken}), stored: true, saves: 1},
		"timed out but stored":                    {save: registertest.First(registertest.Fault{After: time.Hour}), stored: true, saves: 1},
		"failed and nothing stored":               {save: registertest.First(registertest.Fault{Err: errBroken, Lost: true}), err: errBroken, saves: 1},
		"hangs and nothing stored":                {save: registertest.First(registertest.Fault{Before: time.Hour}), err: context.DeadlineExceeded, saves: 1},
		"failed but stored, cannot be read":       {load: registertest.AfterCalls(1, unreadable), save: registertest.First(registertest.Fault{Err: errBroken}), err: errBroken, stored: true, saves: 1},
		"cannot be read":                          {load: unreadable, err: errBroken},
		"conflict":                                {save: registertest.First(conflict, conflict), stored: true, saves: 3},
		"stored, but said to be a conflict":       {save: registertest.First(registertest.Fault{Err: register.ErrConflict}), stored: true, saves: 1},
		"conflict for ever":                       {save: registertest.Always(conflict), err: register.ErrConflict, saves: 64},
		"failed, stored later than it is checked": {save: registertest.First(registertest.Fault{Err: errBroken, Lost: true, Late: time.Minute}), err: errBroken, saves: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := w.process()
				w.store.Hook(c.load, c.save)
				_, err := r.Change(t.Context(), join("ann"))
				if c.err == nil && err != nil {
					t.Errorf("error %v, want success", err)
				}
				if c.err != nil && (!errors.Is(err, c.err) || !errors.Is(err, errUnavailable)) {
					t.Errorf("error %v, want %v", err, c.err)
				}
				if n := w.store.Count().Saves; n != c.saves {
					t.Errorf("%d stores, want %d", n, c.saves)
				}
				w.store.Hook(nil, nil)
				if c.stored {
					wantMembers(t, w.process(), "ann")
				} else {
					wantMembers(t, w.process())
				}
			})
		})
	}
}

// What a store did whose answer was lost may be undone by somebody who is told that it is: then it must not be done
// again.
func TestChangeThatWasUndoneIsNotMadeAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		w.store.Hook(nil, registertest.First(registertest.Fault{After: time.Second, Err: errBroken}))
		done := make(chan error)
		go func() {
			_, err := r.Change(t.Context(), join("ann"))
			done <- err
		}()
		time.Sleep(time.Second / 2)
		if _, err := w.process().Change(t.Context(), leave("ann")); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, errUnavailable) || !errors.Is(err, errBroken) {
			t.Errorf("error %v", err)
		}
		if c := w.stored(); c.Generation != 3 || len(c.Members) != 0 {
			t.Errorf("stored is %+v", c)
		}
	})
}

// A store that takes effect after another one names an ETag that is gone.
func TestLateStoreUndoesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Hook(nil, registertest.First(registertest.Fault{Err: errBroken, Lost: true, Late: time.Minute}))
		if _, err := w.process().Change(t.Context(), join("ann")); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		w.add("bob")
		time.Sleep(2 * time.Minute)
		wantMembers(t, w.process(), "bob")
	})
}

func TestEditsErrorIsTheChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.process()
		if _, err := r.Change(t.Context(), func(*club) (*club, bool, error) { return nil, true, errBroken }); err != errBroken { //nolint:errorlint // bare
			t.Errorf("error %v", err)
		}
		full := func(c *club) (*club, bool, error) {
			return &club{c.Generation + 1, make([]string, 1001)}, true, nil
		}
		if _, err := r.Change(t.Context(), full); err != errFull { //nolint:errorlint // bare
			t.Errorf("too large: %v", err)
		}
		for _, gen := range []uint64{0, 1, 3} {
			skip := func(*club) (*club, bool, error) { return &club{Generation: gen}, true, nil }
			if _, err := r.Change(t.Context(), skip); !errors.Is(err, errUnavailable) {
				t.Errorf("generation %d after 1: %v", gen, err)
			}
		}
		if n := w.store.Count().Saves; n != 0 {
			t.Errorf("%d stores", n)
		}
	})
}

func TestLastGenerationIsFollowedByNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		last := `{"generation":18446744073709551615,"members":[]}`
		w.store.Put([]byte(last))
		if _, err := w.process().Change(t.Context(), join("ann")); !errors.Is(err, errUnavailable) || string(w.store.Blob()) != last {
			t.Errorf("error %v, stored is %s", err, w.store.Blob())
		}
	})
}

func TestClientThatGoesAwayEndsNoChangeThatHasItsTurn(t *testing.T) {
	for name, hook := range map[string][2]func() registertest.Fault{
		"during the read":  {registertest.Always(registertest.Fault{Before: 300 * time.Millisecond}), nil},
		"during the store": {nil, registertest.Always(registertest.Fault{Before: 300 * time.Millisecond})},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := w.process()
				w.store.Hook(hook[0], hook[1])
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := change(ctx, r, join("ann")); !errors.Is(err, context.DeadlineExceeded) { // of Obeyed
					t.Errorf("error %v", err)
				}
				wantMembers(t, r, "ann")
				// While one change of this process is stuck, another one's client need not wait for it.
				go func() { _, _ = r.Change(t.Context(), leave("ann")) }()
				synctest.Wait()
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				start := time.Now()
				if _, err := r.Change(ctx, join("bob")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
					t.Errorf("error %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestRivalChangesAllLand(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.store.Hook(registertest.Always(registertest.Fault{Before: 3 * time.Millisecond, After: 2 * time.Millisecond}), registertest.Always(registertest.Fault{Before: 5 * time.Millisecond, After: time.Millisecond}))
		var wg sync.WaitGroup
		for i := range 10 {
			r := w.process()
			for j := range 5 {
				wg.Go(func() {
					if err := change(t.Context(), r, join(strconv.Itoa(i)+"-"+strconv.Itoa(j))); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if c := w.stored(); c.Generation != 51 || len(c.Members) != 50 {
			t.Errorf("generation %d, %d members; want 51 and 50", c.Generation, len(c.Members))
		}
	})
}

// The answer to a store comes after this process has read what another one stored on top of it.
func TestStoreOvertakenByAnotherProcess(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.process(), w.process()
		w.store.Hook(nil, registertest.First(registertest.Fault{After: 3 * time.Second}))
		done := make(chan error)
		go func() { done <- change(t.Context(), a, join("ann")) }()
		time.Sleep(time.Second)
		go func() { done <- change(t.Context(), b, join("bob")) }()
		time.Sleep(time.Second)
		wantMembers(t, a, "ann", "bob")
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		wantMembers(t, a, "ann", "bob")
	})
}
