package manifest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// fakeLookups is what upstream says is there.
type fakeLookups struct {
	uploads   map[string]bool
	manifests map[sse.Name][]Ref
	hidden    map[sse.Name]bool
	err       error
}

func (l *fakeLookups) UploadExists(_ context.Context, _ sse.Name, id string) (bool, error) {
	return l.uploads[id], l.err
}

func (l *fakeLookups) Manifests(_ context.Context, object sse.Name) ([]Ref, error) {
	return l.manifests[object], l.err
}

func (l *fakeLookups) Hidden(_ context.Context, object sse.Name) (bool, error) {
	return l.hidden[object], l.err
}

func TestSweepRemovesWhatNothingNeedsAndNothingElse(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	store, ledger := New(sys), NewLedger(sys)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	named := Ref{Name: sse.Name{Bucket: "b", Key: "kept"}, ID: sse.NewManifestID()}
	rival := Ref{Name: named.Name, ID: named.ID, ETag: "other-list"}
	gone := Ref{Name: sse.Name{Bucket: "b", Key: "gone"}, ID: sse.NewManifestID()}
	pending := Ref{Name: sse.Name{Bucket: "b", Key: "pending"}, ID: sse.NewManifestID(), ETag: "e-1"}
	long := sse.Name{Bucket: "b", Key: strings.Repeat("k", 255)} // its manifests' names are hashed
	hashedKept, hashedGone := Ref{Name: long, ID: sse.NewManifestID(), ETag: "e-2"}, Ref{Name: long, ID: sse.NewManifestID()}
	for _, ref := range []Ref{named, rival, gone, pending, hashedKept, hashedGone} {
		must(store.Put(ctx, ref, sse.Facts{}, nil))
	}
	must(ledger.Create(ctx, &Upload{Bucket: "b", Key: "pending", ID: "live", Manifest: pending.ID}))
	must(ledger.Create(ctx, &Upload{Bucket: "b", Key: "done", ID: "done"}))
	must(ledger.AddPart(ctx, "live", PartID{1, "a"}, &sse.PartFacts{}))
	must(ledger.AddPart(ctx, "done", PartID{1, "a"}, &sse.PartFacts{}))
	must(ledger.AddPart(ctx, "late comer of a dropped upload", PartID{1, "a"}, &sse.PartFacts{}))
	bucket.age(48 * time.Hour)
	young := Ref{Name: gone.Name, ID: sse.NewManifestID()}
	must(store.Put(ctx, young, sse.Facts{}, nil))
	before := len(bucket.notes)

	look := &fakeLookups{uploads: map[string]bool{"live": true}, manifests: map[sse.Name][]Ref{named.Name: {named}, long: {hashedKept}}}
	var removed []string
	sweep := Sweeper{
		System: sys, Lookups: look, Before: time.Now().Add(-24 * time.Hour), DryRun: true,
		Report: func(what, name string) { removed = append(removed, what+" "+name) },
	}
	must(sweep.Run(ctx))
	if len(bucket.notes) != before || len(removed) != 6 {
		t.Fatalf("a dry run left %d of %d notes and reported %q", len(bucket.notes), before, removed)
	}
	removed, sweep.DryRun = nil, false
	must(sweep.Run(ctx))
	slices.Sort(removed)
	if len(removed) != 5 || !strings.HasPrefix(removed[4], "upload b/done") { // its part went with it
		t.Errorf("removed %q", removed)
	}
	for _, ref := range []Ref{named, pending, young, hashedKept} {
		if _, err := New(sys).Get(ctx, ref); err != nil {
			t.Errorf("a manifest that is needed, or young, is gone: %v", err)
		}
	}
	for _, ref := range []Ref{rival, gone, hashedGone} {
		if _, err := New(sys).Get(ctx, ref); !errors.Is(err, ErrMissing) {
			t.Errorf("manifest of %q: %v, want ErrMissing", ref.Name.Key, err)
		}
	}
	if parts, err := ledger.Parts(ctx, "live", 1, sse.MaxParts); err != nil || len(parts) != 1 {
		t.Errorf("parts of a live upload: %v, %v", parts, err)
	}
	if len(bucket.notes) != 6 {
		t.Errorf("%d notes left, want 6: %v", len(bucket.notes), bucket.notes)
	}
}

func TestSweepLeavesWhatUpstreamMayHide(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	hidden := Ref{Name: sse.Name{Bucket: "b", Key: "a/b"}, ID: sse.NewManifestID()}
	odd := Ref{Name: sse.Name{Bucket: "b", Key: "f__XLDIR__/x"}, ID: sse.NewManifestID()}
	gone := Ref{Name: sse.Name{Bucket: "b", Key: "a/c"}, ID: sse.NewManifestID()}
	for _, ref := range []Ref{hidden, odd, gone} {
		if err := New(sys).Put(t.Context(), ref, sse.Facts{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(odd.objectName(), hashed) {
		t.Errorf("%q is a name that upstream does not list", odd.objectName())
	}
	bucket.age(48 * time.Hour)
	look := &fakeLookups{hidden: map[sse.Name]bool{hidden.Name: true, odd.Name: true}}
	sweep := Sweeper{System: sys, Lookups: look, Before: time.Now(), Report: func(string, string) {}}
	if err := sweep.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[Ref]error{hidden: nil, odd: nil, gone: ErrMissing} {
		if _, err := New(sys).Get(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("manifest of %q: %v, want %v", ref.Name.Key, err, want)
		}
	}
}

func TestSweepStopsWhenUpstreamDoesNotAnswer(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	if err := New(sys).Put(t.Context(), ref, sse.Facts{}, nil); err != nil {
		t.Fatal(err)
	}
	bucket.age(48 * time.Hour)
	boom := errors.New("no answer")
	sweep := Sweeper{System: sys, Lookups: &fakeLookups{err: boom}, Before: time.Now(), Report: func(string, string) {}}
	if err := sweep.Run(t.Context()); !errors.Is(err, boom) || len(bucket.notes) != 1 {
		t.Errorf("%v, %d notes left", err, len(bucket.notes))
	}
}

func TestManifestsOfAPageAreReadInFewRequests(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	store := New(sys)
	var refs []Ref
	for i := range 300 {
		ref := Ref{Name: sse.Name{Bucket: "b", Key: "dir/" + strings.Repeat("k", 1+i%7) + string(rune('a'+i%26)) + time.Duration(i).String()}, ID: sse.NewManifestID()}
		refs = append(refs, ref)
		if err := store.Put(t.Context(), ref, sse.Facts{MD5: make([]byte, 16)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(refs, func(a, b Ref) int { return strings.Compare(a.Name.Key, b.Name.Key) })
	fresh := New(sys)
	if found, _ := fresh.GetMany(t.Context(), refs); len(found) != len(refs) || bucket.lists > maxRangePages || bucket.gets > 0 {
		t.Errorf("%d of %d found with %d lists and %d gets", len(found), len(refs), bucket.lists, bucket.gets)
	}
	if found, _ := fresh.GetMany(t.Context(), refs); len(found) != len(refs) || bucket.lists > maxRangePages {
		t.Errorf("a second page asked again: %d lists", bucket.lists)
	}
}

func TestNamesThatCannotMirrorTheKeyAreHashed(t *testing.T) {
	t.Parallel()
	for key, mirroredName := range map[string]bool{
		"a": true, "a/b": true, "a/": true, "/a": false, strings.Repeat("x", 222): true, strings.Repeat("x", 223): false,
		strings.Repeat("abcdefgh/", 108): true, strings.Repeat("abcdefgh/", 113): false,
	} {
		ref := Ref{Name: sse.Name{Bucket: "bucket", Key: key}, ID: sse.NewManifestID()}
		name := ref.objectName()
		if got := strings.HasPrefix(name, mirrored); got != mirroredName || len(name) > maxName {
			t.Errorf("key of %d bytes: name of %d bytes, mirrored %v", len(key), len(name), got)
		}
		if back, ok := parseObjectName(name); mirroredName && (!ok || back != ref) {
			t.Errorf("%q does not parse back: %+v", name, back)
		}
	}
}

func TestAnotherPartUnderANotedETagIsRefused(t *testing.T) {
	t.Parallel()
	_, sys := newStore(t)
	ledger, id := NewLedger(sys), PartID{Number: 3, ETag: "e"}
	noted := sse.PartFacts{Nonce: sse.NewStreamNonce(), Facts: sse.Facts{PlainSize: 7}}
	for range 2 { // a repeated write is none
		if err := ledger.AddPart(t.Context(), "u", id, &noted); err != nil {
			t.Fatal(err)
		}
	}
	for what, other := range map[string]sse.PartFacts{
		"nonce": {Nonce: sse.NewStreamNonce(), Facts: sse.Facts{PlainSize: 7}}, "size": {Nonce: noted.Nonce, Facts: sse.Facts{PlainSize: 8}},
	} {
		if err := ledger.AddPart(t.Context(), "u", id, &other); !errors.Is(err, system.ErrTampered) {
			t.Errorf("another %s: %v, want ErrTampered", what, err)
		}
	}
	parts, err := ledger.Parts(t.Context(), "u", 1, 9)
	if err != nil || parts[id].Nonce != noted.Nonce {
		t.Errorf("%v, %v", parts, err)
	}
}

func TestAWriteThatFailedAfterItWasStoredIsRepeated(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID(), ETag: "e-2"}
	facts := sse.Facts{Parts: 2, PlainSize: 5}
	ledger, upload := NewLedger(sys), &Upload{Bucket: "b", Key: "k", ID: "u", Manifest: ref.ID}
	for what, write := range map[string]func() error{
		"manifest": func() error { return New(sys).Put(t.Context(), ref, facts, nil) },
		"upload":   func() error { return ledger.Create(t.Context(), upload) },
		"part":     func() error { return ledger.AddPart(t.Context(), "u", PartID{1, "e"}, &sse.PartFacts{Facts: facts}) },
	} {
		bucket.failPuts = 1
		if err := write(); err != nil || bucket.failPuts != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := New(sys).Put(t.Context(), ref, sse.Facts{Parts: 3}, nil); !errors.Is(err, system.ErrTampered) {
		t.Errorf("another manifest under that name: %v", err)
	}
	if err := ledger.Create(t.Context(), &Upload{Bucket: "b", Key: "k", ID: "u", Manifest: sse.NewManifestID()}); !errors.Is(err, upstream.ErrConflict) {
		t.Errorf("another upload under that name: %v", err)
	}
	if got, err := New(sys).Get(t.Context(), ref); err != nil || got.PlainSize != 5 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLedgerPagesThroughItsParts(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	bucket.pageSize = 7
	ledger := NewLedger(sys)
	for i := range 50 {
		if err := ledger.AddPart(t.Context(), "u", PartID{i + 1, "etag"}, &sse.PartFacts{Facts: sse.Facts{PlainSize: int64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	parts, err := ledger.Parts(t.Context(), "u", 1, sse.MaxParts)
	if err != nil || len(parts) != 50 || parts[PartID{50, "etag"}].PlainSize != 50 {
		t.Errorf("%d parts, %v", len(parts), err)
	}
}
