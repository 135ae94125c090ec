package memory_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/storage/storagetest"
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

func TestSystemConformance(t *testing.T) {
	t.Parallel()
	storagetest.RunSystem(t, func(t *testing.T) system.Objects {
		sys := memory.New(memory.Options{}).System("system")
		if err := sys.CreateBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
		return sys
	})
}

func TestHiddenObjectKeepsVersions(t *testing.T) {
	s, sys := newSystem(t)
	ctx := t.Context()
	if _, err := sys.Put(ctx, "rules", []byte("1"), ""); err != nil {
		t.Fatal(err)
	}
	if err := sys.Hide(ctx, "rules"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sys.Get(ctx, "rules", ""); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("get of what is hidden: %v", err)
	}
	page, err := s.Own(storage.Actor{}).List(ctx, &storage.List{Bucket: "system", Versions: true})
	if err != nil || len(page.Entries) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestNoteStoredThoughItFailed(t *testing.T) {
	s, sys := newSystem(t)
	s.SetFaults(once(memory.Put, memory.Done, unreachable))
	if err := sys.PutNote(t.Context(), "note", "stored", nil); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("a write that failed: %v", err)
	}
	if value, err := sys.GetNote(t.Context(), "note"); err != nil || value != "stored" {
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
