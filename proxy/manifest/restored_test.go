package manifest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// written is a manifest of one upload, with the data that it describes.
type written struct {
	ref   Ref
	parts *sse.Parts
	data  []byte // headers of packages are all that counts
}

// write makes a manifest of parts of these sizes; those of kept have the nonces of
// another one.
func write(t *testing.T, s *Store, ref Ref, etag string, kept *written, numbers []uint32, sizes []int64, unproven bool) written {
	t.Helper()
	ref.ETag = etag
	list := make([]sse.Part, len(sizes))
	for i := range list {
		list[i] = sse.Part{Number: numbers[i], PlainSize: sizes[i], Nonce: sse.NewStreamNonce()}
		if kept != nil && i == 0 {
			list[i].Nonce = kept.parts.List()[0].Nonce
		}
	}
	parts, err := sse.NewParts(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := written{ref: ref, parts: parts, data: make([]byte, 0, parts.EncSize())}
	for _, p := range list {
		part := make([]byte, sse.EncSize(p.PlainSize))
		copy(part, append([]byte{0x20, 0, 0, 0}, p.Nonce[:]...)[:min(len(part), sse.HeaderSize)])
		w.data = append(w.data, part...)
	}
	facts := sse.Facts{Parts: len(list), PlainSize: parts.PlainSize(), Unproven: unproven}
	if err := s.Put(t.Context(), ref, facts, parts); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w written) stored(asked *int) Data {
	return Data{Size: int64(len(w.data)), At: func(_ context.Context, offset int64) ([]byte, error) {
		*asked++
		return w.data[offset : offset+sse.HeaderSize], nil
	}}
}

func TestDataTellsWhichManifestIsItsOwn(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"k", strings.Repeat("k", 250)} {
		_, sys := newStore(t)
		ref := Ref{Name: sse.Name{Bucket: "b", Key: key}, ID: sse.NewManifestID()}
		one := []uint32{1, 2, 3}
		first := write(t, New(sys), ref, "e1-3", nil, one, []int64{70_000, 100, 50}, false)
		all := []written{
			first,
			write(t, New(sys), ref, "e2-3", &first, one, []int64{70_000, 100, 50}, false),                // a part sent again
			write(t, New(sys), ref, "e3-3", &first, one, []int64{70_000, 50, 100}, false),                // other boundaries
			write(t, New(sys), ref, "e4-2", &first, one[:2], []int64{70_000, 60}, false),                 // another size
			write(t, New(sys), ref, "e5-3", nil, []uint32{1, 2, 9}, []int64{70_000, 100, 50}, false),     // other parts
			write(t, New(sys), ref, "e6-4", nil, []uint32{4, 5, 6, 7}, []int64{70_000, 1, 1, 80}, false), // more of them
		}
		other := Ref{Name: ref.Name, ID: sse.NewManifestID()}
		write(t, New(sys), other, "e1-3", &first, one, []int64{70_000, 100, 50}, false) // of another upload
		for i, w := range all {
			asked := 0
			copied := ref
			copied.ETag = fmt.Sprintf("copied-%d", i)
			store := New(sys)
			told := 0
			store.OnRestored = func(Ref) { told++ }
			for range 2 {
				facts, err := store.Find(t.Context(), copied, w.stored(&asked))
				if err != nil || facts.PlainSize != w.parts.PlainSize() || !store.Restored(copied) {
					t.Errorf("%.3s: manifest %d: %+v, %v", key, i, facts, err)
				}
			}
			parts, err := store.Parts(t.Context(), copied)
			if err != nil || !slices.EqualFunc(parts.List(), w.parts.List(), func(a, b sse.Part) bool { return a.Nonce == b.Nonce && a.Number == b.Number }) {
				t.Errorf("%.3s: the parts of manifest %d are not its own (%v)", key, i, err)
			}
			if told != 1 || asked > len(all) {
				t.Errorf("%.3s: manifest %d: told %d times, %d headers read", key, i, told, asked)
			}
			if _, err := New(sys).Find(t.Context(), w.ref, Data{}); err != nil { // no data is needed where the name fits
				t.Errorf("%.3s: manifest %d by its name: %v", key, i, err)
			}
		}
	}
}

func TestDataThatNoManifestFitsHasNone(t *testing.T) {
	t.Parallel()
	_, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	numbers, sizes := []uint32{1, 2}, []int64{70_000, 100}
	a := write(t, New(sys), ref, "a-2", nil, numbers, sizes, false)
	b := write(t, New(sys), ref, "b-2", nil, numbers, sizes, false)
	asked := 0
	alien := written{ref: ref, data: make([]byte, len(a.data))}
	copied := ref
	copied.ETag = "c-1"
	for name, data := range map[string]Data{
		"longer":              {Size: int64(len(a.data)) + 1},
		"empty":               {},
		"of other ciphertext": alien.stored(&asked),
	} {
		if facts, err := New(sys).Find(t.Context(), copied, data); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %+v, %v", name, facts, err)
		}
	}
	stranger := Ref{Name: ref.Name, ID: sse.NewManifestID(), ETag: "a-2"}
	if _, err := New(sys).Find(t.Context(), stranger, a.stored(&asked)); !errors.Is(err, ErrMissing) {
		t.Errorf("another upload's manifest: %v", err)
	}
	if _, err := New(sys).Find(t.Context(), Ref{Name: ref.Name, ID: ref.ID}, b.stored(&asked)); !errors.Is(err, ErrMissing) {
		t.Errorf("an object of one stream: %v", err)
	}
	failing := Data{Size: int64(len(a.data)), At: func(context.Context, int64) ([]byte, error) { return nil, errors.ErrUnsupported }}
	if _, err := New(sys).Find(t.Context(), copied, failing); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ErrMissing) {
		t.Errorf("no answer is no damage: %v", err)
	}
}

// Where two manifests differ and neither fits, nothing is said of a third one, which may
// have no part that begins there.
func TestThirdManifestIsItsOwn(t *testing.T) {
	t.Parallel()
	_, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	first := write(t, New(sys), ref, "a-2", nil, []uint32{1, 2}, []int64{70_000, 70_000}, false)
	write(t, New(sys), ref, "b-2", &first, []uint32{1, 2}, []int64{70_000, 70_000}, false)
	third := write(t, New(sys), ref, "c-2", nil, []uint32{1, 2}, []int64{70_100, 69_900}, false)
	asked := 0
	copied := ref
	copied.ETag = "copied-1"
	store := New(sys)
	if _, err := store.Find(t.Context(), copied, third.stored(&asked)); err != nil || store.Actual(copied) != third.ref {
		t.Errorf("%v instead of %v: %v", store.Actual(copied), third.ref, err)
	}
}

// Tables of parts are read only where the sizes fit, and of few manifests.
func TestFewTablesAreReadForOneObject(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	own := write(t, New(sys), ref, "own-1", nil, []uint32{1}, []int64{100}, false)
	for i := range 2 * maxCandidates {
		write(t, New(sys), ref, fmt.Sprintf("longer-%d", i), nil, []uint32{1}, []int64{int64(101 + i)}, false)
	}
	asked := 0
	copied := ref
	copied.ETag = "copied-1"
	bucket.bodyGets = 0
	if _, err := New(sys).Find(t.Context(), copied, own.stored(&asked)); err != nil || bucket.bodyGets != 1 {
		t.Errorf("%v, %d tables read", err, bucket.bodyGets)
	}
	for i := range maxCandidates {
		write(t, New(sys), ref, fmt.Sprintf("rival-%d", i), nil, []uint32{1}, []int64{100}, false)
	}
	bucket.bodyGets = 0
	if _, err := New(sys).Find(t.Context(), copied, own.stored(&asked)); !errors.Is(err, ErrUndecided) || bucket.bodyGets > maxCandidates {
		t.Errorf("%v, %d tables read", err, bucket.bodyGets)
	}
}

func TestManifestsWrittenAtCompleteComeFirst(t *testing.T) {
	t.Parallel()
	_, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	proven := write(t, New(sys), ref, "z-1", nil, []uint32{1}, []int64{100}, false)
	write(t, New(sys), ref, "a-1", &proven, []uint32{1}, []int64{100}, true)
	asked := 0
	copied := ref
	copied.ETag = "c-1"
	if facts, err := New(sys).Find(t.Context(), copied, proven.stored(&asked)); err != nil || facts.Unproven {
		t.Errorf("%+v, %v", facts, err)
	}
}

// A page of restored objects costs as many listings as one of others.
func TestRestoredManifestsOfAPageAreReadInFewRequests(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	var refs []Ref
	sizes := make(map[Ref]int64)
	for i := range 300 {
		ref := Ref{Name: sse.Name{Bucket: "b", Key: fmt.Sprintf("k%03d", i)}, ID: sse.NewManifestID()}
		w := write(t, New(sys), ref, "of the upload", nil, []uint32{1}, []int64{int64(100 + i)}, false)
		ref.ETag = []string{"of the copy", "uploaded elsewhere"}[i%2] // sorts before and after
		refs = append(refs, ref)
		sizes[ref] = int64(len(w.data))
	}
	data := func(ref Ref) Data { return Data{Size: sizes[ref]} }
	bucket.lists, bucket.gets = 0, 0
	found, failed := New(sys).GetMany(t.Context(), refs, data)
	if len(found) != len(refs) || len(failed) > 0 || bucket.lists > maxRangePages || bucket.gets > 0 {
		t.Errorf("%d of %d found with %d lists and %d gets", len(found), len(refs), bucket.lists, bucket.gets)
	}
	for i, ref := range refs {
		if found[ref].PlainSize != int64(100+i) {
			t.Errorf("%s: %d bytes, want %d", ref.Name.Key, found[ref].PlainSize, 100+i)
		}
	}
	sizes[refs[7]]++
	if found, failed = New(sys).GetMany(t.Context(), refs, data); len(found) != len(refs)-1 || !errors.Is(failed[refs[7]], ErrMissing) {
		t.Errorf("%d found; one of another size: %v", len(found), failed)
	}
}

// All manifests of an upload may be that of an object that was copied.
func TestSweepLeavesManifestsOfRestoredObjects(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	ref := Ref{Name: sse.Name{Bucket: "b", Key: "k"}, ID: sse.NewManifestID()}
	own := write(t, New(sys), ref, "own-1", nil, []uint32{1}, []int64{100}, false)
	write(t, New(sys), ref, "rival-1", nil, []uint32{1}, []int64{100}, false)
	write(t, New(sys), Ref{Name: ref.Name, ID: sse.NewManifestID()}, "another-1", nil, []uint32{1}, []int64{100}, false)
	bucket.age(2 * day)
	copied := ref
	copied.ETag = "copied-1"
	look := &fakeLookups{manifests: map[sse.Name][]Ref{ref.Name: {copied}}}
	w := newSweeps(t, bucket, sys, look)
	for range 3 {
		w.pass()
		w.later(2 * day)
	}
	if len(bucket.notes()) != 2 {
		t.Errorf("%d manifests left of the two of the upload", len(bucket.notes()))
	}
	look.manifests[ref.Name] = []Ref{own.ref} // where the name fits, the rival's goes
	for range 3 {
		w.pass()
		w.later(2 * day)
	}
	if len(bucket.notes()) != 1 {
		t.Errorf("%d manifests left, want the object's own", len(bucket.notes()))
	}
}

// An object's own manifest that does not open for a moment is no missing one: a page
// fails then, and does not take a rival's.
func TestPageTakesNoRivalsManifestForOneThatIsThere(t *testing.T) {
	t.Parallel()
	for _, rivals := range []int{0, 1} {
		_, sys, keys := newStoreWithKeys(t)
		var refs []Ref
		sizes := make(map[Ref]int64)
		for i := range 2 * few {
			ref := Ref{Name: sse.Name{Bucket: "b", Key: fmt.Sprintf("k%d", i)}, ID: sse.NewManifestID()}
			own := write(t, New(sys), ref, "own", nil, []uint32{1}, []int64{100}, false)
			for range rivals {
				write(t, New(sys), ref, "rival", nil, []uint32{1}, []int64{100}, false)
			}
			refs = append(refs, own.ref)
			sizes[own.ref] = int64(len(own.data))
		}
		store := New(sys)
		data := func(ref Ref) Data { return Data{Size: sizes[ref]} }
		keys.fail, keys.in = kms.ErrUnavailable, "-own"
		found, failed := store.GetMany(t.Context(), refs, data)
		for _, ref := range refs {
			if _, ok := found[ref]; ok || !errors.Is(failed[ref], kms.ErrUnavailable) || store.Restored(ref) {
				t.Errorf("%d rivals, %s: found %t, restored %t, %v", rivals, ref.Name.Key, ok, store.Restored(ref), failed[ref])
			}
		}
		keys.fail = nil
		if found, _ = store.GetMany(t.Context(), refs, data); len(found) != len(refs) {
			t.Errorf("%d rivals: %d found of %d once the keys are there again", rivals, len(found), len(refs))
		}
	}
}
