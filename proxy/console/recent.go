package console

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/audit"
)

// kept is how many events Recent remembers, of each kind.
const kept = 100

// Log is an audit log.
type Log interface {
	audit.Recorder
	Required() bool
	Ready() error
	Enter()
	Leave()
}

// Recent stands in front of an audit log, or of none, and remembers which requests were
// refused and what was not as it was written. It is safe for concurrent use.
type Recent struct {
	next Log

	mu       sync.Mutex
	refusals ring
	damage   ring
}

// NewRecent returns what remembers in front of next; nil is no log.
func NewRecent(next Log) *Recent { return &Recent{next: next} }

// ring is a list of the last events.
type ring struct {
	all  []audit.Event
	next int
}

func (r *ring) add(e *audit.Event) {
	one := *e
	one.Via = slices.Clone(e.Via)
	one.Reason = audit.Redact(e.Reason)
	if len(r.all) < kept {
		r.all = append(r.all, one)
		return
	}
	r.all[r.next] = one
	r.next = (r.next + 1) % kept
}

// latest returns them, the last one first.
func (r *ring) latest() []audit.Event {
	all := append(slices.Clone(r.all[r.next:]), r.all[:r.next]...)
	slices.Reverse(all)
	return all
}

// Record implements audit.Recorder.
func (r *Recent) Record(ctx context.Context, e *audit.Event) error {
	r.see(e)
	if r.next == nil {
		return nil
	}
	return r.next.Record(ctx, e)
}

// Start implements audit.Recorder.
func (r *Recent) Start(e *audit.Event) func() error {
	r.see(e)
	if r.next == nil {
		return audit.Durable
	}
	return r.next.Start(e)
}

// Note implements audit.Recorder.
func (r *Recent) Note(e *audit.Event) {
	r.see(e)
	if r.next != nil {
		r.next.Note(e)
	}
}

// Required says whether the log is.
func (r *Recent) Required() bool { return r.next != nil && r.next.Required() }

// Enter is the log's.
func (r *Recent) Enter() {
	if r.next != nil {
		r.next.Enter()
	}
}

// Leave is the log's.
func (r *Recent) Leave() {
	if r.next != nil {
		r.next.Leave()
	}
}

// Ready says why the log could not be written.
func (r *Recent) Ready() error {
	if r.next == nil {
		return nil
	}
	return r.next.Ready()
}

func (r *Recent) see(e *audit.Event) {
	if e.Kind != audit.Request || e.Damage == "" && e.Outcome != audit.Refused {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	into := &r.refusals
	if e.Damage != "" {
		into = &r.damage
	}
	if into.add(e); e.Time.IsZero() {
		into.all[(into.next+len(into.all)-1)%len(into.all)].Time = time.Now()
	}
}

// Refusals returns the last refused requests, the last one first.
func (r *Recent) Refusals() []audit.Event { return r.latest(&r.refusals) }

// Damage returns the last requests that found something which is not as it was written.
func (r *Recent) Damage() []audit.Event { return r.latest(&r.damage) }

func (r *Recent) latest(of *ring) []audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return of.latest()
}
