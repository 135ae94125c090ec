package adminpayload

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/adminpayload/payloadtest"
)

// The files were sealed by mc and by MinIO: SECRET, a line break, the payload in hex.
func TestOpensWhatMCAndMinIOSeal(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"add-user-request":            `{"secretKey":"vecuser1secret","status":"enabled"}`,
		"add-service-account-request": `"targetUser":"vecuser1"`,
		"add-service-account-answer":  `"credentials":{"accessKey":"`,
		"config-request":              "api requests_max=9999",
	} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		secret, payload, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		sealed, err := hex.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := New(1).Open(t.Context(), secret, sealed)
		if err != nil || !strings.Contains(string(plain), want) {
			t.Errorf("%s: %.300q, %v", name, plain, err)
		}
		if _, err := New(1).Open(t.Context(), secret+"x", sealed); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%s with another secret: %v", name, err)
		}
	}
}

func TestSizesAroundFragments(t *testing.T) {
	t.Parallel()
	o := New(2)
	for _, size := range []int{0, 1, fragmentSize - 1, fragmentSize, fragmentSize + 1, 2 * fragmentSize, 2*fragmentSize + 1} {
		plain := bytes.Repeat([]byte{'p'}, size)
		algorithm := byte(size % 2) // both, around every border
		got, err := o.Open(t.Context(), "secret", payloadtest.Seal(t, algorithm, "secret", plain))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes, algorithm %d: %d bytes, %v", size, algorithm, len(got), err)
		}
	}
}

func TestChangedAndCutPayloadsAreRefused(t *testing.T) {
	t.Parallel()
	o := New(2)
	const full = fragmentSize + tagSize
	good := payloadtest.Seal(t, aesGCM, "secret", bytes.Repeat([]byte{'p'}, 2*fragmentSize+5))
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	swapped := bytes.Clone(good)
	copy(swapped[headerSize:], good[headerSize+full:headerSize+2*full])
	copy(swapped[headerSize+full:], good[headerSize:headerSize+full])
	fips := bytes.Clone(good)
	fips[saltSize] = pbkdf2FIPS
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"nothing":                  {nil, ErrMalformed},
		"a header alone":           {good[:headerSize], ErrMalformed},
		"less than a tag":          {good[:headerSize+tagSize-1], ErrMalformed},
		"unknown algorithm":        {append(append(bytes.Clone(good[:saltSize]), 7), good[saltSize+1:]...), ErrMalformed},
		"FIPS":                     {fips, ErrUnsupported},
		"salt":                     {flip(0), ErrNotAuthentic},
		"algorithm":                {flip(saltSize), ErrNotAuthentic},
		"nonce":                    {flip(saltSize + 1), ErrNotAuthentic},
		"first byte":               {flip(headerSize), ErrNotAuthentic},
		"last byte":                {flip(len(good) - 1), ErrNotAuthentic},
		"cut in a fragment":        {good[:len(good)-1], ErrNotAuthentic},
		"cut between fragments":    {good[:headerSize+full], ErrNotAuthentic},
		"cut before the last":      {good[:headerSize+2*full], ErrNotAuthentic},
		"lengthened":               {append(bytes.Clone(good), 0), ErrNotAuthentic},
		"fragments in wrong order": {swapped, ErrNotAuthentic},
	} {
		if plain, err := o.Open(t.Context(), "secret", c.payload); !errors.Is(err, c.want) || plain != nil {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(plain), err, c.want)
		}
	}
}

func TestOpenerWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	o := New(1)
	o.slots <- struct{}{} // somebody is at it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	payload := payloadtest.Seal(t, aesGCM, "secret", []byte("x"))
	if _, err := o.Open(ctx, "secret", payload); !errors.Is(err, context.Canceled) {
		t.Errorf("while another payload is opened: %v", err)
	}
	<-o.slots
	if _, err := o.Open(t.Context(), "secret", payload); err != nil {
		t.Error(err)
	}
}

// FuzzOpenStream leaves the slow derivation of keys out.
func FuzzOpenStream(f *testing.F) {
	aead, err := newAEAD(aesGCM, make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	nonce := make([]byte, nonceSize)
	first := append(nonce[:nonceSize:nonceSize], 0, 0, 0, 0)
	associated := aead.Seal([]byte{0x80}, first, nil, nil)
	first[nonceSize] = 1
	f.Add(aead.Seal(nil, first, []byte("plain"), associated))
	f.Add(aead.Seal(nil, first, make([]byte, fragmentSize), associated))
	f.Add([]byte{})
	f.Add(make([]byte, 2*(fragmentSize+tagSize)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		plain, err := openStream(aead, nonce, stream)
		if err == nil && len(plain) > fragmentSize {
			t.Errorf("%d bytes open, and no seed has more than one fragment", len(plain))
		}
		if err != nil && (!errors.Is(err, ErrNotAuthentic) || plain != nil) {
			t.Errorf("%d bytes, %v", len(plain), err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, headerSize+tagSize))
	f.Add(payloadtest.Seal(f, aesGCM, "secret", []byte("plain")))
	f.Add(payloadtest.Seal(f, chacha, "secret", bytes.Repeat([]byte{'p'}, fragmentSize+1)))
	o := New(1)
	f.Fuzz(func(t *testing.T, payload []byte) {
		plain, err := o.Open(t.Context(), "secret", payload)
		switch {
		case err == nil:
			if again := len(plain) + headerSize + tagSize*max((len(plain)+fragmentSize-1)/fragmentSize, 1); again != len(payload) {
				t.Errorf("%d bytes open to %d", len(payload), len(plain))
			}
		case !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrNotAuthentic):
			t.Error(err)
		}
	})
}

func TestAPayloadIsSealedAnewUnderAnotherSecret(t *testing.T) {
	t.Parallel()
	o := New(2)
	for _, size := range []int{0, fragmentSize, fragmentSize + 1} {
		plain := bytes.Repeat([]byte{'p'}, size)
		old := payloadtest.Seal(t, byte(size%2), "secret", plain)
		anew, err := o.Reseal(t.Context(), "secret", "other", old)
		if err != nil || len(anew) != len(old) || anew[saltSize] != old[saltSize] || bytes.Equal(anew[:saltSize], old[:saltSize]) {
			t.Fatalf("%d bytes: %d for %d, %v", size, len(anew), len(old), err)
		}
		if !IsSealed(anew) || !IsSealed(anew[:SealedHead]) || IsSealed(anew[:SealedHead-1]) {
			t.Errorf("%d bytes: not seen to be sealed", size)
		}
		if got, err := o.Open(t.Context(), "other", anew); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: opened as %d, %v", size, len(got), err)
		}
		if _, err := o.Open(t.Context(), "secret", anew); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%d bytes: the former secret opens it: %v", size, err)
		}
		if _, err := o.Reseal(t.Context(), "other", "secret", old); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%d bytes: sealed anew with a wrong secret: %v", size, err)
		}
	}
	if IsSealed([]byte(`{"a document in JSON": "which is longer than a salt is"}`)) {
		t.Error("a text looks sealed")
	}
}
