// Package listing makes the storage's listings those that clients know: sizes and ETags
// are the plaintext's.
//
// They stand in an object's record, or its manifest. A listing with metadata brings the
// records, and costs MinIO three times what one without does. So what was found out about an
// object is remembered by all that the storage states of it in a listing without metadata:
// bucket, key, version, ETag, size and time. A page of which everything is known is asked
// for without metadata; any other with, and that answer counts whole. Two requests are made
// at most, where the caller may read the objects and XML can carry their metadata.
//
// Why that is sound:
//
//   - With an honest storage the statement changes whenever the object does. Each write has
//     keys of its own, so that its ETag is new. A copy of an object onto itself keeps ETag
//     and size and may change the mode, and so the ETag that clients know; but not the time,
//     which listings tell in milliseconds.
//   - A hostile storage may state what it likes. What is remembered of an object of SSE-S3
//     was authenticated for its bucket and key: its record was opened, or it was written
//     here. So a statement brings nothing of another object, and of the same one a state
//     that the storage could show with its old record, too.
//   - For plain objects, SSE-KMS and SSE-C nothing is shown but the storage's own ETag and a
//     size that follows from its own, or from a manifest. That an object is one of these is
//     the storage's word, as it is without a memory. It is believed for ten minutes, and
//     replaces nothing that a key vouches for.
//   - A write is known by ETag and size, and by two times between which it was stored. What
//     comes of it is believed for ten minutes, too: then a record says so.
//   - Nobody is told more: whether the storage lists the object to the caller, it says for
//     each page; whether the caller may use the KMS key, package keyring; and that the key
//     still opens what lies under it, a record of that bucket and key that is opened for each
//     page.
package listing

import (
	"context"
	"errors"
	"log/slog"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrServiceRights says that neither the caller nor the proxy may read what a listing
// needs.
var ErrServiceRights = errors.New("the proxy's own identity at MinIO may not read an object: see its policy in docs/configuration.md")

// Options are a Lister's dependencies and settings. All but Cache are required.
type Options struct {
	// Storage is where objects lie.
	Storage storage.Storage
	// Keys are the keys of objects, Objects the encrypted ones, and Manifests what the
	// system bucket has of them.
	Keys      *keyring.Ring
	Objects   *sealed.Objects
	Manifests *manifest.Store
	// Logger is told which objects cannot be opened.
	Logger *slog.Logger
	// Cache is how many bytes of memory may be used to remember objects; 0 remembers
	// none.
	Cache int64
}

// Lister lists objects. It is safe for concurrent use.
type Lister struct {
	o     Options
	cache *cache // nil for none
}

// New checks the options.
func New(o Options) (*Lister, error) {
	if o.Storage == nil || o.Keys == nil || o.Objects == nil || o.Manifests == nil || o.Logger == nil {
		return nil, errors.New("listing: incomplete options")
	}
	return &Lister{o, newCache(o.Cache)}, nil
}

// List asks for one page of a listing.
type List struct {
	Bucket string
	// Versions lists versions and delete markers, too.
	Versions bool
	// Parameters are those of storage.List.
	Parameters map[string]string
	// Owner asks for each object's owner, Metadata for its metadata and tags.
	Owner, Metadata bool
}

// Page is a page of a listing as clients know it.
type Page struct {
	// Page is the storage's page, in which sizes and ETags are the plaintext's. Names are
	// URL-encoded. The metadata of its entries may hold reserved names, and is there if
	// it was asked for.
	*storage.Page
	// Known is what else is known of each of Entries, in their order.
	Known []Known
}

// Known is what is known of a listed object besides its entry.
type Known struct {
	// Mode says how it is encrypted: sse.ModeNone for a plain object, and for one whose
	// record cannot be read.
	Mode sse.Mode
	// Encryption says how, where metadata was asked for and a record can be read; else nil.
	Encryption *sse.Encryption
	// Checksum is of the kind of its client's checksum, if the listing came across it. It
	// may lack the value.
	Checksum *sse.Checksum
}

// List returns one page of a listing, which the storage lets the caller have. An object
// that can never be opened is listed with the storage's size and ETag. What may pass fails
// the listing: key services, storage.ErrUnreachable. storage.ErrListing, ErrServiceRights.
func (s *Lister) List(ctx context.Context, c *caller.Caller, list *List) (*Page, error) {
	l := &listing{Lister: s, caller: c, list: list}
	s.o.Keys.Rekeyed().Ahead()
	if l.promising() {
		page, ok, err := l.recall(ctx)
		if ok || err != nil && !errors.Is(err, storage.ErrListing) {
			return page, err
		}
	}
	page, err := l.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if l.cache != nil { // the ids are of what the storage states
		if l.epoch, err = s.o.Keys.Rekeyed().Epoch(ctx, list.Bucket); err != nil {
			return nil, err
		}
		l.ids = l.cache.statements(list.Bucket, l.epoch, page.Entries)
		l.known = l.cache.get(list.Bucket, l.epoch, page.Entries, l.ids).n
	}
	entries, err := l.open(ctx, page)
	if err != nil {
		return nil, err
	}
	l.learn(ctx, page, entries)
	out := &Page{Page: page, Known: make([]Known, len(entries))}
	for i := range entries {
		out.Known[i] = entries[i].told(list.Metadata)
	}
	return out, nil
}

// listing is one listing on its way.
type listing struct {
	*Lister
	caller *caller.Caller
	list   *List
	grants grants
	// ids are those of the page's entries, of which so many were known before.
	ids   []statementID
	known int
	// epoch is the bucket's, from before its records were read.
	epoch uint64
	// completed are the entries whose metadata the proxy's own credential brought.
	completed map[version]bool
	// wraps are those of the page, nil if none was needed.
	wraps *keyring.Fetched
}

// as returns the storage as the caller sees it.
func (l *listing) as() storage.Backend { return l.o.Storage.As(l.caller.Actor) }

// own returns the storage under the proxy's own credential. What it tells may show only to
// whom the storage would have told it.
func (l *listing) own() storage.Backend { return l.o.Storage.Own(l.caller.Actor) }
