package vault

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// List asks for one page of a listing.
type List struct {
	Bucket string
	// Versions lists versions and delete markers, too.
	Versions bool
	// Parameters are those of storage.List.
	Parameters map[string]string
	// Owner asks for each object's owner.
	Owner bool
}

// Page is a page of a listing as clients know it.
type Page struct {
	// Page is the storage's page, in which sizes and ETags are the plaintext's. Names are
	// URL-encoded. The metadata of its entries may hold reserved names.
	*storage.Page
	// Known is what else is known of each of Entries, in their order.
	Known []Known
}

// Known is what is known of a listed object besides its entry.
type Known struct {
	// Record says how it is encrypted; nil for a plain object, and for a record that
	// cannot be read.
	Record *sse.Record
	// Checksum is its client's checksum, if the listing came across it.
	Checksum *sse.Checksum
}

// List returns one page of a listing, which the storage lets the caller have. An object
// that can never be opened is listed with the storage's size and ETag. What may pass fails
// the listing: key services, storage.ErrUnreachable. storage.ErrListing, ErrServiceRights.
func (v *Vault) List(ctx context.Context, c *caller.Caller, list *List) (*Page, error) {
	l := &listing{vault: v, caller: c, list: list}
	page, err := l.fetch(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := l.open(ctx, page)
	if err != nil {
		return nil, err
	}
	out := &Page{Page: page, Known: make([]Known, len(entries))}
	for i := range entries {
		out.Known[i] = Known{entries[i].record, entries[i].facts.Checksum}
	}
	return out, nil
}

// listing is one listing on its way.
type listing struct {
	vault  *Vault
	caller *caller.Caller
	list   *List
	grants grants
}

// fetch gets the page with the records of its objects.
func (l *listing) fetch(ctx context.Context) (*storage.Page, error) {
	v := l.vault
	with := v.o.Storage.Capabilities().ListsMetadata
	page, err := l.ask(ctx, v.as(l.caller), with)
	switch {
	case with && errors.Is(err, storage.ErrListing):
		if page, err = l.ask(ctx, v.as(l.caller), false); err == nil {
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
	full, err := l.ask(ctx, l.vault.own(l.caller), true)
	if errors.Is(err, storage.ErrListing) {
		return l.lookUpEach(ctx, page)
	}
	if err != nil {
		return err
	}
	type version struct{ key, id string }
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

// lookUpEach gets the records of a page one by one, under the service identity: for pages
// that upstream cannot write with metadata.
func (l *listing) lookUpEach(ctx context.Context, page *storage.Page) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookUps)
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.DeleteMarker {
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
	info, err := l.vault.own(l.caller).Head(ctx, &storage.Get{Name: objectname.Listed(l.list.Bucket, key), Version: e.VersionID})
	var answer *storage.Error
	switch {
	case errors.Is(err, storage.ErrForbidden):
		return fmt.Errorf("look %q up for a listing: %w", e.Key, ErrServiceRights)
	case errors.As(err, &answer), err == nil && info.ETag != e.ETag:
		return nil // gone or changed meanwhile: listed as upstream lists it
	case err != nil:
		return err
	}
	e.Metadata = append(e.Metadata, info.Reserved...)
	return nil
}
