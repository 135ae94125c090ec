package register_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/register/registertest"
)

const (
	lease   = time.Second
	timeout = 5 * time.Second
)

var (
	errBroken      = errors.New("broken on purpose")
	errUnavailable = errors.New("members are unavailable")
	errFull        = errors.New("too many members")
)

// club is a document: who is a member. Not modified once it is shared.
type club struct {
	Generation uint64   `json:"generation"`
	Members    []string `json:"members"`
}

func (c *club) encode() ([]byte, error) {
	if len(c.Members) > 1000 {
		return nil, errFull
	}
	return json.Marshal(c)
}

func decode(data []byte) (*club, error) {
	c := new(club)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, err
	}
	return c, nil
}

// join and leave are edits.
func join(name string) register.Edit[*club] {
	return func(c *club) (*club, bool, error) {
		if slices.Contains(c.Members, name) {
			return nil, false, nil
		}
		return &club{c.Generation + 1, append(slices.Clone(c.Members), name)}, true, nil
	}
}

func leave(name string) register.Edit[*club] {
	return func(c *club) (*club, bool, error) {
		if !slices.Contains(c.Members, name) {
			return nil, false, nil
		}
		rest := slices.DeleteFunc(slices.Clone(c.Members), func(m string) bool { return m == name })
		return &club{c.Generation + 1, rest}, true, nil
	}
}

// world is one store and any number of processes over it.
type world struct {
	t     *testing.T
	store *registertest.Store
}

// inWorld runs fn in a bubble of its own time, over a club of generation 1 without members.
func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: &registertest.Store{}}
		if err := w.process().Init(t.Context(), &club{Generation: 1}); err != nil {
			t.Fatal(err)
		}
		w.store.Reset()
		fn(t, w)
		time.Sleep(time.Hour) // what runs in the background ends by itself, else the bubble reports a deadlock
	})
}

// process returns a new process.
func (w *world) process(change ...func(*register.Options[*club])) *register.Register[*club] {
	w.t.Helper()
	o := options(w.store)
	for _, f := range change {
		f(&o)
	}
	r, err := register.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func options(store register.Store) register.Options[*club] {
	return register.Options[*club]{
		Store: store, Name: "club", Unavailable: errUnavailable,
		Encode: (*club).encode, Decode: decode, Generation: func(c *club) uint64 { return c.Generation },
		Lease: lease, Timeout: timeout, Clock: &registertest.Clock{},
	}
}

func withClock(c register.Clock) func(*register.Options[*club]) {
	return func(o *register.Options[*club]) { o.Clock = c }
}

func withAbsent(o *register.Options[*club]) { o.Absent = func() *club { return &club{} } }

func withPause(d time.Duration) func(*register.Options[*club]) {
	return func(o *register.Options[*club]) { o.Pause = d }
}

// change makes a change and waits until it is obeyed.
func change(ctx context.Context, r *register.Register[*club], edit register.Edit[*club]) error {
	known, err := r.Change(ctx, edit)
	if err != nil {
		return err
	}
	return r.Obeyed(ctx, known)
}

// add lets somebody join by way of another process, at once.
func (w *world) add(name string) {
	w.t.Helper()
	if _, err := w.process().Change(w.t.Context(), join(name)); err != nil {
		w.t.Fatal(err)
	}
}

// wantMembers fails unless the process answers with these.
func wantMembers(t *testing.T, r *register.Register[*club], want ...string) {
	t.Helper()
	c, _, err := r.Get(t.Context())
	if err != nil || !slices.Equal(c.Members, want) {
		t.Fatalf("got %v, %v; want %v", c, err, want)
	}
}

func wantUnavailable(t *testing.T, r *register.Register[*club]) {
	t.Helper()
	if c, _, err := r.Get(t.Context()); !errors.Is(err, errUnavailable) || c != nil {
		t.Fatalf("got %v, %v; want errUnavailable", c, err)
	}
}

func (w *world) wantLoads(want int) {
	w.t.Helper()
	synctest.Wait()
	if n := w.store.Count().Loads; n != want {
		w.t.Fatalf("%d loads, want %d", n, want)
	}
}

// stored returns what lies in the store.
func (w *world) stored() *club {
	w.t.Helper()
	c, err := decode(w.store.Blob())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}
