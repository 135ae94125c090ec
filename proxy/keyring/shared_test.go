package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func newTestBucketKeys(t *testing.T, ttl time.Duration) *sharedKeys {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	if err := service.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	return newSharedKeys(service, ttl)
}

func TestBucketKeysAreSharedUntilTheyExpire(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, time.Minute)
	now := time.Now()
	b.now = func() time.Time { return now }
	first, _, err := b.generate(t.Context(), "k", []byte(`{"a":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	clear(first.Plaintext[:]) // what a caller does with its copy
	second, _, _ := b.generate(t.Context(), "k", []byte(`{"a":"a"}`))
	if !bytes.Equal(first.Ciphertext, second.Ciphertext) || second.Plaintext == ([kms.DEKSize]byte{}) {
		t.Error("the second write has another DEK, or one that the first zeroed")
	}
	other, _, _ := b.generate(t.Context(), "k", []byte(`{"b":"b"}`))
	if bytes.Equal(other.Ciphertext, second.Ciphertext) {
		t.Error("two contexts share a DEK")
	}
	now = now.Add(time.Minute)
	third, _, _ := b.generate(t.Context(), "k", []byte(`{"a":"a"}`))
	if bytes.Equal(third.Ciphertext, second.Ciphertext) {
		t.Error("the DEK outlived its time")
	}
}

func TestBucketKeysStayBounded(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, time.Minute)
	for i := range maxSharedKeys + 50 {
		if _, _, err := b.generate(t.Context(), "k", fmt.Appendf(nil, `{"a":"%d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.entries) > maxSharedKeys {
		t.Errorf("%d entries", len(b.entries))
	}
}

func TestWithoutSharingEveryWriteHasItsDEK(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, 0)
	first, _, _ := b.generate(t.Context(), "k", nil)
	second, _, _ := b.generate(t.Context(), "k", nil)
	if bytes.Equal(first.Ciphertext, second.Ciphertext) {
		t.Error("a DEK was shared")
	}
}

// askedKeys counts the questions whether a DEK still opens.
type askedKeys struct {
	kms.Service
	asked atomic.Int64
	down  atomic.Bool
}

func (a *askedKeys) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	a.asked.Add(1)
	if a.down.Load() {
		return [kms.DEKSize]byte{}, kms.ErrUnavailable
	}
	return a.Service.DecryptDEK(ctx, name, ciphertext, encContext)
}

// What is written with a shared DEK after its KMS key is gone can never be read.
func TestSharedDEKsEndWithTheirKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
		if err != nil {
			t.Fatal(err)
		}
		defer local.Close()
		service := &askedKeys{Service: local}
		b := newSharedKeys(service, time.Hour)
		ctx, encContext := t.Context(), []byte(`{"a":"a"}`)
		write := func() (kms.DEK, error) {
			dek, _, err := b.generate(ctx, "k", encContext)
			return dek, err
		}
		if err := local.CreateKey(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		first, err := write()
		if err != nil {
			t.Fatal(err)
		}
		// However many write, one question a second is asked.
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for range 20 {
				if dek, err := write(); err != nil || !bytes.Equal(dek.Ciphertext, first.Ciphertext) {
					t.Fatalf("%v, or another DEK", err)
				}
			}
		}
		if n := service.asked.Load(); n < 4 || n > 11 {
			t.Errorf("%d questions in 5 s", n)
		}
		service.down.Store(true)
		time.Sleep(2 * dekLease)
		if _, err := write(); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("the key service is away: %v", err)
		}
		service.down.Store(false)
		if dek, err := write(); err != nil || !bytes.Equal(dek.Ciphertext, first.Ciphertext) {
			t.Errorf("it is back: %v, or another DEK", err)
		}
		if err := local.DeleteKey(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(dekLease)
		if _, err := write(); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("the key is gone: %v", err)
		}
		if err := local.CreateKey(ctx, "k"); err != nil {
			t.Fatal(err)
		}
		second, err := write()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := local.DecryptDEK(ctx, "k", second.Ciphertext, encContext); err != nil {
			t.Errorf("a DEK that the key which is there does not open: %v", err)
		}
		// Made anew without anybody noticing that it was gone.
		if err := errors.Join(local.DeleteKey(ctx, "k"), local.CreateKey(ctx, "k")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(dekLease)
		third, err := write()
		if err != nil || bytes.Equal(third.Ciphertext, second.Ciphertext) {
			t.Errorf("the key was made anew: %v, or the DEK of the old one", err)
		}
		time.Sleep(2 * dekLease)
	})
}

// A write that lasts is confirmed before it is acknowledged.
func TestIssuedDEKIsConfirmedWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
		if err != nil {
			t.Fatal(err)
		}
		defer local.Close()
		service := &askedKeys{Service: local}
		b := newSharedKeys(service, 0)
		if err := local.CreateKey(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		dek, asked, err := b.generate(t.Context(), "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		issued := &issuedDEK{verifier: b.verifier, name: "k", ciphertext: dek.Ciphertext, asked: asked}
		for _, wait := range []time.Duration{dekLease / 2, dekLease, dekLease / 2} {
			time.Sleep(wait)
			if err := issued.confirm(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if n := service.asked.Load(); n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
		if err := local.DeleteKey(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(dekLease)
		if err := issued.confirm(t.Context()); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("the key is gone: %v", err)
		}
		if err := local.CreateKey(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if err := issued.confirm(t.Context()); !errors.Is(err, errReplacedKey) || !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("the key is another one: %v", err)
		}
		if err := (*issuedDEK)(nil).confirm(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A shared DEK of an older version gives way within the lease, and not after minutes.
func TestSharedDEKsGiveWayToANewVersion(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, time.Hour)
	now := time.Now()
	b.now = func() time.Time { return now }
	first, _, err := b.generate(t.Context(), "k", nil)
	if err != nil || kms.CiphertextVersion(first.Ciphertext) != 1 {
		t.Fatal(err)
	}
	if _, err := b.kms.RotateKey(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * dekLease)
	second, _, err := b.generate(t.Context(), "k", nil)
	if err != nil || kms.CiphertextVersion(second.Ciphertext) != 2 {
		t.Errorf("version %d, %v", kms.CiphertextVersion(second.Ciphertext), err)
	}
	third, _, err := b.generate(t.Context(), "k", nil)
	if err != nil || !bytes.Equal(second.Ciphertext, third.Ciphertext) {
		t.Errorf("the new DEK is not shared: %v", err)
	}
}
