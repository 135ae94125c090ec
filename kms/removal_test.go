package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// overtakenStore is a store with a rival who acts right after an event was stored.
type overtakenStore struct {
	*fakeStore
	event string
	rival func()
}

func (s *overtakenStore) Create(ctx context.Context, name string, value []byte) error {
	err := s.fakeStore.Create(ctx, name, value)
	if err == nil && bytes.Contains(value, []byte(`{"event":"`+s.event+`"`)) {
		s.rival()
	}
	return err
}

// A key that was made anew under the name of one that is being destroyed or deleted keeps its
// record and its log.
func TestAKeyMadeAnewOutlivesTheRemovalOfTheOneBefore(t *testing.T) {
	t.Parallel()
	for event, remove := range map[string]func(*Local) error{
		eventDestroyed: func(l *Local) error {
			return l.ChangeVersion(t.Context(), "key", VersionChange{Action: Destroy, Version: 1, Force: true})
		},
		eventDeleted: func(l *Local) error { return l.DeleteKey(t.Context(), "key") },
	} {
		for _, versions := range []uint32{1, 2} {
			store := newFakeStore()
			rival := newTestLocal(t, LocalOptions{Store: store})
			noErr(t, "CreateKey", rival.CreateKey(t.Context(), "key"))
			mustRotate(t, rival, 2)
			var first, last DEK
			slow := newTestLocal(t, LocalOptions{Store: &overtakenStore{store, event, func() {
				noErr(t, "DeleteKey", rival.DeleteKey(t.Context(), "key"))
				noErr(t, "CreateKey", rival.CreateKey(t.Context(), "key"))
				first = mustGenerate(t, rival)
				if versions > 1 {
					mustRotate(t, rival, versions)
				}
				last = mustGenerate(t, rival)
			}}})
			noErr(t, event, remove(slow))
			after := newTestLocal(t, LocalOptions{Store: store})
			wantOpens(t, after, event+": the key made anew", first, nil)
			wantOpens(t, after, event+": its newest version", last, nil)
		}
	}
}

// keepingStore deletes nothing, or not the entries that it is told.
type keepingStore struct {
	*fakeStore
	all bool
}

func (s *keepingStore) Delete(ctx context.Context, name string) error {
	if s.all {
		return fmt.Errorf("delete %s: %w", name, ErrNotPermitted)
	}
	return s.fakeStore.Delete(ctx, name)
}

// A store that deletes nothing keeps keys and versions that are to go whole, also those whose
// time has come.
func TestARefusedDeletionChangesNothing(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	store := &keepingStore{fakeStore: newFakeStore(), all: true}
	o := LocalOptions{Store: store, Now: func() time.Time { return now }}
	l := newTestLocal(t, o)
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	deks := []DEK{mustGenerate(t, l)}
	mustRotate(t, l, 2)
	deks = append(deks, mustGenerate(t, l))
	mustRotate(t, l, 3)
	destroy := VersionChange{Action: Destroy, Version: 1, Force: true}
	before := len(store.values)
	for range 3 {
		wantErr(t, "DeleteKey", l.DeleteKey(t.Context(), "key"), ErrNotPermitted)
		wantErr(t, "Destroy", l.ChangeVersion(t.Context(), "key", destroy), ErrNotPermitted)
	}
	if left := len(store.values); left > before+1 {
		t.Errorf("%d entries before, %d after", before, left)
	}
	if names, err := l.ListKeys(t.Context(), ""); err != nil || !slices.Equal(names, []string{"key"}) {
		t.Errorf("ListKeys = %q, %v", names, err)
	}
	for _, dek := range deks {
		wantOpens(t, newTestLocal(t, o), "after all that", dek, nil)
	}
	mustChange(t, l, VersionChange{Action: Destroy, Version: 1, After: time.Hour})
	now = now.Add(2 * time.Hour)
	tender := newTestTender(t, l)
	noErr(t, "Pass", tender.Pass(t.Context()))
	wantErr(t, "Pass, when it is due", tender.Pass(t.Context()), ErrNotPermitted)
	mustChange(t, l, VersionChange{Action: Reinstate, Version: 1})
	wantOpens(t, newTestLocal(t, o), "reinstated", deks[0], nil)

	store.all = false
	noErr(t, "DeleteKey", l.DeleteKey(t.Context(), "key"))
	if n := len(store.values); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// checkedStore knows an entry that it will not delete.
type checkedStore struct {
	*fakeStore
	kept string
}

func (s *checkedStore) MayDelete(_ context.Context, name string) error {
	if name == s.kept {
		return fmt.Errorf("%s is not ours: %w", name, ErrNotPermitted)
	}
	return nil
}

func (s *checkedStore) Delete(ctx context.Context, name string) error {
	if err := s.MayDelete(ctx, name); err != nil {
		return err
	}
	return s.fakeStore.Delete(ctx, name)
}

func TestAnEntryThatCannotBeDeletedKeepsTheKey(t *testing.T) {
	t.Parallel()
	store := &checkedStore{fakeStore: newFakeStore()}
	l := newTestLocal(t, LocalOptions{Store: store})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	mustRotate(t, l, 2)
	mustRotate(t, l, 3)
	dek := mustGenerate(t, l)
	for entry := range maps.Clone(store.values) {
		store.kept = entry
		wantErr(t, "DeleteKey without "+entry, l.DeleteKey(t.Context(), "key"), ErrNotPermitted)
		wantOpens(t, newTestLocal(t, LocalOptions{Store: store}), "without "+entry, dek, nil)
	}
	store.kept = "key"
	wantErr(t, "Destroy", l.ChangeVersion(t.Context(), "key", VersionChange{Action: Destroy, Version: 1, Force: true}), ErrNotPermitted)
	mustChange(t, l, VersionChange{Action: Destroy, Version: 2})
}

// What a deletion leaves that was cut off anywhere is removed by another one, and by the tender.
func TestADeletionThatWasCutOffIsFinished(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		for _, by := range []string{"command", "tender"} {
			now := time.Unix(1_700_000_000, 0)
			store := newFakeStore()
			o := LocalOptions{Store: store, Now: func() time.Time { return now }}
			l := newTestLocal(t, o)
			noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
			for version := uint32(2); version < 5; version++ {
				mustRotate(t, l, version)
			}
			mustChange(t, l, VersionChange{Action: Destroy, Version: 2})
			dek := mustGenerate(t, l)
			before := len(store.values)
			dying := newTestLocal(t, LocalOptions{Store: &cutStore{fakeStore: store, at: at, after: true}, Now: o.Now})
			if dying.DeleteKey(t.Context(), "key") == nil {
				return
			}
			now = now.Add(2 * trialTime)
			what := fmt.Sprintf("cut after change %d, %s", at, by)
			after := newTestLocal(t, o)
			_, dead := after.DescribeKey(t.Context(), "key")
			if by == "tender" {
				noErr(t, what, newTestTender(t, after).Pass(t.Context()))
				if dead == nil {
					wantOpens(t, newTestLocal(t, o), what, dek, nil)
				}
				if n := len(store.values); dead == nil && n != before || dead != nil && n != 0 {
					t.Errorf("%s: there were %d entries, and are %d; %v", what, before, n, dead)
				}
				continue
			}
			if err := after.DeleteKey(t.Context(), "key"); err != nil && (len(store.values) > 0 || !errors.Is(err, ErrKeyNotFound)) {
				t.Errorf("%s: %v", what, err)
			}
			if n := len(store.values); n != 0 {
				t.Errorf("%s: %d entries are left", what, n)
			}
		}
	}
}

// The tender leaves alone what may be half of a copy, and what belongs to a key.
func TestWhatMayBeACopyIsNotSwept(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	mustRotate(t, l, 2)
	dek := mustGenerate(t, l)
	for entry, value := range maps.Clone(store.values) {
		if logOf(entry) != "" {
			store.values["other"+strings.TrimPrefix(entry, "key")] = value
			store.values["key@0123456789abcdef"+entry[len("key@0123456789abcdef"):]] = value
		}
	}
	before := len(store.values)
	noErr(t, "Pass", newTestTender(t, l).Pass(t.Context()))
	if n := len(store.values); n != before {
		t.Errorf("%d entries before, %d after", before, n)
	}
	wantOpens(t, newTestLocal(t, LocalOptions{Store: store}), "afterwards", dek, nil)
}
