package listing_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// put stores an object through the engine, and returns what clients know of it.
func (s *shelf) put(key string, mode sse.Mode, data string) *vaulttest.Shelved {
	s.t.Helper()
	asked := encryption.Asked{Request: sse.Request{Mode: mode}}
	if mode == sse.ModeC {
		asked.CustomerKey = *s.Customer()
	}
	stored, err := s.Put(s.t.Context(), vaulttest.Caller("alice"), &vault.Put{
		Write: vault.Write{Name: vaulttest.Name(key), Asked: asked, Meta: storage.Metadata{}}, Size: int64(len(data)),
		Body: func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody([]byte(data)), nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := s.Storage.Raw(vaulttest.Name(key), "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.asked = len(s.calls.All())
	return &vaulttest.Shelved{Name: vaulttest.Name(key), Data: []byte(data), ETag: stored.ETag, Stored: `"` + raw.ETag + `"`}
}

func TestWhatWasWrittenIsListedWithoutMetadata(t *testing.T) {
	t.Parallel()
	for _, l := range []vault.List{{}, {Versions: true}} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
				i.Change = func(o *vaulttest.Options) { o.SmallObject = 100 }
			})
			var objects []*vaulttest.Shelved
			for i, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC} {
				for _, size := range []int{0, 10, 1000} { // the last has a manifest
					objects = append(objects, s.put(fmt.Sprintf("%d ü+/%04d", i, size), mode, string(vaulttest.Data(size, 1))))
				}
			}
			for range 2 {
				vaulttest.WantListed(t, s.list("alice", l), objects)
				s.took("plain")
			}
			// A write's time is not known exactly: this is looked at once more.
			time.Sleep(11 * time.Minute)
			vaulttest.WantListed(t, s.list("alice", l), objects)
			s.took("plain", "full")
		})
	}
}

// A copy of a copy has the ETag and the length of what was written, and another time.
func TestWhatWasWrittenIsNotListedForWhatCameAfter(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.put("k", sse.ModeS3, "data")
	s.rekeyElsewhere(o.Name)
	page := s.list("alice", vault.List{})
	if e := page.Entries[0]; e.ETag != o.Stored || page.Known[0].Mode != sse.ModeKMS {
		t.Errorf("listed with %s, mode %v; the storage has %s", e.ETag, page.Known[0].Mode, o.Stored)
	}
	s.took("plain", "full")
}

// Every write is listed at once, whatever was remembered of what it replaced.
func TestOwnWritesAreListed(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	for i := range 5 {
		for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS} {
			o := s.put("k", mode, fmt.Sprint("data ", i))
			vaulttest.WantListed(t, s.list("alice", vault.List{}), []*vaulttest.Shelved{o})
			s.took("plain")
		}
	}
}

// TestOpaqueETagsAreRemembered lists objects whose ETags follow from their records.
func TestOpaqueETagsAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
			i.Change = func(o *vaulttest.Options) { o.SmallObject, o.OpaqueETag = 100, glob.Patterns{"*"} }
		})
		var objects []*vaulttest.Shelved
		for _, size := range []int{0, 10, 1000} {
			objects = append(objects, s.put(fmt.Sprintf("%04d", size), sse.ModeS3, string(vaulttest.Data(size, 1))))
		}
		vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
		s.took("plain")
		time.Sleep(11 * time.Minute)
		vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
		s.took("plain", "full")
		vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
		s.took("plain")
	})
}
