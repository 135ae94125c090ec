package kms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// testSecret is easy to recognise in every form it might be printed in.
func testSecret() [DEKSize]byte {
	var secret [DEKSize]byte
	for i := range secret {
		secret[i] = 0xAB
	}
	return secret
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	key := ImportedKey(testSecret(), AES256, time.Now(), "somebody")
	dek := DEK{Plaintext: testSecret(), Ciphertext: []byte("c"), KeyName: "k"}
	// Without the time, whose digits may look like a secret's.
	timeless := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	for name, value := range map[string]any{
		"Key": *key, "*Key": key, "DEK": dek, "*DEK": &dek,
		"struct with both": struct {
			K *Key
			D DEK
		}{key, dek},
	} {
		printed := []string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			printed = append(printed, fmt.Sprintf(verb, value))
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, timeless)).Info("x", "value", value)
		slog.New(slog.NewTextHandler(&logged, timeless)).Info("x", "value", value)
		printed = append(printed, string(text), logged.String())
		for _, p := range printed {
			low := strings.ToLower(p)
			for _, form := range []string{"171", "abab", "ab, ab", "0xab", "q6ur", "\xab"} {
				if strings.Contains(low, form) {
					t.Errorf("%s prints its secret: %s", name, p)
				}
			}
			if !strings.Contains(p, redacted) {
				t.Errorf("%s prints as %s", name, p)
			}
		}
	}
}

func TestErrorsOfRecordsQuoteNoSecret(t *testing.T) {
	t.Parallel()
	for _, record := range []string{"hunter2", `{"bytes":"aHVudGVyMg=="}`, `{"bytes":"hunter2"}`, `{"bytes":hunter2`} {
		_, err := ParseRecord([]byte(record))
		if !errors.Is(err, ErrCorruptKey) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVudGVyMg") {
			t.Errorf("ParseRecord(%q): %v", record, err)
		}
	}
}

func TestEveryCiphertextIsItsOwn(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{AES256, ChaCha20} {
		k := ImportedKey(testSecret(), algorithm, time.Now(), "")
		for _, size := range []int{0, 1, 32, 1 << 16} {
			plaintext := bytes.Repeat([]byte{7}, size)
			first, err := k.Encrypt(plaintext, []byte("context"))
			if err != nil || len(first) != size+overhead {
				t.Fatalf("%v: Encrypt of %d bytes: %d bytes, %v", algorithm, size, len(first), err)
			}
			second, _ := k.Encrypt(plaintext, []byte("context"))
			if bytes.Equal(first, second) || bytes.Equal(first[len(first)-28:], second[len(second)-28:]) {
				t.Errorf("%v: two ciphertexts share IV or nonce", algorithm)
			}
			if got, err := k.Decrypt(first, []byte("context")); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%v: Decrypt: %d bytes, %v", algorithm, len(got), err)
			}
		}
	}
}

func TestRotatedKeySealsUnderItsLatestVersion(t *testing.T) {
	t.Parallel()
	k := ImportedKey(testSecret(), AES256, time.Now(), "")
	old, err := k.Encrypt([]byte("before"), nil)
	if err != nil {
		t.Fatal(err)
	}
	k.versions = append(k.versions, &keyVersion{number: 2, algorithm: ChaCha20, secret: [DEKSize]byte{1}})
	k, err = ParseRecord(k.MarshalRecord())
	if err != nil {
		t.Fatal(err)
	}
	dek, err := k.generate("k", []byte("context"))
	if err != nil || dek.KeyVersion != 2 || !strings.HasPrefix(string(dek.Ciphertext), ciphertextMagic+"\x00\x00\x00\x02") {
		t.Fatalf("generate = version %d, %q, %v", dek.KeyVersion, dek.Ciphertext, err)
	}
	if got, err := k.Decrypt(dek.Ciphertext, []byte("context")); err != nil || !bytes.Equal(got, dek.Plaintext[:]) {
		t.Errorf("Decrypt of version 2: %v", err)
	}
	if got, err := k.Decrypt(old, nil); err != nil || string(got) != "before" {
		t.Errorf("Decrypt of version 1: %q, %v", got, err)
	}
	tampered := bytes.Clone(dek.Ciphertext)
	tampered[11] = 1
	if _, err := k.Decrypt(tampered, []byte("context")); !errors.Is(err, ErrDecrypt) {
		t.Errorf("Decrypt with another version in the header: %v", err)
	}
}

// A caller that chooses the context freely must not get a ciphertext that opens
// under a context of somebody else.
func TestHeaderInAContextForgesNothing(t *testing.T) {
	t.Parallel()
	k := ImportedKey(testSecret(), AES256, time.Now(), "")
	reserved := Context{ReservedContextPrefix + "use": "sse-s3"}.Canonical()
	for version := range uint32(4) {
		header := ciphertextHeader(version)
		mine, err := k.Encrypt(make([]byte, DEKSize), append(bytes.Clone(header), reserved...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Decrypt(append(header, mine...), reserved); !errors.Is(err, ErrDecrypt) {
			t.Errorf("version %d: a forged ciphertext opens: %v", version, err)
		}
	}
}

func TestRawCiphertextThatLooksMarkedIsOpened(t *testing.T) {
	t.Parallel()
	// The first byte of a raw ciphertext is random: one in 256 bears a given mark.
	found := map[byte]bool{}
	for _, b := range []byte{ciphertextMagic[0], '{', 0x95} {
		for range 20000 {
			k := ImportedKey(testSecret(), AES256, time.Now(), "")
			c, _ := k.Encrypt([]byte("plaintext"), nil)
			if c[0] != b {
				continue
			}
			found[b] = true
			if got, err := k.Decrypt(c, nil); err != nil || string(got) != "plaintext" {
				t.Errorf("raw ciphertext beginning with %#x: %q, %v", b, got, err)
			}
			break
		}
	}
	if len(found) != 3 {
		t.Errorf("only %d marks occurred", len(found))
	}
}

func TestZeroedKeyHoldsNoSecret(t *testing.T) {
	t.Parallel()
	k := ImportedKey(testSecret(), AES256, time.Now(), "")
	k.Zero()
	if k.versions[0].secret != ([DEKSize]byte{}) || *k.hmacKey != ([DEKSize]byte{}) {
		t.Error("secrets survive Zero")
	}
}

// FuzzRecord: what is read is written and read again as the same key.
func FuzzRecord(f *testing.F) {
	for _, v := range readVectors(f).Records {
		f.Add([]byte(v.Record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		k, err := ParseRecord(record)
		if err != nil {
			if !errors.Is(err, ErrCorruptKey) {
				t.Fatalf("error without sentinel: %v", err)
			}
			return
		}
		written := k.MarshalRecord()
		again, err := ParseRecord(written)
		if err != nil || !bytes.Equal(again.MarshalRecord(), written) || again.Info("k") != k.Info("k") {
			t.Fatalf("written as %s: %v", written, err)
		}
		sealed, err := k.Encrypt([]byte("plaintext"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Decrypt(sealed, nil); err != nil || string(got) != "plaintext" {
			t.Fatalf("Decrypt: %q, %v", got, err)
		}
	})
}

// FuzzCiphertext: no ciphertext but those made under the key opens, and none
// breaks the parsers.
func FuzzCiphertext(f *testing.F) {
	for _, v := range readVectors(f).Ciphertexts {
		f.Add(v.Ciphertext)
	}
	k := ImportedKey(testSecret(), AES256, time.Now(), "")
	f.Fuzz(func(t *testing.T, ciphertext []byte) {
		if got, err := k.Decrypt(ciphertext, nil); !errors.Is(err, ErrDecrypt) {
			t.Fatalf("Decrypt = %x, %v", got, err)
		}
		s, ok := parseMarked(ciphertext)
		if ok && (len(s.iv) != ivSize || len(s.nonce) != nonceSize || len(s.box) < tagSize || s.version == 0) {
			t.Fatalf("parseMarked = %+v", s)
		}
	})
}
