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

// scan calls f for each page of a bucket's versions, in the order of their keys, and without
// delete markers. A bucket that does not exist any more has none.
func (k *Keeper) scan(ctx context.Context, bucket string, f func([]scanned) error) error {
	if err := k.walk(ctx, bucket, f); !errors.Is(err, storage.ErrNoSuchBucket) {
		return err
	}
	return nil
}

// walk is scan, but that a bucket that does not exist is storage.ErrNoSuchBucket.
func (k *Keeper) walk(ctx context.Context, bucket string, f func([]scanned) error) error {
	return inventory.Walk(ctx, k.alone(), bucket, inventory.Place{}, func(versions []inventory.Version, _ inventory.Place) error {
		page := make([]scanned, 0, len(versions))
		for i := range versions {
			if s := (scanned{Version: versions[i]}); !s.Marker {
				s.record, s.err = sealed.RecordOf(s.Reserved)
				page = append(page, s)
			}
		}
		return f(page)
	})
}
