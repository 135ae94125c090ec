package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// readTries bounds how often a key is read while others change it.
const readTries = 8

// ReadEntries returns all entries of a key by their names, for who copies it to another store:
// those that its log leads to, whether or not a listing shows them yet, and those listed that
// are there, but for what a deletion of another key of the name has left. A key that has a log
// opens with what is returned. One without is opaque: what lies there need not be a key. None for
// a key that is not there; ErrKeyNotFound for one that is deleted, and not gone yet.
// ErrCorruptKey for a key with a log that does not open, or the store's errors. The caller
// overwrites the values.
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
	mu   sync.Mutex
	read map[string][]byte
}

// Get implements Store.
func (r *entryReader) Get(ctx context.Context, name string) ([]byte, error) {
	value, err := r.Store.Get(ctx, name)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
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
	text, hasLog := r.read[rootEntry(name)]
	switch {
	case errors.Is(err, errDeleted):
		return err
	case err == nil, errors.Is(err, ErrKeyNotFound), errors.Is(err, ErrCorruptKey) && !hasLog:
	default:
		return err
	}
	var root logRoot
	if hasLog {
		if err := decodeEntry(text, &root); err != nil {
			return err
		}
		r.forgetAhead(name, root.Log)
	}
	for _, entry := range listed {
		if _, known := r.read[entry]; known || logOf(entry) != "" && logOf(entry) != root.Log {
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

// forgetAhead drops what was read of a log behind its end: the event in between may have come
// after it was looked for.
func (r *entryReader) forgetAhead(name, log string) {
	end := uint32(1)
	for r.read[eventEntry(name, log, end)] != nil {
		end++
	}
	for i := range uint32(maxAhead) {
		clear(r.read[eventEntry(name, log, end+i)])
		delete(r.read, eventEntry(name, log, end+i))
	}
}

func (r *entryReader) zero() {
	for _, value := range r.read {
		clear(value)
	}
}

// DestroyedEntries returns those of a key's entries that may not be put into a store, because
// their versions are destroyed there. copied are the names of all that is to be put there.
// ErrKeyNotFound if the key was deleted there, and that has not come to its end: what is left
// would end the copy too. ErrCorruptKey, or the store's errors.
func DestroyedEntries(ctx context.Context, store Store, name string, copied []string) ([]string, error) {
	root, err := readRoot(ctx, store, name)
	if errors.Is(err, ErrKeyNotFound) {
		return nil, nothingLeft(ctx, store, name, copied)
	}
	if err != nil {
		return nil, err
	}
	key, err := readEnd(ctx, store, name, root.Log)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	if key.log.deleted {
		return nil, errDeleted
	}
	var entries []string
	for _, v := range key.versions {
		if v.state == VersionDestroyed {
			entries = append(entries, v.entry(name, root.Log))
		}
	}
	return entries, nil
}

// nothingLeft looks for events of the copied logs that are not copied: a log that goes on behind
// what is copied says what was done to the key since then, its deletion last.
func nothingLeft(ctx context.Context, store Store, name string, copied []string) error {
	last := make(map[string]uint32)
	for _, entry := range copied {
		if id := logOf(entry); id != "" {
			last[id] = max(last[id], eventNumber(entry))
		}
	}
	if len(last) == 0 {
		return nil
	}
	entries, err := store.List(ctx, name+entryMark)
	if err != nil {
		return err
	}
	for id, number := range last { // a listing may not show it yet
		text, err := store.Get(ctx, eventEntry(name, id, number+1))
		clear(text)
		if err == nil {
			return errDeleted
		}
		if unlessGone(err) != nil {
			return err
		}
	}
	for _, entry := range entries {
		if number, known := last[logOf(entry)]; known && eventNumber(entry) > number {
			return errDeleted
		}
	}
	return nil
}

// eventNumber is the place of an event in its log, 0 for other entries.
func eventNumber(entry string) uint32 {
	_, text, _ := strings.Cut(entry, ".")
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(number)
}
