package manifest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// fakeLookups is what upstream says is there.
type fakeLookups struct {
	uploads   map[string]bool
	manifests map[sse.Name][]Ref
	hidden    map[sse.Name]bool
	err       error
	odd       string // the key of which nothing can be told
}

func (l *fakeLookups) UploadExists(_ context.Context, _ sse.Name, id string) (bool, error) {
	return l.uploads[id], l.err
}

func (l *fakeLookups) Named(_ context.Context, object sse.Name) (Named, error) {
	if l.odd != "" && object.Key == l.odd {
		return Named{}, ErrUncertain
	}
	return Named{Manifests: l.manifests[object]}, l.err
}

// sweeps runs sweeps of what is older than a day, in a world whose clocks a test sets.
type sweeps struct {
	t      *testing.T
	bucket *agingBucket
	sweep  Sweeper
	// removed and skipped are what the last pass reported.
	removed, skipped []string
}

const day = 24 * time.Hour

func newSweeps(t *testing.T, bucket *agingBucket, sys *system.Store, look Lookups) *sweeps {
	w := &sweeps{t: t, bucket: bucket}
	w.sweep = Sweeper{
		System: sys, Lookups: look, Age: day, Now: time.Now(), Ours: time.Now(),
		Report: func(what, name string) { w.removed = append(w.removed, what+" "+name) },
		Skip:   func(what, name string, _ error) { w.skipped = append(w.skipped, what+" "+name) },
	}
	return w
}

// pass makes one pass, and returns how much waits for another.
func (w *sweeps) pass() (waiting int) {
	w.t.Helper()
	w.removed, w.skipped = nil, nil
	waiting, err := w.sweep.Run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(w.removed)
	return waiting
}

// later sets both clocks forward.
func (w *sweeps) later(d time.Duration) {
	w.sweep.Now, w.sweep.Ours = w.sweep.Now.Add(d), w.sweep.Ours.Add(d)
}

func (l *fakeLookups) Hidden(_ context.Context, object sse.Name) (bool, error) {
	return l.hidden[object], l.err
}

func TestSweepRemovesWhatNothingNeedsAndNothingElse(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	bucket.pageSize = 2
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
	before := len(bucket.notes())

	look := &fakeLookups{uploads: map[string]bool{"live": true}, manifests: map[sse.Name][]Ref{named.Name: {named}, long: {hashedKept}}}
	w := newSweeps(t, bucket, sys, look)
	if waiting := w.pass(); len(bucket.notes()) != before || len(w.removed) != 0 || waiting != 5 {
		t.Fatalf("a first look left %d of %d notes, removed %q, and %d wait", len(bucket.notes()), before, w.removed, waiting)
	}
	bucket.ageOf(young.objectName(), -2*day) // it stays young
	w.later(day + time.Second)
	w.sweep.DryRun = true
	if w.pass(); len(bucket.notes()) != before || len(w.removed) != 5 {
		t.Fatalf("a dry run left %d of %d notes and reported %q", len(bucket.notes()), before, w.removed)
	}
	w.sweep.DryRun = false
	if waiting := w.pass(); len(w.removed) != 5 || !strings.HasPrefix(w.removed[4], "upload b/done") || waiting != 0 { // its part goes with it
		t.Errorf("removed %q, %d wait", w.removed, waiting)
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
	if parts, err := allParts(ctx, ledger, "live", 1, sse.MaxParts); err != nil || len(parts) != 1 {
		t.Errorf("parts of a live upload: %v, %v", parts, err)
	}
	if len(bucket.notes()) != 6 {
		t.Errorf("%d notes left, want 6: %v", len(bucket.notes()), bucket.notes())
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
	w := newSweeps(t, bucket, sys, look)
	w.pass()
	w.later(day + time.Second)
	w.pass()
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
	w := newSweeps(t, bucket, sys, &fakeLookups{err: boom})
	for range 2 {
		if _, err := w.sweep.Run(t.Context()); !errors.Is(err, boom) || len(bucket.notes()) != 1 {
			t.Errorf("%v, %d notes left", err, len(bucket.notes()))
		}
		w.later(2 * day)
	}
}

// upload notes a live upload with three parts and a manifest.
func noteUpload(t *testing.T, sys *system.Store, bucket, key, id string) Ref {
	t.Helper()
	ledger, ref := NewLedger(sys), Ref{Name: sse.Name{Bucket: bucket, Key: key}, ID: sse.NewManifestID(), ETag: "e-3"}
	err := ledger.Create(t.Context(), &Upload{Bucket: bucket, Key: key, ID: id, Manifest: ref.ID})
	for n := 1; n <= 3 && err == nil; n++ {
		err = ledger.AddPart(t.Context(), id, PartID{n, "e"}, &sse.PartFacts{Nonce: sse.NewStreamNonce()})
	}
	if err == nil {
		err = New(sys).Put(t.Context(), ref, sse.Facts{}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestSweepEndsWhileTheKeyServiceIsAway(t *testing.T) {
	t.Parallel()
	bucket, sys, keys := newStoreWithKeys(t)
	noteUpload(t, sys, "b", "k", "live")
	bucket.age(2 * day)
	w := newSweeps(t, bucket, sys, &fakeLookups{uploads: map[string]bool{"live": true}})
	for range 3 {
		keys.fail, keys.in = kms.ErrUnavailable, "uploads"
		if _, err := w.sweep.Run(t.Context()); !errors.Is(err, kms.ErrUnavailable) || len(bucket.notes()) != 5 {
			t.Errorf("%v; %d of 5 notes left, removed %q", err, len(bucket.notes()), w.removed)
		}
		keys.fail = nil
		w.later(2 * day)
	}
}

func TestWhatBelongsToAnUnreadableUploadStays(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 240) // whose uploads' names are hashed, or its manifests'
	for _, key := range []string{"k", "a/b", long, strings.Repeat("k", 200)} {
		for _, bucketName := range []string{"b", "with-a-dash"} {
			bucket, sys, keys := newStoreWithKeys(t)
			noteUpload(t, sys, bucketName, key, "an-upload.with-dashes")
			bucket.age(2 * day)
			keys.fail, keys.in = kms.ErrDecrypt, "uploads"
			w := newSweeps(t, bucket, sys, &fakeLookups{})
			for range 3 {
				if w.pass(); len(bucket.notes()) != 5 || len(w.skipped) == 0 {
					t.Errorf("%.10q: %d of 5 notes left, removed %q, skipped %q", key, len(bucket.notes()), w.removed, w.skipped)
				}
				w.later(2 * day)
			}
		}
	}
}

func TestAnEndedUploadGoesWithAllThatBelongsToIt(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	noteUpload(t, sys, "b", "k", "ended")
	bucket.age(2 * day)
	look := &fakeLookups{uploads: map[string]bool{"ended": true}}
	w := newSweeps(t, bucket, sys, look)
	for what, there := range []bool{true, false, true, false} { // a denial that did not last is none
		look.uploads["ended"] = there
		if w.pass(); len(bucket.notes()) != 5 {
			t.Errorf("pass %d: %d notes left, removed %q", what, len(bucket.notes()), w.removed)
		}
		w.later(2 * day)
	}
	if waiting := w.pass(); len(bucket.notes()) != 0 || waiting != 0 {
		t.Errorf("%d notes left, %d wait, removed %q", len(bucket.notes()), waiting, w.removed)
	}
}

func TestOneOddObjectDoesNotEndASweep(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	store := New(sys)
	for _, key := range []string{"a-odd", "b-garbage"} {
		if err := store.Put(t.Context(), Ref{Name: sse.Name{Bucket: "b", Key: key}, ID: sse.NewManifestID()}, sse.Facts{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	bucket.age(2 * day)
	w := newSweeps(t, bucket, sys, &fakeLookups{odd: "a-odd"})
	w.pass()
	w.later(day + time.Second)
	if w.pass(); len(w.removed) != 1 || !strings.Contains(w.removed[0], "b-garbage") || len(w.skipped) != 1 {
		t.Errorf("removed %q, skipped %q", w.removed, w.skipped)
	}
}

func TestOneLookRemovesNothing(t *testing.T) {
	t.Parallel()
	const past = day + time.Second // times are noted in whole seconds
	type step struct {
		needed          bool
		ours, upstreams time.Duration // how far the clocks go before this look
		wantGone        bool
	}
	for what, steps := range map[string][]step{
		"two looks a day apart":     {{}, {ours: past, upstreams: past, wantGone: true}},
		"too soon":                  {{}, {ours: day, upstreams: day}},
		"only MinIO's clock jumped": {{}, {upstreams: 300 * day}},
		"only our clock jumped":     {{}, {ours: 300 * day}},
		"needed in between":         {{}, {needed: true, ours: past, upstreams: past}, {ours: past, upstreams: past}},
		"seen again in between":     {{}, {ours: day / 2, upstreams: day / 2}, {ours: day/2 + time.Second, upstreams: day/2 + time.Second, wantGone: true}},
		"a clock that was ahead at the first look": {
			{ours: 0, upstreams: 300 * day},
			{ours: past, upstreams: -299 * day},
			{ours: past, upstreams: past, wantGone: true},
		},
	} {
		bucket, sys := newStore(t)
		ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
		if err := New(sys).Put(t.Context(), ref, sse.Facts{}, nil); err != nil {
			t.Fatal(err)
		}
		bucket.age(2 * day)
		look := &fakeLookups{}
		w := newSweeps(t, bucket, sys, look)
		for i, s := range steps {
			look.manifests = nil
			if s.needed {
				look.manifests = map[sse.Name][]Ref{ref.Name: {ref}}
			}
			w.sweep.Now, w.sweep.Ours = w.sweep.Now.Add(s.upstreams), w.sweep.Ours.Add(s.ours)
			if w.pass(); (len(bucket.notes()) == 0) != s.wantGone {
				t.Errorf("%s: %d notes left after look %d", what, len(bucket.notes()), i+1)
			}
		}
	}
}

// A note that was written anew is not the one that an earlier sweep saw.
func TestWhatIsWrittenAnewIsLookedAtAnew(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	if err := New(sys).Put(t.Context(), ref, sse.Facts{}, nil); err != nil {
		t.Fatal(err)
	}
	bucket.age(5 * day)
	w := newSweeps(t, bucket, sys, &fakeLookups{})
	w.pass()
	if err := New(sys).Replace(t.Context(), ref, sse.Facts{}, nil); err != nil {
		t.Fatal(err)
	}
	bucket.age(2 * day)
	w.later(day + time.Second)
	if waiting := w.pass(); len(bucket.notes()) != 1 || waiting != 1 {
		t.Errorf("%d notes left, %d wait, removed %q", len(bucket.notes()), waiting, w.removed)
	}
}

// What two sweeps at once saw is in the list, whoever stores last.
func TestTwoSweepsAtOnceLoseNoSighting(t *testing.T) {
	t.Parallel()
	_, sys := newStore(t)
	now := sighting{ours: 1000, upstreams: 2000}
	note := func(name string) system.Note { return system.Note{Name: name} }
	lists := make([]*sightings, 3)
	first, err := readSightings(t.Context(), sys, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gone", "needed", "waits"} {
		first.unneeded(note(name), day)
	}
	if err := first.store(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	later := sighting{ours: 1000 + 86401, upstreams: 2000 + 86401}
	for i := range lists {
		if lists[i], err = readSightings(t.Context(), sys, later); err != nil {
			t.Fatal(err)
		}
	}
	lists[0].unneeded(note("new"), day)
	lists[1].forget(note("needed"))
	for i, l := range lists {
		if !l.unneeded(note("waits"), day) {
			t.Error("what was seen a day ago is not known")
		}
		if err := l.store(t.Context(), i != 2); err != nil {
			t.Fatal(err)
		}
	}
	after, err := readSightings(t.Context(), sys, later)
	if err != nil {
		t.Fatal(err)
	}
	want := map[sightingKey]sighting{keyOf(note("new")): later, keyOf(note("waits")): now}
	if !maps.Equal(after.base, want) {
		t.Errorf("%v, want %v", after.base, want)
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
	if found, _ := fresh.GetMany(t.Context(), refs, noData); len(found) != len(refs) || bucket.lists > maxRangePages || bucket.gets > 0 {
		t.Errorf("%d of %d found with %d lists and %d gets", len(found), len(refs), bucket.lists, bucket.gets)
	}
	if found, _ := fresh.GetMany(t.Context(), refs, noData); len(found) != len(refs) || bucket.lists > maxRangePages {
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
		if back, err := parseObjectName(name); mirroredName && (err != nil || back != ref) {
			t.Errorf("%q does not parse back: %+v, %v", name, back, err)
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
	parts, err := allParts(t.Context(), ledger, "u", 1, 9)
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
	if err := ledger.Create(t.Context(), &Upload{Bucket: "b", Key: "k", ID: "u", Manifest: sse.NewManifestID()}); !errors.Is(err, system.ErrConflict) {
		t.Errorf("another upload under that name: %v", err)
	}
	if got, err := New(sys).Get(t.Context(), ref); err != nil || got.PlainSize != 5 {
		t.Errorf("%+v, %v", got, err)
	}
}

// allParts returns what is noted of an upload's parts.
func allParts(ctx context.Context, l *Ledger, uploadID string, first, last int) (map[PartID]sse.PartFacts, error) {
	parts := make(map[PartID]sse.PartFacts)
	return parts, l.Parts(ctx, uploadID, first, last, func(PartID) bool { return true }, func(id PartID, facts sse.PartFacts) { parts[id] = facts })
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
	parts, err := allParts(t.Context(), ledger, "u", 1, sse.MaxParts)
	if err != nil || len(parts) != 50 || parts[PartID{50, "etag"}].PlainSize != 50 {
		t.Errorf("%d parts, %v", len(parts), err)
	}
}

// noData is of no use: each manifest has the name that is asked for.
func noData(Ref) Data { return Data{} }
