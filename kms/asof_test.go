package kms

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLooksAreSharedByWhatBeganBeforeThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newStamped(t, CacheOptions{})
		defer l.Close()
		began := time.Now()
		time.Sleep(time.Millisecond)
		sealed, err := l.Encrypt(t.Context(), "key", []byte("x"), nil)
		noErr(t, "Encrypt", err)
		open := func(ctx context.Context) error {
			_, err := l.Decrypt(ctx, "key", sealed, nil)
			return err
		}
		noErr(t, "a use that looks", open(t.Context()))
		s.remove("key") // by another process
		noErr(t, "a request that began before that look", open(AsOf(t.Context(), began)))

		// Whoever began with the look or after it may have seen the removal.
		for what, since := range map[string]time.Duration{"with the look": 0, "after it": time.Nanosecond} {
			wantGone(t, "a request that began "+what, l, s, sealed, AsOf(t.Context(), time.Now().Add(since)))
		}
		wantGone(t, "who must know now", l, s, sealed, t.Context())

		s.put("key", NewKey(time.Now(), ""))
		sealed, err = l.Encrypt(t.Context(), "key", []byte("x"), nil)
		noErr(t, "Encrypt under a new key", err)
		noErr(t, "a use that looks", open(t.Context()))
		began = time.Now().Add(-time.Millisecond)
		s.remove("key")
		time.Sleep(asOfTime)
		err = open(AsOf(t.Context(), began))
		wantErr(t, "a request that waited long", err, ErrKeyNotFound)
	})
}

// wantGone looks at a key that is there, removes it, and wants ctx to find that out.
func wantGone(t *testing.T, what string, l *Local, s *stampedStore, sealed []byte, ctx context.Context) { //nolint:revive // the context is what is tested
	t.Helper()
	key := NewKey(time.Now(), "")
	s.put("key", key)
	if _, err := l.Encrypt(t.Context(), "key", []byte("x"), nil); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if _, err := l.Encrypt(t.Context(), "key", []byte("x"), nil); err != nil { // this one looks
		t.Fatalf("%s: %v", what, err)
	}
	s.remove("key")
	if _, err := l.Decrypt(ctx, "key", sealed, nil); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("%s: %v, want ErrKeyNotFound", what, err)
	}
}
