package client_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
)

func TestKeyLifecycle(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	ctx := t.Context()
	must(t, c.CreateKey(ctx, "my-key"))
	wantErr(t, c.CreateKey(ctx, "my-key"), kms.ErrKeyExists)
	info, err := c.DescribeKey(ctx, "my-key")
	must(t, err)
	if info.Name != "my-key" || info.Algorithm != kms.AES256 || info.Version != 1 || info.CreatedBy != c.Identity() || info.CreatedAt.IsZero() {
		t.Errorf("described %+v", info)
	}
	encContext := []byte(`{"a":"b"}`)
	dek, err := c.GenerateDEK(ctx, "my-key", encContext)
	must(t, err)
	got, err := c.DecryptDEK(ctx, "my-key", dek.Ciphertext, encContext)
	if err != nil || got != dek.Plaintext || dek.KeyName != "my-key" || dek.KeyVersion != 1 {
		t.Errorf("DEK does not come back: %v", err)
	}
	_, err = c.DecryptDEK(ctx, "my-key", dek.Ciphertext, nil)
	wantErr(t, err, kms.ErrDecrypt)
	sealed, err := c.Encrypt(ctx, "my-key", []byte("short"), nil)
	must(t, err)
	plain, err := c.Decrypt(ctx, "my-key", sealed, nil)
	if err != nil || string(plain) != "short" {
		t.Errorf("got %q, %v", plain, err)
	}
	_, err = c.DecryptDEK(ctx, "my-key", sealed, nil)
	wantErr(t, err, kms.ErrDecrypt)
	mac1, err := c.HMAC(ctx, "my-key", []byte("m"))
	must(t, err)
	mac2, err := c.HMAC(ctx, "my-key", []byte("m"))
	if err != nil || !bytes.Equal(mac1, mac2) {
		t.Errorf("HMAC differs: %v", err)
	}
	must(t, c.DeleteKey(ctx, "my-key"))
	wantErr(t, c.DeleteKey(ctx, "my-key"), kms.ErrKeyNotFound)
	_, err = c.GenerateDEK(ctx, "my-key", nil)
	wantErr(t, err, kms.ErrKeyNotFound)
	if fake.protos["HTTP/2.0"] == 0 || len(fake.protos) != 1 {
		t.Errorf("spoke %v", fake.protos)
	}
}

func TestImportedKeyIsTheOneGiven(t *testing.T) {
	t.Parallel()
	c := dial(t, startKES(t))
	key := [32]byte{1, 2, 3}
	must(t, c.ImportKey(t.Context(), "k", key, kms.ChaCha20))
	sealed, err := c.Encrypt(t.Context(), "k", []byte("text"), nil)
	must(t, err)
	plain, err := kms.ImportedKey(key, kms.ChaCha20, time.Now(), "").Decrypt(sealed, nil)
	if err != nil || string(plain) != "text" {
		t.Fatalf("got %q, %v", plain, err)
	}
}

func TestInvalidNamesNeverLeave(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	ctx := t.Context()
	for _, name := range []string{"", "a/b", "..", "-a", "a b", "_", strings.Repeat("a", 81)} {
		_, describe := c.DescribeKey(ctx, name)
		_, generate := c.GenerateDEK(ctx, name, nil)
		_, decrypt := c.Decrypt(ctx, name, nil, nil)
		_, encrypt := c.Encrypt(ctx, name, nil, nil)
		_, mac := c.HMAC(ctx, name, nil)
		for _, err := range []error{c.CreateKey(ctx, name), c.ImportKey(ctx, name, [32]byte{1}, kms.AES256), c.DeleteKey(ctx, name), describe, generate, decrypt, encrypt, mac} {
			wantErr(t, err, kms.ErrInvalidKeyName)
		}
	}
	if len(fake.calls) != 0 {
		t.Errorf("server saw %v", fake.calls)
	}
}

func TestErrorAnswersAreMapped(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	tests := []struct {
		status  int
		message string
		want    error
	}{
		{403, "not authorized: insufficient permissions", kms.ErrNotPermitted},
		{403, "anything", kms.ErrNotPermitted},
		{404, "key does not exist", kms.ErrKeyNotFound},
		{404, "policy does not exist", client.ErrPolicyNotFound},
		{404, "identity does not exist", client.ErrIdentityNotFound},
		{404, "404 page not found", kms.ErrNotSupported},
		{400, "key already exists", kms.ErrKeyExists},
		{400, "decryption failed: ciphertext is not authentic", kms.ErrDecrypt},
		{400, "key name 'x' is empty, too long or contains invalid characters", kms.ErrInvalidKeyName},
		{400, "listing pattern 'x-' is empty, too long or is invalid", kms.ErrInvalidKeyName},
		{400, "invalid encryption context", kms.ErrInvalidContext},
		{400, "invalid encryption context: name repeated", kms.ErrInvalidContext},
		{400, "tls: client certificate is required", kms.ErrNotPermitted},
		{400, "tls: received more than one client certificate", kms.ErrNotPermitted},
		{405, "received method 'GET' expected 'PUT'", kms.ErrNotSupported},
		{406, "bad cipher", kms.ErrNotSupported},
		{409, "key does not support HMAC", kms.ErrNotSupported},
		{501, "whatever", kms.ErrNotSupported},
		{429, "slow down", kms.ErrUnavailable},
		{500, "stored key is malformed", kms.ErrCorruptKey},
		{500, "something else", kms.ErrUnavailable},
		{500, "key does not exist", kms.ErrUnavailable},
		{502, "failed to read key", kms.ErrUnavailable},
		{504, "key store is not reachable", kms.ErrUnavailable},
		{307, "", kms.ErrUnavailable},
		{201, "", kms.ErrUnavailable},
	}
	for _, tt := range tests {
		fake.inject("/v1/key/describe/", fault{status: tt.status, message: tt.message})
		_, err := c.DescribeKey(t.Context(), "k")
		if !errors.Is(err, tt.want) {
			t.Errorf("%d %q: got %v, want %v", tt.status, tt.message, err, tt.want)
		}
		var answer *client.Error
		if !errors.As(err, &answer) || answer.Status != tt.status {
			t.Errorf("%d %q: no *Error with the status: %v", tt.status, tt.message, err)
		}
	}
}

func TestServersTextCannotForgeLogLines(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	fake.inject("/v1/key/describe/", fault{status: 400, message: "x\nlevel=INFO forged \x1b[31m" + strings.Repeat("y", 5000)})
	_, err := c.DescribeKey(t.Context(), "k")
	if text := err.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 1200 {
		t.Errorf("got %q", text)
	}
}

func TestAnswersThatAreNoAnswers(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	zero := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, body := range []string{
		"", "null", "{}", "<html>", `{"plaintext":"AAAA","ciphertext":"AAAA"}`,
		`{"plaintext":"` + zero + `","ciphertext":"AAAA"}`, `{"plaintext":"!","ciphertext":"AAAA"}`,
	} {
		fake.raw["/v1/key/generate/"] = body
		if dek, err := c.GenerateDEK(t.Context(), "k", nil); !errors.Is(err, kms.ErrUnavailable) || dek.Plaintext != [32]byte{} {
			t.Errorf("%q: got %v", body, err)
		}
	}
	fake.raw["/v1/key/decrypt/"] = `{"plaintext":"` + zero + `"}`
	_, err := c.DecryptDEK(t.Context(), "k", []byte("c"), nil)
	wantErr(t, err, kms.ErrUnavailable)
	fake.raw["/v1/key/decrypt/"] = `{"plaintext":"` + strings.Repeat("A", 5<<20) + `"}`
	_, err = c.Decrypt(t.Context(), "k", []byte("c"), nil)
	if !errors.Is(err, kms.ErrUnavailable) || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v", err)
	}
}

func TestListingIsWholeOnAllServers(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 1100 {
		names = append(names, fmt.Sprintf("key-%04d", i))
	}
	names = append(names, "a", "key", "key--double", "key-", "kez", "other_1", "_x", "KEY-1")
	names = slices.DeleteFunc(names, func(n string) bool { return kms.ValidateKeyName(n) != nil })
	slices.Sort(names)
	for mode, set := range map[string]func(*fakeKES){
		"real KES":    func(*fakeKES) {},
		"small pages": func(f *fakeKES) { f.pageSize = 200 },
		"token":       func(f *fakeKES) { f.token = true; f.pageSize = 100 },
		"one page":    func(f *fakeKES) { f.pageSize = 1 << 20 },
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			fake := startKES(t)
			set(fake)
			for _, name := range names {
				fake.addKey(name, "x", time.Now())
			}
			c := dial(t, fake)
			for _, prefix := range []string{"", "key-", "key--", "key-10", "_", "zz", "a/b", "key-*"} {
				var want []string
				before := fake.count("/v1/key/list/")
				for _, n := range names {
					if strings.HasPrefix(n, prefix) {
						want = append(want, n)
					}
				}
				got, err := c.ListKeys(t.Context(), prefix)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("prefix %q: %d names, want %d, %v", prefix, len(got), len(want), err)
				}
				if n := fake.count("/v1/key/list/") - before; n > 900 {
					t.Errorf("prefix %q: %d calls", prefix, n)
				}
			}
		})
	}
}

func TestListingThatNeverEndsIsAnError(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	fake.circle = true
	_, err := dial(t, fake).ListKeys(t.Context(), "")
	wantErr(t, err, kms.ErrUnavailable)
	if n := fake.count("/v1/key/list/"); n > 10 {
		t.Errorf("%d calls", n)
	}
	fake.circle = false
	fake.raw["/v1/key/list/"] = `{"names":["a"],"continue_at":"` + strings.Repeat("a", 80) + `"}`
	_, err = dial(t, fake).ListKeys(t.Context(), "")
	wantErr(t, err, kms.ErrUnavailable)
}

func TestEmptyListing(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	for _, body := range []string{`{"names":null}`, `{"names":[]}`, `{}`} {
		fake.raw["/v1/key/list/"] = body
		if got, err := dial(t, fake).ListKeys(t.Context(), ""); err != nil || len(got) != 0 {
			t.Errorf("%s: got %q, %v", body, got, err)
		}
	}
}

func TestStatusWithoutPermissionLearnsThatTheServerAnswers(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	if state, err := c.Status(t.Context()); err != nil || state.Latency <= 0 {
		t.Fatalf("got %v, %v", state, err)
	}
	fake.inject("/v1/ready", fault{status: 403, message: "not authorized: insufficient permissions"})
	_, err := c.Status(t.Context())
	must(t, err)
	fake.inject("/v1/ready", fault{status: 504, message: "key store is not reachable"})
	_, err = c.Status(t.Context())
	wantErr(t, err, kms.ErrUnavailable)
}

func TestCallersContextEndsACall(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	fake.inject("/v1/key/describe/", fault{delay: 10 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.DescribeKey(ctx, "k")
	wantErr(t, err, context.DeadlineExceeded)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	opts := testOptions(t, fake)
	opts.KeyPassword = "the-password"
	for _, text := range []string{fmt.Sprint(opts), fmt.Sprintf("%+v", opts), fmt.Sprintf("%#v", opts)} {
		if strings.Contains(text, "kes:v1") || strings.Contains(text, "the-password") {
			t.Errorf("options print %s", text)
		}
	}
	_, err := client.New(client.Options{Endpoints: []string{"x"}, APIKey: "kes:v1:c2VjcmV0"})
	if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("got %v", err)
	}
	c := dial(t, fake)
	fake.raw["/v1/key/decrypt/"] = `{"plaintext":"c2VjcmV0` // cut off
	_, err = c.Decrypt(t.Context(), "k", []byte("c"), nil)
	if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("got %v", err)
	}
}

func TestServerMayAnswerBeforeItHasReadTheBody(t *testing.T) {
	t.Parallel()
	fake := startKES(t)
	c := dial(t, fake)
	fake.inject("/v1/key/encrypt/", fault{status: 403, message: "not authorized: insufficient permissions"})
	for range 20 {
		_, err := c.Encrypt(t.Context(), "k", make([]byte, 700_000), nil)
		wantErr(t, err, kms.ErrNotPermitted)
	}
}
