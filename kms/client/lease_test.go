package client

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

func TestCachedDEKsEndSecondsAfterTheirVersion(t *testing.T) {
	t.Parallel()
	for what, ended := range map[string]error{"retired": kms.ErrVersionRetired, "destroyed": kms.ErrVersionDestroyed, "deleted": kms.ErrKeyNotFound, "replaced": kms.ErrKeyReplaced} {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{dek: [32]byte{1, 2, 3}}
			c := Cached(service, CacheOptions{Recheck: 4 * time.Second})
			wantDEK(t, c, "one")
			wantDEK(t, c, "two")
			for range 10 { // in use: one question of the version every four seconds
				time.Sleep(time.Second)
				wantDEK(t, c, "one")
				wantDEK(t, c, "two")
				synctest.Wait()
			}
			if n := service.decrypts.Load(); n != 4 {
				t.Errorf("%s: %d requests in ten seconds, want 2 and a question every 4 s", what, n)
			}
			service.set([32]byte{1, 2, 3}, kms.ErrUnavailable)
			time.Sleep(time.Minute)
			wantDEK(t, c, "one") // an outage is no end
			service.set([32]byte{1, 2, 3}, ended)
			time.Sleep(time.Minute)
			if _, err := decrypt(t, c, "k", "two", ""); !errors.Is(err, ended) {
				t.Errorf("%s: %v", what, err)
			}
			if c.Len() != 0 {
				t.Errorf("%s: %d DEKs are left", what, c.Len())
			}
		})
	}
}

func TestRecheckIsOffByDefault(t *testing.T) {
	t.Parallel()
	c, service, now := testCache(CacheOptions{})
	wantDEK(t, c, "one")
	*now = now.Add(4 * time.Minute)
	wantDEK(t, c, "one")
	if n := service.decrypts.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Of several reads after a rest none gets a DEK before the service has said that it still
// opens it: they share one question.
func TestNobodyGetsADEKWhileItIsAskedWhetherItsVersionEnded(t *testing.T) {
	t.Parallel()
	for what, ended := range map[string]error{"retired": kms.ErrVersionRetired, "deleted": kms.ErrKeyNotFound, "neither": nil} {
		synctest.Test(t, func(t *testing.T) {
			service := &fakeService{dek: [32]byte{1, 2, 3}}
			c := Cached(service, CacheOptions{Recheck: 4 * time.Second})
			wantDEK(t, c, "one")
			wantDEK(t, c, "two")
			service.set([32]byte{1, 2, 3}, ended)
			service.gate = make(chan struct{})
			time.Sleep(time.Minute)
			asked := service.decrypts.Load()
			var callers sync.WaitGroup
			for i := range 8 {
				callers.Go(func() {
					dek, err := decrypt(t, c, "k", []string{"one", "two"}[i%2], "")
					if !errors.Is(err, ended) || (dek == [32]byte{}) != (ended != nil) {
						t.Errorf("%s: caller %d got %v, %v", what, i, dek, err)
					}
				})
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if dek, err := c.DecryptDEK(ctx, "k", []byte("one"), nil); !errors.Is(err, context.DeadlineExceeded) || dek != [32]byte{} {
				t.Errorf("%s: a caller who cannot wait got %v, %v", what, dek, err)
			}
			close(service.gate)
			callers.Wait()
			if n := service.decrypts.Load() - asked; n != 1 {
				t.Errorf("%s: %d questions", what, n)
			}
		})
	}
}

// A service that does not answer holds nobody up for longer than one question takes.
func TestAnOutageHoldsReadsUpForOneQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &fakeService{dek: [32]byte{1, 2, 3}}
		c := Cached(service, CacheOptions{Recheck: 4 * time.Second})
		wantDEK(t, c, "one")
		service.gate = make(chan struct{}) // never answers
		time.Sleep(time.Minute)
		began := time.Now()
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() { wantDEK(t, c, "one") })
		}
		callers.Wait()
		if took := time.Since(began); took != leaseTimeout {
			t.Errorf("%v", took)
		}
		wantDEK(t, c, "one")
		if took := time.Since(began); took != leaseTimeout {
			t.Errorf("the next one: %v", took)
		}
	})
}
