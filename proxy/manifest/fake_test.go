package manifest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// fakeBucket is a system bucket in memory that counts requests and can fail after
// having stored.
type fakeBucket struct {
	mu       sync.Mutex
	notes    map[string]system.Note
	bodies   map[string][]byte
	lists    int
	gets     int
	bodyGets int
	failPuts int // so many writes store and then fail
	pageSize int
	objects  map[string][]byte
	writes   int // of objects
}

func newStore(t *testing.T) (*fakeBucket, *system.Store) {
	t.Helper()
	b, s, _ := newStoreWithKeys(t)
	return b, s
}

// newStoreWithKeys is newStore over a key service that can be away.
func newStoreWithKeys(t *testing.T) (*fakeBucket, *system.Store, *flakyKeys) {
	t.Helper()
	keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	if err := keys.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	b := &fakeBucket{notes: make(map[string]system.Note), bodies: make(map[string][]byte), objects: make(map[string][]byte), pageSize: 1000}
	flaky := &flakyKeys{Service: keys}
	s, err := system.New(system.Options{Service: b, KMS: flaky, Key: "system", Deployment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return b, s, flaky
}

// flakyKeys fails to open DEKs as a remote key server that is away does, or as one
// that has another key of that name, for names that contain the given text.
type flakyKeys struct {
	kms.Service
	fail error
	in   string
}

func (f *flakyKeys) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	if f.fail != nil && strings.Contains(string(encContext), f.in) {
		return [kms.DEKSize]byte{}, f.fail
	}
	return f.Service.DecryptDEK(ctx, name, ciphertext, encContext)
}

func (b *fakeBucket) Get(_ context.Context, name, _ string) (data []byte, newETag string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[name]
	if !ok {
		return nil, "", system.ErrNotFound
	}
	return data, strconv.Itoa(b.writes), nil
}

func (b *fakeBucket) Put(_ context.Context, name string, data []byte, etag string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.objects[name]; ok != (etag != "") || ok && etag != strconv.Itoa(b.writes) {
		return "", system.ErrConflict
	}
	b.writes++
	b.objects[name] = data
	return strconv.Itoa(b.writes), nil
}

func (b *fakeBucket) PutNote(_ context.Context, name, value string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.notes[name]; ok {
		return system.ErrConflict
	}
	b.notes[name], b.bodies[name] = system.Note{Name: name, Value: value, Modified: time.Now()}, body
	if b.failPuts > 0 {
		b.failPuts--
		return storage.ErrUnreachable
	}
	return nil
}

func (b *fakeBucket) ReplaceNote(_ context.Context, name, value string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[name], b.bodies[name] = system.Note{Name: name, Value: value, Modified: time.Now()}, body
	return nil
}

func (b *fakeBucket) GetNote(_ context.Context, name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets++
	n, ok := b.notes[name]
	if !ok {
		return "", system.ErrNotFound
	}
	return n.Value, nil
}

func (b *fakeBucket) GetNoteBody(_ context.Context, name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bodyGets++
	body, ok := b.bodies[name]
	if !ok {
		return nil, system.ErrNotFound
	}
	return body, nil
}

func (b *fakeBucket) ListNotes(_ context.Context, prefix, after string) (notes []system.Note, more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists++
	for name, n := range b.notes {
		if strings.HasPrefix(name, prefix) && name > after {
			notes = append(notes, n)
		}
	}
	slices.SortFunc(notes, func(x, y system.Note) int { return strings.Compare(x.Name, y.Name) })
	if len(notes) > b.pageSize {
		notes, more = notes[:b.pageSize], true
	}
	return notes, more, nil
}

func (b *fakeBucket) DeleteNotes(_ context.Context, prefix string, keep func(string) bool) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for name := range b.notes {
		if strings.HasPrefix(name, prefix) && (keep == nil || !keep(name)) {
			delete(b.notes, name)
			n++
		}
	}
	return n, nil
}

// age makes every note look as old as d.
func (b *fakeBucket) age(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, n := range b.notes {
		n.Modified = time.Now().Add(-d)
		b.notes[name] = n
	}
}

// ageOf makes one note look as old as d; a note from the future has a negative age.
func (b *fakeBucket) ageOf(name string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.notes[name]
	n.Modified = time.Now().Add(-d)
	b.notes[name] = n
}
