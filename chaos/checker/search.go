package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// search tells whether steps have an order in which each has its effect at one instant between its
// start and its end.
//
// A write whose answer is unknown has no end, so a plain search tries it at every place, and every
// subset of such writes: the time doubles with each. Three things that take no order away spare that.
// What somebody saw happened before that reader's end. What never happened is put behind a step that
// begins when all others are over. And of writes that do the same the one that began first is taken
// first, since it can stand wherever the others can.
func search(steps []step, limit time.Duration) porcupine.CheckResult {
	steps = slices.Clone(steps)
	if !bound(steps) {
		return porcupine.Illegal
	}
	rank(steps)
	var last time.Duration
	for _, s := range steps {
		if last = max(last, s.start); s.end != history.Forever {
			last = max(last, s.end)
		}
	}
	ops := make([]porcupine.Operation, 0, len(steps)+1)
	for _, s := range steps {
		ops = append(ops, porcupine.Operation{Input: s, Call: int64(s.start), Return: int64(s.end)})
	}
	ops = append(ops, porcupine.Operation{Input: step{over: true}, Call: int64(last) + 1, Return: int64(last) + 2})
	return porcupine.CheckOperationsTimeout(model, ops, limit)
}

// bound ends each write without an answer where the first who saw it ended. False: it was seen before
// it began.
func bound(steps []step) bool {
	seen := map[history.Write]time.Duration{}
	see := func(w history.Write, by step) {
		if end, known := seen[w]; !known || by.end < end {
			seen[w] = by.end
		}
	}
	for _, s := range steps {
		switch {
		case s.read && !s.not:
			see(s.saw, s)
		case !s.read && s.op.OnlyIf != nil && s.end != history.Forever:
			see(*s.op.OnlyIf, s)
		}
	}
	for i := range steps {
		s := &steps[i]
		if s.read || s.end != history.Forever || s.op.Write == history.Absent {
			continue
		}
		if end, known := seen[s.op.Write]; known {
			if s.end = end; end < s.start {
				return false
			}
		}
	}
	return true
}

// alike are the kinds of writes without an answer that do the same as others of their kind.
type alike int

const (
	alone     alike = iota
	deletes         // the key is gone
	overwrite       // the key has a value that nobody ever saw
	create          // the same, if the key was gone
	swap            // the same, if the key had one value
)

// rank numbers the writes without an answer that do the same, by their start.
func rank(steps []step) {
	named := map[history.Write]bool{}
	for _, s := range steps {
		if s.read {
			named[s.saw] = true
		} else if s.op.OnlyIf != nil {
			named[*s.op.OnlyIf] = true
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.start, b.start) })
	ranks := map[alike]int{}
	swaps := map[history.Write]int{}
	for i := range steps {
		s := &steps[i]
		if s.read || s.end != history.Forever {
			continue
		}
		if s.op.Write != history.Absent && named[s.op.Write] {
			continue
		}
		switch {
		case s.op.Write == history.Absent && s.op.OnlyIf == nil:
			s.alike = deletes
		case s.op.Write == history.Absent:
			continue
		case s.op.OnlyIf == nil:
			s.alike = overwrite
		case *s.op.OnlyIf == history.Absent:
			s.alike = create
		default:
			s.alike, s.rank = swap, swaps[*s.op.OnlyIf]
			swaps[*s.op.OnlyIf]++
			continue
		}
		s.rank = ranks[s.alike]
		ranks[s.alike]++
	}
}

// unseen is the value of every write that nobody saw and that has no answer.
const unseen history.Write = -1

// state is what a register holds, and how many of the writes that do the same have been taken.
type state struct {
	now  history.Write
	used [swap]int // of deletes, overwrite, create; a value is swapped once, so swap counts nothing
	over bool      // nothing happens any more
}

// model is a register with compare-and-swap.
var model = porcupine.Model{
	Init: func() any { return state{now: history.Absent} },
	Step: func(before, input, _ any) (bool, any) {
		now, s := before.(state), input.(step)
		switch {
		case s.over:
			now.over = true
			return true, now
		case s.read && s.not:
			return !now.over && now.now != s.saw, now
		case s.read:
			return !now.over && now.now == s.saw, now
		case now.over:
			return s.end == history.Forever, now // it never happened, or was refused, and nobody was told
		case s.op.OnlyIf != nil && *s.op.OnlyIf != now.now:
			return false, now
		}
		now.now = s.op.Write
		switch s.alike {
		case alone:
		case deletes:
			if s.rank != now.used[s.alike] {
				return false, now
			}
			now.used[s.alike]++
		case overwrite, create:
			if s.rank != now.used[s.alike] {
				return false, now
			}
			now.now = unseen
			now.used[s.alike]++
		case swap:
			if s.rank != 0 {
				return false, now
			}
			now.now = unseen
		}
		return true, now
	},
	Hash: func(of any) uint64 {
		s := of.(state)
		h := uint64(s.now)
		for _, n := range s.used {
			h = h*31 + uint64(n)
		}
		return h * 0x9e3779b97f4a7c15
	},
	DescribeOperation: func(input, _ any) string {
		if input.(step).over {
			return "the end"
		}
		return input.(step).op.String()
	},
	DescribeState: func(state any) string { return fmt.Sprint(state) },
}
