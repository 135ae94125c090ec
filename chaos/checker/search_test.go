package checker

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// plainModel is a register without what search spares: a write without an answer can do nothing at
// any place.
var plainModel = porcupine.Model{
	Init: func() any { return history.Absent },
	Step: func(state, input, _ any) (bool, any) {
		now, s := state.(history.Write), input.(step)
		switch {
		case s.read && s.not:
			return now != s.saw, now
		case s.read:
			return now == s.saw, now
		case s.op.OnlyIf != nil && *s.op.OnlyIf != now:
			return s.end == history.Forever, now
		}
		return true, s.op.Write
	},
}

func plainSearch(steps []step, limit time.Duration) porcupine.CheckResult {
	ops := make([]porcupine.Operation, len(steps))
	for i, s := range steps {
		ops[i] = porcupine.Operation{Input: s, Call: int64(s.start), Return: int64(s.end)}
	}
	return porcupine.CheckOperationsTimeout(plainModel, ops, limit)
}

// TestSearchFindsWhatAPlainOneFinds compares the two on histories of few values, which collide.
func TestSearchFindsWhatAPlainOneFinds(t *testing.T) {
	t.Parallel()
	results := map[porcupine.CheckResult]int{}
	for seed := range uint64(6000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var steps []step
		wrote := []history.Write{history.Absent}
		one := func() history.Write { return wrote[rng.IntN(len(wrote))] }
		for i := range 4 + rng.IntN(6) {
			start := float64(rng.IntN(30))
			o := op(history.Put, start, start+1+float64(rng.IntN(12)), at("k"))
			s := step{op: &o, start: o.Start, end: o.End}
			switch rng.IntN(6) {
			case 0, 1:
				s.read, s.saw = true, one()
			case 2:
				s.read, s.not, s.saw = true, true, one()
			default:
				if o.Write = history.Write(i + 1); rng.IntN(4) == 0 {
					o.Write = history.Absent
				}
				if rng.IntN(3) == 0 {
					from := one()
					o.OnlyIf = &from
				}
				if rng.IntN(2) == 0 {
					s.end = history.Forever
				}
				wrote = append(wrote, o.Write)
			}
			steps = append(steps, s)
		}
		want, got := plainSearch(steps, time.Minute), search(steps, time.Minute)
		if want != got {
			for _, s := range steps {
				t.Logf("%v read %v saw %d not %v from %v to %v", s.op, s.read, s.saw, s.not, s.start, s.end)
			}
			t.Fatalf("history %d: %v, but it is %v", seed, got, want)
		}
		results[got]++
	}
	if results[porcupine.Ok] < 1000 || results[porcupine.Illegal] < 1000 {
		t.Errorf("of the histories %v are possible and impossible, too few of one", results)
	}
}

// TestManyUnknownWritesAreDecided judges keys with more unknown writes than a plain search can order.
func TestManyUnknownWritesAreDecided(t *testing.T) {
	t.Parallel()
	if v := Judge(unknowns(40), Limits{Key: 20 * time.Second, All: time.Minute}); len(v.Violations) > 0 || v.Undecided > 0 {
		t.Errorf("of a possible history: %+v", v)
	}
	bad := unknowns(12)
	// Both values could be read at the time of each answer, but not the one, the other and the one again.
	bad.Add(op(history.Put, 50, 55, writes(9001), unknown))
	bad.Add(op(history.Put, 50, 55, writes(9002), unknown))
	for i, w := range []history.Write{9001, 9002, 9001} {
		bad.Add(op(history.Get, 51+float64(i), 51.5+float64(i), saw(w)))
	}
	v := Judge(bad, Limits{Key: time.Minute, All: time.Minute})
	if v.Undecided > 0 || len(v.Violations) == 0 {
		t.Errorf("of an impossible history: %+v", v)
	}
}

// unknowns is a history of one key with four unknown writes in each round, one of which is seen.
func unknowns(rounds int) *history.History {
	h := history.New(nil)
	for i := range rounds {
		at := float64(i)
		w := history.Write(i*10 + 1)
		for _, o := range []history.Op{
			op(history.Put, at, at+20, writes(w), unknown), // nobody sees it
			op(history.Put, at, at+20, writes(w+1), unknown, onlyIf(w+2)),
			op(history.Delete, at, at+20, unknown),
			op(history.Put, at+0.1, at+20, writes(w+2), unknown), // seen later
			op(history.Get, at+0.5, at+0.6, saw(w+2)),
			op(history.Put, at+0.7, at+0.8, writes(w+3), onlyIf(w+2)),
			op(history.Get, at+0.85, at+0.9, saw(w+3)),
			op(history.Put, at+0.9, at+0.95, writes(w+4), onlyIf(w+2), refused("PreconditionFailed")),
		} {
			h.Add(o)
		}
	}
	return h
}
