// Package turns is who has to wait for whom within a process: Completes of one upload, and copies that
// would have MinIO wait for itself.
package turns

import (
	"context"
	"sync"
)

// ByKey lets one at a time do what has the same key. The zero value is ready for use. It is safe for
// concurrent use.
type ByKey struct {
	mu    sync.Mutex
	byKey map[string]*turn
}

// turn is that of one key.
type turn struct {
	free  chan struct{} // holds something while it is nobody's
	users int           // those who have it or wait for it
}

// Take waits for the turn, and returns what ends it, which is to be called once. If ctx ends before, its
// cause is the error.
func (t *ByKey) Take(ctx context.Context, key string) (end func(), err error) {
	mine := t.join(key)
	select {
	case <-mine.free:
		return func() {
			mine.free <- struct{}{}
			t.leave(key, mine)
		}, nil
	case <-ctx.Done():
		t.leave(key, mine)
		return nil, context.Cause(ctx)
	}
}

// join counts one more who has the turn or waits for it.
func (t *ByKey) join(key string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey == nil {
		t.byKey = make(map[string]*turn)
	}
	mine := t.byKey[key]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.byKey[key] = mine
	}
	mine.users++
	return mine
}

// leave forgets a turn that nobody has or waits for.
func (t *ByKey) leave(key string, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(t.byKey, key)
	}
}
