package client

import (
	"errors"
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
