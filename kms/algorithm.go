package kms

import (
	"crypto/fips140"
	"fmt"
	"runtime"

	"golang.org/x/sys/cpu"
)

// Algorithm says what a KMS key seals with. Its numbers are those of KES's key
// record; the zero value is no algorithm.
type Algorithm uint8

const (
	// AES256 is AES-256-GCM under a key derived with HMAC-SHA256.
	AES256 Algorithm = 1
	// ChaCha20 is ChaCha20-Poly1305 under a key derived with HChaCha20.
	ChaCha20 Algorithm = 2
)

// ParseAlgorithm understands every name that KES has had for an algorithm.
// ErrNotSupported.
func ParseAlgorithm(name string) (Algorithm, error) {
	switch name {
	case "AES256", "AES256-GCM_SHA256":
		return AES256, nil
	case "ChaCha20", "XCHACHA20-POLY1305":
		return ChaCha20, nil
	}
	return 0, fmt.Errorf("algorithm %q: %w", name, ErrNotSupported)
}

// String returns the name KES gives the algorithm today.
func (a Algorithm) String() string {
	switch a {
	case AES256:
		return "AES256"
	case ChaCha20:
		return "ChaCha20"
	}
	return fmt.Sprintf("invalid algorithm %d", uint8(a))
}

// MarshalText returns the name; ErrNotSupported for what is no algorithm.
func (a Algorithm) MarshalText() ([]byte, error) {
	if !a.valid() {
		return nil, fmt.Errorf("%s: %w", a, ErrNotSupported)
	}
	return []byte(a.String()), nil
}

// UnmarshalText is ParseAlgorithm.
func (a *Algorithm) UnmarshalText(text []byte) error {
	parsed, err := ParseAlgorithm(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

func (a Algorithm) valid() bool { return a == AES256 || a == ChaCha20 }

// fastestAlgorithm is what new keys get, as in KES: AES where the processor
// does AES and carry-less multiplication, because AES in software is slow and
// leaks through caches.
func fastestAlgorithm() Algorithm {
	var hardware bool
	switch runtime.GOARCH {
	case "amd64", "386":
		hardware = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ
	case "arm64":
		hardware = cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	case "s390x":
		hardware = cpu.S390X.HasAES && cpu.S390X.HasGHASH
	case "ppc64", "ppc64le":
		hardware = true
	}
	if hardware || fips140.Enabled() {
		return AES256
	}
	return ChaCha20
}
