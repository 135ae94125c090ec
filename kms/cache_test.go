package kms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// use asks for the key and says whether that reached the store.
func use(t *testing.T, l *Local, s *fakeStore, name string) (asked bool, err error) {
	t.Helper()
	before := s.gets.Load()
	_, err = l.GenerateDEK(t.Context(), name, nil)
	return s.gets.Load() > before, err
}

func wantUse(t *testing.T, l *Local, s *fakeStore, what string, asked bool, want error) {
	t.Helper()
	got, err := use(t, l, s, "key")
	if got != asked || !errors.Is(err, want) {
		t.Errorf("%s: asked the store: %t, %v; want %t, %v", what, got, err, asked, want)
	}
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, o LocalOptions, test func(t *testing.T, l *Local, s *fakeStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		o.Store = s
		l, err := NewLocal(o)
		noErr(t, "NewLocal", err)
		defer l.Close()
		noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
		test(t, l, s)
	})
}

func TestKeyExpiresHoweverOftenItIsUsed(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "first use", true, nil)
		loads, began := 0, time.Now()
		for time.Since(began) < 20*time.Minute {
			time.Sleep(20 * time.Second)
			if asked, err := use(t, l, s, "key"); asked {
				noErr(t, "use", err)
				loads++
			}
		}
		// Jitter makes 5 minutes into 4.5 to 5, seen in steps of 20 seconds.
		if loads < 4 || loads > 5 {
			t.Errorf("%d loads in 20 minutes, want one in 5 minutes", loads)
		}
	})
}

// The background pass is not what ends a key's time: it may come late.
func TestPeriodsHoldWithoutTheBackgroundPass(t *testing.T) {
	t.Parallel()
	o := LocalOptions{Cache: CacheOptions{Unused: time.Hour, Offline: time.Minute}, ProbeInterval: 24 * time.Hour}
	inBubble(t, o, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "first use", true, nil)
		time.Sleep(4 * time.Minute)
		wantUse(t, l, s, "within any", false, nil)
		time.Sleep(61 * time.Second)
		wantUse(t, l, s, "after any", true, nil)
		time.Sleep(6 * time.Minute)
		s.fail(ErrUnavailable)
		wantUse(t, l, s, "the outage is noticed", true, nil)
		time.Sleep(59 * time.Second)
		wantUse(t, l, s, "within offline", false, nil)
		time.Sleep(2 * time.Second)
		wantUse(t, l, s, "after offline", true, ErrUnavailable)
	})
}

// A look-up that begins and ends while a change is under way sees the key as it
// was before.
func TestLookUpDuringAChangeLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: s})
	s.during = func() { _, _ = l.DescribeKey(context.Background(), "key") }
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	wantUse(t, l, s, "created", true, nil)
	noErr(t, "DeleteKey", l.DeleteKey(t.Context(), "key"))
	wantUse(t, l, s, "deleted", true, ErrKeyNotFound)
}

func TestUnusedKeyExpires(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "first use", true, nil)
		time.Sleep(29 * time.Second)
		wantUse(t, l, s, "after 29 s", false, nil)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if len(l.cache.entries) != 0 {
			t.Error("the key stays in memory")
		}
		wantUse(t, l, s, "after 31 s", true, nil)
	})
}

func TestNegativeLimitsMeanNone(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{Cache: CacheOptions{Any: -1, Unused: -1}}, func(t *testing.T, l *Local, s *fakeStore) {
		wantUse(t, l, s, "first use", true, nil)
		time.Sleep(24 * time.Hour)
		wantUse(t, l, s, "after a day", false, nil)
	})
}

func TestJitterSpreadsExpiryAndNeverExtendsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := newTestLocal(t, LocalOptions{Store: s})
		defer l.Close()
		expiries := map[time.Duration]bool{}
		for i := range 50 {
			name := fmt.Sprintf("key%d", i)
			s.put(name, NewKey(time.Now(), ""))
			_, err := use(t, l, s, name)
			noErr(t, "use", err)
			e := l.cache.entries[name].expires
			if e > 5*time.Minute || e < 270*time.Second {
				t.Errorf("expires after %v", e)
			}
			expiries[e] = true
		}
		if len(expiries) < 25 {
			t.Errorf("50 keys expire at %d instants", len(expiries))
		}
	})
}

func TestInjectedClockIsObeyed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	s := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: s, Now: func() time.Time { return now }})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	wantUse(t, l, s, "first use", true, nil)
	wantUse(t, l, s, "at once", false, nil)
	now = now.Add(time.Minute)
	wantUse(t, l, s, "a minute later", true, nil)
}

func TestMissingKeyIsRememberedForASecond(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		s.remove("key")
		wantUse(t, l, s, "first", true, ErrKeyNotFound)
		wantUse(t, l, s, "second", false, ErrKeyNotFound)
		s.put("key", NewKey(time.Now(), "")) // by another process
		time.Sleep(999 * time.Millisecond)
		wantUse(t, l, s, "within the second", false, ErrKeyNotFound)
		time.Sleep(2 * time.Millisecond)
		wantUse(t, l, s, "after it", true, nil)
	})
}

func TestCreatedKeyIsNeverMissing(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		noErr(t, "DeleteKey", l.DeleteKey(t.Context(), "key"))
		wantUse(t, l, s, "deleted", true, ErrKeyNotFound)
		noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
		wantUse(t, l, s, "created", true, nil)
	})
}

// A look-up that began before the creation must neither be joined after it nor
// leave its answer behind.
func TestLookUpUnderWayDoesNotHideACreatedKey(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		s.remove("key")
		release := make(chan struct{})
		s.set(func() { s.onGet = func(context.Context) error { <-release; return nil } })
		var before error
		go func() { _, before = l.DescribeKey(context.Background(), "key") }()
		synctest.Wait()
		s.set(func() { s.onGet = nil })
		noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
		wantUse(t, l, s, "while the old look-up hangs", true, nil)
		close(release)
		synctest.Wait()
		wantErr(t, "the old look-up", before, ErrKeyNotFound)
		wantUse(t, l, s, "after it", false, nil)
	})
}

func TestLookUpUnderWayDoesNotReviveADeletedKey(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		release := make(chan struct{})
		s.set(func() { s.onGet = func(context.Context) error { <-release; return nil } })
		go func() { _, _ = l.DescribeKey(context.Background(), "key") }()
		synctest.Wait()
		s.set(func() { s.onGet = nil })
		noErr(t, "DeleteKey", l.DeleteKey(t.Context(), "key"))
		close(release)
		synctest.Wait()
		wantUse(t, l, s, "after the old look-up", true, ErrKeyNotFound)
	})
}

func TestMissesAreReadOnceForAll(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		s.set(func() { s.onGet = func(context.Context) error { time.Sleep(time.Second); return nil } })
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() {
				if _, err := l.GenerateDEK(context.Background(), "key", nil); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if n := s.gets.Load(); n != 1 {
			t.Errorf("100 requests read the store %d times", n)
		}
	})
}

func TestWaiterThatGivesUpFailsAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		s.set(func() {
			s.onGet = func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(5 * time.Second):
					return nil
				}
			}
		})
		hasty, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var patient error
		var wait sync.WaitGroup
		wait.Go(func() { // begins the read
			_, err := l.GenerateDEK(hasty, "key", nil)
			wantErr(t, "hasty", err, context.DeadlineExceeded)
		})
		synctest.Wait()
		wait.Go(func() { _, patient = l.GenerateDEK(context.Background(), "key", nil) })
		wait.Wait()
		noErr(t, "patient", patient)
		if n := s.gets.Load(); n != 1 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestSlowStoreIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		s.set(func() { s.onGet = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		began := time.Now()
		wantUse(t, l, s, "store hangs", true, ErrUnavailable)
		if d := time.Since(began); d != loadTime {
			t.Errorf("took %v", d)
		}
		began = time.Now()
		wantUse(t, l, s, "store known to hang", true, ErrUnavailable)
		if d := time.Since(began); d != offlineLoadTime {
			t.Errorf("took %v", d)
		}
	})
}

func TestCloseEndsReadsUnderWay(t *testing.T) {
	t.Parallel()
	inBubble(t, LocalOptions{}, func(t *testing.T, l *Local, s *fakeStore) {
		s.set(func() { s.onGet = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		var err error
		go func() { _, err = l.GenerateDEK(context.Background(), "key", nil) }()
		synctest.Wait()
		l.Close()
		synctest.Wait()
		wantErr(t, "GenerateDEK", err, ErrUnavailable)
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: s, Cache: CacheOptions{Size: 8}})
	for i := range 100 {
		name := fmt.Sprintf("key%d", i)
		s.put(name, NewKey(time.Now(), ""))
		for _, n := range []string{name, "key0"} {
			_, err := use(t, l, s, n)
			noErr(t, "use", err)
		}
	}
	if n := len(l.cache.entries); n != 8 {
		t.Errorf("%d entries", n)
	}
	if asked, _ := use(t, l, s, "key0"); asked {
		t.Error("the key that is used all the time was dropped")
	}
	for i := range 3 * missingSize {
		_, err := use(t, l, s, fmt.Sprintf("missing%d", i))
		wantErr(t, "use", err, ErrKeyNotFound)
	}
	if n := len(l.cache.missing); n > missingSize {
		t.Errorf("%d missing names remembered", n)
	}
	if asked, _ := use(t, l, s, "key0"); asked {
		t.Error("names that do not exist drive out keys")
	}
}

func TestConcurrentUseAndChange(t *testing.T) {
	t.Parallel()
	s := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: s, Cache: CacheOptions{Size: 4, Offline: time.Millisecond}, ProbeInterval: time.Millisecond})
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			ctx := context.Background()
			mine := fmt.Sprintf("mine%d", worker)
			for range 50 {
				if err := l.CreateKey(ctx, mine); err != nil {
					t.Errorf("CreateKey: %v", err)
				}
				dek, err := l.GenerateDEK(ctx, mine, nil)
				if err != nil {
					t.Errorf("GenerateDEK: %v", err)
				}
				if got, err := l.DecryptDEK(ctx, mine, dek.Ciphertext, nil); err != nil || got != dek.Plaintext {
					t.Errorf("DecryptDEK: %v", err)
				}
				_, _ = l.GenerateDEK(ctx, fmt.Sprintf("mine%d", (worker+1)%8), nil)
				if err := l.DeleteKey(ctx, mine); err != nil {
					t.Errorf("DeleteKey: %v", err)
				}
				if _, err := l.GenerateDEK(ctx, mine, nil); !errors.Is(err, ErrKeyNotFound) {
					t.Errorf("GenerateDEK under a deleted key: %v", err)
				}
			}
		})
	}
	wait.Wait()
}
