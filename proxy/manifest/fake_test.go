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
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// agingBucket is a system bucket in memory that counts requests and can fail after
// having stored. The storage's clock ages everything alike and its pages are long, so what
// a listing says of a note's age, and how much of it comes at once, is changed here.
type agingBucket struct {
	*memory.System
	storage *memory.Storage

	mu       sync.Mutex
	aged     map[string]time.Time // when a note is said to have been stored
	lists    int
	gets     int
	bodyGets int
	failPuts int // so many writes store and then fail
	pageSize int
}

func newBucket(t *testing.T) *agingBucket {
	t.Helper()
	s := memory.New(memory.Options{})
	b := &agingBucket{System: s.System("system"), storage: s, aged: make(map[string]time.Time), pageSize: 1000}
	if err := b.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.SetFaults(b.see)
	return b
}

// see counts requests, and fails writes once they are stored.
func (b *agingBucket) see(_ context.Context, c *memory.Call) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.Step == memory.Done && c.Op == memory.Put && c.Err == nil:
		delete(b.aged, c.Name.Key)
		if b.failPuts > 0 {
			b.failPuts--
			return storage.ErrUnreachable
		}
	case c.Step != memory.Arrived:
	case c.Op == memory.List:
		b.lists++
	case c.Op == memory.Head:
		b.gets++
	case c.Op == memory.Get:
		b.bodyGets++
	}
	return nil
}

func newStore(t *testing.T) (*agingBucket, *system.Store) {
	t.Helper()
	b, s, _ := newStoreWithKeys(t)
	return b, s
}

// newStoreWithKeys is newStore over a key service that can be away.
func newStoreWithKeys(t *testing.T) (*agingBucket, *system.Store, *flakyKeys) {
	t.Helper()
	keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	if err := keys.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	b := newBucket(t)
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

// ListNotes is the storage's, cut into pages, and with the ages that a test wants.
func (b *agingBucket) ListNotes(ctx context.Context, prefix, after string) ([]system.Note, bool, error) {
	notes, more, err := b.System.ListNotes(ctx, prefix, after)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range notes {
		if at, ok := b.aged[notes[i].Name]; ok {
			notes[i].Modified = at
		}
	}
	if len(notes) > b.pageSize {
		notes, more = notes[:b.pageSize], true
	}
	return notes, more, err
}

// notes returns the names of the notes in the storage.
func (b *agingBucket) notes() (names []string) {
	b.storage.Each(func(name sse.Name, _ string, _ memory.Stored) {
		if name.Key != sightingsName {
			names = append(names, name.Key)
		}
	})
	return slices.Compact(names)
}

// age makes every note look as old as d.
func (b *agingBucket) age(d time.Duration) {
	for _, name := range b.notes() {
		b.ageOf(name, d)
	}
}

// ageOf makes one note look as old as d; a note from the future has a negative age.
func (b *agingBucket) ageOf(name string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aged[name] = time.Now().Add(-d)
}
