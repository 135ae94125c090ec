// Package checker judges a history: could a store that keeps S3's promises have given these answers?
//
// No rule blames a store for what it may do. Where the outcome of an operation is unknown it may have
// had its effect at any later time, once, or never.
package checker

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// Violation is a broken promise. Events are the numbers of the operations that show it.
type Violation struct {
	Kind   string `json:"kind"`
	Bucket string `json:"bucket,omitempty"`
	Key    string `json:"key,omitempty"`
	Detail string `json:"detail"`
	Events []int  `json:"events,omitempty"`
	// Overwritten says that a listing lacks a key that was being overwritten while it was made.
	Overwritten bool `json:"overwritten,omitempty"`
	// Unanswered says that the answers have an order but for those that show what a write of unknown outcome wrote.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Verdict is what came of a check.
type Verdict struct {
	Violations []Violation
	Keys       int // registers checked
	Undecided  int // registers whose history was too long to decide within the time
}

// Limits are how long the search for an order may take.
type Limits struct {
	Key time.Duration // for one key
	All time.Duration // for all keys that need longer than perKeyAtFirst
}

// Usual are the limits of a check that nobody waits for.
var Usual = Limits{Key: 20 * time.Second, All: 10 * time.Minute}

// perKeyAtFirst is how long each key is tried before any is tried for longer.
const perKeyAtFirst = 200 * time.Millisecond

// Check judges a history by all rules, within the usual limits.
func Check(h *history.History) []Violation { return Judge(h, Usual).Violations }

// Judge is Check, and tells also how much could be decided within the limits.
func Judge(h *history.History, limits Limits) Verdict {
	l := load(h.Ops())
	var v Verdict
	v.Violations = append(v.Violations, l.bodies()...)
	v.Violations = append(v.Violations, l.ranges()...)
	v.Violations = append(v.Violations, l.seals()...)
	v.Violations = append(v.Violations, l.versions()...)
	v.Violations = append(v.Violations, l.listings()...)
	v.Violations = append(v.Violations, l.rules()...)
	v.Violations = append(v.Violations, l.uploads()...)
	v.Violations = append(v.Violations, l.expired()...)
	v.Violations = append(v.Violations, l.keys()...)
	v.Violations = append(v.Violations, l.unreadable()...)
	l.orders(&v, limits)
	slices.SortStableFunc(v.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Key, b.Key))
	})
	return v
}

// orders judges every key that is a register: all for a short time, then those for longer that need
// it, until the time for all is over.
func (l *ledger) orders(v *Verdict, limits Limits) {
	var registers []*register
	for _, r := range l.sorted() {
		if !r.stacked {
			registers = append(registers, r)
		}
	}
	v.Keys = len(registers)
	hard := decide(v, registers, min(perKeyAtFirst, limits.Key), history.Forever)
	v.Undecided = len(decide(v, hard, limits.Key, limits.All))
}

// decide judges registers, several at once, and returns those that limit or the time for all was too
// short for.
func decide(v *Verdict, registers []*register, limit, all time.Duration) (left []*register) {
	began := time.Now()
	next := make(chan *register)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for r := range next {
				var found []Violation
				decided := false
				if rest := all - time.Since(began); rest > 0 {
					found, decided = r.check(min(limit, rest))
				}
				mu.Lock()
				v.Violations = append(v.Violations, found...)
				if !decided {
					left = append(left, r)
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range registers {
		next <- r
	}
	close(next)
	workers.Wait()
	return left
}

// ledger is a history, sorted by what the rules ask.
type ledger struct {
	ops      []history.Op
	written  map[history.Write]*history.Op // the operation of each write; of rivals, their union
	sent     map[history.Write]*history.Op // the operation whose object has the bytes of a write
	by       map[name]*register
	byBucket map[string][]*register
}

type name struct{ bucket, key string }

// register is all that happened to one key.
type register struct {
	name
	ops     []*history.Op // reads and writes of what the key holds now
	writes  []*history.Op // those of them that write
	reads   []source      // what copies from here show to have been here
	stacked bool          // versions are deleted here, so it is no register
}

// source is a read by a copy.
type source struct {
	saw history.Write
	by  *history.Op
}

func load(ops []history.Op) *ledger {
	l := &ledger{
		ops: ops, written: map[history.Write]*history.Op{}, sent: map[history.Write]*history.Op{},
		by:       map[name]*register{},
		byBucket: map[string][]*register{},
	}
	uploads := map[string]*history.Op{}
	for i := range ops {
		o := &ops[i]
		if o.Key == "" {
			continue
		}
		r := l.register(name{o.Bucket, o.Key})
		switch o.Kind {
		case history.DeleteVersion:
			r.stacked = true
			continue
		case history.Put, history.Copy, history.Delete:
		case history.Complete:
			first, again := uploads[o.Upload]
			if again {
				join(first, o)
				continue
			}
			own := *o
			o = &own
			uploads[o.Upload] = o
		case history.Get, history.Head:
			r.ops = append(r.ops, o)
			continue
		default:
			continue
		}
		r.ops, r.writes = append(r.ops, o), append(r.writes, o)
		if o.Write != history.Absent {
			l.written[o.Write] = o
		}
		for _, part := range o.Body {
			l.sent[part.Write] = o
		}
	}
	l.sources()
	return l
}

func (l *ledger) register(n name) *register {
	r := l.by[n]
	if r == nil {
		r = &register{name: n}
		l.by[n] = r
		l.byBucket[n.bucket] = append(l.byBucket[n.bucket], r)
	}
	return r
}

// join makes one write of two Completes of an upload: it happened once if any of them did, not before
// the first began and before the first that was acknowledged ended.
func join(to, o *history.Op) {
	to.Start = min(to.Start, o.Start)
	switch {
	case o.Outcome == history.OK && to.Outcome == history.OK:
		to.End = min(to.End, o.End)
	case o.Outcome == history.OK:
		saw := o.Saw
		to.Outcome, to.End, to.Saw = history.OK, o.End, saw
	case to.Outcome == history.Failed && o.Outcome == history.Unknown:
		to.Outcome, to.End = history.Unknown, o.End
	}
}

// sources finds what each copy copied, by the bytes that its readers saw.
func (l *ledger) sources() {
	seen := map[history.Write]bool{}
	for i := range l.ops {
		o := &l.ops[i]
		if o.Kind == history.Copy && o.Outcome == history.Failed && o.Code == "NoSuchKey" {
			bucket, key, _ := strings.Cut(o.Source, "/")
			r := l.register(name{bucket, key})
			r.reads = append(r.reads, source{saw: history.Absent, by: o})
		}
		if o.Saw == nil || o.Saw.Body == nil || len(o.Saw.Body) == 0 || seen[o.Saw.Write] {
			continue
		}
		c := l.written[o.Saw.Write]
		if c == nil || c.Kind != history.Copy {
			continue
		}
		origin := l.sent[o.Saw.Body[0].Write]
		bucket, key, ok := strings.Cut(c.Source, "/")
		if origin == nil || !ok {
			continue
		}
		seen[o.Saw.Write] = true
		r := l.register(name{bucket, key})
		if w := l.held(r, o.Saw.Body[0].Write); w != nil {
			r.reads = append(r.reads, source{saw: w.Write, by: c})
		}
	}
}

// held returns the one write to r that has bytes of w, or nil where none or several have.
func (l *ledger) held(r *register, w history.Write) *history.Op {
	var found *history.Op
	for _, o := range r.writes {
		switch {
		case o.Kind == history.Copy:
			return nil // a copy of a copy: which one cannot be told
		case slices.ContainsFunc(o.Body, func(s history.Segment) bool { return s.Write == w }):
			found = o
		}
	}
	return found
}

func (l *ledger) sorted() []*register {
	out := make([]*register, 0, len(l.by))
	for _, r := range l.by {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *register) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.key, b.key))
	})
	return out
}

// possible returns those of the changes of a value that can be the last one that an observer saw who
// looked once between from and to, and whether none of them may have come yet.
func possible(changes []*history.Op, from, to time.Duration) (last []*history.Op, untouched bool) {
	// The latest start of a change that was over before the observer began.
	newest := time.Duration(-1)
	for _, o := range changes {
		if o.Outcome == history.OK && o.End < from {
			newest = max(newest, o.Start)
		}
	}
	for _, o := range changes {
		if o.Outcome != history.Failed && o.Start <= to && o.Until() >= newest {
			last = append(last, o)
		}
	}
	return last, newest < 0
}

func violation(kind string, n name, events []*history.Op, format string, args ...any) Violation {
	v := Violation{Kind: kind, Bucket: n.bucket, Key: n.key, Detail: fmt.Sprintf(format, args...)}
	for _, o := range events {
		v.Events = append(v.Events, o.ID)
	}
	return v
}
