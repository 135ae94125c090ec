// Package keybackup writes all entries of a key store into one file that is encrypted with
// age, and puts them back into a store of any kind. docs/keys.md, section 10, has the format.
//
// Entries are opaque here. They are what kms.Store.Get returns: what a store seals them with,
// a master key or AWS KMS, is no part of a backup, so that it needs nothing but the age
// identity.
package keybackup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// Sentinels.
var (
	// ErrIdentity says that none of the identities, or not the passphrase, opens a backup.
	ErrIdentity = errors.New("the backup is not encrypted to this identity")
	// ErrDamaged says that a file is no backup, is cut off, or was changed.
	ErrDamaged = errors.New("the file is no whole key backup")
	// ErrOtherKey says that a store has another entry under a name of the backup.
	ErrOtherKey = errors.New("the store has another key of that name")
)

// About says what a backup is of. With the entries, it is what reading objects needs.
type About struct {
	// Created is when the entries were read.
	Created time.Time `json:"created"`
	// Deployment and SystemBucket are the proxy's settings of these names, under which
	// manifests are sealed and lie.
	Deployment   string `json:"deployment"`
	SystemBucket string `json:"system_bucket"`
	// DefaultKey, S3Key and FormerS3Keys are the KMS keys that the proxy uses where a client
	// names none.
	DefaultKey   string   `json:"default_key"`
	S3Key        string   `json:"sse_s3_key"`
	FormerS3Keys []string `json:"sse_s3_former_keys,omitempty"`
}

// Entry is one entry of a key store. It prints without its value.
type Entry struct {
	Name  string
	Value []byte
}

// String hides the value.
func (e Entry) String() string { return e.Name + ":[redacted]" }

// GoString hides the value.
func (e Entry) GoString() string { return e.String() }

// Backup is what a file holds, in memory. It is to be zeroed.
type Backup struct {
	About
	// Entries are in the order of their names, each once.
	Entries []Entry
}

// takeTries bounds how often a store is read while somebody changes it.
const takeTries = 6

// takePause is the first pause in between.
const takePause = 100 * time.Millisecond

// Take reads all entries of a store. An entry that cannot be read fails the whole: a backup
// that lacks a key shows it only when it is needed. A store that others change meanwhile is read
// again: half of a change may be the loss of a key. A listing tells only which keys there are, and
// may be out of date; what belongs to a key is read by name. The store's errors, kms.ErrUnavailable if they
// never rest.
func Take(ctx context.Context, from kms.Store, about About) (*Backup, error) {
	for try := range takeTries {
		b, err := takeOnce(ctx, from, about)
		if err != nil || b != nil {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(takePause << try): // a store may need a moment to show what it was told
		}
	}
	return nil, fmt.Errorf("others change the key store all the time: %w", kms.ErrUnavailable)
}

// takeOnce is Take once; nil if the store changed meanwhile.
func takeOnce(ctx context.Context, from kms.Store, about About) (*Backup, error) {
	names, err := from.List(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	b := &Backup{About: about}
	var failed []error
	for _, key := range withNamed(kms.GroupEntries(names), about) {
		if err := ctx.Err(); err != nil {
			failed = append(failed, err)
			break
		}
		values, err := kms.ReadEntries(ctx, from, key.Name, key.Entries)
		if errors.Is(err, kms.ErrKeyNotFound) { // what is left of it is to go
			continue
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("read key %q: %w", key.Name, err))
		}
		for name, value := range values {
			b.Entries = append(b.Entries, Entry{Name: name, Value: value})
		}
	}
	slices.SortFunc(b.Entries, func(x, y Entry) int { return strings.Compare(x.Name, y.Name) })
	again, err := from.List(ctx, "")
	if err != nil {
		failed = append(failed, fmt.Errorf("list keys again: %w", err))
	}
	if err := errors.Join(failed...); err != nil {
		b.Zero()
		return nil, err
	}
	if !slices.Equal(names, again) {
		b.Zero()
		return nil, nil //nolint:nilnil // see above
	}
	if len(b.Entries) == 0 {
		return nil, fmt.Errorf("the key store is empty: %w", kms.ErrKeyNotFound)
	}
	return b, nil
}

// withNamed adds the keys that the settings name: a listing may not show them yet.
func withNamed(keys []kms.KeyEntries, about About) []kms.KeyEntries {
	for _, name := range append([]string{about.DefaultKey, about.S3Key}, about.FormerS3Keys...) {
		known := func(k kms.KeyEntries) bool { return k.Name == name }
		if kms.ValidateKeyName(name) == nil && !slices.ContainsFunc(keys, known) {
			keys = append(keys, kms.KeyEntries{Name: name})
		}
	}
	return keys
}

// Zero overwrites the entries' values.
func (b *Backup) Zero() {
	for i := range b.Entries {
		clear(b.Entries[i].Value)
	}
}

// Digest tells the content of a backup from every other one's, in hex: a SHA-256 of the
// unencrypted file. Two files of one backup have the same, whoever they are encrypted to.
func (b *Backup) Digest() (string, error) {
	plain, err := b.encode()
	if err != nil {
		return "", err
	}
	defer clear(plain)
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:]), nil
}

// Fill puts the entries into an empty store, as one in memory.
func (b *Backup) Fill(ctx context.Context, to kms.Store) error {
	for _, e := range b.Entries {
		if err := to.Create(ctx, e.Name, e.Value); err != nil {
			return fmt.Errorf("key %q: %w", e.Name, err)
		}
	}
	return nil
}

// Restored counts what Restore did.
type Restored struct {
	// Written are entries that the store did not have, Present those that it had already.
	Written, Present int
	// Destroyed are secrets of versions that the store says are destroyed: they were not put back.
	Destroyed int
}

// Restore puts the entries into a store. It never replaces one: if any differs, the error is
// ErrOtherKey, names all that do, and nothing is written. What the store says is destroyed stays
// so, and a key whose deletion there has not come to its end is kms.ErrKeyNotFound: nothing is
// written either. Each entry that is written is read back, and each key opened that has a log.
// What a crash or a full disk left undone, another call does. The store's errors.
func (b *Backup) Restore(ctx context.Context, to kms.Store) (Restored, error) {
	done, missing, err := b.compare(ctx, to)
	if err != nil {
		return done, fmt.Errorf("%w; nothing was written", err)
	}
	for _, e := range inWritingOrder(missing) {
		if err := restore(ctx, to, e); err != nil {
			return done, fmt.Errorf("%w; %d of %d keys were written, and another run goes on", err, done.Written, len(missing))
		}
		done.Written++
	}
	for _, key := range kms.GroupEntries(b.names()) {
		if err := opens(ctx, to, key.Name); err != nil {
			return done, fmt.Errorf("key %q was written and does not open: %w", key.Name, err)
		}
	}
	return done, nil
}

// compare returns the entries that a store lacks, but for those that must stay away.
func (b *Backup) compare(ctx context.Context, to kms.Store) (done Restored, missing []Entry, err error) {
	var differ []error
	destroyed := make(map[string]bool)
	for _, key := range kms.GroupEntries(b.names()) {
		gone, err := kms.DestroyedEntries(ctx, to, key.Name, key.Entries)
		if err != nil {
			return done, nil, fmt.Errorf("which versions of key %q are destroyed: %w", key.Name, err)
		}
		for _, entry := range gone {
			destroyed[entry] = true
		}
	}
	for _, e := range b.Entries {
		there, err := has(ctx, to, e)
		switch {
		case errors.Is(err, ErrOtherKey):
			differ = append(differ, err)
		case err != nil:
			return done, nil, err
		case there:
			done.Present++
		case destroyed[e.Name]:
			done.Destroyed++
		default:
			missing = append(missing, e)
		}
	}
	return done, missing, errors.Join(differ...)
}

func (b *Backup) names() []string {
	names := make([]string, 0, len(b.Entries))
	for _, e := range b.Entries {
		names = append(names, e.Name)
	}
	return names
}

// opens reads a key as the key service does.
func opens(ctx context.Context, in kms.Store, key string) error {
	values, err := kms.ReadEntries(ctx, in, key, nil)
	for _, value := range values {
		clear(value)
	}
	return err
}

// inWritingOrder sorts entries so that what is there of a key at any time is the key as it
// once was, or no key yet.
func inWritingOrder(entries []Entry) []Entry {
	byName := make(map[string]Entry, len(entries))
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		byName[e.Name] = e
		names = append(names, e.Name)
	}
	sorted := make([]Entry, 0, len(entries))
	for _, key := range kms.GroupEntries(names) {
		for _, name := range key.Entries {
			sorted = append(sorted, byName[name])
		}
	}
	return sorted
}

// has says whether a store has an entry. ErrOtherKey if it has another one of that name.
func has(ctx context.Context, in kms.Store, e Entry) (bool, error) {
	value, err := in.Get(ctx, e.Name)
	if errors.Is(err, kms.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for key %q: %w", e.Name, err)
	}
	defer clear(value)
	if !bytes.Equal(value, e.Value) {
		return false, fmt.Errorf("key %q: %w", e.Name, ErrOtherKey)
	}
	return true, nil
}

// restore writes an entry, unless a rival has, and reads it back.
func restore(ctx context.Context, to kms.Store, e Entry) error {
	// A store may seal in place.
	if err := to.Create(ctx, e.Name, slices.Clone(e.Value)); err != nil && !errors.Is(err, kms.ErrKeyExists) {
		return fmt.Errorf("write key %q: %w", e.Name, err)
	}
	there, err := has(ctx, to, e)
	if err == nil && !there {
		err = fmt.Errorf("key %q was written and is not there: %w", e.Name, kms.ErrUnavailable)
	}
	return err
}
