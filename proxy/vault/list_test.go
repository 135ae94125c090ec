package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// oneOfEach puts an object of each kind there, in the order of their keys.
func oneOfEach(t testing.TB, s *vaulttest.Shelf) []*vaulttest.Shelved {
	t.Helper()
	small, large := []byte("small"), bytes.Repeat([]byte("large "), 20_000)
	plain := &vaulttest.Shelved{Name: sse.Name{Bucket: vaulttest.Bucket, Key: "a plain"}, Data: small}
	plain.Stored = s.PutAsIs(t, plain.Name, "", small)
	plain.ETag = plain.Stored
	return []*vaulttest.Shelved{
		plain,
		s.PutStream(t, "b/s3 ü+", sse.ModeS3, small, false), s.PutStream(t, "c/empty", sse.ModeS3, nil, false),
		s.PutStream(t, "d/late", sse.ModeS3, large, true), s.PutStream(t, "e/kms", sse.ModeKMS, large, false),
		s.PutStream(t, "f/c", sse.ModeC, small, false), s.PutParts(t, "g/parts", sse.ModeS3, string(large), "end"),
		s.PutParts(t, "h/parts of kms", sse.ModeKMS, "one", "two"), s.PutParts(t, "i/parts of c", sse.ModeC, "", "two"),
	}
}

func TestListingsSayWhatClientsKnow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		options memory.Options
		list    vault.List
		calls   int // about the bucket
	}{
		{"objects", memory.Options{}, vault.List{}, 1},
		{"objects with their owner", memory.Options{}, vault.List{Owner: true}, 1},
		{"versions", memory.Options{}, vault.List{Versions: true}, 1},
		{"a storage whose listings are without metadata", memory.Options{Plain: true}, vault.List{}, 10},
		{"its versions", memory.Options{Plain: true}, vault.List{Versions: true}, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := vaulttest.NewShelf(t, tt.options, nil)
			objects := oneOfEach(t, s)
			other := s.Installation.Engine(t) // that has seen no manifest
			watch := s.Watch(vaulttest.Bucket, nil)
			tt.list.Bucket = vaulttest.Bucket
			page, err := other.List(t.Context(), vaulttest.Caller("alice"), &tt.list)
			if err != nil {
				t.Fatal(err)
			}
			vaulttest.WantListed(t, page, objects)
			if calls := watch.Took(); len(calls) != tt.calls {
				t.Errorf("asked by %q", calls)
			}
			if owned := page.Entries[0].OwnerID != ""; owned != (tt.list.Owner || tt.list.Versions) {
				t.Errorf("owner %q", page.Entries[0].OwnerID)
			}
		})
	}
}

func TestPagesAreTheStoragesPages(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	objects := oneOfEach(t, s)
	page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket, Parameters: map[string]string{"max-keys": "2", "delimiter": "/"}})
	if err != nil || !page.Truncated || page.NextToken == "" || page.MaxKeys != "2" || !slices.Equal(page.Prefixes, []string{"b/"}) {
		t.Fatalf("%+v, %v", page.Page, err)
	}
	vaulttest.WantListed(t, page, objects[:1])
	page, err = s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket, Parameters: map[string]string{"prefix": "g/"}})
	if err != nil || page.Truncated {
		t.Fatalf("%+v, %v", page, err)
	}
	vaulttest.WantListed(t, page, objects[6:7])
}

func TestDeleteMarkersAreListedAndNotLookedUp(t *testing.T) {
	t.Parallel()
	for _, o := range []memory.Options{{}, {Plain: true}} {
		s := vaulttest.NewShelf(t, o, nil)
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
			t.Fatal(err)
		}
		old := s.PutStream(t, "k", sse.ModeS3, []byte("old"), false)
		current := s.PutStream(t, "k", sse.ModeS3, []byte("current"), true)
		if _, err := s.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: old.Name}); err != nil {
			t.Fatal(err)
		}
		page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket, Versions: true})
		if err != nil || len(page.Entries) != 3 || !page.Entries[0].DeleteMarker {
			t.Fatalf("%+v, %v", page, err)
		}
		page.Entries, page.Known = page.Entries[1:], page.Known[1:]
		vaulttest.WantListed(t, page, []*vaulttest.Shelved{current, old})
	}
}

// A caller who may list and not read sees sizes and ETags, and no metadata.
func TestWhoMayListButNotReadSeesSizesAndETags(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	objects := oneOfEach(t, s)
	s.Storage.SetRights(func(c *memory.Call) error {
		if c.Op == memory.Get && !c.Own {
			return memory.Forbidden()
		}
		return nil
	})
	watch := s.Watch(vaulttest.Bucket, nil)
	page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.WantListed(t, page, objects)
	if calls := watch.Took(); !slices.Equal(calls, []string{"caller List", "own List"}) {
		t.Errorf("asked by %q", calls)
	}
	for _, e := range page.Entries {
		for _, m := range e.Metadata {
			if e.HasMetadata || !storage.IsReserved(m.Name) {
				t.Errorf("%s: %s=%s reaches who may not read it", e.Key, m.Name, m.Value)
			}
		}
	}

	// Sizes of the ciphertext are no answer.
	s.Storage.SetRights(func(c *memory.Call) error {
		if c.Op == memory.Get && c.Name.Bucket == vaulttest.Bucket {
			return memory.Forbidden()
		}
		return nil
	})
	if _, err := s.Installation.Engine(t).List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket}); !errors.Is(err, vault.ErrServiceRights) {
		t.Errorf("neither may read: %v", err)
	}
}

func TestWhoMayNotListLearnsNothing(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	oneOfEach(t, s)
	s.Storage.SetRights(func(c *memory.Call) error {
		if !c.Own {
			return memory.Forbidden()
		}
		return nil
	})
	watch := s.Watch(vaulttest.Bucket, nil)
	_, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if calls := watch.Took(); !errors.Is(err, storage.ErrForbidden) || !slices.Equal(calls, []string{"caller List"}) {
		t.Errorf("%v, asked by %q", err, calls)
	}
}

// unreadable is a storage whose listings with metadata do not parse.
func unreadable(c *memory.Call) error {
	if list, ok := c.Request.(*storage.List); ok && list.Metadata {
		return fmt.Errorf("%w (a name that XML cannot carry)", storage.ErrListing)
	}
	return nil
}

func TestObjectsOfUnreadablePagesAreLookedUp(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	objects := oneOfEach(t, s)
	watch := s.Watch(vaulttest.Bucket, unreadable)
	page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.WantListed(t, page, objects)
	want := append([]string{"caller List", "caller List"}, slices.Repeat([]string{"own Head"}, len(objects))...)
	if calls := watch.Took(); !slices.Equal(calls, want) {
		t.Errorf("asked by %q", calls)
	}
	for _, tt := range []struct {
		name   string
		answer error // to the look-up of one object
		want   error // of the listing
		listed string
	}{
		{"no right", memory.Forbidden(), vault.ErrServiceRights, ""},
		{"a credential that is none any more", &storage.Error{Status: 403, Code: "InvalidAccessKeyId"}, storage.ErrOwnCredential, ""},
		{"no answer", storage.ErrUnreachable, storage.ErrUnreachable, ""},
		{"an answer that says nothing of it", &storage.Error{Status: 503}, storage.ErrUnreachable, ""},
		{"an odd name", &storage.Error{Status: 400}, nil, objects[1].Stored},
		{"gone", &storage.Error{Status: 404}, nil, objects[2].ETag},
	} {
		watch.Fail = func(c *memory.Call) error {
			if c.Op == memory.Head && c.Name == objects[1].Name {
				return tt.answer
			}
			return unreadable(c)
		}
		page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
		if !errors.Is(err, tt.want) || err == nil && page.Entries[1].ETag != tt.listed {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	watch.Fail = func(c *memory.Call) error {
		if c.Op == memory.List {
			return storage.ErrListing
		}
		return nil
	}
	if _, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket}); !errors.Is(err, storage.ErrListing) {
		t.Errorf("unreadable without metadata, too: %v", err)
	}
}

func TestOnlyWhatAPageLacksIsLookedUp(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	objects := oneOfEach(t, s)
	s.Storage.SetRights(func(c *memory.Call) error {
		if !c.Own && c.Op == memory.Get && c.Name == objects[1].Name {
			return memory.Forbidden()
		}
		return nil
	})
	watch := s.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if !c.Own {
			return nil
		}
		return unreadable(c)
	})
	page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.WantListed(t, page, objects)
	if calls := watch.Took(); !slices.Equal(calls, []string{"caller List", "own Head", "own List"}) {
		t.Errorf("asked by %q", calls)
	}
}

// Of what only a key tells, a caller without the right to it sees what lies upstream.
func TestETagsAreForThoseWhoMayUseTheKey(t *testing.T) {
	t.Parallel()
	all := &vaulttest.Rights{}
	s := vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) { i.Rights = all })
	objects := oneOfEach(t, s)
	for range 20 {
		objects = append(objects, s.PutStream(t, fmt.Sprintf("z%02d", len(objects)), sse.ModeS3, []byte("more"), false))
	}
	page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.WantListed(t, page, objects)
	if n := all.Asked.Load(); n != 1 { // all of SSE-S3 lie under one key
		t.Errorf("the caller's rights were asked for %d times", n)
	}
	all.Judge = func(string) error { return identity.ErrNotAllowed }
	page, err = s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	for i := range objects {
		objects[i].ETag = objects[i].Stored
	}
	vaulttest.WantListed(t, page, objects)

	anonymous := vaulttest.NewShelf(t, memory.Options{}, nil)
	o := anonymous.PutStream(t, "k", sse.ModeS3, []byte("data"), false)
	if page, err = anonymous.List(t.Context(), vaulttest.Caller(""), &vault.List{Bucket: vaulttest.Bucket}); err != nil {
		t.Fatal(err)
	}
	o.ETag = o.Stored
	vaulttest.WantListed(t, page, []*vaulttest.Shelved{o})
}

// What may pass fails a listing: clients copy and delete by what differs.
func TestListingsFailWhereWhatFailsMayPass(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		judge error // of the caller's rights
		harm  func(s *vaulttest.Shelf)
		want  error
	}{
		{"nobody can tell who it is", identity.ErrUnavailable, nil, identity.ErrUnavailable},
		{"the key service is away", kms.ErrUnavailable, nil, kms.ErrUnavailable},
		{"another key than before", kms.ErrKeyReplaced, nil, kms.ErrKeyReplaced},
		{"the client is", context.Canceled, nil, context.Canceled},
		{"manifests cannot be read", nil, func(s *vaulttest.Shelf) {
			s.Watch(s.System.Bucket(), func(*memory.Call) error { return storage.ErrUnreachable })
		}, storage.ErrUnreachable},
		{"the storage is away", nil, func(s *vaulttest.Shelf) {
			s.Watch(vaulttest.Bucket, func(*memory.Call) error { return storage.ErrUnreachable })
		}, storage.ErrUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
				i.Rights = &vaulttest.Rights{Judge: func(string) error { return tt.judge }}
			})
			oneOfEach(t, s)
			e := s.Installation.Engine(t)
			if tt.harm != nil {
				tt.harm(s)
			}
			if page, err := e.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket}); !errors.Is(err, tt.want) || page != nil {
				t.Errorf("%v, %v", page, err)
			}
		})
	}
}

// One object that can never be opened is listed as it lies, and does not hide the others.
func TestDamagedObjectsAreListedAsTheyLie(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(s *vaulttest.Shelf, one, other *vaulttest.Shelved) error
	}{
		{"another object's record", func(s *vaulttest.Shelf, one, other *vaulttest.Shelved) error {
			raw, err := s.Storage.Raw(other.Name, "")
			if err != nil {
				return err
			}
			return s.Storage.Alter(one.Name, "", func(o *memory.Stored) { o.Reserved = raw.Reserved })
		}},
		{"a record that is none", func(s *vaulttest.Shelf, one, _ *vaulttest.Shelved) error {
			return s.Storage.Alter(one.Name, "", func(o *memory.Stored) { o.Reserved[0].Value = "none" })
		}},
		{"two records", func(s *vaulttest.Shelf, one, _ *vaulttest.Shelved) error {
			return s.Storage.Alter(one.Name, "", func(o *memory.Stored) { o.Reserved = append(o.Reserved, o.Reserved[0]) })
		}},
		{"one of another case", func(s *vaulttest.Shelf, one, _ *vaulttest.Shelved) error {
			return s.Storage.Alter(one.Name, "", func(o *memory.Stored) { o.Reserved[0].Name = strings.ToLower(o.Reserved[0].Name) })
		}},
		{"data of another length", func(s *vaulttest.Shelf, one, _ *vaulttest.Shelved) error {
			return s.Storage.Alter(one.Name, "", func(o *memory.Stored) { o.Data = o.Data[1:] })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
				i.Change = func(o *vaulttest.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
			})
			one := s.PutStream(t, "one", sse.ModeS3, []byte("one"), false)
			other := s.PutStream(t, "other", sse.ModeS3, []byte("one"), true)
			if err := tt.damage(s, one, other); err != nil {
				t.Fatal(err)
			}
			raw, err := s.Storage.Raw(one.Name, "")
			if err != nil {
				t.Fatal(err)
			}
			page, err := s.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
			if err != nil {
				t.Fatal(err)
			}
			if e := page.Entries[0]; e.ETag != one.Stored || e.Size != int64(len(raw.Data)) && tt.name != "another object's record" {
				t.Errorf("listed with %d bytes and %s", e.Size, e.ETag)
			}
			page.Entries, page.Known = page.Entries[1:], page.Known[1:]
			vaulttest.WantListed(t, page, []*vaulttest.Shelved{other})
			if !strings.Contains(log.String(), "listing: object cannot be opened") || !strings.Contains(log.String(), "id=test bucket=bucket key=one") {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}

func TestLostManifestsLeaveWhatLiesThere(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	lost := s.PutParts(t, "a", sse.ModeS3, "one", "two")
	found := s.PutParts(t, "b", sse.ModeS3, "one", "two")
	e := s.Lose(t, lost)
	page, err := e.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	if first := page.Entries[0]; first.ETag != lost.Stored || first.Size != 2*sse.EncSize(3) {
		t.Errorf("listed with %d bytes and %s", first.Size, first.ETag)
	}
	page.Entries, page.Known = page.Entries[1:], page.Known[1:]
	vaulttest.WantListed(t, page, []*vaulttest.Shelved{found})
}
