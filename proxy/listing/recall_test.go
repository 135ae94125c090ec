package listing_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// shelf has objects, and is told how each page was asked for.
type shelf struct {
	*vaulttest.Shelf
	t     testing.TB
	calls *vaulttest.Calls
	asked int // calls that were looked at
}

func newShelf(t testing.TB, o memory.Options, change func(*vaulttest.Installation)) *shelf {
	t.Helper()
	s := &shelf{Shelf: vaulttest.NewShelf(t, o, change), t: t}
	s.calls = s.Watch(vaulttest.Bucket, nil)
	return s
}

// list returns a page as a caller sees it.
func (s *shelf) list(who string, l vault.List) *vault.Page {
	s.t.Helper()
	l.Bucket = vaulttest.Bucket
	page, err := s.List(s.t.Context(), vaulttest.Caller(who), &l)
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// took holds how the storage was asked for pages since it was last called: "plain", or
// "full" with metadata; other calls by their names.
func (s *shelf) took(want ...string) {
	s.t.Helper()
	all := s.calls.All()
	var got []string
	for _, c := range all[s.asked:] {
		list, ok := c.Request.(*storage.List)
		switch {
		case !ok:
			got = append(got, string(c.Op))
		case list.Metadata:
			got = append(got, "full")
		default:
			got = append(got, "plain")
		}
	}
	s.asked = len(all)
	if !slices.Equal(got, want) {
		s.t.Errorf("asked by %q, want %q", got, want)
	}
}

// warm lists until everything is known.
func (s *shelf) warm(l vault.List) {
	s.t.Helper()
	s.list("alice", l)
	s.took("full")
}

// rekeyElsewhere has another proxy put a copy of an object's copy in its place, of SSE-KMS and of
// the same ciphertext.
func (s *shelf) rekeyElsewhere(name sse.Name) {
	s.t.Helper()
	time.Sleep(2 * time.Millisecond) // a listing's times are in milliseconds
	elsewhere, other := s.Installation.Engine(s.t), sse.Name{Bucket: name.Bucket, Key: "z" + name.Key}
	for _, step := range []struct {
		from, to sse.Name
		mode     sse.Mode
	}{{name, other, sse.ModeS3}, {other, name, sse.ModeKMS}} {
		if _, err := elsewhere.Copy(s.t.Context(), vaulttest.Caller("alice"), &vault.Copy{
			Write:  vault.Write{Name: step.to, Asked: encryption.Asked{Request: sse.Request{Mode: step.mode}}},
			Source: vault.Read{Name: step.from}, Changes: true,
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.asked = len(s.calls.All())
}

// oneOfEach puts an object of each kind there, in the order of their keys.
func (s *shelf) oneOfEach() []*vaulttest.Shelved {
	small, large := []byte("small"), bytes.Repeat([]byte("large "), 20_000)
	plain := &vaulttest.Shelved{Name: vaulttest.Name("a plain"), Data: small}
	plain.Stored = s.PutAsIs(s.t, plain.Name, "", small)
	plain.ETag = plain.Stored
	objects := []*vaulttest.Shelved{
		plain,
		s.PutStream(s.t, "b/s3 ü+", sse.ModeS3, small, false), s.PutStream(s.t, "c/empty", sse.ModeS3, nil, false),
		s.PutStream(s.t, "d/late", sse.ModeS3, large, true), s.PutStream(s.t, "e/kms", sse.ModeKMS, large, false),
		s.PutStream(s.t, "f/c", sse.ModeC, small, false), s.PutParts(s.t, "g/parts", sse.ModeS3, string(large), "end"),
		s.PutParts(s.t, "h/parts of kms", sse.ModeKMS, "one", "two"), s.PutParts(s.t, "i/parts of c", sse.ModeC, "", "two"),
	}
	s.asked = len(s.calls.All())
	return objects
}

func TestWhatWasListedIsListedAgainWithoutMetadata(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]vault.List{
		"objects": {}, "with their owner": {Owner: true}, "versions": {Versions: true},
		"below a prefix": {Parameters: map[string]string{"prefix": "", "delimiter": ":"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, memory.Options{}, nil)
			objects := s.oneOfEach()
			first := s.list("alice", l)
			s.took("full")
			for range 2 {
				page := s.list("alice", l)
				s.took("plain")
				vaulttest.WantListed(t, page, objects)
				for i := range page.Known {
					if page.Known[i].Mode != first.Known[i].Mode || (page.Known[i].Checksum == nil) != (first.Known[i].Checksum == nil) {
						t.Errorf("%s: %+v, at first %+v", page.Entries[i].Key, page.Known[i], first.Known[i])
					}
					first.Entries[i].Metadata, first.Entries[i].HasMetadata = nil, false
					first.Entries[i].InternalK, first.Entries[i].InternalM, first.Entries[i].UserTags = "", "", ""
				}
				if !reflect.DeepEqual(page.Page, first.Page) {
					t.Errorf("%+v, at first %+v", page.Page, first.Page)
				}
			}
		})
	}
}

func TestMetadataIsAskedForWhereTheClientWantsIt(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	s.oneOfEach()
	s.warm(vault.List{})
	page := s.list("alice", vault.List{Metadata: true})
	s.took("full")
	if page.Known[1].Encryption == nil || !page.Entries[1].HasMetadata {
		t.Errorf("%+v, %+v", page.Entries[1], page.Known[1])
	}
}

func TestWhatIsNewIsListedAtOnce(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	objects := s.oneOfEach()
	s.warm(vault.List{})
	objects[1] = s.PutStream(t, objects[1].Name.Key, sse.ModeS3, []byte("small"), false) // the same size
	objects[4] = s.PutStream(t, objects[4].Name.Key, sse.ModeS3, []byte("of another mode"), true)
	objects = append(objects, s.PutParts(t, "new", sse.ModeKMS, "1", "2"))
	s.asked = len(s.calls.All())
	vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
	s.took("plain", "full")
	vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
	s.took("plain")
}

// A copy of an object's copy keeps what the storage states of it, but for the time.
func TestCopiesOfCopiesUnderAnotherModeAreListed(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutStream(t, "k", sse.ModeS3, []byte("data"), false)
	s.asked = len(s.calls.All())
	s.warm(vault.List{})
	s.rekeyElsewhere(o.Name)
	page := s.list("alice", vault.List{})
	if e := page.Entries[0]; e.ETag != o.Stored || page.Known[0].Mode != sse.ModeKMS {
		t.Errorf("listed with %s, mode %v; the storage has %s", e.ETag, page.Known[0].Mode, o.Stored)
	}
	s.took("plain", "full")
}

// What is remembered is told to nobody who would not be told otherwise.
func TestWhatIsRememberedIsForThoseWhoMayUseTheKey(t *testing.T) {
	t.Parallel()
	rights := &vaulttest.Rights{}
	s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) { i.Rights = rights })
	objects := s.oneOfEach()
	s.warm(vault.List{})
	before := rights.Asked.Load()
	vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
	s.took("plain")
	if n := rights.Asked.Load() - before; n != 1 {
		t.Errorf("rights were asked for %d times", n)
	}
	for _, who := range []string{"", "mallory"} { // nobody, and one without the right
		rights.Judge = func(string) error { return identity.ErrNotAllowed }
		page := s.list(who, vault.List{})
		s.took("plain")
		cold, err := s.Installation.Engine(t).List(t.Context(), vaulttest.Caller(who), &vault.List{Bucket: vaulttest.Bucket})
		if err != nil {
			t.Fatal(err)
		}
		s.asked = len(s.calls.All())
		for i, o := range objects {
			if e := page.Entries[i]; e.ETag != o.Stored || e.ETag != cold.Entries[i].ETag || e.Size != cold.Entries[i].Size ||
				(page.Known[i].Checksum == nil) != (cold.Known[i].Checksum == nil) {
				t.Errorf("%q sees %q as %d bytes with %s", who, e.Key, e.Size, e.ETag)
			}
		}
	}
	rights.Judge = func(string) error { return identity.ErrUnavailable }
	if _, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket}); !errors.Is(err, identity.ErrUnavailable) {
		t.Errorf("nobody can tell who it is: %v", err)
	}
}

// What somebody without the right lists teaches nothing about SSE-S3.
func TestWhoMayNotUseTheKeyTeachesNothing(t *testing.T) {
	t.Parallel()
	rights := &vaulttest.Rights{Judge: func(string) error { return identity.ErrNotAllowed }}
	s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) { i.Rights = rights })
	o := s.PutStream(t, "k", sse.ModeS3, []byte("data"), false)
	s.list("mallory", vault.List{})
	rights.Judge = nil
	vaulttest.WantListed(t, s.list("alice", vault.List{}), []*vaulttest.Shelved{o})
}

func TestWhoMayNotListLearnsNothingOfWhatIsRemembered(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	s.oneOfEach()
	s.warm(vault.List{})
	s.Storage.SetRights(func(c *memory.Call) error {
		if !c.Own {
			return memory.Forbidden()
		}
		return nil
	})
	if page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket}); !errors.Is(err, storage.ErrForbidden) {
		t.Errorf("%+v, %v", page, err)
	}
}

// A key that is gone, or another one now, is found out as it is without a memory.
func TestKeysThatAreGoneAreNoticed(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		s := newShelf(t, memory.Options{}, nil)
		objects := s.oneOfEach()
		s.warm(vault.List{})
		if err := s.KMS.DeleteKey(t.Context(), "s3"); err != nil {
			t.Fatal(err)
		}
		if again {
			if err := s.KMS.CreateKey(t.Context(), "s3"); err != nil {
				t.Fatal(err)
			}
		}
		page := s.list("alice", vault.List{})
		s.took("plain", "full")
		for i, o := range objects {
			if e := page.Entries[i]; i != 6 && e.ETag != o.Stored { // 6 is in a manifest
				t.Errorf("%v: %q is listed with %s", again, e.Key, e.ETag)
			}
		}
		s.list("alice", vault.List{})
		s.took("full")
	}
}

func TestAKeyServiceThatIsAwayFailsWhatIsRememberedToo(t *testing.T) {
	t.Parallel()
	var failing failingKMS
	s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		failing.Service, i.KMS = i.KMS, &failing
	})
	s.oneOfEach()
	s.warm(vault.List{})
	failing.err = kms.ErrUnavailable
	if page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket}); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("%+v, %v", page, err)
	}
	s.took("plain")
}

// What no key vouches for is looked at again after a while; the rest is not.
func TestWhatNoKeyVouchesForIsBelievedForAWhile(t *testing.T) {
	t.Parallel()
	for _, mode := range []sse.Mode{sse.ModeNone, sse.ModeS3, sse.ModeKMS, sse.ModeC} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(t, memory.Options{}, nil)
			if mode == sse.ModeNone {
				s.PutAsIs(t, vaulttest.Name("k"), "", []byte("data"))
			} else {
				s.PutStream(t, "k", mode, []byte("data"), false)
			}
			s.asked = len(s.calls.All())
			s.warm(vault.List{})
			time.Sleep(9 * time.Minute)
			s.list("alice", vault.List{})
			s.took("plain")
			time.Sleep(2 * time.Minute)
			s.list("alice", vault.List{})
			if mode == sse.ModeS3 {
				s.took("plain")
			} else {
				s.took("plain", "full")
			}
		})
	}
}

// Of a bucket that nobody listed, no page is asked for twice; nor of one that was, later.
func TestColdPagesAreAskedForOnce(t *testing.T) {
	t.Parallel()
	for _, l := range []vault.List{{}, {Versions: true}} {
		s := newShelf(t, memory.Options{}, nil)
		for i := range 7 {
			s.PutStream(t, fmt.Sprintf("key %d", i), sse.ModeS3, []byte("data"), false)
		}
		s.asked = len(s.calls.All())
		walk := func(want string) {
			l.Parameters = map[string]string{"max-keys": "3"}
			for range 3 {
				page := s.list("alice", l)
				s.took(want)
				if l.Versions {
					l.Parameters["key-marker"], l.Parameters["version-id-marker"] = unescaped(t, page.NextKeyMarker), page.NextVersionMarker
				} else {
					l.Parameters["continuation-token"] = page.NextToken
				}
			}
		}
		walk("full")
		walk("plain")
	}
}

// An object that cannot be opened does not make its page cost two requests for ever.
func TestPagesOfWhatCannotBeOpenedAreAskedForOnce(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	good, bad := s.PutStream(t, "a", sse.ModeS3, []byte("a"), false), s.PutStream(t, "b", sse.ModeS3, []byte("b"), false)
	if err := s.Storage.Alter(bad.Name, "", func(o *memory.Stored) { o.Reserved[0].Value = "none" }); err != nil {
		t.Fatal(err)
	}
	s.asked = len(s.calls.All())
	for range 3 {
		page := s.list("alice", vault.List{})
		s.took("full")
		if page.Entries[0].ETag != good.ETag || page.Entries[1].ETag != bad.Stored {
			t.Errorf("%+v", page.Entries)
		}
	}
}

func TestNothingIsRememberedWithoutMemory(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		i.Change = func(o *vaulttest.Options) { o.ListingCache = 0 }
	})
	objects := s.oneOfEach()
	for range 2 {
		vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
		s.took("full")
	}
}

// A memory that is too small for a bucket is right all the same.
func TestASmallMemoryIsRight(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		i.Change = func(o *vaulttest.Options) { o.ListingCache = 5 * 128 }
	})
	objects := s.oneOfEach()
	for range 4 {
		vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
	}
}

// An object whose manifest was found by its data is looked at each time: the manifest may
// be a rival's.
func TestRestoredObjectsAreNotRemembered(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	objects := []*vaulttest.Shelved{s.PutParts(t, "k", sse.ModeKMS, "one", "two"), s.PutParts(t, "s", sse.ModeS3, "one", "two")}
	for _, o := range objects { // as a copy that is made over S3
		raw, err := s.Storage.Raw(o.Name, "")
		if err != nil {
			t.Fatal(err)
		}
		if etag := s.PutAsIs(t, o.Name, raw.Reserved[0].Value, raw.Data); etag == o.Stored {
			t.Fatal("the copy has the upload's ETag")
		}
	}
	for range 3 {
		vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
	}
	s.asked = len(s.calls.All())
	vaulttest.WantListed(t, s.list("alice", vault.List{}), objects)
	s.took("full")
}
