package maintenance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// scanned is one version of an object as a listing has it.
type scanned struct {
	// name is as clients name it, key as the storage lists it.
	name    sse.Name
	key     string
	version string // "" in a bucket that never kept versions
	// size is the length of what the storage has, in bytes.
	size int64
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
	parameters := map[string]string{}
	for {
		page, err := k.scanPage(ctx, bucket, parameters)
		if errors.Is(err, storage.ErrNoSuchBucket) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %q: %w", bucket, err)
		}
		found := make([]scanned, 0, len(page.Entries))
		for i := range page.Entries {
			if e := &page.Entries[i]; !e.DeleteMarker {
				found = append(found, k.scanEntry(ctx, bucket, e))
			}
		}
		if err := f(found); err != nil {
			return err
		}
		if !page.Truncated {
			return nil
		}
		key, err := url.QueryUnescape(page.NextKeyMarker)
		if err != nil || key == "" || key == parameters["key-marker"] && page.NextVersionMarker == parameters["version-id-marker"] {
			return fmt.Errorf("list %q: marker: %w", bucket, storage.ErrListing)
		}
		parameters = map[string]string{"key-marker": key, "version-id-marker": page.NextVersionMarker}
	}
}

// scanPage lists with metadata where that can be read: one object with odd metadata makes
// it unreadable for all of a page.
func (k *Keeper) scanPage(ctx context.Context, bucket string, parameters map[string]string) (*storage.Page, error) {
	list := &storage.List{Bucket: bucket, Versions: true, Parameters: parameters, Metadata: true}
	page, err := k.alone().List(ctx, list)
	if errors.Is(err, storage.ErrListing) {
		list.Metadata = false
		page, err = k.alone().List(ctx, list)
	}
	return page, err
}

// scanEntry reads what a listing says of a version, and asks for what it does not say.
func (k *Keeper) scanEntry(ctx context.Context, bucket string, e *storage.Entry) scanned {
	s := scanned{version: e.VersionID, size: e.Size}
	if s.key, s.err = url.QueryUnescape(e.Key); s.err != nil {
		return s
	}
	s.name = objectname.Listed(bucket, s.key)
	reserved := slices.DeleteFunc(slices.Clone(e.Metadata), func(m storage.MetaEntry) bool { return !storage.IsReserved(m.Name) })
	if !e.HasMetadata {
		info, err := k.alone().Head(ctx, &storage.Get{Name: sse.Name{Bucket: bucket, Key: s.key}, Version: s.version})
		if err != nil {
			s.err = err
			return s
		}
		reserved = info.Reserved
	}
	s.record, s.err = sealed.RecordOf(reserved)
	return s
}
