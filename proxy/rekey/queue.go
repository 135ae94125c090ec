package rekey

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/register"
)

// changeTimeout bounds the changes that are made together.
const changeTimeout = time.Minute

// edit makes a change, and says whether there was one to make. It is called for each try,
// and to see what became of one.
type edit func(d *draft) (changed bool)

// queue makes changes of the book together: those that come while others are being made wait
// for each other, and not for one store each.
type queue struct {
	change func(ctx context.Context, all []*queued) (register.Instant, error)

	mu      sync.Mutex
	waiting []*queued
	busy    bool
}

type queued struct {
	edit edit
	done chan struct{}
	// known and err are there once done is closed.
	known register.Instant
	err   error
}

// do makes a change, and returns when this process first knew of it. A caller who goes away
// does not end it.
func (q *queue) do(ctx context.Context, e edit) (register.Instant, error) {
	one := &queued{edit: e, done: make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, one)
	leads := !q.busy
	q.busy = true
	q.mu.Unlock()
	if leads {
		go q.run(context.WithoutCancel(ctx))
	}
	select {
	case <-one.done:
		return one.known, one.err
	case <-ctx.Done():
		return register.Instant{}, ctx.Err()
	}
}

// run makes changes until none waits.
func (q *queue) run(ctx context.Context) {
	for {
		q.mu.Lock()
		all := q.waiting
		q.waiting, q.busy = nil, len(all) > 0
		q.mu.Unlock()
		if len(all) == 0 {
			return
		}
		q.runOnce(ctx, all)
	}
}

func (q *queue) runOnce(ctx context.Context, all []*queued) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	known, err := q.change(ctx, all)
	for _, one := range all {
		one.known, one.err = known, err
		close(one.done)
	}
}

// changeAll makes changes together.
func (b *Book) changeAll(ctx context.Context, all []*queued) (register.Instant, error) {
	return b.index.Change(ctx, func(d *document) (*document, bool, error) {
		next, changed := d.next(), false
		for _, one := range all {
			changed = one.edit(next) || changed
		}
		if changed {
			next.shrink()
		}
		return &next.document, changed, nil
	})
}

// token names a run or an update.
func token() string { return rand.Text()[:12] }
