package register

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// maxConflicts bounds how often one change is tried while others change the document.
	maxConflicts = 64
	// conflictPause and maxConflictPause bound the random pause after a conflict, which grows with each.
	conflictPause    = 5 * time.Millisecond
	maxConflictPause = 250 * time.Millisecond
)

// Edit makes the next document, of one generation more, from the one that is there. changed is false if the change is in
// force in that one already. An Edit is called for each try, and to see what became of one. It leaves the document that it
// is given alone.
type Edit[T any] func(doc T) (next T, changed bool, err error)

// Init stores the first document, of generation 1, if there is none. One that exists is left alone. The caller must know
// from elsewhere that none was lost: Init only refuses if this very process has seen one. Errors are as those of Get.
func (r *Register[T]) Init(ctx context.Context, first T) error {
	ctx, cancel := r.detach(ctx)
	defer cancel()
	_, err := r.load(ctx)
	if r.seenOne() || err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	data, err := r.encode(0, first)
	if err != nil {
		return err
	}
	if _, err = r.o.Store.Save(ctx, data, ""); err != nil && !errors.Is(err, ErrConflict) {
		err = r.unavailable("create", err)
	}
	// Whether this call or another one created it, or its outcome is unknown: a document that can be read is what was
	// wanted, and from here on this process knows that there is one.
	_, loadErr := r.load(ctx)
	if loadErr == nil && !r.seenOne() {
		loadErr = r.unavailable("load", ErrNotFound)
	}
	if loadErr != nil {
		return errors.Join(err, loadErr)
	}
	return nil
}

// Change applies the edit to the newest document. When it returns, this process obeys the change. known is when this
// process first knew of a document in which it is in force, or of a later one, for Obeyed. Errors: the edit's, that of Encode, the context's,
// or one that wraps Options.Unavailable. After one of the latter two the change may be in force or come into force.
func (r *Register[T]) Change(ctx context.Context, edit Edit[T]) (known Instant, err error) {
	select {
	case r.changing <- struct{}{}:
		defer func() { <-r.changing }()
	case <-ctx.Done():
		return Instant{}, ctx.Err()
	}
	pause, conflict := conflictPause, ErrConflict
	for range maxConflicts {
		base, err := r.reads.Fresh(context.WithoutCancel(ctx))
		if err != nil {
			return Instant{}, err
		}
		next, changed, err := edit(base.doc)
		if err != nil {
			return Instant{}, err
		}
		if !changed {
			return base.seen, nil
		}
		s, err := r.store(ctx, base, next, edit)
		if err == nil {
			return s.seen, nil
		}
		if !errors.Is(err, ErrConflict) {
			return Instant{}, err
		}
		conflict = err
		if err := r.clock.Sleep(ctx, rand.N(pause)); err != nil {
			return Instant{}, err
		}
		pause = min(2*pause, maxConflictPause)
	}
	return Instant{}, r.unavailable("change", fmt.Errorf("%w, %d times in a row", conflict, maxConflicts))
}

// Obeyed returns when no process answers any more from a document older than the one that Change returned known for:
// two leases after that moment. The error is the context's.
func (r *Register[T]) Obeyed(ctx context.Context, known Instant) error {
	return r.clock.Sleep(ctx, 2*r.o.Lease-r.clock.Now().Since(known))
}

// store saves next over base. ErrConflict if it was not stored because base is not there any more. If
// the outcome is unknown it reads what is there. A client that goes away does not end a store that has begun.
func (r *Register[T]) store(ctx context.Context, base *snapshot[T], next T, edit Edit[T]) (*snapshot[T], error) {
	data, err := r.encode(base.gen, next)
	if err != nil {
		return nil, err
	}
	saveCtx, cancel := r.detach(ctx)
	defer cancel()
	start := r.clock.Now()
	etag, err := r.o.Store.Save(saveCtx, data, base.etag)
	if err == nil && etag != "" {
		s, overtaken, err := r.publish(base, &snapshot[T]{doc: next, gen: base.gen + 1, etag: etag, sum: sha256.Sum256(data), start: start})
		if overtaken {
			// Someone has changed the document again since, and this process has read that already.
			return r.cur.Load(), nil
		}
		return s, err
	}
	if errors.Is(err, ErrConflict) {
		return nil, err
	}
	if err == nil {
		err = errors.New("it has no ETag")
	}
	return r.settle(ctx, edit, err)
}

// settle reads what became of a store whose outcome is unknown, because of cause.
func (r *Register[T]) settle(ctx context.Context, edit Edit[T], cause error) (*snapshot[T], error) {
	ctx, cancel := r.detach(ctx)
	defer cancel()
	s, err := r.reads.Fresh(ctx)
	if err == nil {
		if _, changed, err := edit(s.doc); !changed && err == nil {
			return s, nil
		}
	}
	return nil, r.unavailable("store", cause)
}

// encode encodes the document that follows generation gen.
func (r *Register[T]) encode(gen uint64, next T) ([]byte, error) {
	if got := r.o.Generation(next); got != gen+1 || got == 0 {
		return nil, r.unavailable("change", fmt.Errorf("generation %d does not follow %d", got, gen))
	}
	return r.o.Encode(next)
}

// detach returns a context with the values of ctx that ends after the timeout, not with ctx.
func (r *Register[T]) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), r.o.Timeout)
}
