package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// check tells whether the answers for one key can be put into an order in which each has its effect at
// one instant between its start and its end. False for decided: the time was not enough.
func (r *register) check(limit time.Duration) (found []Violation, decided bool) {
	if found = append(r.plain(), r.swaps()...); len(found) > 0 {
		return found, true // the search would only say it again, less clearly
	}
	steps := r.steps()
	switch search(steps, limit) {
	case porcupine.Ok:
		return nil, true
	case porcupine.Unknown:
		return nil, false
	}
	// The shortest beginning that has no order names the answer that broke the promise.
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.op.End, b.op.End) })
	short, long := 0, len(steps)
	for long-short > 1 {
		mid := (short + long) / 2
		if search(beginning(steps, mid), limit) == porcupine.Illegal {
			long = mid
		} else {
			short = mid
		}
	}
	breaks := steps[long-1].op
	near := []*history.Op{breaks}
	for _, s := range beginning(steps, long-1) {
		if s.op.Until() >= breaks.Start-time.Second {
			near = append(near, s.op)
		}
	}
	v := violation("order", r.name, near, "no order of %d operations explains %v", long, breaks)
	v.Unanswered = search(r.answered(steps), limit) == porcupine.Ok
	return []Violation{v}, true
}

// answered leaves out the reads of what a write of unknown outcome wrote, if that had begun by then.
func (r *register) answered(steps []step) []step {
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool {
		return s.read && !s.not && slices.ContainsFunc(r.writes, func(w *history.Op) bool {
			return w.Outcome == history.Unknown && w.Write == s.saw && w.Start < s.end
		})
	})
}

// plain names the answers that are wrong on their own: too old, too new, of nobody.
func (r *register) plain() []Violation {
	var out []Violation
	for _, o := range r.ops {
		if o.Saw == nil || o.Writes() || o.Outcome != history.OK {
			continue
		}
		last, untouched := possible(r.writes, o.Start, o.End)
		saw := o.Saw.Write
		if saw == history.Absent && untouched {
			continue
		}
		if slices.ContainsFunc(last, func(w *history.Op) bool { return w.Write == saw }) {
			continue
		}
		kind := "stale-read"
		switch {
		case saw == history.Absent:
			kind = "lost-write"
		case !slices.ContainsFunc(r.writes, func(w *history.Op) bool { return w.Write == saw && w.Outcome != history.Failed }):
			kind = "phantom"
		}
		out = append(out, violation(kind, r.name, append([]*history.Op{o}, last...), "%v, but it may only show one of %v", o, last))
	}
	return out
}

// swaps names compare-and-swaps of one value that were both acknowledged.
func (r *register) swaps() []Violation {
	var out []Violation
	won := map[history.Write]*history.Op{}
	for _, o := range r.writes {
		if o.OnlyIf == nil || *o.OnlyIf == history.Absent || o.Outcome != history.OK {
			continue
		}
		if other := won[*o.OnlyIf]; other != nil {
			out = append(out, violation("swapped-twice", r.name, []*history.Op{other, o},
				"%v and %v both replaced write %d", other, o, *o.OnlyIf))
		}
		won[*o.OnlyIf] = o
	}
	return out
}

// step is an operation as a step of the register.
type step struct {
	op    *history.Op
	read  bool
	saw   history.Write // of a read
	not   bool          // of a read: anything but saw
	start time.Duration
	end   time.Duration
	over  bool // no operation: whatever comes later never happened
	alike alike
	rank  int // among those that are alike
}

// steps returns what the search has to order. Writes without an answer that nobody saw are left out
// where nothing can depend on them.
func (r *register) steps() []step {
	seen := map[history.Write]bool{}
	refused := false
	for _, o := range r.ops {
		if o.Saw != nil {
			seen[o.Saw.Write] = true
		}
		if o.OnlyIf != nil {
			seen[*o.OnlyIf] = true
			refused = refused || o.Outcome == history.Failed
		}
	}
	for _, s := range r.reads {
		seen[s.saw] = true
	}
	var out []step
	for _, o := range r.ops {
		s := step{op: o, start: o.Start, end: o.Until()}
		switch {
		case o.Writes() && o.Outcome == history.Failed:
			if o.OnlyIf == nil || o.Code != "PreconditionFailed" {
				continue
			}
			s.read, s.not, s.saw = true, true, *o.OnlyIf
		case o.Writes():
			if o.Outcome == history.Unknown && o.Write != history.Absent && !seen[o.Write] && !refused {
				continue
			}
		case o.Saw == nil || o.Outcome != history.OK:
			continue
		default:
			s.read, s.saw = true, o.Saw.Write
		}
		out = append(out, s)
	}
	for _, c := range r.reads {
		out = append(out, step{op: c.by, read: true, saw: c.saw, start: c.by.Start, end: c.by.Until()})
	}
	return out
}

// beginning is what an observer knows who stops when the first n steps have ended: writes that had
// begun by then may have happened, their answers and the reads that come later are not known.
func beginning(steps []step, n int) []step {
	if n == 0 {
		return nil
	}
	out := slices.Clone(steps[:n])
	until := out[n-1].op.End
	for _, s := range steps[n:] {
		if !s.read && s.start <= until {
			s.end = history.Forever
			out = append(out, s)
		}
	}
	return out
}
