package bucketconfig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register/registertest"
)

// history judges what readers see of one bucket's rule, whose changes are made one after another.
type history struct {
	mu    sync.Mutex
	acked int // the last change that was acknowledged; 0 is the state at the beginning, no rule
	ops   []op
}

type op struct {
	rule  Rule // zero: delete
	acked bool
}

// begin notes that a change is about to be asked for and returns its number.
func (h *history) begin(rule Rule) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op{rule: rule})
	return len(h.ops) - 1
}

func (h *history) end(n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.ops[n].acked = true
		h.acked = n
	}
}

// mark returns what a read that begins now must not fall behind.
func (h *history) mark() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked
}

// allows reports whether a read that began at mark and has just ended may have found rule.
func (h *history) allows(mark int, rule Rule) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.ops[mark:] {
		if op.rule == rule {
			return true
		}
	}
	// A change that failed may take effect later, until a rule was stored after it. A Delete need not have stored
	// anything.
	for n := mark; n >= 0; n-- {
		switch op := h.ops[n]; {
		case !op.acked && op.rule == rule:
			return true
		case op.acked && op.rule != Rule{}:
			return false
		}
	}
	return false
}

// TestAcknowledgedChangesAreObeyedEverywhere runs processes with clocks that are wrong in several ways over a backend
// that is slow, fails, fails after having stored, and stores after having failed. A read that begins after a change was
// acknowledged never finds what was before.
func TestAcknowledgedChangesAreObeyedEverywhere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) { runFence(t, w, seed) })
		})
	}
}

func runFence(t *testing.T, w *world, seed uint64) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1)) // guarded by mu
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	millis := func(n int) time.Duration { return time.Duration(roll(n)) * time.Millisecond }
	w.backend.Hook(func() registertest.Fault {
		f := registertest.Fault{Before: millis(200), After: millis(200)}
		switch roll(20) {
		case 0:
			f.Err = errBroken
		case 1:
			f.After = millis(3000)
		}
		return f
	}, func() registertest.Fault {
		f := registertest.Fault{Before: millis(200), After: millis(200)}
		switch roll(8) {
		case 0:
			f.Err = errBroken
		case 1:
			f.Err, f.Lost = errBroken, true
		case 2:
			f.Err, f.Lost, f.Late = errBroken, true, millis(2000)
		case 3:
			f.After = millis(8000) // some beyond the timeout
		}
		return f
	})
	h := &history{ops: []op{{acked: true}}}
	processes := make([]*Rules, 4)
	clocks := make([]*registertest.Clock, len(processes))
	for i := range processes {
		clocks[i] = &registertest.Clock{Rate: []float64{1, 0.75, 1.4, 1}[i]}
		processes[i] = w.processWith(clocks[i])
	}
	end := time.Now().Add(3 * time.Minute)
	var wg sync.WaitGroup
	reads := make([]int, len(processes))
	for i, r := range processes {
		for range 2 {
			wg.Go(func() {
				for time.Now().Before(end) {
					time.Sleep(millis([]int{20, 300, 1500}[roll(3)]))
					mark := h.mark()
					rule, _, err := r.Effective(t.Context(), "b0")
					if errors.Is(err, ErrUnavailable) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					if !h.allows(mark, rule) {
						t.Errorf("process %d at %v found %q; change %d was acknowledged before", i, time.Until(end), rule.KMSKeyID, mark)
					}
					mu.Lock()
					reads[i]++
					mu.Unlock()
				}
			})
		}
	}
	wg.Go(func() { // somebody sets wall clocks
		for time.Now().Before(end) {
			time.Sleep(millis(2000))
			clocks[roll(len(clocks))].Jump(millis(4000)-2*time.Second, 0)
		}
	})
	for n := 1; time.Now().Before(end); n++ {
		r, rule := processes[roll(len(processes))], kmsRule(fmt.Sprintf("key-%d", n))
		var err error
		if roll(4) == 0 {
			k := h.begin(Rule{})
			err = r.Delete(t.Context(), "b0")
			h.end(k, err)
		} else {
			k := h.begin(rule)
			err = r.Set(t.Context(), "b0", rule)
			h.end(k, err)
		}
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		time.Sleep(millis(500))
	}
	wg.Wait()
	synctest.Wait()
	for i, n := range reads {
		if n < 200 {
			t.Errorf("process %d answered only %d times", i, n)
		}
	}
	if h.mark() < 10 {
		t.Errorf("only %d changes were acknowledged", h.mark())
	}
}

// The fence at its edge: a copy read in the instant before the store is obeyed for one lease, not a nanosecond beyond,
// and the change is acknowledged after that.
func TestOldRuleIsObeyedForOneLeaseAtMost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.set("b0", kmsRule("old"))
		a, b := w.process(), w.process()
		wantRule(t, b, "b0", kmsRule("old"))
		w.backend.Hook(registertest.Always(registertest.Fault{Err: errBroken}), nil) // b hears nothing new
		start := time.Now()
		x, err := decodeIndex(w.backend.Blob())
		if err != nil {
			t.Fatal(err)
		}
		x, err = x.with("b0", entry{rule: kmsRule("new"), created: 1_000_000}, true)
		if err != nil {
			t.Fatal(err)
		}
		data, err := x.encode(maxIndexSize)
		if err != nil {
			t.Fatal(err)
		}
		w.backend.Put(data)
		time.Sleep(DefaultLease - 1)
		wantRule(t, b, "b0", kmsRule("old"))
		time.Sleep(time.Nanosecond)
		wantUnavailable(t, b, "b0")
		w.backend.Hook(nil, nil)
		wantRule(t, b, "b0", kmsRule("new"))

		// a finds the same change made already, but cannot know for how long.
		if err := a.Set(t.Context(), "b0", kmsRule("new")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 3*DefaultLease {
			t.Errorf("acknowledged after %v", d)
		}
	})
}
