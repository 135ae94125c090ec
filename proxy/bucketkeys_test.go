package proxy

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func newTestBucketKeys(t *testing.T, ttl time.Duration) *bucketKeys {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	if err := service.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	return newBucketKeys(service, ttl)
}

func TestBucketKeysAreSharedUntilTheyExpire(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, time.Minute)
	now := time.Now()
	b.now = func() time.Time { return now }
	first, err := b.generate(t.Context(), "k", []byte(`{"a":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	clear(first.Plaintext[:]) // what a caller does with its copy
	second, _ := b.generate(t.Context(), "k", []byte(`{"a":"a"}`))
	if !bytes.Equal(first.Ciphertext, second.Ciphertext) || second.Plaintext == ([kms.DEKSize]byte{}) {
		t.Error("the second write has another DEK, or one that the first zeroed")
	}
	other, _ := b.generate(t.Context(), "k", []byte(`{"b":"b"}`))
	if bytes.Equal(other.Ciphertext, second.Ciphertext) {
		t.Error("two contexts share a DEK")
	}
	now = now.Add(time.Minute)
	third, _ := b.generate(t.Context(), "k", []byte(`{"a":"a"}`))
	if bytes.Equal(third.Ciphertext, second.Ciphertext) {
		t.Error("the DEK outlived its time")
	}
}

func TestBucketKeysStayBounded(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, time.Minute)
	for i := range maxBucketKeys + 50 {
		if _, err := b.generate(t.Context(), "k", fmt.Appendf(nil, `{"a":"%d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.entries) > maxBucketKeys {
		t.Errorf("%d entries", len(b.entries))
	}
}

func TestWithoutSharingEveryWriteHasItsDEK(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, 0)
	first, _ := b.generate(t.Context(), "k", nil)
	second, _ := b.generate(t.Context(), "k", nil)
	if bytes.Equal(first.Ciphertext, second.Ciphertext) {
		t.Error("a DEK was shared")
	}
}
