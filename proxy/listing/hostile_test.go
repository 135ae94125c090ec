package listing_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/listing"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// liar is a storage that changes pages before it answers them. full says that they were
// asked for with metadata.
type liar struct {
	storage.Storage
	lie  func(p *storage.Page, full bool)
	full int // pages that were asked for with metadata
}

// As implements storage.Storage.
func (l *liar) As(a storage.Actor) storage.Backend { return &liesOf{l.Storage.As(a), l} }

type liesOf struct {
	storage.Backend
	*liar
}

// List implements storage.Backend.
func (l *liesOf) List(ctx context.Context, list *storage.List) (*storage.Page, error) {
	page, err := l.Backend.List(ctx, list)
	if err == nil && l.lie != nil {
		l.lie(page, list.Metadata)
	}
	if list.Metadata {
		l.full++
	}
	return page, err
}

// hostile is a bucket at a liar's, with two objects of one size.
type hostile struct {
	*vaulttest.Shelf
	*liar
	t    *testing.T
	list *listing.Lister
	a, b *vaulttest.Shelved
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	var keys *keyring.Ring
	h := &hostile{t: t, Shelf: vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		i.Change = func(o *vaulttest.Options) { keys = o.Keys }
	})}
	h.liar = &liar{Storage: h.Shelf.Storage}
	quiet := slog.New(slog.DiscardHandler)
	objects, err := sealed.New(sealed.Options{Storage: h.liar, Keys: keys, Manifests: h.Manifests, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	h.list, err = listing.New(listing.Options{Storage: h.liar, Keys: keys, Objects: objects, Manifests: h.Manifests, Logger: quiet, Cache: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	h.a, h.b = h.PutStream(t, "a", sse.ModeS3, []byte("one"), false), h.PutStream(t, "b", sse.ModeS3, []byte("two"), false)
	h.want(h.a.ETag, h.b.ETag)
	return h
}

// want lists the bucket and holds that it shows these ETags, with three bytes each.
func (h *hostile) want(etags ...string) {
	h.t.Helper()
	page, err := h.list.List(h.t.Context(), vaulttest.Caller("alice"), &listing.List{Bucket: vaulttest.Bucket})
	if err != nil {
		h.t.Fatal(err)
	}
	var got []string
	for _, e := range page.Entries {
		got = append(got, e.ETag)
		if e.Size != 3 && e.ETag != h.a.Stored && e.ETag != h.b.Stored {
			h.t.Errorf("%q is listed with %d bytes and %s", e.Key, e.Size, e.ETag)
		}
	}
	if !slices.Equal(got, etags) {
		h.t.Errorf("listed with %q, want %q", got, etags)
	}
}

// What the storage states of one object brings nothing that is remembered of another.
func TestAnotherObjectsStatementRecallsNothing(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(a, b *storage.Entry){
		"another ETag": func(a, b *storage.Entry) { a.ETag, b.ETag = b.ETag, a.ETag },
		"another time": func(a, _ *storage.Entry) { a.LastModified = "2001-01-01T00:00:00.000Z" },
		"all but the name": func(a, b *storage.Entry) {
			a.ETag, b.ETag, a.LastModified, b.LastModified = b.ETag, a.ETag, b.LastModified, a.LastModified
		},
	} {
		h := newHostile(t)
		before := h.full
		h.lie = func(p *storage.Page, _ bool) { lie(&p.Entries[0], &p.Entries[1]) }
		h.want(h.a.ETag, h.b.ETag) // what the records say, which are authentic for their names
		if h.full == before {
			t.Errorf("%s: no record was looked at", name)
		}
	}
}

func TestNamesThatAreExchangedOpenNothing(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.lie = func(p *storage.Page, _ bool) {
		p.Entries[0].Key, p.Entries[1].Key = p.Entries[1].Key, p.Entries[0].Key
	}
	for range 3 {
		h.want(h.a.Stored, h.b.Stored)
	}
	h.lie = nil // and taught nothing
	h.want(h.a.ETag, h.b.ETag)
}

// An older state can be shown, as it can with its record; but whole.
func TestOldStatementsShowAnOldStateOfTheSameObject(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	old, err := h.Storage.As(storage.Actor{}).List(t.Context(), &storage.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	stated, was := old.Entries[0], h.a
	time.Sleep(2 * time.Millisecond) // a listing's times are in milliseconds
	h.a = h.PutStream(t, "a", sse.ModeS3, []byte("new"), false)
	h.want(h.a.ETag, h.b.ETag)
	h.lie = func(p *storage.Page, full bool) {
		if !full {
			p.Entries[0] = stated
		}
	}
	h.want(was.ETag, h.b.ETag)

	// The ETag of the old state, and all else of the new one, is of neither.
	h.lie = func(p *storage.Page, _ bool) { p.Entries[0].ETag = stated.ETag }
	h.want(h.a.ETag, h.b.ETag)
}

// Two states that are stated alike show what was proven last, which is one of them.
func TestStatesThatAreStatedAlikeShowOneOfThem(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	was := h.a
	alike := func(p *storage.Page, _ bool) {
		p.Entries[0].ETag, p.Entries[0].LastModified = was.Stored, "2026-01-01T00:00:00.000Z"
	}
	h.lie = alike
	h.want(was.ETag, h.b.ETag)
	h.a = h.PutStream(t, "a", sse.ModeS3, []byte("new"), false)
	h.want(was.ETag, h.b.ETag)
	h.lie = nil
	h.want(h.a.ETag, h.b.ETag)
}

// A record that is withheld is not believed to be away where it was seen, and elsewhere not
// for long.
func TestRecordsThatAreWithheldAreNotForgotten(t *testing.T) {
	t.Parallel()
	withhold := func(p *storage.Page, full bool) {
		for i := range p.Entries {
			if full {
				p.Entries[i].Metadata = nil
			} else {
				p.Entries[i].StorageClass = "" // what is not remembered by
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHostile(t)
		h.lie = func(p *storage.Page, full bool) {
			withhold(p, full)
			if !full {
				p.Entries[0].LastModified = "2001-01-01T00:00:00.000Z" // so that it is asked again
			}
		}
		h.want(h.a.Stored, h.b.Stored)
		h.lie = nil
		h.want(h.a.ETag, h.b.ETag)

		h.a = h.PutStream(t, "a", sse.ModeS3, []byte("new"), false)
		h.lie = withhold
		h.want(h.a.Stored, h.b.Stored) // what is planted is listed as it lies
		h.lie = nil
		time.Sleep(11 * time.Minute)
		h.want(h.a.ETag, h.b.ETag)
	})
}

// A length that the record contradicts is listed as it is stated, and not remembered.
func TestLengthsThatARecordContradictsTeachNothing(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.lie = func(p *storage.Page, _ bool) { p.Entries[0].Size += 7 }
	for range 2 {
		h.want(h.a.Stored, h.b.ETag)
	}
	h.lie = nil
	h.want(h.a.ETag, h.b.ETag)
}
