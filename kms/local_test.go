package kms

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func newTestLocal(t testing.TB, o LocalOptions) *Local {
	t.Helper()
	l, err := NewLocal(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func noErr(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestLocalNeedsAStore(t *testing.T) {
	t.Parallel()
	if _, err := NewLocal(LocalOptions{}); err == nil {
		t.Error("NewLocal without a store succeeded")
	}
}

func TestDEKOpensWithItsKeyAndContextOnly(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newTestLocal(t, LocalOptions{Store: newFakeStore()})
	for _, name := range []string{"key", "other"} {
		noErr(t, "CreateKey", l.CreateKey(ctx, name))
	}
	dek, err := l.GenerateDEK(ctx, "key", []byte(`{"a":"b"}`))
	noErr(t, "GenerateDEK", err)
	if dek.Plaintext == ([DEKSize]byte{}) || len(dek.Ciphertext) != DEKSize+overhead || dek.KeyName != "key" || dek.KeyVersion != 1 {
		t.Errorf("GenerateDEK: %d bytes sealed under %q version %d", len(dek.Ciphertext), dek.KeyName, dek.KeyVersion)
	}
	got, err := l.DecryptDEK(ctx, "key", dek.Ciphertext, []byte(`{"a":"b"}`))
	if err != nil || got != dek.Plaintext {
		t.Errorf("DecryptDEK: %v", err)
	}
	for what, try := range map[string]func() error{
		"other key":     func() error { _, err := l.DecryptDEK(ctx, "other", dek.Ciphertext, []byte(`{"a":"b"}`)); return err },
		"other context": func() error { _, err := l.DecryptDEK(ctx, "key", dek.Ciphertext, []byte(`{"a":"c"}`)); return err },
		"no context":    func() error { _, err := l.DecryptDEK(ctx, "key", dek.Ciphertext, nil); return err },
		"cut":           func() error { _, err := l.DecryptDEK(ctx, "key", dek.Ciphertext[1:], []byte(`{"a":"b"}`)); return err },
		"empty":         func() error { _, err := l.Decrypt(ctx, "key", nil, nil); return err },
	} {
		wantErr(t, what, try(), ErrDecrypt)
	}
}

func TestWhatIsNoDEKIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newTestLocal(t, LocalOptions{Store: newFakeStore()})
	noErr(t, "CreateKey", l.CreateKey(ctx, "key"))
	for what, plaintext := range map[string][]byte{
		"zeros": make([]byte, DEKSize), "short": make([]byte, DEKSize-1), "long": bytes.Repeat([]byte{1}, DEKSize+1), "empty": {},
	} {
		sealed, err := l.Encrypt(ctx, "key", plaintext, nil)
		noErr(t, "Encrypt", err)
		dek, err := l.DecryptDEK(ctx, "key", sealed, nil)
		wantErr(t, what, err, ErrDecrypt)
		if dek != ([DEKSize]byte{}) {
			t.Errorf("%s: bytes were returned beside the error", what)
		}
		if got, err := l.Decrypt(ctx, "key", sealed, nil); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%s: Decrypt = %x, %v", what, got, err)
		}
	}
}

func TestKeysAreCreatedDescribedListedAndDeleted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	now := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store, CreatedBy: "the process", Now: func() time.Time { return now }})
	noErr(t, "CreateKey", l.CreateKey(ctx, "key-a"))
	noErr(t, "ImportKey", l.ImportKey(WithCreator(ctx, "alice"), "key-b", [DEKSize]byte{1}, ChaCha20))
	wantErr(t, "second CreateKey", l.CreateKey(ctx, "key-a"), ErrKeyExists)
	wantErr(t, "ImportKey over a key", l.ImportKey(ctx, "key-a", [DEKSize]byte{1}, AES256), ErrKeyExists)
	wantErr(t, "ImportKey of no algorithm", l.ImportKey(ctx, "key-c", [DEKSize]byte{1}, 0), ErrNotSupported)

	for name, want := range map[string]KeyInfo{
		"key-a": {Name: "key-a", Algorithm: fastestAlgorithm(), Version: 1, CreatedAt: now.UTC(), CreatedBy: "the process"},
		"key-b": {Name: "key-b", Algorithm: ChaCha20, Version: 1, CreatedAt: now.UTC(), CreatedBy: "alice"},
	} {
		if got, err := l.DescribeKey(ctx, name); err != nil || got != want {
			t.Errorf("DescribeKey = %+v, %v; want %+v", got, err, want)
		}
	}
	store.set(func() { store.values["not a key!"] = []byte("x") })
	if got, err := l.ListKeys(ctx, ""); err != nil || !slices.Equal(got, []string{"key-a", "key-b"}) {
		t.Errorf("ListKeys = %q, %v", got, err)
	}
	noErr(t, "DeleteKey", l.DeleteKey(ctx, "key-a"))
	wantErr(t, "second DeleteKey", l.DeleteKey(ctx, "key-a"), ErrKeyNotFound)
	if _, err := l.GenerateDEK(ctx, "key-a", nil); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("GenerateDEK under a deleted key: %v", err)
	}
}

func TestEveryCallRefusesBadNames(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	const bad = "../etc/passwd"
	calls := map[string]error{
		"CreateKey": l.CreateKey(ctx, bad), "ImportKey": l.ImportKey(ctx, bad, [DEKSize]byte{1}, AES256), "DeleteKey": l.DeleteKey(ctx, bad),
	}
	_, calls["DescribeKey"] = l.DescribeKey(ctx, bad)
	_, calls["GenerateDEK"] = l.GenerateDEK(ctx, bad, nil)
	_, calls["DecryptDEK"] = l.DecryptDEK(ctx, bad, nil, nil)
	_, calls["Encrypt"] = l.Encrypt(ctx, bad, nil, nil)
	_, calls["Decrypt"] = l.Decrypt(ctx, bad, nil, nil)
	_, calls["HMAC"] = l.HMAC(ctx, bad, nil)
	for what, err := range calls {
		wantErr(t, what, err, ErrInvalidKeyName)
	}
	if n := store.gets.Load(); n != 0 || len(store.values) != 0 {
		t.Errorf("the store was asked %d times", n)
	}
}

func TestPlaintextIsBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newTestLocal(t, LocalOptions{Store: newFakeStore()})
	noErr(t, "CreateKey", l.CreateKey(ctx, "key"))
	sealed, err := l.Encrypt(ctx, "key", make([]byte, MaxPlaintextSize), nil)
	noErr(t, "Encrypt of the longest plaintext", err)
	if got, err := l.Decrypt(ctx, "key", sealed, nil); err != nil || len(got) != MaxPlaintextSize {
		t.Errorf("Decrypt: %d bytes, %v", len(got), err)
	}
	_, err = l.Encrypt(ctx, "key", make([]byte, MaxPlaintextSize+1), nil)
	wantErr(t, "Encrypt of a byte more", err, ErrNotSupported)
}

func TestHMACNeedsAnHMACKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	store.set(func() { store.values["old"] = []byte(`{"bytes":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}`) })
	_, err := l.HMAC(ctx, "old", []byte("m"))
	wantErr(t, "HMAC", err, ErrNotSupported)
	noErr(t, "CreateKey", l.CreateKey(ctx, "new"))
	a, err := l.HMAC(ctx, "new", []byte("m"))
	noErr(t, "HMAC", err)
	b, _ := l.HMAC(ctx, "new", []byte("m"))
	if len(a) != 32 || !bytes.Equal(a, b) {
		t.Errorf("HMAC = %x and %x", a, b)
	}
}

func TestWhatIsNoKeyInTheStoreIsCorrupt(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	store.set(func() { store.values["secret"] = []byte("somebody's password") })
	_, err := l.GenerateDEK(t.Context(), "secret", nil)
	wantErr(t, "GenerateDEK", err, ErrCorruptKey)
	if err == nil || strings.Contains(err.Error(), "password") {
		t.Errorf("the error quotes the secret: %v", err)
	}
	store.put("secret", NewKey(time.Now(), "")) // repaired: not remembered as corrupt
	_, err = l.GenerateDEK(t.Context(), "secret", nil)
	noErr(t, "GenerateDEK", err)
}

func TestFailedButDoneChangesCount(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	_, err := l.DescribeKey(ctx, "key") // remembered as missing
	wantErr(t, "DescribeKey", err, ErrKeyNotFound)
	store.set(func() { store.late = ErrUnavailable })
	wantErr(t, "CreateKey", l.CreateKey(ctx, "key"), ErrUnavailable)
	_, err = l.DescribeKey(ctx, "key")
	noErr(t, "DescribeKey after a creation that failed but was done", err)
	wantErr(t, "DeleteKey", l.DeleteKey(ctx, "key"), ErrUnavailable)
	_, err = l.DescribeKey(ctx, "key")
	wantErr(t, "DescribeKey after a removal that failed but was done", err, ErrKeyNotFound)
}

func TestStoreErrorsKeepTheirSentinel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	for _, test := range []struct{ store, want error }{
		{ErrNotPermitted, ErrNotPermitted},
		{ErrUnavailable, ErrUnavailable},
		{ErrCorruptKey, ErrCorruptKey},
		{errors.New("disk on fire"), ErrUnavailable},
		{context.DeadlineExceeded, ErrUnavailable},
	} {
		store.fail(test.store)
		wantErr(t, "CreateKey", l.CreateKey(ctx, "key"), test.want)
		wantErr(t, "DeleteKey", l.DeleteKey(ctx, "key"), test.want)
		_, err := l.ListKeys(ctx, "")
		wantErr(t, "ListKeys", err, test.want)
		_, err = l.GenerateDEK(ctx, "key", nil)
		wantErr(t, "GenerateDEK", err, test.want)
		_, err = l.Status(ctx)
		wantErr(t, "Status", err, test.want)
	}
	store.fail(nil)
	if state, err := l.Status(ctx); err != nil || state.Latency == 0 {
		t.Errorf("Status = %+v, %v", state, err)
	}
}

func TestClosedServiceIsUnavailable(t *testing.T) {
	t.Parallel()
	l := newTestLocal(t, LocalOptions{Store: newFakeStore()})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	_, err := l.GenerateDEK(t.Context(), "key", nil)
	noErr(t, "GenerateDEK", err)
	l.Close()
	_, err = l.GenerateDEK(t.Context(), "key", nil)
	wantErr(t, "GenerateDEK after Close", err, ErrUnavailable)
	l.Close() // twice does no harm
}

func benchmarkLocal(b *testing.B, algorithm Algorithm) (*Local, DEK, []byte) {
	b.Helper()
	l := newTestLocal(b, LocalOptions{Store: newFakeStore()})
	noErr(b, "ImportKey", l.ImportKey(b.Context(), "key", testSecret(), algorithm))
	encContext := []byte(`{"bucket":"bucket/some/object"}`)
	dek, err := l.GenerateDEK(b.Context(), "key", encContext)
	noErr(b, "GenerateDEK", err)
	return l, dek, encContext
}

func BenchmarkGenerateDEK(b *testing.B) {
	for _, algorithm := range []Algorithm{AES256, ChaCha20} {
		b.Run(algorithm.String(), func(b *testing.B) {
			l, _, encContext := benchmarkLocal(b, algorithm)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.GenerateDEK(b.Context(), "key", encContext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecryptDEK(b *testing.B) {
	for _, algorithm := range []Algorithm{AES256, ChaCha20} {
		b.Run(algorithm.String(), func(b *testing.B) {
			l, dek, encContext := benchmarkLocal(b, algorithm)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.DecryptDEK(b.Context(), "key", dek.Ciphertext, encContext); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkContainsReserved(b *testing.B) {
	text := Context{"bucket": "bucket/some/object/with/a/long/name", "project": "alpha"}.Canonical()
	b.ReportAllocs()
	for b.Loop() {
		if ContainsReserved(text) {
			b.Fatal("reserved")
		}
	}
}
