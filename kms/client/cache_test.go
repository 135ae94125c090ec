package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// fakeService counts and answers DecryptDEK and GenerateDEK.
type fakeService struct {
	kms.Service
	decrypts, generates atomic.Int64
	mu                  sync.Mutex
	dek                 [32]byte
	err                 error
	gate                chan struct{} // if set, DecryptDEK waits for it
}

func (f *fakeService) set(dek [32]byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dek, f.err = dek, err
}

func (f *fakeService) DecryptDEK(ctx context.Context, _ string, _, _ []byte) ([32]byte, error) {
	f.decrypts.Add(1)
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return [32]byte{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return [32]byte{}, f.err
	}
	return f.dek, nil
}

func (f *fakeService) GenerateDEK(_ context.Context, name string, _ []byte) (kms.DEK, error) {
	f.generates.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return kms.DEK{}, f.err
	}
	return kms.DEK{Plaintext: f.dek, Ciphertext: []byte("sealed"), KeyName: name, KeyVersion: 1}, nil
}

func (f *fakeService) CreateKey(context.Context, string) error { return nil }

func (f *fakeService) DeleteKey(context.Context, string) error { return nil }

func testCache(opts CacheOptions) (*Cache, *fakeService, *time.Time) {
	service := &fakeService{dek: [32]byte{1, 2, 3}}
	c := Cached(service, opts)
	now := time.Unix(1000, 0)
	c.now = func() time.Time { return now }
	return c, service, &now
}

func decrypt(t *testing.T, c *Cache, name, ciphertext, encContext string) ([32]byte, error) {
	t.Helper()
	return c.DecryptDEK(t.Context(), name, []byte(ciphertext), []byte(encContext))
}

func wantDEK(t *testing.T, c *Cache, ciphertext string) {
	t.Helper()
	if dek, err := decrypt(t, c, "k", ciphertext, ""); err != nil || dek != [32]byte{1, 2, 3} {
		t.Fatalf("%s: got %v, %v", ciphertext, dek, err)
	}
}

func TestDEKIsAskedForOncePerKeyCiphertextAndContext(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	for range 3 {
		for _, args := range [][3]string{{"k", "c", "x"}, {"k2", "c", "x"}, {"k", "c2", "x"}, {"k", "c", "x2"}, {"kc", "", "x"}, {"k", "", "cx"}} {
			if _, err := decrypt(t, c, args[0], args[1], args[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := service.decrypts.Load(); n != 6 {
		t.Fatalf("%d calls, want 6", n)
	}
}

func TestDEKsEndWithTheirTime(t *testing.T) {
	t.Parallel()
	c, service, now := testCache(CacheOptions{TTL: time.Minute})
	wantDEK(t, c, "c")
	*now = now.Add(53 * time.Second)
	wantDEK(t, c, "c")
	if n := service.decrypts.Load(); n != 1 {
		t.Fatalf("%d calls", n)
	}
	*now = now.Add(8 * time.Second)
	wantDEK(t, c, "c")
	if n := service.decrypts.Load(); n != 2 {
		t.Fatalf("%d calls", n)
	}
}

func TestCacheIsBoundedAndZeroesWhatItDrops(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{Size: 2})
	wantDEK(t, c, "a")
	dropped := c.recency.Front().Value.(*entry)
	wantDEK(t, c, "b")
	wantDEK(t, c, "a") // used again: b goes first
	b := c.recency.Back().Value.(*entry)
	wantDEK(t, c, "d")
	if c.Len() != 2 || b.dek != [32]byte{} || dropped.dek == [32]byte{} {
		t.Fatalf("%d entries; the one used longest ago is not the one zeroed", c.Len())
	}
	calls := service.decrypts.Load()
	wantDEK(t, c, "a")
	if service.decrypts.Load() != calls {
		t.Error("a was dropped")
	}
	c.Purge()
	if c.Len() != 0 || dropped.dek != [32]byte{} {
		t.Error("purge leaves DEKs behind")
	}
}

func TestUnusedDEKsDoNotStay(t *testing.T) {
	t.Parallel()
	c, _, now := testCache(CacheOptions{TTL: time.Minute})
	wantDEK(t, c, "a")
	wantDEK(t, c, "b")
	*now = now.Add(2 * time.Minute)
	wantDEK(t, c, "c")
	if c.Len() != 1 {
		t.Errorf("%d entries", c.Len())
	}
}

func TestCallersGetCopies(t *testing.T) {
	t.Parallel()
	c, _, _ := testCache(CacheOptions{})
	dek, err := decrypt(t, c, "k", "c", "")
	if err != nil {
		t.Fatal(err)
	}
	clear(dek[:])
	wantDEK(t, c, "c")
}

func TestConcurrentCallsAreOneRequest(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	service.gate = make(chan struct{})
	impatient, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := c.DecryptDEK(impatient, "k", []byte("c"), nil)
		left <- err
	}()
	for service.decrypts.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if dek, err := c.DecryptDEK(t.Context(), "k", []byte("c"), nil); err != nil || dek != [32]byte{1, 2, 3} {
				t.Errorf("got %v, %v", dek, err)
			}
		})
	}
	cancel() // the caller that began the request leaves; the others must not notice
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(service.gate)
	wg.Wait()
	if n := service.decrypts.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.flights) != 0 {
		t.Error("a flight is left")
	}
}

func TestErrorsAreNotCachedButAMissingKeyForAMoment(t *testing.T) {
	t.Parallel()
	c, service, now := testCache(CacheOptions{})
	for _, want := range []error{kms.ErrUnavailable, kms.ErrNotPermitted, kms.ErrDecrypt} {
		service.set([32]byte{}, want)
		if _, err := decrypt(t, c, "k", "c", ""); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	service.set([32]byte{1, 2, 3}, nil)
	wantDEK(t, c, "c")

	service.set([32]byte{}, kms.ErrKeyNotFound)
	calls := service.decrypts.Load()
	for range 3 {
		if _, err := decrypt(t, c, "none", "c", ""); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := c.GenerateDEK(t.Context(), "none", nil); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("got %v", err)
		}
	}
	if n := service.decrypts.Load() - calls + service.generates.Load(); n != 1 {
		t.Errorf("%d calls for a missing key", n)
	}
	service.set([32]byte{1, 2, 3}, nil)
	*now = now.Add(DefaultNegativeTTL)
	if _, err := decrypt(t, c, "none", "c", ""); err != nil {
		t.Errorf("a moment later: %v", err)
	}
}

func TestCreatedKeyIsNotMissing(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	service.set([32]byte{}, kms.ErrKeyNotFound)
	_, err := c.GenerateDEK(t.Context(), "k", nil)
	if !errors.Is(err, kms.ErrKeyNotFound) {
		t.Fatal(err)
	}
	service.set([32]byte{1, 2, 3}, nil)
	if err := c.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GenerateDEK(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
}

func TestDeletedKeysDEKsAreDropped(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	wantDEK(t, c, "c")
	if _, err := decrypt(t, c, "other", "c", ""); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if c.Len() != 1 {
		t.Errorf("%d entries", c.Len())
	}
	service.set([32]byte{}, kms.ErrKeyNotFound)
	if _, err := decrypt(t, c, "k", "c", ""); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestAnswerFromBeforeADeletionIsNotCached(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	service.gate = make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := c.DecryptDEK(t.Context(), "k", []byte("c"), nil)
		done <- err
	}()
	for service.decrypts.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := c.DeleteKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	close(service.gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if c.Len() != 0 {
		t.Error("the DEK of a deleted key is cached")
	}
}

func TestGeneratedDEKIsCached(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	dek, err := c.GenerateDEK(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	clear(dek.Plaintext[:])
	wantDEK(t, c, "sealed")
	if n := service.decrypts.Load(); n != 0 {
		t.Errorf("%d decryptions", n)
	}
}

func TestAllZeroDEKIsRefused(t *testing.T) {
	t.Parallel()
	c, service, _ := testCache(CacheOptions{})
	service.set([32]byte{}, nil)
	if _, err := decrypt(t, c, "k", "c", ""); !errors.Is(err, kms.ErrCorruptKey) {
		t.Errorf("got %v", err)
	}
	if _, err := c.GenerateDEK(t.Context(), "k", nil); !errors.Is(err, kms.ErrCorruptKey) {
		t.Errorf("got %v", err)
	}
	if c.Len() != 0 {
		t.Error("it is cached")
	}
}

func TestOfflineGrace(t *testing.T) {
	t.Parallel()
	c, service, now := testCache(CacheOptions{TTL: time.Minute, Offline: time.Hour})
	wantDEK(t, c, "c")
	service.set([32]byte{}, kms.ErrUnavailable)
	*now = now.Add(30 * time.Minute)
	wantDEK(t, c, "c")
	calls := service.decrypts.Load()
	for range 5 {
		wantDEK(t, c, "c") // without waiting for the service each time
	}
	if n := service.decrypts.Load(); n != calls {
		t.Errorf("a service that is down was asked %d times", n-calls)
	}
	if _, err := decrypt(t, c, "k", "unknown", ""); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	*now = now.Add(askAgain)
	service.set([32]byte{}, kms.ErrNotPermitted)
	if _, err := decrypt(t, c, "k", "c", ""); !errors.Is(err, kms.ErrNotPermitted) || c.Len() != 0 {
		t.Errorf("a refusal does not end the grace: %v", err)
	}
	service.set([32]byte{1, 2, 3}, nil)
	wantDEK(t, c, "c")
	service.set([32]byte{}, kms.ErrUnavailable)
	*now = now.Add(2 * time.Hour)
	if _, err := decrypt(t, c, "k", "c", ""); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("after the grace: got %v", err)
	}
}

func BenchmarkCachedDEK(b *testing.B) {
	c := Cached(&fakeService{dek: [32]byte{1}}, CacheOptions{})
	ciphertext, encContext := make([]byte, 76), []byte(`{"bucket":"bucket/some/object/name"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.DecryptDEK(b.Context(), "my-key", ciphertext, encContext); err != nil {
			b.Fatal(err)
		}
	}
}

// Once a KMS key is known to be another one than before, nothing under it is given
// from memory.
func TestReplacedKeysDEKsAreDropped(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(c *Cache) error{
		"decrypt": func(c *Cache) error { _, err := decrypt(t, c, "k", "new", ""); return err },
		"asked past the cache": func(c *Cache) error {
			_, err := c.DecryptDEK(kms.Uncached(t.Context()), "k", []byte("c"), nil)
			return err
		},
		"generate": func(c *Cache) error { _, err := c.GenerateDEK(t.Context(), "k", nil); return err },
	} {
		c, service, _ := testCache(CacheOptions{})
		wantDEK(t, c, "c")
		wantDEK(t, c, "d")
		if _, err := decrypt(t, c, "other", "c", ""); err != nil {
			t.Fatal(err)
		}
		service.set([32]byte{}, kms.ErrKeyReplaced)
		if err := ask(c); !errors.Is(err, kms.ErrKeyReplaced) {
			t.Errorf("%s: got %v", name, err)
		}
		if c.Len() != 1 {
			t.Errorf("%s: %d entries", name, c.Len())
		}
	}
}
