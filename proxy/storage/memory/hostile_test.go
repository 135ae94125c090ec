package memory_test

import (
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
)

func TestFlipAndSwap(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	k.must(k.put("a", "aaa", storage.Conditions{}))
	k.must(k.put("b", "bbb", storage.Conditions{}))
	before, err := k.own.Head(t.Context(), &storage.Get{Name: named("a")})
	k.must(err)
	k.must(k.Flip(named("a"), 1))
	if got := k.get("a"); got != "a`a" {
		t.Errorf("the object holds %q", got)
	}
	k.must(k.Swap(named("a"), named("b")))
	if a, b := k.get("a"), k.get("b"); a != "bbb" || b != "a`a" {
		t.Errorf("the objects hold %q and %q", a, b)
	}
	after, err := k.own.Head(t.Context(), &storage.Get{Name: named("a")})
	k.must(err)
	if after.ETag != before.ETag {
		t.Errorf("the ETag went from %s to %s", before.ETag, after.ETag)
	}
}

func TestRollBack(t *testing.T) {
	for _, v := range []memory.Versioning{memory.Unversioned, memory.Versioned} {
		t.Run("", func(t *testing.T) {
			k := newKit(t, v)
			for _, text := range []string{"1", "2", "3"} {
				k.must(k.put("o", text, storage.Conditions{}))
			}
			_, err := k.own.Delete(t.Context(), &storage.Delete{Name: named("o")})
			k.must(err)
			for _, want := range []string{"3", ""} { // the second takes the first back
				k.must(k.RollBack(named("o"), 1))
				if got := k.get("o"); got != want {
					t.Errorf("the object holds %q, not %q", got, want)
				}
			}
			k.must(k.RollBack(named("o"), 5))
			if got := k.get("o"); got != "1" {
				t.Errorf("the object holds %q", got)
			}
		})
	}
}

func TestHide(t *testing.T) {
	k := newKit(t, memory.Versioned)
	k.must(k.put("o", "hidden", storage.Conditions{}))
	k.must(k.Hide(named("o"), true))
	if got := k.get("o"); got != "" {
		t.Errorf("a hidden object holds %q", got)
	}
	for _, versions := range []bool{false, true} {
		page, err := k.own.List(t.Context(), &storage.List{Bucket: "bucket", Versions: versions})
		k.must(err)
		if len(page.Entries) > 0 {
			t.Errorf("a hidden object is listed: %+v", page.Entries)
		}
	}
	k.must(k.Hide(named("o"), false))
	if got := k.get("o"); got != "hidden" {
		t.Errorf("the object holds %q", got)
	}
	k.must(k.Hide(named("o"), true))
	k.must(k.put("o", "new", storage.Conditions{IfNoneMatch: "*"}))
	if got := k.get("o"); got != "new" {
		t.Errorf("the object holds %q", got)
	}
}

func TestAlter(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	k.must(k.put("o", "data", storage.Conditions{}))
	k.must(k.Alter(named("o"), "", func(o *memory.Stored) {
		o.Reserved = []storage.MetaEntry{{Name: "x-amz-meta-BUCKETSEAL", Value: "planted"}}
		o.Meta.Set("X-Amz-Meta-A", "b")
	}))
	info, err := k.own.Head(t.Context(), &storage.Get{Name: named("o")})
	k.must(err)
	if len(info.Reserved) != 1 || info.Reserved[0].Value != "planted" || info.Meta.Get("X-Amz-Meta-A") != "b" {
		t.Errorf("%+v", info)
	}
	if err := k.Flip(named("none"), 0); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("flip of nothing: %v", err)
	}
}
