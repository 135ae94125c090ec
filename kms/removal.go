package kms

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DeletionChecker is a Store that can tell of single entries that it would not delete them.
type DeletionChecker interface {
	// MayDelete returns what Delete would, as far as it can be told, and deletes nothing.
	MayDelete(ctx context.Context, name string) error
}

// trialTime is how old a trial must be to be taken for one that was cut off.
const trialTime = time.Minute

// removable fails where entries of a key cannot be deleted. It is asked before a log says for
// good that they are gone: what the store refuses must change nothing. Whoever may not delete
// at all shows in a trial: an entry that nobody reads, made beside them and deleted. One that
// cannot be deleted stays, and is the trial of the next time.
func (l *Local) removable(ctx context.Context, name string, entries []string) error {
	if checker, ok := l.store.(DeletionChecker); ok {
		err := eachAtOnce(entries, func(entry string) error { return unlessGone(checker.MayDelete(ctx, entry)) })
		if err != nil {
			return err
		}
	}
	if _, err := l.removeLeft(ctx, name); err != nil {
		return err
	}
	trial := eventEntry(name, newLogID(), 1)
	if err := l.store.Create(ctx, trial, encodeEntry(logEvent{Event: eventTrial, At: l.now().UTC()})); err != nil {
		return err
	}
	var err error
	for try := range readTries { // a store may need a moment before it shows what it has just taken
		if err = giveWay(ctx, try); err != nil {
			return err
		}
		if err = l.store.Delete(ctx, trial); !errors.Is(err, ErrKeyNotFound) {
			return err
		}
	}
	return fmt.Errorf("whether the store deletes entries cannot be told: %w: %v", ErrUnavailable, err)
}

// removeLeft deletes all entries of a key that its root does not lead to: those of trials and of
// deletions that were cut off. found says that there were any.
func (l *Local) removeLeft(ctx context.Context, name string) (found bool, err error) {
	listed, err := l.store.List(ctx, name+entryMark)
	if err != nil {
		return false, err
	}
	return l.sweepLogs(ctx, name, listed, true)
}

// leftLogs returns, of the listed entries of a key, those of each log that its root does not
// lead to, in the order of GroupEntries. The root is made before what it leads to, and so it
// must be read after that was listed.
func (l *Local) leftLogs(ctx context.Context, name string, listed []string) (map[string][]string, error) {
	logs := make(map[string][]string)
	for _, key := range GroupEntries(listed) {
		for _, entry := range key.Entries {
			if id := logOf(entry); id != "" && key.Name == name {
				logs[id] = append(logs[id], entry)
			}
		}
	}
	if len(logs) == 0 {
		return nil, nil
	}
	root, err := readRoot(ctx, l.store, name)
	if unlessGone(err) != nil {
		return nil, err
	}
	delete(logs, root.Log)
	return logs, nil
}

// removeLog deletes what is left of a log, the event that ends it last: as long as anything is
// left, that says what it is.
func (l *Local) removeLog(ctx context.Context, entries []string) error {
	last := len(entries) - 1
	if err := l.removeAll(ctx, entries[:last]); err != nil {
		return err
	}
	return l.remove(ctx, entries[last])
}

// sweepLogs removes, of the listed entries of a key, those of logs that its root does not lead
// to: all, or those that have ended. Others may be half of a copy.
func (l *Local) sweepLogs(ctx context.Context, name string, listed []string, all bool) (swept bool, err error) {
	logs, err := l.leftLogs(ctx, name, listed)
	for _, entries := range logs {
		ended := all
		if !all {
			if ended, err = l.ends(ctx, entries[len(entries)-1]); err != nil {
				return swept, err
			}
		}
		if !ended {
			continue
		}
		if err := l.removeLog(ctx, entries); err != nil {
			return swept, err
		}
		swept = true
	}
	return swept, err
}

// ends says whether an entry ends the log that it is of.
func (l *Local) ends(ctx context.Context, entry string) (bool, error) {
	text, err := l.store.Get(ctx, entry)
	if err != nil {
		return false, unlessGone(err)
	}
	defer clear(text)
	var e logEvent
	if decodeEntry(text, &e) != nil { // a secret
		return false, nil
	}
	return e.Event == eventDeleted || e.Event == eventTrial && l.now().Sub(e.At) > trialTime, nil
}

// removeSecret deletes what a destroyed version leaves in the store. Stores delete by name only,
// and the record's is that of every key so named: it is deleted only if root and record are those
// of the key at that moment. What remains is the time between that look and the deletion.
func (l *Local) removeSecret(ctx context.Context, name, log string, version uint32) error {
	if version > 1 {
		return l.remove(ctx, secretEntry(name, log, version))
	}
	root, err := readRoot(ctx, l.store, name)
	if err != nil || root.Log != log {
		return unlessGone(err)
	}
	key, err := readFirst(ctx, l.store, name)
	if err == nil {
		defer key.Zero()
		if key.versions[0].fingerprint() != root.First {
			return nil // it is another key's
		}
	} else if !errors.Is(err, ErrCorruptKey) { // else it opens nothing
		return unlessGone(err)
	}
	return l.remove(ctx, name)
}

// removeAll deletes entries, in no order, that may be gone already.
func (l *Local) removeAll(ctx context.Context, entries []string) error {
	return eachAtOnce(entries, func(entry string) error { return l.remove(ctx, entry) })
}

// remove deletes an entry that may be gone already.
func (l *Local) remove(ctx context.Context, entry string) error {
	return unlessGone(l.store.Delete(ctx, entry))
}

// unlessGone drops ErrKeyNotFound.
func unlessGone(err error) error {
	if errors.Is(err, ErrKeyNotFound) {
		return nil
	}
	return err
}

// deleteAll removes a key with its log. The first step ends it for everybody, in the
// log, or for a key that has none by removing its record. Each further one only removes
// what nobody reads any more, the root last: while that is there the name is taken.
func (l *Local) deleteAll(ctx context.Context, name string) error {
	root, err := readRoot(ctx, l.store, name)
	if errors.Is(err, ErrKeyNotFound) {
		gone := l.store.Delete(ctx, name)
		if unlessGone(gone) != nil {
			return gone
		}
		// Somebody may have begun a log meanwhile.
		if root, err = readRoot(ctx, l.store, name); errors.Is(err, ErrKeyNotFound) {
			if gone == nil {
				return nil
			}
			left, err := l.removeLeft(ctx, name) // of a deletion that was cut off
			if left || err != nil {
				return err
			}
			return gone
		}
	}
	if err != nil {
		return err
	}
	var key *Key
	for try := range maxRivals {
		if err := giveWay(ctx, try); err != nil {
			return err
		}
		key, err = l.endLog(ctx, name, root.Log)
		if !errors.Is(err, ErrKeyExists) {
			break
		}
	}
	if err != nil {
		return err
	}
	return l.sweepKey(ctx, name, key)
}

// finishDeletion removes what is left of a key that its log says is deleted.
func (l *Local) finishDeletion(ctx context.Context, name string) error {
	root, err := readRoot(ctx, l.store, name)
	if err != nil {
		return unlessGone(err)
	}
	key, err := readEnd(ctx, l.store, name, root.Log)
	if err != nil || !key.log.deleted {
		return err
	}
	return l.sweepKey(ctx, name, key)
}

// endLog says in the log that the key is deleted, if it can be. ErrKeyExists: it has gone on meanwhile.
func (l *Local) endLog(ctx context.Context, name, log string) (*Key, error) {
	key, err := readEnd(ctx, l.store, name, log)
	if err != nil || key.log.deleted {
		return key, err
	}
	if err := l.removable(ctx, name, key.entries(name)); err != nil {
		return nil, err
	}
	e := logEvent{Event: eventDeleted, At: l.now().UTC(), By: l.creator(ctx)}
	if err := l.append(ctx, name, key.log, e); err != nil {
		return nil, err
	}
	key.log.length++
	return key, nil
}

// sweepKey removes the entries of a key that its log says is deleted. A secret may lie
// there that no event names: that of a rotation that came too late. The names of record and root
// may be another key's by now, since somebody else may have swept this one.
func (l *Local) sweepKey(ctx context.Context, name string, key *Key) error {
	var secrets, events []string
	for version := uint32(2); version <= key.latest().number+1; version++ {
		secrets = append(secrets, secretEntry(name, key.log.id, version))
	}
	for seq := range key.log.length {
		events = append(events, eventEntry(name, key.log.id, seq+1))
	}
	if err := l.removeAll(ctx, secrets); err != nil {
		return err
	}
	for _, entry := range []string{name, rootEntry(name)} {
		// While the root is there no other key can be made, and the record is to go.
		root, err := readRoot(ctx, l.store, name)
		if err == nil && root.Log == key.log.id {
			err = l.remove(ctx, entry)
		}
		if unlessGone(err) != nil {
			return err
		}
	}
	return l.removeLog(ctx, events)
}
