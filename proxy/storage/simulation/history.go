package simulation

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
)

// ErrImpossible says that what clients were told of an object fits no order of what they
// did.
var ErrImpossible = errors.New("no order of the operations explains what clients were told")

// Never is the end of an operation of which nobody knows what became.
const Never = math.MaxInt

// Op is what somebody did with an object, or learned of it.
type Op struct {
	// What says it in a report.
	What string
	// Start and End are moments of World.Now. It took effect at one instant between them.
	Start, End int
	// Maybe says that it may never have taken effect: it failed, and nobody knows.
	Maybe bool
	// Apply returns what the object may be afterwards, of what it was before, in any words
	// of the caller's; nothing if that cannot have been. Every object begins as "".
	Apply func(before string) (after []string)
}

// Write makes an object what it is, whatever it was.
func Write(value string) func(string) []string {
	return func(string) []string { return []string{value} }
}

// WriteIf makes an object what it is if something held of it before.
func WriteIf(value string, holds func(before string) bool) func(string) []string {
	return func(before string) []string {
		if !holds(before) {
			return nil
		}
		return []string{value}
	}
}

// Read found an object to be something.
func Read(value string) func(string) []string {
	return ReadIf(func(before string) bool { return before == value })
}

// ReadIf found something to hold of an object.
func ReadIf(holds func(before string) bool) func(string) []string {
	return func(before string) []string {
		if !holds(before) {
			return nil
		}
		return []string{before}
	}
}

// History is what clients did with objects. It is safe for concurrent use.
type History struct {
	mu  sync.Mutex
	ops map[string][]Op
}

// Add notes an operation on an object.
func (h *History) Add(object string, op Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ops == nil {
		h.ops = make(map[string][]Op)
	}
	h.ops[object] = append(h.ops[object], op)
}

// Check looks for an order of the operations on each object in which every one is
// possible and none is before another that ended before it began. ErrImpossible.
func (h *History) Check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, object := range slices.Sorted(maps.Keys(h.ops)) {
		ops := slices.Clone(h.ops[object])
		slices.SortStableFunc(ops, func(a, b Op) int { return a.Start - b.Start })
		s := &search{ops: ops, failed: make(map[string]bool), done: make([]bool, len(ops))}
		if !s.from("") {
			return fmt.Errorf("%w: %s\n%s", ErrImpossible, object, s.report())
		}
	}
	return nil
}

// search looks for an order, depth first.
type search struct {
	ops    []Op
	done   []bool
	failed map[string]bool // by what was done and the state
	most   int             // that were put in order
	state  string          // then
}

// from says whether what is not done can follow on a state.
func (s *search) from(state string) bool {
	limit, left, count := Never, false, 0
	for i, op := range s.ops {
		if s.done[i] {
			count++
		} else if !op.Maybe {
			limit, left = min(limit, op.End), true
		}
	}
	if !left {
		return true
	}
	if count > s.most || s.most == 0 {
		s.most, s.state = count, state
	}
	key := s.key(state)
	if s.failed[key] {
		return false
	}
	for i, op := range s.ops {
		if op.Start > limit {
			break
		}
		if s.done[i] {
			continue
		}
		s.done[i] = true
		if slices.ContainsFunc(op.Apply(state), s.from) {
			return true
		}
		s.done[i] = false
	}
	s.failed[key] = true
	return false
}

func (s *search) key(state string) string {
	var b strings.Builder
	for _, done := range s.done {
		if done {
			b.WriteByte('1')
		} else {
			b.WriteByte('0')
		}
	}
	return b.String() + state
}

func (s *search) report() string {
	var b strings.Builder
	for _, op := range s.ops {
		end := "?"
		if op.End != Never {
			end = fmt.Sprint(op.End)
		}
		if op.Maybe {
			end += ", perhaps"
		}
		fmt.Fprintf(&b, "  %6d to %s: %s\n", op.Start, end, op.What)
	}
	fmt.Fprintf(&b, "  at most %d of them can be put in order; the object is then %q\n", s.most, s.state)
	return b.String()
}
