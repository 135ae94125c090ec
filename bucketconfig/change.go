package bucketconfig

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// maxConflicts bounds how often one change is tried while others change the index.
	maxConflicts = 64
	// conflictPause and maxConflictPause bound the random pause after a conflict, which grows with each.
	conflictPause    = 5 * time.Millisecond
	maxConflictPause = 250 * time.Millisecond
)

// edit says what becomes of one bucket's entry; has and keep say whether there is one before and after.
type edit func(cur entry, has bool) (next entry, keep bool)

// Init creates the empty index of a deployment that never had one. If an index exists it is left alone. The caller must
// know from elsewhere that none was lost: Init only refuses if this very process has seen one.
func (r *Rules) Init(ctx context.Context) error {
	ctx, cancel := r.detach(ctx)
	defer cancel()
	_, err := r.load(ctx)
	if err == nil || !errors.Is(err, ErrNotFound) || r.cur.Load() != nil {
		return err
	}
	empty := &index{generation: 1}
	data, err := empty.encode(r.maxSize)
	if err != nil {
		return err
	}
	if _, err = r.backend.Save(ctx, data, ""); err != nil && !errors.Is(err, ErrConflict) {
		err = unavailable("create index", err)
	}
	// Whether this call or another one created it, or its outcome is unknown: an index that can be read is what was
	// wanted, and from here on this process knows that there is one.
	if _, loadErr := r.load(ctx); loadErr != nil {
		return errors.Join(err, loadErr)
	}
	return nil
}

// Set stores the rule of bucket and returns when every process obeys it, two leases later. Errors: *InvalidRuleError,
// ErrNoSuchBucket, ErrIndexFull, ErrUnavailable, or the context's. After an error but the first three the rule may be in
// force or come into force.
func (r *Rules) Set(ctx context.Context, bucket string, rule Rule) error {
	if err := rule.check(); err != nil {
		return err
	}
	if !validBucket(bucket) {
		return ErrNoSuchBucket
	}
	created, home, ok, err := r.creationDate(ctx, bucket)
	if err != nil {
		return err
	}
	if !ok {
		return ErrNoSuchBucket
	}
	want := entry{rule: rule, created: max(created, home)}
	return r.changeAndWait(ctx, bucket, func(entry, bool) (entry, bool) { return want, true })
}

// Delete drops the rule of bucket and returns when no process obeys it any more. If there is none it returns once that
// has been so for two leases as far as this process knows, which mostly is at once. Errors: ErrUnavailable or the
// context's, as with Set.
func (r *Rules) Delete(ctx context.Context, bucket string) error {
	return r.changeAndWait(ctx, bucket, func(entry, bool) (entry, bool) { return entry{}, false })
}

// BucketRemoved drops the rule of a bucket that was deleted, without waiting: the rule would not apply to another bucket
// anyhow. The rule of a bucket that was created in the meantime stays. Errors: ErrUnavailable or the context's.
func (r *Rules) BucketRemoved(ctx context.Context, bucket string) error {
	s, err := r.loads.fresh(ctx)
	if err != nil {
		return err
	}
	if _, ok := s.index.rules[bucket]; !ok {
		return nil
	}
	created, _, exists, err := r.creationDate(ctx, bucket)
	if err != nil {
		return err
	}
	_, err = r.change(ctx, bucket, func(cur entry, has bool) (entry, bool) {
		return cur, has && exists && cur.created >= created // as in dateMap.has
	})
	return err
}

// creationDate returns a bucket's creation date in milliseconds since 1970, and that of the bucket that keeps the index,
// from a request made now. A rule is stored with the later one: a rule of an older bucket would look restored (dateMap.has).
func (r *Rules) creationDate(ctx context.Context, bucket string) (created, home int64, ok bool, err error) {
	m, err := r.dates.flights.fresh(ctx)
	if err != nil {
		return 0, 0, false, unavailable("get creation date", err)
	}
	_, ok = m.byBucket[bucket]
	return m.other(bucket), m.other(m.home), ok, nil
}

func (r *Rules) changeAndWait(ctx context.Context, bucket string, e edit) error {
	s, err := r.change(ctx, bucket, e)
	if err != nil {
		return err
	}
	// Copies of older generations were read before this process first saw this one.
	return r.clock.sleep(ctx, 2*r.lease-r.clock.now().since(s.seen))
}

// change applies the edit to the newest index and returns a snapshot in which it is in force.
func (r *Rules) change(ctx context.Context, bucket string, e edit) (*snapshot, error) {
	select {
	case r.changing <- struct{}{}:
		defer func() { <-r.changing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	pause := conflictPause
	for range maxConflicts {
		s, err := r.loads.fresh(ctx)
		if err != nil {
			return nil, err
		}
		next, err := s.apply(bucket, e)
		if err != nil || next == nil {
			return s, err
		}
		s, err = r.store(ctx, s, next, bucket, e)
		if !errors.Is(err, ErrConflict) {
			return s, err
		}
		if err := r.clock.sleep(ctx, rand.N(pause)); err != nil {
			return nil, err
		}
		pause = min(2*pause, maxConflictPause)
	}
	return nil, unavailable("change index", fmt.Errorf("%w, %d times in a row", ErrConflict, maxConflicts))
}

// apply returns the next index, or nil if the edit changes nothing.
func (s *snapshot) apply(bucket string, e edit) (*index, error) {
	cur, has := s.index.rules[bucket]
	want, keep := e(cur, has)
	if keep == has && (!keep || want == cur) {
		return nil, nil
	}
	return s.index.with(bucket, want, keep)
}

// store saves next over base. If the outcome is unknown it reads what is there. A client that goes away does not end a
// store that has begun.
func (r *Rules) store(ctx context.Context, base *snapshot, next *index, bucket string, e edit) (*snapshot, error) {
	data, err := next.encode(r.maxSize)
	if err != nil {
		return nil, err
	}
	saveCtx, cancel := r.detach(ctx)
	defer cancel()
	start := r.clock.now()
	etag, err := r.backend.Save(saveCtx, data, base.etag)
	if err == nil && etag != "" {
		s, overtaken, err := r.publish(base, &snapshot{index: next, etag: etag, sum: sha256.Sum256(data), start: start})
		if overtaken {
			// Someone has changed the index again since, and this process has read that already.
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
	readCtx, cancelRead := r.detach(ctx)
	defer cancelRead()
	s, readErr := r.loads.fresh(readCtx)
	if readErr == nil && s.index.generation > base.index.generation {
		if again, applyErr := s.apply(bucket, e); again == nil && applyErr == nil {
			return s, nil
		}
	}
	return nil, unavailable("store index", err)
}

// detach returns a context with the values of ctx that ends after the timeout, not with ctx.
func (r *Rules) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
}
