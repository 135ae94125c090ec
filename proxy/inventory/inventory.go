// Package inventory goes through all that a bucket has: every version of every object, page
// by page, with the record that each has. It decides nothing.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Place is where a listing goes on: behind this version. The zero value is the beginning.
type Place = storage.Marker

// Version is one version of an object, or a delete marker.
type Version struct {
	Name sse.Name
	// Raw is the key as the storage lists it, and takes it as a Place.
	Raw string
	// ID is the version id, "null" in a bucket without versions.
	ID string
	// Marker says that it is a delete marker, of which only ID, Latest and Modified say
	// something.
	Marker, Latest bool
	// ETag is the storage's, in quotes, and Size the length in bytes that it lists.
	ETag string
	Size int64
	// Modified is when it was stored, in whole milliseconds.
	Modified time.Time
	// Reserved holds its record.
	Reserved []storage.MetaEntry
	// Meta is its metadata and Tags its tags, as a query, if Listed: the listing showed them.
	Meta   []storage.MetaEntry
	Tags   string
	Listed bool
	// Encrypted is how the storage itself encrypts it, in S3's words; "" for not at all, and
	// Customer for a key of its client's.
	Encrypted string
}

// Customer is what Version.Encrypted is of an object that the storage encrypts under a key
// of its client's.
const Customer = "SSE-C"

// Walk calls page for each page of a bucket's versions behind a place, in the order of the
// keys, versions of a key from the newest. next is the place behind the page. It ends with
// the first error, page's or the storage's. ErrRights.
func Walk(ctx context.Context, at storage.Backend, bucket string, from Place, page func(versions []Version, next Place) error) error {
	return WalkBy(ctx, at, bucket, from, 0, page)
}

// fullPage is how many versions a page has at most.
const fullPage = 1000

// WalkBy is Walk with a first page of so many versions, 0 for as many as there can be. Each page
// is twice as long as the one before.
func WalkBy(ctx context.Context, at storage.Backend, bucket string, from Place, size int, page func(versions []Version, next Place) error) error {
	for ; ; size = 2 * size {
		if size >= fullPage {
			size = 0
		}
		listed, err := list(ctx, at, bucket, from, size)
		if err != nil {
			return fmt.Errorf("list bucket %q: %w", bucket, err)
		}
		versions, err := read(ctx, at, bucket, listed)
		if err != nil {
			return fmt.Errorf("list bucket %q: %w", bucket, err)
		}
		next, more, err := listed.Behind(from)
		if err != nil {
			return fmt.Errorf("list bucket %q: %w", bucket, err)
		}
		if err := page(versions, next); err != nil || !more {
			return err
		}
		from = next
	}
}

// ErrRights says that the credential may list objects and not read them.
var ErrRights = errors.New("the credential lacks s3:GetObject for what it lists")

// list asks for one page, with metadata if the storage can write them.
func list(ctx context.Context, at storage.Backend, bucket string, from Place, size int) (*storage.Page, error) {
	ask := storage.List{Bucket: bucket, Versions: true, Metadata: true, Parameters: map[string]string{}}
	if size > 0 {
		ask.Parameters["max-keys"] = strconv.Itoa(size)
	}
	from.Set(ask.Parameters)
	page, err := at.List(ctx, &ask)
	if errors.Is(err, storage.ErrListing) { // names of metadata that XML has no place for
		ask.Metadata = false
		page, err = at.List(ctx, &ask)
	}
	return page, err
}

// lookUps bounds the look-ups of one page that run at a time.
const lookUps = 8

// read makes a page's entries versions. What was listed without metadata is looked up.
func read(ctx context.Context, at storage.Backend, bucket string, page *storage.Page) ([]Version, error) {
	versions := make([]Version, len(page.Entries))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookUps)
	for i := range page.Entries {
		e, v := &page.Entries[i], &versions[i]
		key, err := url.QueryUnescape(e.Key)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", e.Key, storage.ErrListing)
		}
		modified, err := time.Parse(time.RFC3339, e.LastModified)
		if err != nil {
			return nil, fmt.Errorf("age of %q: %w", e.Key, storage.ErrListing)
		}
		*v = Version{
			Name: objectname.Listed(bucket, key), Raw: key, ID: e.VersionID, Marker: e.DeleteMarker, Latest: e.IsLatest == "true",
			ETag: `"` + strings.Trim(e.ETag, `"`) + `"`, Size: e.Size, Modified: modified,
		}
		if v.ID == "" {
			v.ID = "null"
		}
		switch {
		case e.DeleteMarker:
		case e.HasMetadata:
			v.takeEntries(e.Metadata)
			v.Meta, v.Tags, v.Listed = e.Metadata, e.UserTags, true
		default:
			group.Go(func() error { return v.lookUp(ctx, at) })
		}
	}
	return versions, group.Wait()
}

func (v *Version) takeEntries(entries []storage.MetaEntry) {
	for _, m := range entries {
		switch {
		case storage.IsReserved(m.Name):
			v.Reserved = append(v.Reserved, m)
		case strings.EqualFold(m.Name, encryptedHeader):
			v.Encrypted = m.Value
		case strings.EqualFold(m.Name, customerHeader):
			v.Encrypted = Customer
		}
	}
}

const (
	encryptedHeader = "X-Amz-Server-Side-Encryption"
	customerHeader  = "X-Amz-Server-Side-Encryption-Customer-Algorithm"
)

// lookUp asks for what the listing does not say.
func (v *Version) lookUp(ctx context.Context, at storage.Backend) error {
	info, err := at.Head(ctx, &storage.Get{Name: v.Name, Version: v.ID})
	var answer *storage.Error
	switch {
	case errors.Is(err, storage.ErrForbidden):
		return fmt.Errorf("look up %q: %w (%w)", v.Name.Key, ErrRights, err)
	case errors.As(err, &answer) && answer.Status == 400:
		v.Encrypted = Customer // it cannot be asked for without its key
	case errors.Is(err, storage.ErrNotFound):
		v.Marker = true // it went while the page was read: there is nothing to be done about it
	case err != nil:
		return fmt.Errorf("look up %q: %w", v.Name.Key, err)
	default:
		v.Reserved, v.Encrypted = info.Reserved, info.Meta.Get(encryptedHeader)
	}
	return nil
}
