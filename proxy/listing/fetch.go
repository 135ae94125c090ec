package listing

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// fetch gets the page with the records of its objects.
func (l *listing) fetch(ctx context.Context) (*storage.Page, error) {
	with := l.o.Storage.Capabilities().ListsMetadata
	page, err := l.ask(ctx, l.as(), with)
	switch {
	case with && errors.Is(err, storage.ErrListing):
		if page, err = l.ask(ctx, l.as(), false); err == nil {
			err = l.lookUpEach(ctx, page)
		}
	case err == nil && with:
		err = l.completeMetadata(ctx, page)
	case err == nil:
		err = l.lookUpEach(ctx, page)
	}
	return page, err
}

// ask asks for the page as somebody.
func (l *listing) ask(ctx context.Context, as storage.Backend, metadata bool) (*storage.Page, error) {
	return as.List(ctx, &storage.List{
		Bucket: l.list.Bucket, Versions: l.list.Versions, Parameters: l.list.Parameters, Metadata: metadata, Owner: l.list.Owner,
	})
}

// completeMetadata gets what upstream left out for a caller that may list but
// not read: the same page once more under the service identity, of which only
// sizes and ETags reach the caller. ErrServiceRights, rather than sizes that are not
// the plaintext's, if that identity may not read the objects either.
func (l *listing) completeMetadata(ctx context.Context, page *storage.Page) error {
	missing := false
	for i := range page.Entries {
		missing = missing || !page.Entries[i].HasMetadata && !page.Entries[i].DeleteMarker
	}
	if !missing {
		return nil
	}
	full, err := l.ask(ctx, l.own(), true)
	if errors.Is(err, storage.ErrListing) {
		return l.lookUpEach(ctx, page)
	}
	if err != nil {
		return err
	}
	type version struct{ key, id string }
	l.completed = make(map[int]bool)
	known := make(map[version]*storage.Entry, len(full.Entries))
	for i := range full.Entries {
		known[version{full.Entries[i].Key, full.Entries[i].VersionID}] = &full.Entries[i]
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		same := known[version{e.Key, e.VersionID}]
		if e.HasMetadata || same == nil || same.ETag != e.ETag {
			continue
		}
		if !same.HasMetadata && !same.DeleteMarker {
			return fmt.Errorf("list %q: %w", e.Key, ErrServiceRights)
		}
		e.Metadata = reservedOnly(same.Metadata)
		if same.Size == e.Size && same.LastModified == e.LastModified {
			l.completed[i] = true
		}
	}
	return nil
}

func reservedOnly(all []storage.MetaEntry) []storage.MetaEntry {
	var out []storage.MetaEntry
	for _, m := range all {
		if storage.IsReserved(m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// lookUps bounds the look-ups of one listing that run at a time.
const lookUps = 16

// lookUpEach gets the records of a page that it lacks one by one, under the service
// identity: for pages that upstream cannot write with metadata.
func (l *listing) lookUpEach(ctx context.Context, page *storage.Page) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookUps)
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.DeleteMarker || e.HasMetadata {
			continue
		}
		group.Go(func() error { return l.lookUp(ctx, e) })
	}
	return group.Wait()
}

func (l *listing) lookUp(ctx context.Context, e *storage.Entry) error {
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	info, err := l.own().Head(ctx, &storage.Get{Name: objectname.Listed(l.list.Bucket, key), Version: e.VersionID})
	var answer *storage.Error
	switch {
	case storage.OwnRefused(err):
		return fmt.Errorf("look %q up for a listing: %w (%w)", e.Key, ErrServiceRights, err)
	case errors.As(err, &answer) && answer.Status >= 500: // which says nothing of the object
		return fmt.Errorf("look %q up for a listing: %w (%v)", e.Key, storage.ErrUnreachable, err) //nolint:errorlint // it was an answer to the proxy
	case answer != nil, err == nil && info.ETag != e.ETag:
		return nil // gone or changed meanwhile: listed as upstream lists it
	case err != nil:
		return err
	}
	e.Metadata = append(e.Metadata, info.Reserved...)
	return nil
}
