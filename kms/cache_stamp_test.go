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
