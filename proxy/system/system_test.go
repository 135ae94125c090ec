package system

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// fakeBucket is a system bucket in memory, which a test may tamper with.
type fakeBucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	etags   map[string]string
	notes   map[string]string
	bodies  map[string][]byte
	writes  int
	// failAfter makes writes report this error although they stored.
	failAfter error
}

func newFakeBucket() *fakeBucket {
	return &fakeBucket{
		objects: make(map[string][]byte), etags: make(map[string]string),
		notes: make(map[string]string), bodies: make(map[string][]byte),
	}
}

func (b *fakeBucket) Get(_ context.Context, name, etag string) (data []byte, newETag string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[name]
	switch {
	case !ok:
		return nil, "", ErrNotFound
	case etag != "" && etag == b.etags[name]:
		return nil, "", ErrNotModified
	}
	return bytes.Clone(data), b.etags[name], nil
}

func (b *fakeBucket) Put(_ context.Context, name string, data []byte, etag string) (newETag string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.etags[name] != etag {
		return "", ErrConflict
	}
	b.writes++
	b.objects[name], b.etags[name] = bytes.Clone(data), "e"+strconv.Itoa(b.writes)
	return b.etags[name], b.failAfter
}

func (b *fakeBucket) PutNote(_ context.Context, name, value string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.notes[name]; ok {
		return ErrConflict
	}
	b.notes[name], b.bodies[name] = value, bytes.Clone(body)
	return b.failAfter
}

func (b *fakeBucket) ReplaceNote(_ context.Context, name, value string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[name], b.bodies[name] = value, bytes.Clone(body)
	return b.failAfter
}

func (b *fakeBucket) GetNote(_ context.Context, name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	value, ok := b.notes[name]
	if !ok {
		return "", ErrNotFound
	}
	return value, nil
}

func (b *fakeBucket) GetNoteBody(_ context.Context, name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, ok := b.bodies[name]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(body), nil
}

func (b *fakeBucket) DeleteNotes(_ context.Context, prefix string, keep func(string) bool) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	deleted := 0
	for name := range b.notes {
		if strings.HasPrefix(name, prefix) && (keep == nil || !keep(name)) {
			delete(b.notes, name)
			delete(b.bodies, name)
			deleted++
		}
	}
	return deleted, nil
}

func (b *fakeBucket) ListNotes(_ context.Context, prefix, after string) (notes []Note, more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, value := range b.notes {
		if strings.HasPrefix(name, prefix) && name > after {
			notes = append(notes, Note{Name: name, Value: value})
		}
	}
	slices.SortFunc(notes, func(a, b Note) int { return strings.Compare(a.Name, b.Name) })
	return notes, false, nil
}

// testKMS is a key service with the keys "system" and "other".
func testKMS(t *testing.T) *kms.Local {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	for _, name := range []string{"system", "other"} {
		if err := service.CreateKey(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return service
}

func testStore(t *testing.T, bucket *fakeBucket, service kms.Service, key, deployment string) *Store {
	t.Helper()
	s, err := New(Options{Service: bucket, KMS: service, Key: key, Deployment: deployment})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const index = "rules/index"

func TestObjectComesBackAsItWasPut(t *testing.T) {
	t.Parallel()
	bucket := newFakeBucket()
	s := testStore(t, bucket, testKMS(t), "system", "default")
	for _, data := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("rules "), 100_000)} {
		etag, err := s.Put(t.Context(), "rules", index, data, bucket.etags[index])
		if err != nil {
			t.Fatal(err)
		}
		got, gotETag, err := s.Get(t.Context(), "rules", index, "")
		if err != nil || !bytes.Equal(got, data) || gotETag != etag {
			t.Errorf("%d bytes come back as %d, %q, %v", len(data), len(got), gotETag, err)
		}
		if len(data) > 1 && bytes.Contains(bucket.objects[index], data[:6]) {
			t.Error("what lies in the bucket is readable")
		}
	}
}

func TestTheBucketsOwnAnswersPass(t *testing.T) {
	t.Parallel()
	bucket := newFakeBucket()
	s := testStore(t, bucket, testKMS(t), "system", "default")
	if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
	etag, err := s.Put(t.Context(), "rules", index, []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "rules", index, etag); !errors.Is(err, ErrNotModified) {
		t.Errorf("an unchanged object: %v", err)
	}
	for _, other := range []string{"", "another"} {
		if _, err := s.Put(t.Context(), "rules", index, []byte("y"), other); !errors.Is(err, ErrConflict) {
			t.Errorf("over an object that has another ETag than %q: %v", other, err)
		}
	}
	bucket.failAfter = storage.ErrUnreachable
	if _, err := s.Put(t.Context(), "rules", index, []byte("z"), etag); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("stored, and no answer: %v", err)
	}
	if got, _, err := s.Get(t.Context(), "rules", index, ""); err != nil || string(got) != "z" {
		t.Errorf("what was stored all the same: %q, %v", got, err)
	}
}

func TestObjectInAnothersPlaceIsNotAuthentic(t *testing.T) {
	t.Parallel()
	bucket, service := newFakeBucket(), testKMS(t)
	s := testStore(t, bucket, service, "system", "default")
	if _, err := s.Put(t.Context(), "rules", index, []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	bucket.objects["rules/other"] = bucket.objects[index]
	for name, get := range map[string]func() error{
		"another name": func() error {
			_, _, err := s.Get(t.Context(), "rules", "rules/other", "")
			return err
		},
		"another kind": func() error {
			_, _, err := s.Get(t.Context(), "late", index, "")
			return err
		},
		"another deployment": func() error {
			_, _, err := testStore(t, bucket, service, "system", "second").Get(t.Context(), "rules", index, "")
			return err
		},
		"a deployment and kind that read the same": func() error {
			_, _, err := testStore(t, bucket, service, "system", "default/rules").Get(t.Context(), "rules", "index", "")
			return err
		},
		"another KMS key": func() error {
			_, _, err := testStore(t, bucket, service, "other", "default").Get(t.Context(), "rules", index, "")
			return err
		},
	} {
		bucket.objects["index"] = bucket.objects[index]
		if err := get(); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryAlteredByteIsNoticed(t *testing.T) {
	t.Parallel()
	bucket := newFakeBucket()
	s := testStore(t, bucket, testKMS(t), "system", "default")
	if _, err := s.Put(t.Context(), "rules", index, []byte("data"), ""); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(bucket.objects[index])
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= 1
		bucket.objects[index] = altered
		if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, ErrTampered) {
			t.Errorf("byte %d of %d: %v", i, len(whole), err)
		}
		bucket.objects[index] = whole[:i]
		if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, ErrTampered) {
			t.Errorf("cut to %d of %d: %v", i, len(whole), err)
		}
	}
	bucket.objects[index] = append(bytes.Clone(whole), 0)
	if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, ErrTampered) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestContextOfSystemObjectsIsReserved: a caller of the key service's API cannot name
// the reserved entries, and a DEK without them seals nothing that opens.
func TestContextOfSystemObjectsIsReserved(t *testing.T) {
	t.Parallel()
	s := testStore(t, newFakeBucket(), testKMS(t), "system", "default")
	if c := s.context("rules", index); !kms.ContainsReserved(c) {
		t.Errorf("the key service's API would make or open DEKs for %s", c)
	}
}

// brokenKMS is a key service that does not answer.
type brokenKMS struct{ kms.Service }

func (brokenKMS) GenerateDEK(context.Context, string, []byte) (kms.DEK, error) {
	return kms.DEK{}, kms.ErrUnavailable
}

func (brokenKMS) DecryptDEK(context.Context, string, []byte, []byte) ([kms.DEKSize]byte, error) {
	return [kms.DEKSize]byte{}, kms.ErrUnavailable
}

func TestKeyServiceThatIsAwayIsNoTampering(t *testing.T) {
	t.Parallel()
	bucket, service := newFakeBucket(), testKMS(t)
	if _, err := testStore(t, bucket, service, "system", "default").Put(t.Context(), "rules", index, []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	s := testStore(t, bucket, brokenKMS{service}, "system", "default")
	if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, kms.ErrUnavailable) || errors.Is(err, ErrTampered) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Put(t.Context(), "rules", index, []byte("y"), "e1"); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	if bucket.writes != 1 {
		t.Error("something was stored without a key")
	}
	if err := service.DeleteKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := testStore(t, bucket, service, "system", "default").Get(t.Context(), "rules", index, ""); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("a removed key: %v", err)
	}
}

func TestNotesAndTheirBodies(t *testing.T) {
	t.Parallel()
	bucket := newFakeBucket()
	s := testStore(t, bucket, testKMS(t), "system", "default")
	if err := s.PutNote(t.Context(), "late", "late/b/k", []byte("facts"), []byte("parts")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetNote(t.Context(), "late", "late/b/k"); err != nil || string(got) != "facts" {
		t.Errorf("note: %q, %v", got, err)
	}
	if got, err := s.GetBody(t.Context(), "late", "late/b/k"); err != nil || string(got) != "parts" {
		t.Errorf("body: %q, %v", got, err)
	}
	if err := s.PutNote(t.Context(), "late", "late/b/k", []byte("other"), nil); !errors.Is(err, ErrConflict) {
		t.Errorf("over a note that exists: %v", err)
	}
	if _, err := s.GetNote(t.Context(), "late", "late/b/none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing note: %v", err)
	}
	if strings.Contains(bucket.notes["late/b/k"], "facts") || bytes.Contains(bucket.bodies["late/b/k"], []byte("parts")) {
		t.Error("what lies in the bucket is readable")
	}
	for _, c := range bucket.notes["late/b/k"] {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c) {
			t.Fatalf("%q cannot stand in a query or header as it is", c)
		}
	}
}

func TestNotesAreBoundToNameAndKind(t *testing.T) {
	t.Parallel()
	bucket := newFakeBucket()
	s := testStore(t, bucket, testKMS(t), "system", "default")
	if err := s.PutNote(t.Context(), "late", "late/b/k", []byte("same"), []byte("same")); err != nil {
		t.Fatal(err)
	}
	value := bucket.notes["late/b/k"]
	bucket.notes["late/b/other"] = value
	if _, err := s.GetNote(t.Context(), "late", "late/b/other"); !errors.Is(err, ErrTampered) {
		t.Errorf("under another name: %v", err)
	}
	if _, err := s.GetNote(t.Context(), "part", "late/b/k"); !errors.Is(err, ErrTampered) {
		t.Errorf("as another kind: %v", err)
	}
	for _, broken := range []string{"", "!", value + "=", value[1:], value + "A"} {
		if _, err := s.OpenNote(t.Context(), "late", Note{Name: "late/b/k", Value: broken}); !errors.Is(err, ErrTampered) {
			t.Errorf("%.20q...: %v", broken, err)
		}
	}
	// A body is no note, and a note no body.
	if _, _, err := s.Get(t.Context(), "late", "late/b/k", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a note as an object: %v", err)
	}
	bucket.objects["late/b/k"] = bucket.bodies["late/b/k"]
	if _, _, err := s.Get(t.Context(), "late", "late/b/k", ""); !errors.Is(err, ErrTampered) {
		t.Errorf("a body in the note's place: %v", err)
	}
}

func TestListedNotesOpen(t *testing.T) {
	t.Parallel()
	bucket := newFakeBucket()
	s := testStore(t, bucket, testKMS(t), "system", "default")
	for _, key := range []string{"b", "a", "c"} {
		if err := s.PutNote(t.Context(), "late", "late/b/"+key, []byte(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	notes, more, err := s.ListNotes(t.Context(), "late/b/", "late/b/a")
	if err != nil || more || len(notes) != 2 {
		t.Fatalf("got %v, %v, %v", notes, more, err)
	}
	for i, want := range []string{"b", "c"} {
		if got, err := s.OpenNote(t.Context(), "late", notes[i]); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", notes[i].Name, got, err)
		}
	}
	n, err := s.Delete(t.Context(), "late/b/", func(name string) bool { return name == "late/b/b" })
	if err != nil || n != 2 || len(bucket.notes) != 1 {
		t.Errorf("%d were removed, %v; left are %v", n, err, bucket.notes)
	}
}

func TestIncompleteOptionsAreRefused(t *testing.T) {
	t.Parallel()
	service, bucket := testKMS(t), newFakeBucket()
	for i, o := range []Options{
		{KMS: service, Key: "k", Deployment: "d"},
		{Service: bucket, Key: "k", Deployment: "d"},
		{Service: bucket, KMS: service, Deployment: "d"},
		{Service: bucket, KMS: service, Key: "k"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("options %d are accepted", i)
		}
	}
}
