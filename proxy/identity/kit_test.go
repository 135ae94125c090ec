package identity

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// bucket is a system bucket in memory that fails, and puts things back, on demand.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	etags   map[string]string
	notes   map[string]string
	writes  int
	reads   int
	fail    error // of every call
	// failStored is the answer to the next write, which is stored all the same.
	failStored error
	// hold keeps the look-up of a note until its channel is closed; nil holds none.
	hold func(name string) <-chan struct{}
}

func newBucket() *bucket {
	return &bucket{objects: map[string][]byte{}, etags: map[string]string{}, notes: map[string]string{}}
}

func (b *bucket) Get(_ context.Context, name, etag string) (data []byte, newETag string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	data, ok := b.objects[name]
	switch {
	case b.fail != nil:
		return nil, "", b.fail
	case !ok:
		return nil, "", system.ErrNotFound
	case etag != "" && etag == b.etags[name]:
		return nil, "", system.ErrNotModified
	}
	return bytes.Clone(data), b.etags[name], nil
}

func (b *bucket) Put(_ context.Context, name string, data []byte, etag string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.fail != nil:
		return "", b.fail
	case b.etags[name] != etag:
		return "", system.ErrConflict
	}
	b.writes++
	b.objects[name], b.etags[name] = bytes.Clone(data), "e"+strconv.Itoa(b.writes)
	err := b.failStored
	b.failStored = nil
	return b.etags[name], err
}

func (b *bucket) PutNote(_ context.Context, name, value string, _ []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.notes[name]; ok {
		return system.ErrConflict
	}
	b.writes++
	b.notes[name] = value
	return b.fail
}

func (b *bucket) ReplaceNote(context.Context, string, string, []byte) error {
	return storage.ErrUnreachable // no identity is replaced
}

func (b *bucket) ChangeNote(context.Context, string, string, []byte, string) error {
	return storage.ErrUnreachable // no identity is sealed anew
}

func (b *bucket) GetNote(ctx context.Context, name string) (string, error) {
	b.mu.Lock()
	hold := b.hold
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold(name):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	value, ok := b.notes[name]
	switch {
	case b.fail != nil:
		return "", b.fail
	case !ok:
		return "", system.ErrNotFound
	}
	return value, nil
}

func (b *bucket) GetNoteBody(context.Context, string) ([]byte, error) {
	return nil, system.ErrNotFound
}

func (b *bucket) DeleteNotes(_ context.Context, prefix string, _ func(string) bool) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for name := range b.notes {
		if strings.HasPrefix(name, prefix) {
			delete(b.notes, name)
			n++
		}
	}
	return n, b.fail
}

func (b *bucket) ListNotes(_ context.Context, prefix, after string) (notes []system.Note, more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, value := range b.notes {
		if strings.HasPrefix(name, prefix) && name > after {
			notes = append(notes, system.Note{Name: name, Value: value})
		}
	}
	slices.SortFunc(notes, func(a, b system.Note) int { return strings.Compare(a.Name, b.Name) })
	return notes, false, b.fail
}

func (b *bucket) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bucket) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is what stores of one test share.
type world struct {
	*bucket
	*clock
	kms *kms.Local
}

func newWorld(t testing.TB) *world {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	if err := service.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	return &world{bucket: newBucket(), clock: &clock{now: time.Now()}, kms: service}
}

// store returns the store of one more proxy, at which "root" and "app" are configured.
func (w *world) store(t testing.TB, change ...func(*Options)) *Store {
	t.Helper()
	sealed, err := system.New(system.Options{Service: w.bucket, KMS: w.kms, Key: "system", Deployment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Objects: sealed, Ready: func(context.Context) error { return nil }, Secure: true, Now: w.Now,
		Settings: Settings{Credentials: map[string]string{"root": "root-secret", "app": "app-secret"}, Access: Access{Unrestricted: true}},
	}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withRules(rules ...Rule) func(*Options) {
	return func(o *Options) { o.Settings.Access = Access{Rules: rules} }
}

// rule lets access keys do everything in buckets of these names.
func rule(accessKeys, buckets glob.Patterns) Rule {
	return Rule{AccessKeys: accessKeys, Buckets: buckets, Keys: glob.Patterns{"*"}, Uses: []Use{Generate, Decrypt}}
}

// user and session are what root asks for.
func user(accessKey string) Identity {
	return Identity{AccessKey: accessKey, SecretKey: accessKey + "-secret", Kind: User, Creator: "root"}
}

func (w *world) session(accessKey string) Identity {
	return Identity{
		AccessKey: accessKey, SecretKey: accessKey + "-secret", SessionToken: "token-" + accessKey, Kind: Temporary,
		Source: AssumeRole, Creator: "root", Expires: w.Now().Add(time.Hour),
	}
}

func learn(t testing.TB, s *Store, id Identity) {
	t.Helper()
	if err := s.Learn(t.Context(), id); err != nil {
		t.Fatalf("learn %v: %v", id, err)
	}
}
