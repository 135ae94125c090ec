package kms

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

func newTestTender(t *testing.T, l *Local, rules ...RotationRule) *Tender {
	t.Helper()
	tender, err := NewTender(TenderOptions{Service: l, Rotation: rules, Interval: time.Nanosecond, Logger: slog.New(slog.DiscardHandler), CreatedBy: "tender"})
	noErr(t, "NewTender", err)
	return tender
}

func TestKeysAreRotatedByAge(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Unix(1_700_000_000, 0)
	store := newFakeStore()
	o := LocalOptions{Store: store, Now: func() time.Time { return now }}
	l := newTestLocal(t, o)
	for _, name := range []string{"yearly-1", "yearly-2", "other"} {
		noErr(t, "CreateKey", l.CreateKey(t.Context(), name))
	}
	rules := []RotationRule{{"yearly-2", 30 * day}, {"yearly-*", 365 * day}}
	tenders := []*Tender{newTestTender(t, l, rules...), newTestTender(t, newTestLocal(t, o), rules...)}
	versions := func(when string, want ...uint32) {
		t.Helper()
		for _, tender := range tenders {
			noErr(t, "Pass", tender.Pass(t.Context()))
		}
		for i, name := range []string{"yearly-1", "yearly-2", "other"} {
			if info, err := l.DescribeKey(t.Context(), name); err != nil || info.Version != want[i] {
				t.Errorf("%s: %s has version %d, %v; want %d", when, name, info.Version, err, want[i])
			}
		}
	}
	versions("at once", 1, 1, 1)
	now = now.Add(31 * day)
	versions("after a month", 1, 2, 1)
	versions("again", 1, 2, 1)
	now = now.Add(335 * day)
	versions("after a year", 2, 3, 1)
	got, err := l.KeyVersions(t.Context(), "yearly-1")
	if err != nil || got[1].CreatedBy != "tender" {
		t.Errorf("%+v, %v", got, err)
	}

	now = now.Add(400 * day)
	stuck := newTestTender(t, newTestLocal(t, LocalOptions{Store: &cutStore{fakeStore: store, at: 1}, Now: o.Now}), rules...)
	if err := stuck.Pass(t.Context()); err == nil || stuck.Overdue() != 2 {
		t.Errorf("a store that takes nothing: %v, %d overdue", err, stuck.Overdue())
	}
	if noErr(t, "Pass", tenders[0].Pass(t.Context())); tenders[0].Overdue() != 0 {
		t.Errorf("%d overdue after a rotation", tenders[0].Overdue())
	}
}

func TestVersionsAreDestroyedWhenTheirTimeHasCome(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	store := newFakeStore()
	o := LocalOptions{Store: store, Now: func() time.Time { return now }}
	l := newTestLocal(t, o)
	tender := newTestTender(t, l)
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	deks := []DEK{mustGenerate(t, l)}
	for version := uint32(2); version < 5; version++ {
		mustRotate(t, l, version)
		deks = append(deks, mustGenerate(t, l))
	}
	mustChange(t, l, VersionChange{Action: Destroy, Version: 1, After: time.Hour})
	mustChange(t, l, VersionChange{Action: Destroy, Version: 2, After: time.Hour})
	mustChange(t, l, VersionChange{Action: Destroy, Version: 3, After: time.Hour})
	mustChange(t, l, VersionChange{Action: Reinstate, Version: 3})
	pass := func(what string, want ...error) {
		t.Helper()
		noErr(t, what, tender.Pass(t.Context()))
		for i, dek := range deks {
			wantOpens(t, l, what, dek, want[i])
		}
	}
	pass("before", ErrVersionRetired, ErrVersionRetired, nil, nil)
	now = now.Add(2 * time.Hour) // a clock that jumps
	pass("due once", ErrVersionRetired, ErrVersionRetired, nil, nil)
	now = now.Add(-2 * time.Hour)
	pass("and jumps back", ErrVersionRetired, ErrVersionRetired, nil, nil)
	now = now.Add(2 * time.Hour)
	pass("due again", ErrVersionRetired, ErrVersionRetired, nil, nil)
	mustChange(t, l, VersionChange{Action: Reinstate, Version: 2})
	pass("due for long", ErrVersionDestroyed, nil, nil, nil)
	if _, err := store.Get(t.Context(), "key"); err == nil {
		t.Error("the record of a destroyed version is still there")
	}

	// A destruction that was cut off after its event is finished. Before that comes the trial.
	dying := newTestLocal(t, LocalOptions{Store: &cutStore{fakeStore: store, at: 4}})
	if err := dying.ChangeVersion(t.Context(), "key", VersionChange{Action: Destroy, Version: 2, Force: true}); err == nil {
		t.Fatal("it was not cut off")
	}
	before := len(store.values)
	l.cache.forget("key")
	pass("cut off", ErrVersionDestroyed, ErrVersionDestroyed, nil, nil)
	if left := len(store.values); left != before-1 {
		t.Errorf("%d entries before, %d after", before, left)
	}
}

func TestVersionsThatCannotEndDoNot(t *testing.T) {
	t.Parallel()
	l := newTestLocal(t, LocalOptions{Store: newFakeStore()})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	dek := mustGenerate(t, l)
	change := func(c VersionChange) error { return l.ChangeVersion(t.Context(), "key", c) }
	for _, action := range []VersionAction{Retire, Destroy} {
		wantErr(t, fmt.Sprint(action, " of the newest"), change(VersionChange{Action: action, Version: 1, Force: true}), ErrNewestVersion)
	}
	mustRotate(t, l, 2)
	wantErr(t, "of one that there is not", change(VersionChange{Action: Retire, Version: 3, Force: true}), ErrVersionNotFound)
	wantErr(t, "of version 0", change(VersionChange{Action: Retire, Force: true}), ErrVersionNotFound)
	wantErr(t, "destruction without force", change(VersionChange{Action: Destroy, Version: 1}), ErrUsageUnknown)
	wantErr(t, "something else", change(VersionChange{Action: "explode", Version: 1, Force: true}), ErrNotSupported)
	wantErr(t, "a time before", change(VersionChange{Action: Destroy, Version: 1, After: -1, Force: true}), ErrNotSupported)
	wantErr(t, "of no key", l.ChangeVersion(t.Context(), "none", VersionChange{Action: Retire, Version: 1, Force: true}), ErrKeyNotFound)
	wantErr(t, "of no name", l.ChangeVersion(t.Context(), "key@log", VersionChange{Action: Retire, Version: 1, Force: true}), ErrInvalidKeyName)
	wantOpens(t, l, "after all that", dek, nil)
}
