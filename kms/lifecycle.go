package kms

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// maxRivals bounds how often a change begins anew because others changed the key.
const maxRivals = 20

// maxRotated is how long the log of a key may be for another version: rotations leave
// room for what is to be said of the versions that there are.
const maxRotated = maxEvents - 200

var errManyRivals = fmt.Errorf("others change the key all the time: %w", ErrUnavailable)

// giveWay is the pause before a change is tried again: rivals are to finish theirs, and
// a store may need a moment before it shows what it has just taken.
func giveWay(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	limit := time.Millisecond << min(try, 9)
	timer := time.NewTimer(limit/2 + rand.N(limit/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// KeyVersions implements Service. It always asks the store.
func (l *Local) KeyVersions(ctx context.Context, name string) ([]VersionInfo, error) {
	key, err := l.stored(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", name, err)
	}
	defer key.Zero()
	infos := make([]VersionInfo, 0, len(key.versions))
	for _, v := range key.versions {
		info := v.info()
		l.uses.fill(name, &info)
		infos = append(infos, info)
	}
	return infos, nil
}

func (v *keyVersion) info() VersionInfo {
	info := VersionInfo{
		Version: v.number, State: v.state, CreatedAt: v.createdAt, CreatedBy: v.createdBy,
		ChangedAt: v.changedAt, ChangedBy: v.changedBy, DestroyAt: v.destroyAt,
	}
	if v.state != VersionDestroyed {
		info.Algorithm = v.algorithm.String()
	}
	return info
}

// stored reads a key past the cache. The caller zeroes it.
func (l *Local) stored(ctx context.Context, name string) (*Key, error) {
	if err := ValidateKeyName(name); err != nil {
		return nil, err
	}
	key, err := readKey(ctx, l.store, name)
	return key, l.noted(ctx, err)
}

// RotateKey implements Service.
func (l *Local) RotateKey(ctx context.Context, name string, after uint32) (number uint32, err error) {
	err = l.change(ctx, "rotate", name, func() error {
		for try := range maxRivals {
			if err := giveWay(ctx, try); err != nil {
				return err
			}
			key, err := readKey(ctx, l.store, name)
			if err != nil {
				return err
			}
			latest := key.latest().number
			if after == 0 {
				after = latest
			}
			if latest > after {
				key.Zero()
				number = latest
				return nil
			}
			log, err := l.ensureLog(ctx, name, key)
			key.Zero()
			if err != nil {
				return err
			}
			number = latest + 1
			err = l.addVersion(ctx, name, log, number)
			if !errors.Is(err, ErrKeyExists) {
				return err
			}
		}
		return errManyRivals
	})
	if err != nil {
		return 0, err
	}
	return number, nil
}

// ensureLog makes the root of a key's log if there is none. A rival's is as good.
func (l *Local) ensureLog(ctx context.Context, name string, key *Key) (keyLog, error) {
	if key.log.id != "" {
		return key.log, nil
	}
	root := logRoot{Log: newLogID(), First: key.versions[0].fingerprint()}
	err := l.store.Create(ctx, rootEntry(name), encodeEntry(root))
	if errors.Is(err, ErrKeyExists) {
		if root, err = readRoot(ctx, l.store, name); errors.Is(err, ErrKeyNotFound) {
			err = fmt.Errorf("the root of the key's log is taken, and cannot be read: %w", ErrUnavailable)
		}
		if err == nil && root.First != key.versions[0].fingerprint() {
			err = corrupt("its log is that of another key of the name")
		}
	}
	return keyLog{id: root.Log}, err
}

// addVersion stores a secret, and then says in the log that it is a version: from then
// on it is one, for everybody. A secret that lies there already is that of a rival, who
// may have died before the second step; whichever of both takes it, it is the same
// version. ErrKeyExists: the log has gone on.
func (l *Local) addVersion(ctx context.Context, name string, log keyLog, number uint32) error {
	if log.length >= maxRotated {
		return fmt.Errorf("the key was changed %d times, it cannot be rotated any more; create another one: %w", log.length, ErrNotSupported)
	}
	v := newKeyVersion(number, l.now(), l.creator(ctx))
	defer func() { clear(v.secret[:]) }()
	value := v.marshalEntry()
	defer clear(value)
	entry := secretEntry(name, log.id, number)
	err := l.store.Create(ctx, entry, value)
	if errors.Is(err, ErrKeyExists) {
		stored, readErr := l.store.Get(ctx, entry)
		if errors.Is(readErr, ErrKeyNotFound) {
			return fmt.Errorf("the entry %s is taken, and cannot be read: %w", entry, ErrUnavailable)
		}
		if readErr != nil {
			return readErr
		}
		rival, parseErr := parseVersionEntry(stored, number)
		clear(stored)
		if parseErr != nil {
			return parseErr
		}
		v, err = rival, nil
	}
	if err != nil {
		return err
	}
	made := v.fingerprint()
	return l.append(ctx, name, log, logEvent{Event: eventRotate, Version: number, At: v.createdAt, By: v.createdBy, Fingerprint: &made})
}

// newKeyVersion draws the secret of a version after the first.
func newKeyVersion(number uint32, now time.Time, createdBy string) *keyVersion {
	v := &keyVersion{number: number, algorithm: fastestAlgorithm(), createdAt: now.UTC(), createdBy: createdBy}
	_, _ = cryptorand.Read(v.secret[:]) // never fails: crypto/rand ends the program instead
	return v
}

// append adds an event to the log. ErrKeyExists: it has gone on meanwhile.
func (l *Local) append(ctx context.Context, name string, log keyLog, e logEvent) error {
	text := encodeEntry(e)
	defer clear(text)
	return l.store.Create(ctx, log.next(name), text)
}

// ChangeVersion implements Service.
func (l *Local) ChangeVersion(ctx context.Context, name string, change VersionChange) error {
	what := fmt.Sprintf("%s version %d of", change.Action, change.Version)
	return l.change(ctx, what, name, func() error {
		for try := range maxRivals {
			if err := giveWay(ctx, try); err != nil {
				return err
			}
			err := l.tryChange(ctx, name, change)
			if !errors.Is(err, ErrKeyExists) {
				return err
			}
		}
		return errManyRivals
	})
}

// tryChange is one attempt. ErrKeyExists: the log has gone on meanwhile.
func (l *Local) tryChange(ctx context.Context, name string, change VersionChange) error {
	key, err := readKey(ctx, l.store, name)
	if err != nil {
		return err
	}
	defer key.Zero()
	e, err := key.decide(change, l.now().UTC())
	if err != nil {
		return err
	}
	if e != nil {
		e.By = l.creator(ctx)
		// Beyond the bound a destruction is still possible: a log that is full must not
		// keep what has to go.
		if key.log.length >= maxEvents && change.Action != Destroy {
			return fmt.Errorf("the key was changed %d times, as often as can be: %w", maxEvents, ErrNotSupported)
		}
		log, err := l.ensureLog(ctx, name, key)
		if err != nil {
			return err
		}
		if e.Event == eventDestroyed {
			if err := l.removable(ctx, name, []string{key.version(change.Version).entry(name, log.id)}); err != nil {
				return err
			}
		}
		if err := l.append(ctx, name, log, *e); err != nil {
			return err
		}
	}
	if change.Action != Destroy || change.After > 0 {
		return nil
	}
	// Nobody opens anything with it any more. What is left is to have it gone.
	return l.removeSecret(ctx, name, key.log.id, change.Version)
}

// decide returns the event that a change is, nil if there is nothing to do.
func (k *Key) decide(change VersionChange, now time.Time) (*logEvent, error) {
	v := k.version(change.Version)
	e := &logEvent{Version: change.Version, At: now}
	switch {
	case v == nil:
		return nil, ErrVersionNotFound
	case v == k.latest() && change.Action != Reinstate:
		return nil, ErrNewestVersion
	}
	switch change.Action {
	case Reinstate:
		e.Event = eventReinstate
		if v.state == VersionActive || v.state == VersionDecryptOnly {
			return nil, nil
		}
	case Retire:
		e.Event = eventRetire
		if v.state == VersionRetired || v.state == VersionDoomed {
			return nil, nil
		}
	case Destroy:
		if v.state == VersionDestroyed && change.After == 0 {
			return nil, nil // but its secret may still lie there
		}
		e.Event, e.Kept = eventDestroyed, k.kept(v)
		if change.After > 0 {
			e.Event, e.Kept, e.Due = eventDoom, nil, now.Add(change.After)
		}
	default:
		return nil, fmt.Errorf("%q: %w", change.Action, ErrNotSupported)
	}
	switch {
	case v.state == VersionDestroyed:
		return nil, ErrVersionDestroyed
	case change.After < 0:
		return nil, fmt.Errorf("a time of %v: %w", change.After, ErrNotSupported)
	case change.Action != Reinstate && !change.Force:
		return nil, ErrUsageUnknown
	}
	return e, nil
}

func (k *Key) kept(v *keyVersion) *keptVersion {
	kept := &keptVersion{CreatedAt: v.createdAt, CreatedBy: v.createdBy}
	if v.number == 1 && k.hmacKey != nil {
		kept.HMAC = k.hmacKey[:]
	}
	return kept
}
