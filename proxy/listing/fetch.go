package listing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

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
			err = l.lookUpEach(ctx, page, nil)
		}
	case err == nil && with:
		err = l.completeMetadata(ctx, page)
	case err == nil:
		err = l.lookUpEach(ctx, page, nil)
	}
	return page, err
}

// ask asks for the page as somebody.
func (l *listing) ask(ctx context.Context, as storage.Backend, metadata bool) (*storage.Page, error) {
	return as.List(ctx, &storage.List{
		Bucket: l.list.Bucket, Versions: l.list.Versions, Parameters: l.list.Parameters, Metadata: metadata, Owner: l.list.Owner,
	})
}

// version names an entry of a page.
type version struct{ key, id string }

func versionOf(e *storage.Entry) version { return version{e.Key, e.VersionID} }

// completeMetadata gets what upstream left out for a caller that may list but
// not read: the same page once more under the service identity, of which only
// sizes and ETags reach the caller. What has changed in between is looked up by itself.
// ErrServiceRights, rather than sizes that are not the plaintext's, if that identity may not
// read the objects either.
func (l *listing) completeMetadata(ctx context.Context, page *storage.Page) error {
	missing := false
	for i := range page.Entries {
		missing = missing || lacksRecord(&page.Entries[i])
	}
	if !missing {
		return nil
	}
	full, err := l.ask(ctx, l.own(), true)
	if errors.Is(err, storage.ErrListing) {
		return l.lookUpEach(ctx, page, nil)
	}
	if err != nil {
		return err
	}
	l.completed = make(map[version]bool)
	known := make(map[version]*storage.Entry, len(full.Entries))
	for i := range full.Entries {
		known[versionOf(&full.Entries[i])] = &full.Entries[i]
	}
	found := make(map[version]bool)
	for i := range page.Entries {
		e := &page.Entries[i]
		same := known[versionOf(e)]
		if !lacksRecord(e) || same == nil || same.ETag != e.ETag || same.DeleteMarker {
			continue
		}
		if !same.HasMetadata {
			return fmt.Errorf("list %q: %w", e.Key, ErrServiceRights)
		}
		e.Metadata = reservedOnly(same.Metadata)
		l.completed[versionOf(e)] = same.Size == e.Size && same.LastModified == e.LastModified
		e.Size, e.LastModified = same.Size, same.LastModified
		found[versionOf(e)] = true
	}
	return l.lookUpEach(ctx, page, found)
}

// lacksRecord says whether a page came without what is known of an entry.
func lacksRecord(e *storage.Entry) bool { return !e.DeleteMarker && !e.HasMetadata }

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

// lookUpEach gets the records of a page that it lacks one by one, but for those that were found,
// under the service identity: for pages that upstream cannot write with metadata. What is gone by
// then is left out.
func (l *listing) lookUpEach(ctx context.Context, page *storage.Page, found map[version]bool) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(lookUps)
	gone := make([]bool, len(page.Entries))
	for i := range page.Entries {
		e := &page.Entries[i]
		if !lacksRecord(e) || found[versionOf(e)] {
			continue
		}
		group.Go(func() (err error) {
			gone[i], err = l.lookUp(groupCtx, e)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	leaveOut(page, gone)
	return nil
}

// leaveOut takes entries out of a page. Where the next page begins the storage has said.
func leaveOut(page *storage.Page, gone []bool) {
	kept := page.Entries[:0]
	for i := range page.Entries {
		if !gone[i] {
			kept = append(kept, page.Entries[i])
		}
	}
	if n, err := strconv.Atoi(page.KeyCount); err == nil {
		page.KeyCount = strconv.Itoa(n - (len(page.Entries) - len(kept)))
	}
	page.Entries = kept
}

// lookUp gets the record of an entry, and says whether there is no such object any more. Of
// another object that is there by now it takes what a listing would say, too: what is shown of an
// entry is about one object.
func (l *listing) lookUp(ctx context.Context, e *storage.Entry) (gone bool, err error) {
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return false, fmt.Errorf("decode key: %w", err)
	}
	info, err := l.own().Head(ctx, &storage.Get{Name: objectname.Listed(l.list.Bucket, key), Version: e.VersionID})
	var answer *storage.Error
	switch {
	case storage.OwnRefused(err):
		return false, fmt.Errorf("look %q up for a listing: %w (%w)", e.Key, ErrServiceRights, err)
	case errors.Is(err, storage.ErrNotFound):
		return true, nil
	case errors.As(err, &answer) && answer.Status >= 500: // which says nothing of the object
		return false, fmt.Errorf("look %q up for a listing: %w (%v)", e.Key, storage.ErrUnreachable, err) //nolint:errorlint // it was an answer to the proxy
	case answer != nil:
		return false, nil // an odd name, say: listed as upstream lists it
	case err != nil:
		return false, err
	}
	if info.ETag != e.ETag {
		if gone, err = becomes(e, info); gone || err != nil {
			return gone, err
		}
	}
	e.Metadata = append(e.Metadata, info.Reserved...)
	return false, nil
}

// timeFormat is that of times in listings.
const timeFormat = "2006-01-02T15:04:05.000Z"

// becomes makes an entry that of the object which took the place of the one that was listed. gone
// says that its place is not this one: a null version that was written anew is the latest, and
// listed before those that are there. In its place stays what a take-over encrypts, as old as it was.
func becomes(e *storage.Entry, now *storage.Info) (gone bool, err error) {
	listed, err := time.Parse(time.RFC3339, e.LastModified)
	sameAge := err == nil && listed.Truncate(time.Second).Equal(now.Modified)
	if e.IsLatest == "false" && !sameAge {
		return true, nil
	}
	if now.Size < 0 {
		return false, fmt.Errorf("look %q up for a listing: an answer without a length: %w", e.Key, storage.ErrUnreachable)
	}
	e.ETag, e.Size, e.UserTags = now.ETag, now.Size, ""
	e.StorageClass = cmp.Or(now.Meta.Get("X-Amz-Storage-Class"), "STANDARD")
	if !sameAge && !now.Modified.IsZero() {
		e.LastModified = now.Modified.UTC().Format(timeFormat)
	}
	return false, nil
}
