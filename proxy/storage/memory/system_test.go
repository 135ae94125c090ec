package memory_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
)

func newSystem(t *testing.T) (*memory.Storage, *memory.System) {
	t.Helper()
	t.Parallel()
	s := memory.New(memory.Options{})
	sys := s.System("system")
	for range 2 {
		if err := sys.CreateBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s, sys
}

func TestSystemObjects(t *testing.T) {
	_, sys := newSystem(t)
	ctx := t.Context()
	if _, _, err := sys.Get(ctx, "rules", ""); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	first, err := sys.Put(ctx, "rules", []byte("1"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Put(ctx, "rules", []byte("2"), ""); !errors.Is(err, system.ErrConflict) {
		t.Errorf("a second creation: %v", err)
	}
	second, err := sys.Put(ctx, "rules", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sys.Put(ctx, "rules", []byte("3"), first); !errors.Is(err, system.ErrConflict) {
		t.Errorf("a replacement of what was replaced: %v", err)
	}
	if data, etag, err := sys.Get(ctx, "rules", first); err != nil || string(data) != "2" || etag != second {
		t.Errorf("%q, %q, %v", data, etag, err)
	}
	if _, _, err := sys.Get(ctx, "rules", second); !errors.Is(err, system.ErrNotModified) {
		t.Errorf("get of what is known: %v", err)
	}
	if err := sys.Hide(ctx, "rules"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sys.Get(ctx, "rules", ""); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("get of what is hidden: %v", err)
	}
}

func TestNotes(t *testing.T) {
	s, sys := newSystem(t)
	ctx := t.Context()
	long := strings.Repeat("v", 20_000)
	for i := range 3 {
		if err := sys.PutNote(ctx, fmt.Sprint("notes/", i), long, []byte("body")); err != nil {
			t.Fatal(err)
		}
	}
	if err := sys.PutNote(ctx, "notes/1", "another", nil); !errors.Is(err, system.ErrConflict) {
		t.Errorf("a second note of one name: %v", err)
	}
	if err := sys.ReplaceNote(ctx, "notes/1", "another", nil); err != nil {
		t.Fatal(err)
	}
	notes, more, err := sys.ListNotes(ctx, "notes/", "notes/0")
	if err != nil || more || len(notes) != 2 || notes[0].Value != "another" || notes[1].Value != long || notes[1].Modified.IsZero() {
		t.Errorf("%d notes, more %t, %v", len(notes), more, err)
	}
	if value, err := sys.GetNote(ctx, "notes/2"); err != nil || value != long {
		t.Errorf("a note of %d letters, %v", len(value), err)
	}
	if body, err := sys.GetNoteBody(ctx, "notes/0"); err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
	deleted, err := sys.DeleteNotes(ctx, "notes/", func(name string) bool { return name == "notes/2" })
	if err != nil || deleted != 3 { // one has two versions
		t.Errorf("%d deleted, %v", deleted, err)
	}
	if _, err := sys.GetNote(ctx, "notes/0"); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("get of what was deleted: %v", err)
	}
	s.SetFaults(once(memory.Put, memory.Done, unreachable))
	if err := sys.PutNote(ctx, "notes/9", "stored", nil); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("a write that failed: %v", err)
	}
	if value, err := sys.GetNote(ctx, "notes/9"); err != nil || value != "stored" {
		t.Errorf("%q, %v", value, err)
	}
}

func TestPruneVersions(t *testing.T) {
	s, sys := newSystem(t)
	ctx := t.Context()
	for i := range 40 {
		if err := sys.ReplaceNote(ctx, "index", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		s.Advance(time.Hour)
	}
	now, _ := s.Clock(ctx)
	for _, test := range []struct {
		before time.Time
		dry    bool
		want   int
	}{{now.Add(-100 * time.Hour), false, 0}, {now, true, 8}, {now.Add(-36*time.Hour - time.Minute), false, 4}, {now, false, 4}, {now, false, 0}} {
		removed := 0
		err := sys.PruneVersions(ctx, "ind", test.before, test.dry, func(string, string) { removed++ })
		if err != nil || removed != test.want {
			t.Errorf("%d removed, not %d, %v", removed, test.want, err)
		}
	}
	if value, err := sys.GetNote(ctx, "index"); err != nil || value != "39" {
		t.Errorf("%q, %v", value, err)
	}
}

func TestSystemBucketIsMissing(t *testing.T) {
	t.Parallel()
	sys := memory.New(memory.Options{}).System("system")
	_, _, err := sys.Get(t.Context(), "rules", "")
	if !errors.Is(err, system.ErrNoBucket) {
		t.Errorf("get: %v", err)
	}
	if err := sys.MayWrite(t.Context()); !errors.Is(err, system.ErrNoBucket) {
		t.Errorf("may write: %v", err)
	}
	if _, _, err := sys.ListNotes(t.Context(), "", ""); !errors.Is(err, system.ErrNoBucket) {
		t.Errorf("list: %v", err)
	}
}
