package manifest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// fakeBucket is a system bucket in memory that counts requests and can fail after
// having stored.
type fakeBucket struct {
	mu       sync.Mutex
	notes    map[string]upstream.Note
	bodies   map[string][]byte
	lists    int
	gets     int
	failPuts int // so many writes store and then fail
	pageSize int
}

func newStore(t *testing.T) (*fakeBucket, *system.Store) {
	t.Helper()
	keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	if err := keys.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	b := &fakeBucket{notes: make(map[string]upstream.Note), bodies: make(map[string][]byte), pageSize: 1000}
	s, err := system.New(system.Options{Service: b, KMS: keys, Key: "system", Deployment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

func (b *fakeBucket) Get(context.Context, string, string) (data []byte, newETag string, err error) {
	return nil, "", upstream.ErrNotFound
}

func (b *fakeBucket) Put(context.Context, string, []byte, string) (string, error) {
	return "", upstream.ErrUnreachable
}

func (b *fakeBucket) PutNote(_ context.Context, name, value string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.notes[name]; ok {
		return upstream.ErrConflict
	}
	b.notes[name], b.bodies[name] = upstream.Note{Name: name, Value: value, Modified: time.Now()}, body
	if b.failPuts > 0 {
		b.failPuts--
		return upstream.ErrUnreachable
	}
	return nil
}

func (b *fakeBucket) ReplaceNote(_ context.Context, name, value string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[name], b.bodies[name] = upstream.Note{Name: name, Value: value, Modified: time.Now()}, body
	return nil
}

func (b *fakeBucket) GetNote(_ context.Context, name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets++
	n, ok := b.notes[name]
	if !ok {
		return "", upstream.ErrNotFound
	}
	return n.Value, nil
}

func (b *fakeBucket) GetNoteBody(_ context.Context, name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, ok := b.bodies[name]
	if !ok {
		return nil, upstream.ErrNotFound
	}
	return body, nil
}

func (b *fakeBucket) ListNotes(_ context.Context, prefix, after string) (notes []upstream.Note, more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists++
	for name, n := range b.notes {
		if strings.HasPrefix(name, prefix) && name > after {
			notes = append(notes, n)
		}
	}
	slices.SortFunc(notes, func(x, y upstream.Note) int { return strings.Compare(x.Name, y.Name) })
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
