package kms

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newStamped(t *testing.T, o CacheOptions) (*Local, *stampedStore) {
	t.Helper()
	s := &stampedStore{fakeStore: newFakeStore()}
	l := newTestLocal(t, LocalOptions{Store: s, Cache: o})
	s.put("key", NewKey(time.Now(), ""))
	return l, s
}

func TestStampedKeyIsUsedWhileItsStampHolds(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	s := &stampedStore{fakeStore: newFakeStore()}
	l := newTestLocal(t, LocalOptions{Store: s, Now: func() time.Time { return now }})
	s.put("key", NewKey(time.Now(), ""))
	wantUse(t, l, s.fakeStore, "first", true, nil)
	now = now.Add(24 * time.Hour)
	wantUse(t, l, s.fakeStore, "a day later", false, nil)
	sealed, err := l.Encrypt(t.Context(), "key", []byte("x"), nil)
	noErr(t, "Encrypt", err)
	s.put("key", NewKey(time.Now(), "")) // replaced by another process
	wantUse(t, l, s.fakeStore, "replaced", true, nil)
	_, err = l.Decrypt(t.Context(), "key", sealed, nil)
	wantErr(t, "Decrypt under the key in its place", err, ErrDecrypt)
	s.remove("key")
	wantUse(t, l, s.fakeStore, "removed", false, ErrKeyNotFound)
	s.put("key", NewKey(time.Now(), ""))
	wantUse(t, l, s.fakeStore, "created again", true, nil)
	_, err = use(t, l, s.fakeStore, "other")
	wantErr(t, "a key that was never there", err, ErrKeyNotFound)
	s.put("other", NewKey(time.Now(), ""))
	_, err = use(t, l, s.fakeStore, "other")
	noErr(t, "the same, created by another process", err)
}

func TestStampedKeyServesThroughAnOutage(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("%w: no folder", ErrUnavailable)
	l, s := newStamped(t, CacheOptions{Offline: time.Hour})
	wantUse(t, l, s.fakeStore, "before", true, nil)
	s.fail(down)
	s.stampDown.Store(&down)
	wantUse(t, l, s.fakeStore, "down", false, nil)
	s.stampDown.Store(nil)
	s.put("key", NewKey(time.Now(), ""))
	wantUse(t, l, s.fakeStore, "down, but known to have changed", true, ErrUnavailable)

	l, s = newStamped(t, CacheOptions{})
	wantUse(t, l, s.fakeStore, "before", true, nil)
	s.stampDown.Store(&down)
	wantUse(t, l, s.fakeStore, "down without offline", false, ErrUnavailable)
}

// expiringStore is a store whose values somebody else opens.
type expiringStore struct{ *stampedStore }

func (expiringStore) StampsExpire() {}

// A stamp says that a sealed value has not changed, and not that who opens it still
// does: a key that was disabled at AWS must not serve on.
func TestStampsOfSealedValuesExpire(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf("the key is disabled: %w", ErrNotPermitted)
	for _, offline := range []time.Duration{0, time.Hour} {
		now := time.Unix(1_000_000, 0)
		s := expiringStore{&stampedStore{fakeStore: newFakeStore()}}
		l := newTestLocal(t, LocalOptions{Store: s, Now: func() time.Time { return now }, Cache: CacheOptions{Any: time.Minute, Unused: time.Minute, Offline: offline}})
		s.put("key", NewKey(time.Now(), ""))
		wantUse(t, l, s.fakeStore, "first", true, nil)
		now = now.Add(50 * time.Second)
		wantUse(t, l, s.fakeStore, "within its time", false, nil)
		now = now.Add(11 * time.Second)
		wantUse(t, l, s.fakeStore, "after its time", true, nil)
		s.fail(refused)
		now = now.Add(50 * time.Second)
		wantUse(t, l, s.fakeStore, "disabled, within its time", false, nil)
		now = now.Add(11 * time.Second)
		wantUse(t, l, s.fakeStore, "disabled, after its time", true, ErrNotPermitted)
		wantUse(t, l, s.fakeStore, "disabled, and forgotten", true, ErrNotPermitted)
		s.fail(nil)
		wantUse(t, l, s.fakeStore, "enabled again", true, nil)
		s.remove("key")
		wantUse(t, l, s.fakeStore, "removed within its time", false, ErrKeyNotFound)
	}
	// An outage is none of its keys' fault.
	now := time.Unix(1_000_000, 0)
	s := expiringStore{&stampedStore{fakeStore: newFakeStore()}}
	l := newTestLocal(t, LocalOptions{Store: s, Now: func() time.Time { return now }, Cache: CacheOptions{Any: time.Minute, Offline: time.Hour}})
	s.put("key", NewKey(time.Now(), ""))
	wantUse(t, l, s.fakeStore, "first", true, nil)
	s.fail(fmt.Errorf("%w: AWS is away", ErrUnavailable))
	now = now.Add(2 * time.Minute)
	wantUse(t, l, s.fakeStore, "in an outage", true, nil)
	now = now.Add(2 * time.Hour)
	wantUse(t, l, s.fakeStore, "after the outage was too long", true, ErrUnavailable)
}

// Whoever joins a read that began before a key was removed must not get it.
func TestJoinedReadOfAStampedKeyIsChecked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stampedStore{fakeStore: newFakeStore()}
		l := newTestLocal(t, LocalOptions{Store: s})
		defer l.Close()
		s.put("key", NewKey(time.Now(), ""))
		s.set(func() { s.onGet = func(context.Context) error { time.Sleep(time.Second); return nil } })
		go func() { _, _ = l.DescribeKey(context.Background(), "key") }()
		synctest.Wait()
		s.remove("key")
		_, err := l.DescribeKey(t.Context(), "key")
		wantErr(t, "DescribeKey after the removal", err, ErrKeyNotFound)
	})
}

func TestStoreThatReturnsRivalStampsIsSafe(t *testing.T) {
	t.Parallel()
	l, s := newStamped(t, CacheOptions{})
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.put("key", NewKey(time.Now(), ""))
			}
		}
	})
	for range 8 {
		wait.Go(func() {
			for range 200 {
				dek, err := l.GenerateDEK(context.Background(), "key", nil)
				if err != nil || len(dek.Ciphertext) == 0 {
					t.Errorf("GenerateDEK: %v", err)
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(stop)
	wait.Wait()
}
