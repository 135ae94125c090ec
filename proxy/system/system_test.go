package system_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// bucket is a system bucket in memory, whose storage a test may tamper with.
type bucket struct {
	*memory.System
	t       *testing.T
	storage *memory.Storage
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	s := memory.New(memory.Options{})
	b := &bucket{s.System("system"), t, s}
	if err := b.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// data returns what lies in the storage as an object, or as a note's body.
func (b *bucket) data(name string) []byte {
	b.t.Helper()
	o, err := b.storage.Raw(sse.Name{Bucket: b.Bucket(), Key: name}, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return bytes.Clone(o.Data)
}

// value returns what lies in the storage as a note.
func (b *bucket) value(name string) string {
	b.t.Helper()
	value, err := b.GetNote(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// alter replaces what lies in the storage in place.
func (b *bucket) alter(name string, data []byte) {
	b.t.Helper()
	err := b.storage.Alter(sse.Name{Bucket: b.Bucket(), Key: name}, "", func(o *memory.Stored) { o.Data = bytes.Clone(data) })
	if err != nil {
		b.t.Fatal(err)
	}
}

// copy puts what lies in the storage at another name too.
func (b *bucket) copy(from, to string) {
	b.t.Helper()
	if _, err := b.Put(b.t.Context(), to, b.data(from), ""); err != nil {
		b.t.Fatal(err)
	}
}

// versions returns the name of every version that lies in the storage.
func (b *bucket) versions() (names []string) {
	b.storage.Each(func(name sse.Name, _ string, _ memory.Stored) { names = append(names, name.Key) })
	return names
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

func testStore(t *testing.T, b *bucket, service kms.Service, key, deployment string) *system.Store {
	t.Helper()
	s, err := system.New(system.Options{Service: b, KMS: service, Key: key, Deployment: deployment})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const index = "rules/index"

func TestObjectComesBackAsItWasPut(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	s := testStore(t, b, testKMS(t), "system", "default")
	former := ""
	for _, data := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("rules "), 100_000)} {
		etag, err := s.Put(t.Context(), "rules", index, data, former)
		if err != nil {
			t.Fatal(err)
		}
		former = etag
		got, gotETag, err := s.Get(t.Context(), "rules", index, "")
		if err != nil || !bytes.Equal(got, data) || gotETag != etag {
			t.Errorf("%d bytes come back as %d, %q, %v", len(data), len(got), gotETag, err)
		}
		if len(data) > 1 && bytes.Contains(b.data(index), data[:6]) {
			t.Error("what lies in the bucket is readable")
		}
	}
}

func TestTheBucketsOwnAnswersPass(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	s := testStore(t, b, testKMS(t), "system", "default")
	if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
	etag, err := s.Put(t.Context(), "rules", index, []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "rules", index, etag); !errors.Is(err, system.ErrNotModified) {
		t.Errorf("an unchanged object: %v", err)
	}
	for _, other := range []string{"", "another"} {
		if _, err := s.Put(t.Context(), "rules", index, []byte("y"), other); !errors.Is(err, system.ErrConflict) {
			t.Errorf("over an object that has another ETag than %q: %v", other, err)
		}
	}
	b.storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Op == memory.Put && c.Step == memory.Done {
			return storage.ErrUnreachable
		}
		return nil
	})
	if _, err := s.Put(t.Context(), "rules", index, []byte("z"), etag); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("stored, and no answer: %v", err)
	}
	if got, _, err := s.Get(t.Context(), "rules", index, ""); err != nil || string(got) != "z" {
		t.Errorf("what was stored all the same: %q, %v", got, err)
	}
}

func TestObjectInAnothersPlaceIsNotAuthentic(t *testing.T) {
	t.Parallel()
	b, service := newBucket(t), testKMS(t)
	s := testStore(t, b, service, "system", "default")
	if _, err := s.Put(t.Context(), "rules", index, []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	b.copy(index, "rules/other")
	b.copy(index, "index")
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
			_, _, err := testStore(t, b, service, "system", "second").Get(t.Context(), "rules", index, "")
			return err
		},
		"a deployment and kind that read the same": func() error {
			_, _, err := testStore(t, b, service, "system", "default/rules").Get(t.Context(), "rules", "index", "")
			return err
		},
		"another KMS key": func() error {
			_, _, err := testStore(t, b, service, "other", "default").Get(t.Context(), "rules", index, "")
			return err
		},
	} {
		if err := get(); !errors.Is(err, system.ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryAlteredByteIsNoticed(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	s := testStore(t, b, testKMS(t), "system", "default")
	if _, err := s.Put(t.Context(), "rules", index, []byte("data"), ""); err != nil {
		t.Fatal(err)
	}
	whole := b.data(index)
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= 1
		b.alter(index, altered)
		if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, system.ErrTampered) {
			t.Errorf("byte %d of %d: %v", i, len(whole), err)
		}
		b.alter(index, whole[:i])
		if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, system.ErrTampered) {
			t.Errorf("cut to %d of %d: %v", i, len(whole), err)
		}
	}
	b.alter(index, append(bytes.Clone(whole), 0))
	if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, system.ErrTampered) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestContextOfSystemObjectsIsReserved: a caller of the key service's API cannot name
// the reserved entries, and a DEK without them seals nothing that opens.
func TestContextOfSystemObjectsIsReserved(t *testing.T) {
	t.Parallel()
	service := &listeningKMS{Service: testKMS(t)}
	s := testStore(t, newBucket(t), service, "system", "default")
	if _, err := s.Put(t.Context(), "rules", index, []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	if !kms.ContainsReserved(service.context) {
		t.Errorf("the key service's API would make or open DEKs for %s", service.context)
	}
}

// listeningKMS is a key service that keeps the latest DEK's encryption context.
type listeningKMS struct {
	kms.Service
	context []byte
}

func (l *listeningKMS) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	l.context = bytes.Clone(encContext)
	return l.Service.GenerateDEK(ctx, name, encContext)
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
	b, service := newBucket(t), testKMS(t)
	etag, err := testStore(t, b, service, "system", "default").Put(t.Context(), "rules", index, []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	s := testStore(t, b, brokenKMS{service}, "system", "default")
	if _, _, err := s.Get(t.Context(), "rules", index, ""); !errors.Is(err, kms.ErrUnavailable) || errors.Is(err, system.ErrTampered) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Put(t.Context(), "rules", index, []byte("y"), etag); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	if len(b.versions()) != 1 {
		t.Error("something was stored without a key")
	}
	if err := service.DeleteKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := testStore(t, b, service, "system", "default").Get(t.Context(), "rules", index, ""); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("a removed key: %v", err)
	}
}

func TestNotesAndTheirBodies(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	s := testStore(t, b, testKMS(t), "system", "default")
	if err := s.PutNote(t.Context(), "late", "late/b/k", []byte("facts"), []byte("parts")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetNote(t.Context(), "late", "late/b/k"); err != nil || string(got) != "facts" {
		t.Errorf("note: %q, %v", got, err)
	}
	if got, err := s.GetBody(t.Context(), "late", "late/b/k"); err != nil || string(got) != "parts" {
		t.Errorf("body: %q, %v", got, err)
	}
	if err := s.PutNote(t.Context(), "late", "late/b/k", []byte("other"), nil); !errors.Is(err, system.ErrConflict) {
		t.Errorf("over a note that exists: %v", err)
	}
	if _, err := s.GetNote(t.Context(), "late", "late/b/none"); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("a missing note: %v", err)
	}
	if strings.Contains(b.value("late/b/k"), "facts") || bytes.Contains(b.data("late/b/k"), []byte("parts")) {
		t.Error("what lies in the bucket is readable")
	}
	for _, c := range b.value("late/b/k") {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c) {
			t.Fatalf("%q cannot stand in a query or header as it is", c)
		}
	}
}

func TestNotesAreBoundToNameAndKind(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	s := testStore(t, b, testKMS(t), "system", "default")
	if err := s.PutNote(t.Context(), "late", "late/b/k", []byte("same"), []byte("same")); err != nil {
		t.Fatal(err)
	}
	value := b.value("late/b/k")
	if err := b.PutNote(t.Context(), "late/b/other", value, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetNote(t.Context(), "late", "late/b/other"); !errors.Is(err, system.ErrTampered) {
		t.Errorf("under another name: %v", err)
	}
	if _, err := s.GetNote(t.Context(), "part", "late/b/k"); !errors.Is(err, system.ErrTampered) {
		t.Errorf("as another kind: %v", err)
	}
	for _, broken := range []string{"", "!", value + "=", value[1:], value + "A"} {
		if _, err := s.OpenNote(t.Context(), "late", system.Note{Name: "late/b/k", Value: broken}); !errors.Is(err, system.ErrTampered) {
			t.Errorf("%.20q...: %v", broken, err)
		}
	}
	// A note's body is no object.
	if _, _, err := s.Get(t.Context(), "late", "late/b/k", ""); !errors.Is(err, system.ErrTampered) {
		t.Errorf("a note as an object: %v", err)
	}
}

func TestListedNotesOpen(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	s := testStore(t, b, testKMS(t), "system", "default")
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
	if err != nil || n != 2 || !slices.Equal(b.versions(), []string{"late/b/b"}) {
		t.Errorf("%d were removed, %v; left are %v", n, err, b.versions())
	}
}

func TestIncompleteOptionsAreRefused(t *testing.T) {
	t.Parallel()
	service, b := testKMS(t), newBucket(t)
	for i, o := range []system.Options{
		{KMS: service, Key: "k", Deployment: "d"},
		{Service: b, Key: "k", Deployment: "d"},
		{Service: b, KMS: service, Deployment: "d"},
		{Service: b, KMS: service, Key: "k"},
	} {
		if _, err := system.New(o); err == nil {
			t.Errorf("options %d are accepted", i)
		}
	}
}
