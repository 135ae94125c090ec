package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestOutageWithoutOfflineEndsWithTheCache(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.fail(ErrUnavailable)
		time.Sleep(20 * time.Second)
		_, err := use(t, l, s, "key")
		noErr(t, "cached, though its log cannot be looked at", err)
		time.Sleep(31 * time.Second)
		wantUse(t, l, s, "expired", true, ErrUnavailable)
		if n := s.probes.Load(); n != 0 {
			t.Errorf("%d probes that nobody needs", n)
		}
		s.fail(nil)
		wantUse(t, l, s, "store back", true, nil)
	})
}

func TestCachedKeysServeThroughAnOutage(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	o := LocalOptions{Cache: CacheOptions{Offline: time.Hour}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	inBubble(t, o, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.fail(fmt.Errorf("%w: dial", ErrUnavailable))
		time.Sleep(11 * time.Second) // the probe notices
		_, err := l.Status(t.Context())
		wantErr(t, "Status", err, ErrUnavailable)
		for range 5 {
			time.Sleep(10 * time.Minute) // far beyond any and unused
			wantUse(t, l, s, "offline", false, nil)
		}
		_, err = use(t, l, s, "uncached")
		wantErr(t, "a key that was not cached", err, ErrUnavailable)
		time.Sleep(11 * time.Minute)
		wantUse(t, l, s, "after the offline period", true, ErrUnavailable)
		s.fail(nil)
		time.Sleep(10 * time.Second)
		wantUse(t, l, s, "store back", true, nil)
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "reachable again") != 1 {
			t.Errorf("log:\n%s", text)
		}
	})
}

func TestKeyThatExpiresInAnOutageNotYetNoticedServes(t *testing.T) {
	t.Parallel()
	o := LocalOptions{Cache: CacheOptions{Unused: 3 * time.Second, Offline: time.Hour}}
	inBubble(t, o, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.fail(ErrUnavailable)
		time.Sleep(4 * time.Second) // expired, before the first probe
		wantUse(t, l, s, "expired, store fails", true, nil)
		wantUse(t, l, s, "outage noticed", false, nil)
	})
}

func TestSilentStoreDoesNotHoldUpCachedKeys(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	timed := func(t *testing.T, l *Local, s *fakeStore, limit time.Duration, want error) {
		t.Helper()
		start := time.Now()
		if _, err := use(t, l, s, "key"); !errors.Is(err, want) || time.Since(start) > limit {
			t.Errorf("%v after %v, want %v within %v", err, time.Since(start), want, limit)
		}
	}
	o := LocalOptions{Cache: CacheOptions{Unused: 3 * time.Second, Offline: time.Minute}}
	inBubble(t, o, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.set(func() { s.onGet = hang })
		time.Sleep(4 * time.Second) // expired
		timed(t, l, s, patience, nil)
		timed(t, l, s, 0, nil)
		time.Sleep(2 * time.Minute) // the offline period is over
		timed(t, l, s, loadTime, ErrUnavailable)
		s.set(func() { s.onGet = nil })
		timed(t, l, s, 0, nil)
	})
	// A store that is merely slow is asked all the same, and its answer counts.
	inBubble(t, o, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.set(func() { s.onGet = func(context.Context) error { time.Sleep(2 * patience); return nil } })
		s.remove("key")
		time.Sleep(4 * time.Second)
		timed(t, l, s, patience, nil)
		time.Sleep(2 * patience)
		timed(t, l, s, 2*patience, ErrKeyNotFound)
	})
}

func TestRecoveredStoreIsAskedAgain(t *testing.T) {
	t.Parallel()
	o := LocalOptions{Cache: CacheOptions{Offline: time.Hour}, ProbeInterval: time.Second}
	inBubble(t, o, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.fail(ErrUnavailable)
		time.Sleep(10 * time.Minute)
		wantUse(t, l, s, "offline", false, nil)
		s.remove("key") // by another process, meanwhile
		s.fail(nil)
		time.Sleep(time.Minute)
		wantUse(t, l, s, "store back, key gone", true, ErrKeyNotFound)
	})
}

func TestRefusalIsNoOutage(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{Cache: CacheOptions{Offline: time.Hour}}, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "before", true, nil)
		s.fail(ErrNotPermitted)
		time.Sleep(time.Minute)
		wantUse(t, l, s, "refused", true, ErrNotPermitted)
	})
}

func TestImpatientCallerIsNoOutage(t *testing.T) {
	t.Parallel()
	s := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: s, Cache: CacheOptions{Offline: time.Hour}})
	s.fail(fmt.Errorf("%w: %w", ErrUnavailable, context.Canceled))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "CreateKey", l.CreateKey(ctx, "key"), context.Canceled)
	_, err := l.Status(ctx)
	wantErr(t, "Status", err, context.Canceled)
	if l.cache.offline {
		t.Error("the store is taken for down")
	}
}
