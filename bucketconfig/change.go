package bucketconfig

import (
	"context"
	"fmt"

	"github.com/bucketseal/bucketseal/register"
)

// edit says what becomes of one bucket's entry; has and keep say whether there is one before and after.
type edit func(cur entry, has bool) (next entry, keep bool)

// Init creates the empty index of a deployment that never had one. If an index exists it is left alone. The caller must
// know from elsewhere that none was lost: Init only refuses if this very process has seen one.
func (r *Rules) Init(ctx context.Context) error {
	return r.index.Init(ctx, &index{generation: 1})
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
	x, err := r.index.Fresh(ctx)
	if err != nil {
		return err
	}
	if _, ok := x.rules[bucket]; !ok {
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
	m, err := r.dates.flights.Fresh(ctx)
	if err != nil {
		return 0, 0, false, unavailable("get creation date", err)
	}
	_, ok = m.byBucket[bucket]
	return m.other(bucket), m.other(m.home), ok, nil
}

func (r *Rules) changeAndWait(ctx context.Context, bucket string, e edit) error {
	known, err := r.change(ctx, bucket, e)
	if err != nil {
		return err
	}
	return r.index.Obeyed(ctx, known)
}

// change applies the edit to the newest index and returns when this process first knew of one in which it is in force.
func (r *Rules) change(ctx context.Context, bucket string, e edit) (known register.Instant, err error) {
	return r.index.Change(ctx, func(x *index) (next *index, changed bool, err error) {
		cur, has := x.rules[bucket]
		want, keep := e(cur, has)
		if keep == has && (!keep || want == cur) {
			return nil, false, nil
		}
		next, err = x.with(bucket, want, keep)
		return next, true, err
	})
}

// unavailable wraps err in ErrUnavailable.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}
