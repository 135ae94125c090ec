package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// readTries bounds how often a key is read while others change it.
const readTries = 8

// ReadEntries returns all entries of a key by their names, for who copies it to another store:
// those that its log leads to, whether or not a listing shows them yet, and those listed that
// are there. A key that has a log opens with what is returned. One without is opaque: what lies
// there need not be a key. None for a key that is not there. ErrCorruptKey for a key with a log
// that does not open, or the store's errors. The caller overwrites the values.
func ReadEntries(ctx context.Context, store Store, name string, listed []string) (map[string][]byte, error) {
	var err error
	for try := range readTries {
		if err := giveWay(ctx, try); err != nil {
			return nil, err
		}
		r := &entryReader{Store: store, read: make(map[string][]byte)}
		if err = r.readAll(ctx, name, listed); err == nil {
			return r.read, nil
		}
		r.zero()
		if !errors.Is(err, ErrCorruptKey) { // else it may be half of a change
			return nil, err
		}
	}
	return nil, err
}

// entryReader is a store that remembers what was read of it.
type entryReader struct {
	Store
	read map[string][]byte
}

// Get implements Store.
func (r *entryReader) Get(ctx context.Context, name string) ([]byte, error) {
	value, err := r.Store.Get(ctx, name)
	if err == nil {
		r.read[name] = bytes.Clone(value)
	}
	return value, err
}

// readAll reads a key as the service does, and then what was listed beside it.
func (r *entryReader) readAll(ctx context.Context, name string, listed []string) error {
	key, err := readKey(ctx, r, name)
	if err == nil {
		key.Zero()
	}
	_, hasLog := r.read[rootEntry(name)]
	switch {
	case err == nil, errors.Is(err, ErrKeyNotFound), errors.Is(err, ErrCorruptKey) && !hasLog:
	default:
		return err
	}
	for _, entry := range listed {
		if _, known := r.read[entry]; known {
			continue
		}
		value, err := r.Get(ctx, entry)
		if err != nil && !errors.Is(err, ErrKeyNotFound) {
			return fmt.Errorf("entry %s: %w", entry, err)
		}
		clear(value)
	}
	return nil
}

func (r *entryReader) zero() {
	for _, value := range r.read {
		clear(value)
	}
}
