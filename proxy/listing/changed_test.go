package listing_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// twoLooks are the listings for which the storage is asked more than once.
var twoLooks = []struct {
	name       string
	options    memory.Options
	unreadable bool // with metadata
	mayNotRead bool // of the caller
}{
	{name: "a storage whose listings are without metadata", options: memory.Options{Plain: true}},
	{name: "who may list and not read", mayNotRead: true},
	{name: "metadata that XML cannot carry", unreadable: true},
}

// eachTwoLooks runs a test for each of them, in a bucket that keeps versions or not.
func eachTwoLooks(t *testing.T, v memory.Versioning, test func(t *testing.T, s *shelf, meanwhile func(do func()))) {
	for _, look := range twoLooks {
		t.Run(look.name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, look.options, func(i *vaulttest.Installation) {
				i.Change = func(o *vaulttest.Options) { o.ListingCache = 0 } // what is known needs one look
			})
			if err := s.Storage.SetVersioning(vaulttest.Bucket, v); err != nil {
				t.Fatal(err)
			}
			if look.mayNotRead {
				s.Storage.SetRights(func(c *memory.Call) error {
					if c.Op == memory.Get && !c.Own {
						return memory.Forbidden()
					}
					return nil
				})
			}
			test(t, s, func(do func()) {
				var done atomic.Bool
				s.calls.Fail = func(c *memory.Call) error {
					list, ok := c.Request.(*storage.List)
					switch {
					case !ok || c.Own:
					case look.unreadable && list.Metadata:
						return fmt.Errorf("%w (a name that XML cannot carry)", storage.ErrListing)
					case c.Step == memory.Done && !done.Swap(true):
						s.Storage.Advance(2 * time.Second)
						do()
					}
					return nil
				}
			})
		})
	}
}

// wants holds what is listed against the objects, which may be plain whatever their names.
func (s *shelf) wants(what string, page *vault.Page, want ...*vaulttest.Shelved) {
	s.t.Helper()
	if len(page.Entries) != len(want) || len(page.Known) != len(want) {
		s.t.Fatalf("%s: %d entries, %d known; want %d", what, len(page.Entries), len(page.Known), len(want))
	}
	for i, o := range want {
		if e := &page.Entries[i]; unescaped(s.t, e.Key) != o.Name.Key || e.Size != int64(len(o.Data)) || e.ETag != o.ETag {
			s.t.Errorf("%s: %q is listed as %q of %d bytes with %s; it has %d and %s", what, o.Name.Key, e.Key, e.Size, e.ETag, len(o.Data), o.ETag)
		}
	}
}

// An object that is overwritten between the page and the look at its record is listed as what it
// is then: as the next listing has it.
func TestObjectsThatAreOverwrittenBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("large "), 20_000)
	eachTwoLooks(t, memory.Unversioned, func(t *testing.T, s *shelf, meanwhile func(func())) {
		a, z := s.PutStream(t, "a", sse.ModeS3, []byte("a"), false), s.PutStream(t, "z", sse.ModeKMS, []byte("z"), false)
		for kind, put := range map[string]func() *vaulttest.Shelved{
			"another":  func() *vaulttest.Shelved { return s.PutStream(t, "k", sse.ModeS3, []byte("some more"), false) },
			"late":     func() *vaulttest.Shelved { return s.PutStream(t, "k", sse.ModeS3, large, true) },
			"KMS":      func() *vaulttest.Shelved { return s.PutStream(t, "k", sse.ModeKMS, large, false) },
			"customer": func() *vaulttest.Shelved { return s.PutStream(t, "k", sse.ModeC, large, false) },
			"parts":    func() *vaulttest.Shelved { return s.PutParts(t, "k", sse.ModeS3, string(large), "end") },
			"plain": func() *vaulttest.Shelved {
				o := &vaulttest.Shelved{Name: vaulttest.Name("k"), Data: large}
				o.ETag = s.PutAsIs(t, o.Name, "", large)
				return o
			},
		} {
			s.PutStream(t, "k", sse.ModeS3, []byte("what was there"), false)
			var now *vaulttest.Shelved
			meanwhile(func() { now = put() })
			page := s.list("alice", vault.List{})
			s.wants(kind, page, a, now, z)
			next := s.list("alice", vault.List{})
			s.wants(kind+" once more", next, a, now, z)
			got, want := page.Entries[1], next.Entries[1]
			if second := len("2006-01-02T15:04:05"); got.LastModified[:second] != want.LastModified[:second] || got.StorageClass != want.StorageClass {
				t.Errorf("%s: listed as %+v, and then as %+v", kind, got, want)
			}
		}
	})
}

func TestObjectsThatAreDeletedBetweenTwoLooksAreLeftOut(t *testing.T) {
	t.Parallel()
	eachTwoLooks(t, memory.Unversioned, func(t *testing.T, s *shelf, meanwhile func(func())) {
		var all []*vaulttest.Shelved
		for _, key := range []string{"a", "b", "c", "d"} {
			all = append(all, s.PutStream(t, key, sse.ModeS3, []byte(key), false))
		}
		remove := func(names ...string) func() {
			return func() {
				for _, key := range names {
					if _, err := s.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: vaulttest.Name(key)}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		meanwhile(remove("a"))
		page := s.list("alice", vault.List{Parameters: map[string]string{"max-keys": "2"}})
		s.wants("the first page", page, all[1])
		if page.KeyCount != "1" || !page.Truncated || page.NextToken == "" || page.MaxKeys != "2" {
			t.Errorf("%+v", page.Page)
		}
		behind := map[string]string{"max-keys": "2", "continuation-token": page.NextToken}
		meanwhile(remove("c", "d"))
		page = s.list("alice", vault.List{Parameters: behind})
		s.wants("the last page", page)
		if page.KeyCount != "0" || page.Truncated {
			t.Errorf("%+v", page.Page)
		}
	})
}

func TestVersionsThatChangeBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	versions := vault.List{Versions: true}
	put := func(t *testing.T, s *shelf, text string) *vaulttest.Shelved {
		return s.PutStream(t, "k", sse.ModeS3, []byte(text), false)
	}
	become := func(t *testing.T, s *shelf, v memory.Versioning) {
		t.Helper()
		if err := s.Storage.SetVersioning(vaulttest.Bucket, v); err != nil {
			t.Fatal(err)
		}
	}
	eachTwoLooks(t, memory.Versioned, func(t *testing.T, s *shelf, meanwhile func(func())) {
		old := put(t, s, "old")
		current := put(t, s, "current")
		meanwhile(func() { put(t, s, "one more version") })
		page := s.list("alice", versions)
		s.wants("a version is added", page, current, old)

		meanwhile(func() {
			last := page.Entries[1]
			if _, err := s.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: old.Name, Version: last.VersionID}); err != nil {
				t.Fatal(err)
			}
		})
		if page := s.list("alice", versions); len(page.Entries) != 2 || page.Entries[1].ETag != current.ETag {
			t.Errorf("a version is removed: %+v", page.Entries)
		}
	})
	eachTwoLooks(t, memory.Unversioned, func(t *testing.T, s *shelf, meanwhile func(func())) {
		put(t, s, "null")
		var now *vaulttest.Shelved
		meanwhile(func() { now = put(t, s, "null, and longer") })
		s.wants("the latest version is the null version, and written anew", s.list("alice", versions), now)

		become(t, s, memory.Versioned)
		latest := put(t, s, "the latest")
		become(t, s, memory.Suspended)
		meanwhile(func() { put(t, s, "null, and the latest") })
		page := s.list("alice", versions)
		s.wants("the null version is written anew and is the latest now", page, latest)
	})
}

// A take-over changes what a version is, and neither its place nor its age.
func TestVersionsThatAreTakenOverBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	eachTwoLooks(t, memory.Unversioned, func(t *testing.T, s *shelf, meanwhile func(func())) {
		name, own := vaulttest.Name("k"), s.Storage.Own(storage.Actor{})
		sealed := s.PutStream(t, "k", sse.ModeS3, []byte("from before"), false)
		raw, err := s.Storage.Raw(name, "")
		if err != nil {
			t.Fatal(err)
		}
		s.PutAsIs(t, name, "", sealed.Data)
		plain := s.list("alice", vault.List{Versions: true}).Entries[0]
		modified, err := time.Parse(time.RFC3339, plain.LastModified)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
			t.Fatal(err)
		}
		latest := s.PutStream(t, "k", sse.ModeS3, []byte("the latest"), false)
		meanwhile(func() {
			if _, err := own.Put(t.Context(), &storage.Put{
				Name: name, Record: raw.Reserved[0].Value, Instead: &storage.Instead{Version: "null", Modified: modified},
				Body: storage.Body{Reader: bytes.NewReader(raw.Data), Length: int64(len(raw.Data))},
			}); err != nil {
				t.Fatal(err)
			}
		})
		page := s.list("alice", vault.List{Versions: true})
		s.wants("taken over", page, latest, sealed)
		if e := page.Entries[1]; page.Known[1].Mode != sse.ModeS3 || e.LastModified != plain.LastModified || e.IsLatest != "false" || e.VersionID != "null" {
			t.Errorf("listed as %+v, %+v", e, page.Known[1])
		}
	})
}
