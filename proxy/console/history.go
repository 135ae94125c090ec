package console

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// watchEvery is how often the state is looked at for the history.
	watchEvery = 2 * time.Second
	// changes bounds the history.
	changes = 200
)

// history has how the state changed since the start.
type history struct {
	mu  sync.Mutex
	all []change
}

// change is a state, and since when it was so.
type change struct {
	Since time.Time
	State
}

func (h *history) see(now time.Time, s State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.all); n > 0 && h.all[n-1].State == s {
		return
	}
	h.all = append(h.all, change{now, s})
	if len(h.all) > changes {
		h.all = slices.Delete(h.all, 0, len(h.all)-changes)
	}
}

// latest returns the changes, the last one first.
func (h *history) latest() []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.all)
	slices.Reverse(all)
	return all
}

// Watch keeps the history of the state until ctx ends.
func (c *Console) Watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		c.history.see(c.now(), c.o.Facts.State())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
