package turns

import (
	"context"
	"sync"

	"github.com/bucketseal/bucketseal/sse"
)

// Copies are the copies that upstream is making. MinIO holds a copy's source until the copy is
// stored, and waits for all who hold its name: of two copies in opposite directions each waits for
// the other, until a client gives up. So no copy is begun that would close
// such a circle; those of other proxies are not known. The zero value is ready for use. It is safe
// for concurrent use.
type Copies struct {
	mu sync.Mutex
	// running counts the copies by source and name.
	running map[sse.Name]map[sse.Name]int
	changed chan struct{} // is closed when one ends; nil if nobody waits
}

// Begin waits until a copy closes no circle, and returns what ends it. If ctx ends before, its cause
// is the error.
func (c *Copies) Begin(ctx context.Context, from, to sse.Name) (end func(), err error) {
	for {
		wait := c.try(from, to)
		if wait == nil {
			return func() { c.end(from, to) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// try notes a copy, or returns what is closed when it may be tried again.
func (c *Copies) try(from, to sse.Name) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from != to && c.leads(to, from, map[sse.Name]bool{}) {
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		return c.changed
	}
	if c.running == nil {
		c.running = make(map[sse.Name]map[sse.Name]int)
	}
	if c.running[from] == nil {
		c.running[from] = make(map[sse.Name]int)
	}
	c.running[from][to]++
	return nil
}

// leads says whether copies that are running lead from one name to another.
func (c *Copies) leads(from, to sse.Name, seen map[sse.Name]bool) bool {
	seen[from] = true
	for next := range c.running[from] {
		if next == to || !seen[next] && c.leads(next, to, seen) {
			return true
		}
	}
	return false
}

func (c *Copies) end(from, to sse.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[from][to]--; c.running[from][to] == 0 {
		delete(c.running[from], to)
	}
	if len(c.running[from]) == 0 {
		delete(c.running, from)
	}
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}
