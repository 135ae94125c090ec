package vaulttest

import (
	"context"
	"slices"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
)

// Calls notes the calls that a storage gets, but for reads of the book of re-keyed objects,
// of which every engine reads a copy each lease. It lets Fail decide about each; nil lets all
// pass.
type Calls struct {
	mu    sync.Mutex
	calls []memory.Call
	// Fail decides about each step of each call.
	Fail func(*memory.Call) error
}

// Watch notes what is asked about a bucket from now on, "" for all buckets.
func (i *Installation) Watch(bucket string, fail func(*memory.Call) error) *Calls {
	w := &Calls{Fail: fail}
	i.Storage.SetFaults(w.hook(bucket))
	return w
}

func (w *Calls) hook(bucket string) memory.Faults {
	return func(_ context.Context, c *memory.Call) error {
		if bucket != "" && c.Name.Bucket != bucket {
			return nil
		}
		if c.Step == memory.Arrived && (c.Name.Key != rekey.BookName || c.Op != memory.Get) {
			w.mu.Lock()
			w.calls = append(w.calls, *c)
			w.mu.Unlock()
		}
		if w.Fail == nil {
			return nil
		}
		return w.Fail(c)
	}
}

// All returns the calls in the order of their arrival.
func (w *Calls) All() []memory.Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Ops are the operations of All; "own " is before those of the proxy itself.
func (w *Calls) Ops() (ops []string) {
	for _, c := range w.All() {
		op := string(c.Op)
		if c.Own {
			op = "own " + op
		}
		ops = append(ops, op)
	}
	return ops
}

// Count returns how many calls of one operation there were, whoever made them.
func (w *Calls) Count(op memory.Op) (n int) {
	for _, c := range w.All() {
		if c.Op == op {
			n++
		}
	}
	return n
}

// Own returns how many calls the proxy itself made.
func (w *Calls) Own() (n int) {
	for _, c := range w.All() {
		if c.Own {
			n++
		}
	}
	return n
}

// Took returns the calls since it was last asked, in alphabetical order: who asks, "caller"
// or "own", and the operation.
func (w *Calls) Took() (calls []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.calls {
		who := "caller "
		if w.calls[i].Own {
			who = "own "
		}
		calls = append(calls, who+string(w.calls[i].Op))
	}
	w.calls = nil
	slices.Sort(calls)
	return calls
}
