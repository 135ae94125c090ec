package kms

import (
	"errors"
	"strings"
	"testing"
)

func TestKeyNamesAreThoseOfKES(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", MaxKeyNameSize)
	for _, name := range []string{"a", "Z", "0", "my-key", "my_key", "_a", "a_", "__", "a--b", "bucketseal-default", long} {
		if err := ValidateKeyName(name); err != nil {
			t.Errorf("ValidateKeyName(%q): %v", name, err)
		}
		if err := ValidateListPattern(name + "*"); err != nil {
			t.Errorf("ValidateListPattern(%q): %v", name+"*", err)
		}
	}
	for _, name := range []string{
		"", "_", "-", "-a", "a-", "a b", "a/b", "a.b", "../a", "a*", "ä", "a\x00", "a\n", "key\xff", long + "n",
	} {
		if err := ValidateKeyName(name); !errors.Is(err, ErrInvalidKeyName) {
			t.Errorf("ValidateKeyName(%q): %v, want ErrInvalidKeyName", name, err)
		}
	}
}

func TestListPatternsAreNamesAndPrefixes(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"", "*", "a", "a*", "my-key*", "my_*"} {
		if err := ValidateListPattern(pattern); err != nil {
			t.Errorf("ValidateListPattern(%q): %v", pattern, err)
		}
	}
	for _, pattern := range []string{"**", "*a", "a**", "a*b", "my-", "my-*", "_", "_*", "a/b*", strings.Repeat("n", 81) + "*"} {
		if err := ValidateListPattern(pattern); !errors.Is(err, ErrInvalidKeyName) {
			t.Errorf("ValidateListPattern(%q): %v, want ErrInvalidKeyName", pattern, err)
		}
	}
}

func TestAllNamesOfAlgorithmsAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Algorithm{
		"AES256": AES256, "AES256-GCM_SHA256": AES256, "ChaCha20": ChaCha20, "XCHACHA20-POLY1305": ChaCha20,
	} {
		var got Algorithm
		if err := got.UnmarshalText([]byte(name)); err != nil || got != want {
			t.Errorf("UnmarshalText(%q) = %v, %v", name, got, err)
		}
		text, err := got.MarshalText()
		if again, _ := ParseAlgorithm(string(text)); err != nil || again != want {
			t.Errorf("MarshalText(%v) = %s, %v", got, text, err)
		}
	}
	for _, name := range []string{"", "aes256", "AES128", "AES256 "} {
		if a, err := ParseAlgorithm(name); !errors.Is(err, ErrNotSupported) {
			t.Errorf("ParseAlgorithm(%q) = %v, %v, want ErrNotSupported", name, a, err)
		}
	}
	if _, err := Algorithm(0).MarshalText(); !errors.Is(err, ErrNotSupported) {
		t.Errorf("MarshalText of no algorithm: %v", err)
	}
}
