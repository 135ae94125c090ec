package maintenance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// scanned is one version of an object with its record.
type scanned struct {
	inventory.Version
	// record is nil for a plain object; err says why it cannot be read.
	record *sse.Record
	err    error
}

// bucketsOf returns the buckets that patterns name, sorted, all of them if there is no
// pattern; without the system bucket.
func (k *Keeper) bucketsOf(ctx context.Context, patterns glob.Patterns) ([]string, error) {
	dates, err := k.o.Buckets(ctx)
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	var names []string
	for name := range dates {
		if name != k.o.SystemBucket && (len(patterns) == 0 || patterns.Match(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// scan calls f for each page of a bucket's versions behind a place, in the order of their keys,
// and without delete markers; next is the place behind the page, zero at the end; size is as for inventory.WalkBy. A bucket that
// does not exist any more has none.
func (k *Keeper) scan(ctx context.Context, bucket string, from inventory.Place, size int, f func(page []scanned, next inventory.Place) error) error {
	if err := k.walkFrom(ctx, bucket, from, size, f); !errors.Is(err, storage.ErrNoSuchBucket) {
		return err
	}
	return nil
}

// walk is scan of all, but that a bucket that does not exist is storage.ErrNoSuchBucket.
func (k *Keeper) walk(ctx context.Context, bucket string, f func([]scanned) error) error {
	return k.walkFrom(ctx, bucket, inventory.Place{}, 0, func(page []scanned, _ inventory.Place) error { return f(page) })
}

func (k *Keeper) walkFrom(ctx context.Context, bucket string, from inventory.Place, size int, f func([]scanned, inventory.Place) error) error {
	return inventory.WalkBy(ctx, k.alone(), bucket, from, size, func(versions []inventory.Version, next inventory.Place) error {
		if n := len(versions); next.Key != "" && n > 0 { // the storage's marker may have more in it, that means something for a while only
			next = inventory.Place{Key: versions[n-1].Raw, Version: versions[n-1].ID}
		}
		page := make([]scanned, 0, len(versions))
		for i := range versions {
			if s := (scanned{Version: versions[i]}); !s.Marker {
				s.record, s.err = sealed.RecordOf(s.Reserved)
				page = append(page, s)
			}
		}
		return f(page, next)
	})
}

// hand gives one thing to who takes it from a channel, or ends with the context.
func hand[T any](ctx context.Context, to chan<- T, one T) error {
	select {
	case to <- one:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
