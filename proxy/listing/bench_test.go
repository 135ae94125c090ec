package listing_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/listing"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// fixed is a storage that answers the same page every time.
type fixed struct {
	storage.Storage
	storage.Backend
	page storage.Page
}

// As implements storage.Storage.
func (f *fixed) As(storage.Actor) storage.Backend { return f }

// List implements storage.Backend.
func (f *fixed) List(context.Context, *storage.List) (*storage.Page, error) {
	page := f.page
	page.Entries = slices.Clone(page.Entries)
	return &page, nil
}

// BenchmarkPage is a page of 1,000 objects, without what the storage costs: cold, where every
// record is opened, and warm.
func BenchmarkPage(b *testing.B) {
	for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS} {
		for _, cache := range []int64{0, 1 << 20} {
			b.Run(fmt.Sprintf("%v/cache %d", mode, cache), func(b *testing.B) {
				var keys *keyring.Ring
				s := vaulttest.NewShelf(b, memory.Options{}, func(i *vaulttest.Installation) {
					i.Change = func(o *vaulttest.Options) { keys = o.Keys }
				})
				for i := range 1000 {
					s.PutStream(b, fmt.Sprintf("directory/%04d", i), mode, []byte("data"), false)
				}
				page, err := s.Storage.As(storage.Actor{}).List(b.Context(), &storage.List{Bucket: vaulttest.Bucket, Metadata: true})
				if err != nil {
					b.Fatal(err)
				}
				at := &fixed{Storage: s.Storage, page: *page}
				quiet := slog.New(slog.DiscardHandler)
				objects, err := sealed.New(sealed.Options{Storage: at, Keys: keys, Manifests: s.Manifests, Logger: quiet})
				if err != nil {
					b.Fatal(err)
				}
				list, err := listing.New(listing.Options{Storage: at, Keys: keys, Objects: objects, Manifests: s.Manifests, Logger: quiet, Cache: cache})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := list.List(b.Context(), vaulttest.Caller("alice"), &listing.List{Bucket: vaulttest.Bucket}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
