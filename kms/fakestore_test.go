package kms

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// fakeStore is a Store that fails on request, also after having persisted.
type fakeStore struct {
	mu     sync.Mutex
	values map[string][]byte
	down   error // what calls return instead of acting
	late   error // what Create and Delete return after having acted
	// onGet, if set, runs after a record was looked up and before it is returned. Gets
	// counts records too, and no looks at logs.
	onGet func(ctx context.Context) error
	// during, if set, runs at the beginning of Create and Delete.
	during func()
	gets   atomic.Int64
	probes atomic.Int64
}

func newFakeStore() *fakeStore { return &fakeStore{values: make(map[string][]byte)} }

func (s *fakeStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *fakeStore) fail(err error)  { s.set(func() { s.down = err }) }
func (s *fakeStore) remove(n string) { s.set(func() { delete(s.values, n) }) }

func (s *fakeStore) put(name string, k *Key) {
	s.set(func() { s.values[name] = k.MarshalRecord() })
}

func (s *fakeStore) Create(_ context.Context, name string, value []byte) error {
	if s.during != nil {
		s.during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.values[name] != nil {
		return fmt.Errorf("fake: %w", ErrKeyExists)
	}
	s.values[name] = bytes.Clone(value)
	return s.late
}

func (s *fakeStore) Get(ctx context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	value, down, onGet := bytes.Clone(s.values[name]), s.down, s.onGet
	s.mu.Unlock()
	switch {
	case !strings.Contains(name, entryMark), down != nil: // a record is asked for only if its root was answered for
		s.gets.Add(1)
	default:
		onGet = nil
	}
	if onGet != nil {
		if err := onGet(ctx); err != nil {
			return nil, err
		}
	}
	if down != nil {
		return nil, down
	}
	if value == nil {
		return nil, fmt.Errorf("fake: %w", ErrKeyNotFound)
	}
	return value, nil
}

func (s *fakeStore) Delete(_ context.Context, name string) error {
	if s.during != nil {
		s.during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if s.values[name] == nil {
		return fmt.Errorf("fake: %w", ErrKeyNotFound)
	}
	delete(s.values, name)
	return s.late
}

func (s *fakeStore) List(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	names := slices.Sorted(maps.Keys(s.values))
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), nil
}

func (s *fakeStore) Status(context.Context) (State, error) {
	s.probes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	return State{Latency: 1}, s.down
}

func (s *fakeStore) Close() error { return nil }

// stampedStore is a fakeStore that is a Stamper: the stamp is the value.
type stampedStore struct {
	*fakeStore
	stampDown atomic.Pointer[error]
}

func (s *stampedStore) Stamp(name string) (string, error) {
	if err := s.stampDown.Load(); err != nil {
		return "", *err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[name] == nil {
		return "", fmt.Errorf("fake: %w", ErrKeyNotFound)
	}
	return string(s.values[name]), nil
}
