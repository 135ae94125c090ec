package maintenance_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

func orderFor(o *vaulttest.Shelved) maintenance.Rescue {
	return maintenance.Rescue{Bucket: o.Name.Bucket, Key: o.Name.Key}
}

func TestRescueMakesAManifestOfWhatIsThere(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	long := strings.Repeat("long ", 30_000)
	for _, tt := range []struct {
		name   string
		object *vaulttest.Shelved
		change func(*maintenance.Rescue)
		parts  int
		proven bool
	}{
		{"parts", s.PutParts(t, "a", sse.ModeS3, long, long, "end"), nil, 3, false},
		{"parts of SSE-KMS", s.PutParts(t, "b", sse.ModeKMS, long, "end"), nil, 2, false},
		{"parts of SSE-C", s.PutParts(t, "c", sse.ModeC, long, "end"), func(r *maintenance.Rescue) { r.Customer = s.Customer() }, 2, false},
		{"parts that are found in the data", s.PutParts(t, "d", sse.ModeS3, long, "end"), func(r *maintenance.Rescue) { r.Sequential = true }, 2, false},
		{"one part", s.PutParts(t, "e", sse.ModeS3, "one"), nil, 1, false},
		{"an empty part", s.PutParts(t, "f", sse.ModeS3, ""), nil, 1, false},
		{"one stream", s.PutStream(t, "g", sse.ModeS3, []byte(long), true), nil, 0, true},
		{"an empty one", s.PutStream(t, "h", sse.ModeS3, nil, true), nil, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, order := s.Lose(t, tt.object), orderFor(tt.object)
			if tt.change != nil {
				tt.change(&order)
			}
			want := maintenance.Rescued{ETag: tt.object.ETag, Size: int64(len(tt.object.Data)), Parts: tt.parts, Proven: tt.proven}
			if made, err := e.Rescue(t.Context(), order); err != nil || *made != want {
				t.Fatalf("made %+v, %v; want %+v", made, err, want)
			}
			page, err := s.Installation.Engine(t).List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket, Parameters: map[string]string{"prefix": order.Key}})
			if err != nil {
				t.Fatal(err)
			}
			vaulttest.WantListed(t, page, []*vaulttest.Shelved{tt.object})
			if _, err := e.Rescue(t.Context(), order); !errors.Is(err, maintenance.ErrNothingLost) {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

func TestNothingIsRescuedWhereNothingIsLost(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	plain := &vaulttest.Shelved{Name: sse.Name{Bucket: vaulttest.Bucket, Key: "plain"}}
	s.PutAsIs(t, plain.Name, "", nil)
	gone := &vaulttest.Shelved{Name: sse.Name{Bucket: vaulttest.Bucket, Key: "gone"}}
	for _, tt := range []struct {
		object *vaulttest.Shelved
		want   error
	}{
		{plain, maintenance.ErrNothingLost},
		{s.PutStream(t, "small", sse.ModeS3, []byte("data"), false), maintenance.ErrNothingLost},
		{s.PutParts(t, "parts", sse.ModeS3, "data"), maintenance.ErrNothingLost},
		{gone, storage.ErrNotFound},
		{&vaulttest.Shelved{Name: sse.Name{Bucket: "b", Key: "k"}}, objectname.ErrBucket},
		{&vaulttest.Shelved{Name: sse.Name{Bucket: vaulttest.Bucket, Key: "a//b"}}, objectname.ErrKey},
	} {
		if _, err := s.Rescue(t.Context(), orderFor(tt.object)); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.object.Name.Key, err, tt.want)
		}
	}
}

// A manifest says what is there only if every byte of it is authentic.
func TestRescueWritesNothingOnADoubt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 30_000)
	cut := func(c *memory.Call) error {
		if c.Op == memory.Get && c.Name.Bucket == vaulttest.Bucket && c.Step == memory.Arrived {
			c.CutBody(70_000)
		}
		return nil
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, s *shelf) *vaulttest.Shelved
		harm func(s *shelf, o *vaulttest.Shelved) error
		fail func(*memory.Call) error
		want error
	}{
		{"a byte is another", parted(long), func(s *shelf, o *vaulttest.Shelved) error { return s.Storage.Flip(o.Name, 100_000) }, nil, sse.ErrTampered},
		{"a byte of a stream is another", streamed(long), func(s *shelf, o *vaulttest.Shelved) error { return s.Storage.Flip(o.Name, 100_000) }, nil, sse.ErrTampered},
		{"the end is missing", parted(long), func(s *shelf, o *vaulttest.Shelved) error {
			return s.Storage.Alter(o.Name, "", func(o *memory.Stored) { o.Data = o.Data[:len(o.Data)-1] })
		}, nil, sse.ErrTruncated},
		{"the end of a stream is missing", streamed(long), func(s *shelf, o *vaulttest.Shelved) error {
			return s.Storage.Alter(o.Name, "", func(o *memory.Stored) { o.Data = o.Data[:len(o.Data)-1] })
		}, nil, storage.ErrLied},
		{"another ETag", parted(long), func(s *shelf, o *vaulttest.Shelved) error {
			return s.Storage.Alter(o.Name, "", func(o *memory.Stored) { o.ETag = strings.Repeat("a", 32) + "-2" })
		}, nil, storage.ErrLied},
		{"another object's data", parted(long), func(s *shelf, o *vaulttest.Shelved) error {
			return s.Storage.Swap(o.Name, sse.Name{Bucket: vaulttest.Bucket, Key: "other"})
		}, nil, sse.ErrTampered},
		{"the body is cut off", parted(long), nil, cut, storage.ErrUnreachable},
		{"the body of a stream is cut off", streamed(long), nil, cut, storage.ErrUnreachable},
		{"it is overwritten meanwhile", parted(long), nil, func(c *memory.Call) error {
			if get, ok := c.Request.(*storage.Get); ok && c.Op == memory.Get && get.IfMatch != "" {
				return &storage.Error{Status: 412, Code: "PreconditionFailed"}
			}
			return nil
		}, storage.ErrPrecondition},
		{"no list of parts", parted(long), nil, func(c *memory.Call) error {
			if c.Op == memory.ObjectParts {
				return storage.ErrUnreachable
			}
			return nil
		}, storage.ErrUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t, memory.Options{}, nil)
			s.PutParts(t, "other", sse.ModeS3, long, "end")
			o := tt.make(t, s)
			e := s.Lose(t, o)
			if tt.harm != nil {
				if err := tt.harm(s, o); err != nil {
					t.Fatal(err)
				}
			}
			s.Watch(vaulttest.Bucket, tt.fail)
			if made, err := e.Rescue(t.Context(), orderFor(o)); !errors.Is(err, tt.want) {
				t.Errorf("made %+v, %v; want %v", made, err, tt.want)
			}
			if s.left(t, o) {
				t.Error("a manifest was written")
			}
		})
	}
}

func parted(long string) func(*testing.T, *shelf) *vaulttest.Shelved {
	return func(t *testing.T, s *shelf) *vaulttest.Shelved { return s.PutParts(t, "k", sse.ModeS3, long, "end") }
}

func streamed(long string) func(*testing.T, *shelf) *vaulttest.Shelved {
	return func(t *testing.T, s *shelf) *vaulttest.Shelved {
		return s.PutStream(t, "k", sse.ModeS3, []byte(long), true)
	}
}

func TestRescueNeedsTheCustomersKey(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutParts(t, "k", sse.ModeC, "one", "two")
	e, order := s.Lose(t, o), orderFor(o)
	order.Customer = &sse.Secret{1: 8}
	if _, err := e.Rescue(t.Context(), order); !errors.Is(err, sse.ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	if s.left(t, o) {
		t.Error("a manifest was written")
	}
}

// A manifest that is there and does not open is replaced only on demand.
func TestRescueReplacesOnDemand(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutParts(t, "k", sse.ModeS3, "one", "two")
	notes, _, err := s.System.ListNotes(t.Context(), "late/", "")
	if err != nil || len(notes) != 1 {
		t.Fatalf("%v, %v", notes, err)
	}
	if err := s.System.ReplaceNote(t.Context(), notes[0].Name, "forged", nil); err != nil {
		t.Fatal(err)
	}
	e, order := s.Installation.Engine(t), orderFor(o)
	if _, err := e.Rescue(t.Context(), order); !errors.Is(err, manifest.ErrMissing) && !errors.Is(err, system.ErrTampered) {
		t.Errorf("not on demand: %v", err)
	}
	order.Replace = true
	if made, err := e.Rescue(t.Context(), order); err != nil || made.ETag != o.ETag {
		t.Errorf("on demand: %+v, %v", made, err)
	}
}

// An object that was restored from a copy has another ETag, and another list of parts.
func TestRescueOfACopyBelievesTheDataAlone(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutParts(t, "k", sse.ModeS3, "one", "two")
	raw, err := s.Storage.Raw(o.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	s.PutAsIs(t, o.Name, raw.Reserved[0].Value, raw.Data)
	e, order := s.Installation.Engine(t), orderFor(o)
	if _, err := e.Rescue(t.Context(), order); !errors.Is(err, maintenance.ErrNothingLost) {
		t.Errorf("a copy whose upload's manifest is there: %v", err)
	}
	e = s.Lose(t, o)
	if _, err := e.Rescue(t.Context(), order); !errors.Is(err, sse.ErrTampered) { // its one part is none of the upload's
		t.Errorf("a copy that is not said to be one: %v", err)
	}
	watch := s.Watch(vaulttest.Bucket, nil)
	order.Copied = true
	if made, err := e.Rescue(t.Context(), order); err != nil || made.ETag != o.ETag || made.Parts != 2 {
		t.Errorf("a copy: %+v, %v", made, err)
	}
	if calls := watch.Took(); slices.Contains(calls, "own ObjectParts") {
		t.Errorf("asked by %q", calls)
	}
}
