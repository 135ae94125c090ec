package listing

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// entry is an entry of a listing with what the engine knows of it.
type entry struct {
	*storage.Entry
	record *sse.Record // nil for a plain object
	// sealing and as are how its key is sealed; nil and zero where that is not known.
	sealing *keyring.Sealing
	as      sse.Encryption
	stored  string // upstream's ETag
	name    sse.Name
	facts   sse.Facts
	// known says that the facts are those of the object, late that its manifest has them
	// and is to be read.
	known, late bool
	shown       bool // the caller may see the ETag that the facts give
	// complete says that all metadata came with the statement of size, ETag and time;
	// failed that something of the object cannot be read.
	complete, failed bool
	// restored says that the manifest was found by the data: it may be doubted.
	restored bool
}

// told is what clients may know besides the entry.
func (e *entry) told(record bool) Known {
	known := Known{Checksum: e.facts.Checksum}
	if e.record != nil {
		known.Mode = e.as.Mode
	}
	if record && e.sealing != nil {
		known.Encryption = &e.as
	}
	return known
}

func (e *entry) ref() manifest.Ref { return sealed.Ref(e.name, e.record, e.stored) }

// open replaces upstream's sizes and ETags by those the client knows. An entry
// whose record or manifest can never be opened keeps upstream's: one bad object
// must not make a whole listing fail. What may pass fails the listing, and what the proxy
// itself is refused, since clients compare sizes and ETags, and copy or delete where they differ.
func (l *listing) open(ctx context.Context, page *storage.Page) ([]entry, error) {
	entries, err := l.openRecords(ctx, page)
	if err != nil {
		return nil, err
	}
	if err := l.readManifests(ctx, entries); err != nil {
		return nil, err
	}
	for i := range entries {
		if e := &entries[i]; e.known && e.shown {
			e.ETag = sealed.ETag(e.record, &e.facts, e.stored)
		}
	}
	return entries, nil
}

// readManifests reads those that the entries need, together.
func (l *listing) readManifests(ctx context.Context, entries []entry) error {
	var refs []manifest.Ref
	for i := range entries {
		if e := &entries[i]; e.late {
			refs = append(refs, e.ref())
		}
	}
	if len(refs) == 0 {
		return nil
	}
	found, failed := l.o.Manifests.GetMany(ctx, refs, l.storedOf(entries))
	for i := range entries {
		e := &entries[i]
		if !e.late {
			continue
		}
		ref := e.ref()
		if err := failed[ref]; fails(err) {
			return fmt.Errorf("manifest of %q: %w", e.Key, err)
		} else if err != nil {
			l.warn(ctx, e, err)
			e.failed = true
			continue
		}
		e.facts, e.known = found[ref], true
		if own := l.o.Objects.OwnETag(ref, e.stored); own != e.stored {
			e.stored, e.restored = own, true
			if !e.record.MD5ETag() {
				e.ETag = sealed.ETag(e.record, nil, own)
			}
		}
		if e.record.Layout != sse.OneStream {
			e.Size = e.facts.PlainSize
		}
	}
	return nil
}

// storedOf says what upstream has of the objects of a page.
func (l *listing) storedOf(entries []entry) func(manifest.Ref) manifest.Data {
	data := make(map[manifest.Ref]manifest.Data)
	for i := range entries {
		if e := &entries[i]; e.late && e.record.Layout == sse.Uploaded { // else its name holds no ETag
			data[e.ref()] = l.o.Objects.StoredData(e.name, e.VersionID, e.stored, e.Size)
		}
	}
	return func(ref manifest.Ref) manifest.Data { return data[ref] }
}

// fails says whether an error is the listing's, and not that of an object which cannot be opened:
// it may pass, or is about the proxy's own credential.
func fails(err error) bool { return sealed.MayPass(err) || storage.OwnRefused(err) }

// openers bounds the records of one listing that are opened at a time.
const openers = 8

// openRecords opens what of each entry lies in its record. After the first error
// that may pass, nothing more is asked.
func (l *listing) openRecords(ctx context.Context, page *storage.Page) ([]entry, error) {
	entries := make([]entry, len(page.Entries))
	read := func(i int) error {
		e := &entries[i]
		e.Entry, e.stored = &page.Entries[i], page.Entries[i].ETag
		e.complete = e.HasMetadata || l.completed[versionOf(e.Entry)]
		return l.readRecord(e)
	}
	if err := l.each(ctx, entries, read); err != nil {
		return entries, err
	}
	if err := l.findSealings(ctx, entries); err != nil {
		return entries, err
	}
	if err := l.fetchWraps(ctx, entries); err != nil {
		return entries, err
	}
	return entries, l.each(ctx, entries, func(i int) error { return l.openRecord(ctx, &entries[i]) })
}

// each does something with each entry that has not failed, some at a time. The error is the
// first that may pass; others are the entry's own.
func (l *listing) each(ctx context.Context, entries []entry, do func(i int) error) error {
	var next atomic.Int64
	var group errgroup.Group
	for range min(openers, len(entries)) {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(entries)); i = next.Add(1) - 1 {
				e := &entries[i]
				if e.failed {
					continue
				}
				err := do(int(i))
				if fails(err) {
					next.Store(int64(len(entries)))
					return fmt.Errorf("open %q: %w", e.Key, err)
				}
				if err != nil {
					l.warn(ctx, e, err)
					e.failed = true
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// findSealings finds out how the keys of the page's objects are sealed: with one request for
// all that may have been re-keyed, and with none if none may.
func (l *listing) findSealings(ctx context.Context, entries []entry) error {
	of := make([]keyring.RecordOf, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; e.record != nil && !e.failed {
			of = append(of, keyring.RecordOf{Name: e.name, Record: e.record})
		}
	}
	if err := l.o.Keys.Rekeyed().Prepare(ctx, l.list.Bucket, of); err != nil {
		return err
	}
	return l.each(ctx, entries, func(i int) (err error) {
		e := &entries[i]
		if e.record == nil {
			return nil
		}
		if e.record.Layout == sse.OneStream {
			e.Size = e.record.PlainSize // whatever comes of its key
		}
		if e.sealing, err = l.o.Keys.Sealing(ctx, e.name, e.record); err != nil {
			return err
		}
		e.as = e.sealing.Encryption()
		return nil
	})
}

// fetchWraps reads what re-wraps wrote about the page, with one request, if a version of a
// KMS key that an entry's record names is gone.
func (l *listing) fetchWraps(ctx context.Context, entries []entry) error {
	seen := make(map[under]bool)
	first, last := "", ""
	for i := range entries {
		e := &entries[i]
		if e.record == nil || e.failed || !e.record.MD5ETag() {
			continue
		}
		if first == "" {
			first = e.name.Key
		}
		first, last = min(first, e.name.Key), max(last, e.name.Key)
	}
	for i := range entries {
		e := &entries[i]
		if e.record == nil || e.failed || !e.record.MD5ETag() {
			continue
		}
		if seen[underOf(&e.as)] {
			continue
		}
		seen[underOf(&e.as)] = true
		grant, err := l.grants.of(ctx, l, &e.as)
		if err != nil {
			continue // openRecord says so
		}
		if l.wraps, err = grant.Fetch(ctx, e.sealing, first, last); l.wraps != nil || err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) warn(ctx context.Context, e *entry, err error) {
	l.o.Logger.WarnContext(ctx, "listing: object cannot be opened", "id", l.caller.RequestID,
		"bucket", l.list.Bucket, "key", e.Key, "error", err)
}

// openRecord says what an entry's record tells of it: all, or that a manifest has it.
func (l *listing) openRecord(ctx context.Context, e *entry) error {
	rec := e.record
	if rec == nil {
		return nil
	}
	var grant keyring.Grant
	switch {
	case rec.MD5ETag():
		var err error
		grant, err = l.grants.of(ctx, l, &e.as)
		if sealed.MayPass(err) {
			return err
		}
		e.shown = err == nil
	case rec.OpaqueETag: // it follows from the record, whatever the caller may open
		e.ETag = sealed.ETag(rec, nil, e.stored)
	}
	if rec.Layout != sse.OneStream {
		e.late = sealed.NeedsManifest(rec, false) // it has size and ETag
		e.known = !e.late
		return nil
	}
	e.Size = rec.PlainSize
	if !e.shown {
		return nil
	}
	object, private, err := l.wraps.Open(ctx, grant, e.sealing)
	if err != nil {
		return err
	}
	object.Zero()
	e.facts, e.late = private.Facts, sealed.NeedsManifest(rec, false)
	e.known = !e.late
	return nil
}

// readRecord finds an entry's record, none in a plain object's.
func (l *listing) readRecord(e *entry) error {
	text := ""
	for _, m := range e.Metadata {
		if !storage.IsReserved(m.Name) {
			continue
		}
		if text != "" || m.Name != storage.RecordName {
			return fmt.Errorf("more than one record, or one of another name: %w", sse.ErrRecord)
		}
		text = m.Value
	}
	if text == "" {
		return nil
	}
	rec, err := sse.ParseRecord(text)
	if err != nil {
		return err
	}
	if rec.Layout == sse.OneStream && sse.EncSize(rec.PlainSize) != e.Size {
		return fmt.Errorf("listed with %d bytes: %w", e.Size, storage.ErrLied)
	}
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	e.record, e.name = rec, objectname.Listed(l.list.Bucket, key)
	return nil
}

// grants are the caller's rights to open the records of one page, each asked for once. The
// zero value is ready.
type grants struct {
	mu    sync.Mutex
	known map[grantOf]grantOrError
}

type grantOf struct {
	mode   sse.Mode
	kmsKey string
}

type grantOrError struct {
	keyring.Grant
	err error
}

func (g *grants) of(ctx context.Context, l *listing, as *sse.Encryption) (keyring.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	about := grantOf{as.Mode, as.KMSKey}
	given, ok := g.known[about]
	if !ok {
		given.Grant, given.err = l.o.Keys.MayOpen(ctx, l.caller.Keys, l.list.Bucket, *as)
		if g.known == nil {
			g.known = make(map[grantOf]grantOrError)
		}
		g.known[about] = given
	}
	return given.Grant, given.err
}
