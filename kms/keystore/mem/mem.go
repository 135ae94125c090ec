// Package mem keeps KMS keys in memory: for tests, and for trying things out.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/kms"
)

// Store is a kms.Store that forgets everything when the process ends.
type Store struct {
	mu     sync.RWMutex
	values map[string][]byte
}

// New returns an empty store.
func New() *Store { return &Store{values: make(map[string][]byte)} }

// Create implements kms.Store.
func (s *Store) Create(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.values[name]; ok {
		return fmt.Errorf("%q: %w", name, kms.ErrKeyExists)
	}
	s.values[name] = bytes.Clone(value)
	return nil
}

// Get implements kms.Store.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	value, ok := s.values[name]
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, kms.ErrKeyNotFound)
	}
	return bytes.Clone(value), nil
}

// Delete implements kms.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.values[name]; !ok {
		return fmt.Errorf("%q: %w", name, kms.ErrKeyNotFound)
	}
	delete(s.values, name)
	return nil
}

// List implements kms.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := []string{}
	for name := range s.values {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Status implements kms.Store: memory always answers.
func (s *Store) Status(ctx context.Context) (kms.State, error) { return kms.State{}, ctx.Err() }

// Close implements kms.Store.
func (s *Store) Close() error { return nil }
