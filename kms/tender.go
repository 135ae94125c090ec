package kms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// tendInterval is the pause between two passes, and how long a destruction must have
// been due, by a clock that nobody can set, before it is done.
const tendInterval = time.Hour

// RotationRule says how old the newest version of keys may become.
type RotationRule struct {
	// Pattern is a key's name, or with a '*' at its end the beginning of names.
	Pattern string
	After   time.Duration
}

// TenderOptions configure a Tender.
type TenderOptions struct {
	// Service is that of the key store. Required.
	Service *Local
	// Rotation rules, of which the first that fits a key counts. None is no rotation.
	Rotation []RotationRule
	// Interval is the pause between passes; 0 is an hour.
	Interval time.Duration
	// Logger is told what was done, and what failed. Required.
	Logger *slog.Logger
	// CreatedBy is noted in versions that are made.
	CreatedBy string
}

// Tender does what falls due in a key store: it rotates keys that have become too old,
// destroys versions whose waiting time is over, and finishes deletions that were cut off. Any number may work on one store.
type Tender struct {
	o       TenderOptions
	overdue atomic.Int64
	// due is since when a destruction has been seen to be due.
	due map[string]time.Time
}

// NewTender returns a Tender; Run makes it work.
func NewTender(o TenderOptions) (*Tender, error) {
	if o.Service == nil || o.Logger == nil {
		return nil, errors.New("kms: incomplete options of a tender")
	}
	if o.Interval <= 0 {
		o.Interval = tendInterval
	}
	return &Tender{o: o, due: make(map[string]time.Time)}, nil
}

// Overdue is how many keys were older than their rule allows after the last pass: their
// rotation failed.
func (t *Tender) Overdue() int64 { return t.overdue.Load() }

// Run makes passes until ctx ends. The first comes soon, at a time of its own in each of
// several processes.
func (t *Tender) Run(ctx context.Context) {
	pause := rand.N(t.o.Interval/60 + 1)
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := t.Pass(ctx); err != nil && ctx.Err() == nil {
			t.o.Logger.Warn("not all KMS keys could be looked after", "error", err)
		}
		pause = t.o.Interval - rand.N(t.o.Interval/10+1)
	}
}

// Pass looks after each key once. A key that fails does not keep the others from it.
func (t *Tender) Pass(ctx context.Context) error {
	ctx = WithCreator(ctx, t.o.CreatedBy)
	l := t.o.Service
	entries, err := l.store.List(ctx, "")
	if err = l.noted(ctx, err); err != nil {
		return err
	}
	var overdue int64
	var failed []error
	for _, key := range GroupEntries(entries) {
		late, err := t.tend(ctx, key.Name, entries)
		if late {
			overdue++
		}
		if err = errors.Join(err, t.sweep(ctx, key)); err != nil {
			failed = append(failed, fmt.Errorf("key %q: %w", key.Name, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	t.overdue.Store(overdue)
	return errors.Join(failed...)
}

// tend looks after one key. late says that it is older than its rule allows, still.
func (t *Tender) tend(ctx context.Context, name string, entries []string) (late bool, err error) {
	after := t.rule(name)
	if _, logged := slices.BinarySearch(entries, rootEntry(name)); !logged && after <= 0 {
		return false, nil
	}
	key, err := t.o.Service.stored(ctx, name)
	switch {
	case errors.Is(err, errDeleted):
		return false, t.finish(ctx, name)
	case errors.Is(err, ErrKeyNotFound):
		return false, nil
	}
	if err != nil {
		return after > 0, err
	}
	defer key.Zero()
	if late = after > 0 && t.o.Service.now().Sub(key.latest().createdAt) > after; late {
		var number uint32
		if number, err = t.o.Service.RotateKey(ctx, name, key.latest().number); err == nil {
			late = false
			t.o.Logger.Info("KMS key rotated because of its age", "key", name, "version", number)
		}
	}
	for _, v := range key.versions {
		err = errors.Join(err, t.end(ctx, name, key, v, entries))
	}
	return late, err
}

// finish removes what a deletion that was cut off has left.
func (t *Tender) finish(ctx context.Context, name string) error {
	l := t.o.Service
	err := l.change(ctx, "finish the deletion of", name, func() error { return l.finishDeletion(ctx, name) })
	if err == nil {
		t.o.Logger.Warn("deletion of a KMS key finished, which had been cut off", "key", name)
	}
	return err
}

// sweep removes what such a deletion has left behind the root, and trials that were cut off.
func (t *Tender) sweep(ctx context.Context, key KeyEntries) error {
	swept, err := t.o.Service.sweepLogs(ctx, key.Name, key.Entries, false)
	if errors.Is(err, ErrNotPermitted) {
		return nil // it is a trial, which has shown that
	}
	if swept {
		t.o.Logger.Info("entries that a deleted KMS key had left were removed", "key", key.Name)
	}
	return t.o.Service.noted(ctx, err)
}

func (t *Tender) rule(name string) time.Duration {
	for _, r := range t.o.Rotation {
		prefix, all := strings.CutSuffix(r.Pattern, "*")
		if name == r.Pattern || all && strings.HasPrefix(name, prefix) {
			return r.After
		}
	}
	return 0
}

// end destroys a version whose time has come, and removes what a destruction that was
// cut off has left.
func (t *Tender) end(ctx context.Context, name string, key *Key, v *keyVersion, entries []string) error {
	entry := v.entry(name, key.log.id)
	switch v.state {
	case VersionDestroyed:
		if _, left := slices.BinarySearch(entries, entry); !left {
			return nil
		}
	case VersionDoomed:
		if !t.isDue(entry, v) {
			return nil
		}
		e := logEvent{Event: eventDestroyed, Version: v.number, At: t.o.Service.now().UTC(), By: t.o.CreatedBy, Kept: key.kept(v)}
		err := t.o.Service.change(ctx, "destroy a version of", name, func() error {
			if err := t.o.Service.removable(ctx, name, []string{entry}); err != nil {
				return err
			}
			return t.o.Service.append(ctx, name, key.log, e)
		})
		if errors.Is(err, ErrKeyExists) { // the log has gone on, maybe with a restoration
			return nil
		}
		if err != nil {
			return err
		}
		t.o.Logger.Warn("version of a KMS key destroyed, as it was ordered", "key", name, "version", v.number, "ordered_at", v.changedAt, "by", v.changedBy)
	default:
		delete(t.due, entry)
		return nil
	}
	delete(t.due, entry)
	return t.o.Service.removeSecret(ctx, name, key.log.id, v.number)
}

// isDue says whether a destruction is due, and was at a pass long enough ago: a clock
// that jumped for a while must not destroy anything.
func (t *Tender) isDue(entry string, v *keyVersion) bool {
	if t.o.Service.now().Before(v.destroyAt) {
		delete(t.due, entry)
		return false
	}
	since, seen := t.due[entry]
	if !seen {
		t.due[entry] = time.Now()
		return false
	}
	return time.Since(since) >= t.o.Interval*8/10
}
