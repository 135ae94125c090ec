package kms

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// maxEvents bounds the log of a key.
const maxEvents = 1000

// errDeleted says that a key's log ends it, and that entries of it are left.
var errDeleted = fmt.Errorf("it was deleted, and that has not come to its end; delete it once more: %w", ErrKeyNotFound)

// logRoot is what the root entry of a key holds.
type logRoot struct {
	// Log names the entries of the log: those of a deleted key of the same name have
	// another one.
	Log string `json:"log"`
	// First is the fingerprint of version 1 of the key whose log it is.
	First Fingerprint `json:"first"`
}

// What an event in the log of a key says.
const (
	eventRotate    = "rotate"    // there is a new version
	eventRetire    = "retire"    // a version opens nothing
	eventReinstate = "reinstate" // it does again
	eventDoom      = "doom"      // it is retired, and destroyed when Due has come
	eventDestroyed = "destroyed" // it is gone, whether or not its secret still lies there
	eventDeleted   = "deleted"   // the key is gone, likewise
	// eventTrial stands alone in a log that no root names, and is deleted at once: it shows
	// that entries of the key can be.
	eventTrial = "trial"
)

// logEvent is an entry of the log of a key: what was done to it. Entries are made, and
// never changed.
type logEvent struct {
	Event   string    `json:"event"`
	Version uint32    `json:"version,omitempty"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	// Fingerprint is that of the version that rotate made.
	Fingerprint *Fingerprint `json:"fingerprint,omitempty"`
	// Due of doom.
	Due time.Time `json:"due,omitzero"`
	// Kept is what outlives the secret of a version that was destroyed.
	Kept *keptVersion `json:"kept,omitempty"`
}

// keptVersion is when and by whom a destroyed version was made; HMAC is the key's HMAC
// key, which stands in the record of version 1.
type keptVersion struct {
	CreatedAt time.Time `json:"created_at,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	HMAC      []byte    `json:"hmac,omitempty"`
}

// keyLog is where the log of a key ends; its zero value is a key that has none.
type keyLog struct {
	id      string
	length  uint32
	deleted bool
}

// next is the entry that comes next in the log: while there is none, what was read is
// how the key is.
func (g keyLog) next(name string) string {
	if g.id == "" {
		return rootEntry(name)
	}
	return eventEntry(name, g.id, g.length+1)
}

func newLogID() string {
	var id [logIDLength / 2]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

func encodeEntry(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // these types can always be encoded
	}
	return text
}

// decodeEntry is strict: what a version of this program does not know it must not pass
// over. ErrCorruptKey.
func decodeEntry(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return corrupt("entry of its log")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return corrupt("entry of its log has an end that does not belong there")
	}
	return nil
}

// readKey reads a key as the store has it now: its versions, and what its log says of
// them. The root is read before the record, and deleted after it: so no key that was
// deleted looks like one that never had a log.
func readKey(ctx context.Context, store Store, name string) (*Key, error) {
	root, err := readRoot(ctx, store, name)
	if err != nil && !errors.Is(err, ErrKeyNotFound) {
		return nil, err
	}
	key, keyErr := readFirst(ctx, store, name)
	if keyErr != nil && (err != nil || !errors.Is(keyErr, ErrKeyNotFound)) {
		return nil, keyErr
	}
	if err != nil {
		return key, nil // it has no log
	}
	absent := key == nil
	if absent { // it may have been destroyed
		key = &Key{versions: []*keyVersion{{number: 1}}}
	} else if key.versions[0].fingerprint() != root.First {
		key.Zero()
		return nil, corrupt("its log is that of another key of the name, which was deleted; delete it once more")
	}
	if err := key.readLog(ctx, store, name, root.Log); err != nil {
		key.Zero()
		return nil, err
	}
	switch {
	case key.log.deleted:
		err = errDeleted
	case absent && key.versions[0].state != VersionDestroyed:
		err = ErrKeyNotFound
	default:
		return key, nil
	}
	key.Zero()
	return nil, fmt.Errorf("%q: %w", name, err)
}

func readRoot(ctx context.Context, store Store, name string) (logRoot, error) {
	var root logRoot
	text, err := store.Get(ctx, rootEntry(name))
	if err != nil {
		return root, err
	}
	if err := decodeEntry(text, &root); err != nil {
		return root, err
	}
	if !isLogID(root.Log) {
		return root, corrupt("root of its log")
	}
	return root, nil
}

// entry is where the secret of a version lies.
func (v *keyVersion) entry(name, log string) string {
	if v.number == 1 {
		return name
	}
	return secretEntry(name, log, v.number)
}

// entries are all that a key has in a store.
func (k *Key) entries(name string) []string {
	entries := []string{name, rootEntry(name)}
	for _, v := range k.versions[1:] {
		if v.state != VersionDestroyed {
			entries = append(entries, v.entry(name, k.log.id))
		}
	}
	for seq := range k.log.length {
		entries = append(entries, eventEntry(name, k.log.id, seq+1))
	}
	return entries
}

// readEnd reads a log without the key that it is of.
func readEnd(ctx context.Context, store Store, name, log string) (*Key, error) {
	key := &Key{versions: []*keyVersion{{number: 1, state: VersionActive}}, log: keyLog{id: log}}
	if err := key.readEvents(ctx, store, name); err != nil {
		key.Zero()
		return nil, err
	}
	return key, nil
}

// readFirst reads the record that KES would read too.
func readFirst(ctx context.Context, store Store, name string) (*Key, error) {
	value, err := store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	key, err := ParseRecord(value)
	if err != nil {
		return nil, err
	}
	if len(key.versions) > 1 {
		key.Zero()
		return nil, corrupt("its record has several versions, which belong into entries of their own")
	}
	key.versions[0].state = VersionActive
	return key, nil
}

// readLog applies the log to a key, then reads the secrets that are left.
func (k *Key) readLog(ctx context.Context, store Store, name, log string) error {
	k.log.id = log
	if err := k.readEvents(ctx, store, name); err != nil || k.log.deleted {
		return err
	}
	return k.readSecrets(ctx, store, name)
}

// readEvents reads the log up to the first event that is missing. It reads ahead, twice as
// far each time: a short log costs few reads, and a long one few exchanges. What lies behind
// a gap says nothing, nor does an error there.
func (k *Key) readEvents(ctx context.Context, store Store, name string) error {
	for ahead := uint32(1); ; ahead = min(2*ahead, maxAhead) {
		entries := make([]string, 0, maxAhead)
		for i := range ahead {
			entries = append(entries, eventEntry(name, k.log.id, k.log.length+1+i))
		}
		answers := getAll(ctx, store, entries)
		ended, err := k.applyAll(answers)
		clearAll(answers)
		if ended || err != nil {
			return err
		}
	}
}

// applyAll applies the events that come next in the log. ended says that there are no more.
func (k *Key) applyAll(answers []found) (ended bool, err error) {
	for _, a := range answers {
		if errors.Is(a.err, ErrKeyNotFound) {
			return true, nil
		}
		if a.err != nil {
			return false, a.err
		}
		var e logEvent
		err := decodeEntry(a.value, &e)
		if err == nil {
			err = k.apply(e)
		}
		if err != nil {
			return false, fmt.Errorf("event %d: %w", k.log.length+1, err)
		}
		k.log.length++
	}
	return false, nil
}

// readSecrets reads the entries of all versions after the first that are not destroyed.
func (k *Key) readSecrets(ctx context.Context, store Store, name string) error {
	left := make([]*keyVersion, 0, len(k.versions))
	for _, v := range k.versions[1:] {
		if v.state != VersionDestroyed {
			left = append(left, v)
		}
	}
	for batch := range slices.Chunk(left, maxAhead) {
		entries := make([]string, len(batch))
		for i, v := range batch {
			entries[i] = v.entry(name, k.log.id)
		}
		answers := getAll(ctx, store, entries)
		for i, v := range batch {
			if err := v.take(entries[i], answers[i]); err != nil {
				clearAll(answers)
				return err
			}
		}
		clearAll(answers)
	}
	return nil
}

// apply changes what is known of a key by an event of its log. ErrCorruptKey for one
// that cannot have followed.
func (k *Key) apply(e logEvent) error {
	if e.Event == eventDeleted {
		k.log.deleted = true
		return nil
	}
	if e.Event == eventRotate {
		if e.Version != k.latest().number+1 || e.Fingerprint == nil || k.log.deleted {
			return corrupt("its log makes a version twice, or leaves one out")
		}
		if old := k.latest(); old.state == VersionActive {
			old.state = VersionDecryptOnly
		}
		k.versions = append(k.versions, &keyVersion{number: e.Version, state: VersionActive, createdAt: e.At, createdBy: e.By, expected: *e.Fingerprint})
		return nil
	}
	v := k.version(e.Version)
	if v == nil || v.state == VersionDestroyed || v == k.latest() {
		return corrupt("its log changes a version that cannot be changed")
	}
	v.changedAt, v.changedBy, v.destroyAt = e.At, e.By, time.Time{}
	switch e.Event {
	case eventRetire:
		v.state = VersionRetired
	case eventReinstate:
		v.state = VersionDecryptOnly
	case eventDoom:
		v.state, v.destroyAt = VersionDoomed, e.Due
	case eventDestroyed:
		v.state = VersionDestroyed
		clear(v.secret[:])
		return k.keep(v, e.Kept)
	default:
		return corrupt("its log says what this program does not know")
	}
	return nil
}

// keep takes over what outlives a destroyed version.
func (k *Key) keep(v *keyVersion, kept *keptVersion) error {
	if kept == nil {
		return corrupt("its log does not say what a destroyed version leaves")
	}
	v.createdAt, v.createdBy = kept.CreatedAt, kept.CreatedBy
	if v.number == 1 {
		k.hmacKey = nil
		switch len(kept.HMAC) {
		case 0:
		case DEKSize:
			k.hmacKey = (*[DEKSize]byte)(bytes.Clone(kept.HMAC))
		default:
			return corrupt("HMAC key")
		}
	}
	return nil
}

// take gives a version that the log has named the secret that was found for it.
func (v *keyVersion) take(entry string, a found) error {
	if errors.Is(a.err, ErrKeyNotFound) {
		return corrupt(fmt.Sprintf("the entry %s with the secret of version %d is missing", entry, v.number))
	}
	if a.err != nil {
		return a.err
	}
	read, err := parseVersionEntry(a.value, v.number)
	if err != nil {
		return err
	}
	v.secret, v.algorithm = read.secret, read.algorithm
	clear(read.secret[:])
	if v.fingerprint() != v.expected {
		clear(v.secret[:])
		return corrupt(fmt.Sprintf("the entry %s does not have the secret that version %d was made with", entry, v.number))
	}
	return nil
}

// marshalEntry returns a version after the first as it is stored: base64 of a record
// that has field 100 only, which no reader takes for a key.
func (v *keyVersion) marshalEntry() []byte {
	later := v.appendLater(nil)
	defer clear(later)
	return base64.StdEncoding.AppendEncode(nil, later)
}

// parseVersionEntry reads what marshalEntry wrote. ErrCorruptKey.
func parseVersionEntry(value []byte, number uint32) (*keyVersion, error) {
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	defer clear(raw)
	n, err := base64.StdEncoding.Strict().Decode(raw, value)
	if err != nil {
		return nil, corrupt("entry of a version: not base64")
	}
	var found *keyVersion
	err = eachField(raw[:n], func(f field) error {
		if f.number != fieldLater || found != nil {
			return corrupt("entry of a version")
		}
		v, err := parseLater(f)
		found = v
		return err
	})
	if err == nil && (found == nil || found.number != number || found.algorithm == 0) {
		err = corrupt("entry of a version")
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}
