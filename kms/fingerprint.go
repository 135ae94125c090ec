package kms

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// FingerprintSize is the length of a Fingerprint in bytes.
const FingerprintSize = 16

// fingerprintLabel is longer than the IVs from which keys of ciphertexts are
// derived, so that no fingerprint is one of those keys.
const fingerprintLabel = "bucketseal KMS key fingerprint v1"

// Fingerprint tells one version of a KMS key from every other: equal secrets have
// equal fingerprints, and none tells anything else of its secret (docs/keys.md). The
// zero value is no fingerprint.
type Fingerprint [FingerprintSize]byte

// String is the fingerprint in hex.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText implements encoding.TextMarshaler.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != FingerprintSize {
		return fmt.Errorf("a fingerprint has %d hex digits", 2*FingerprintSize)
	}
	*f = Fingerprint(b)
	return nil
}

func (v *keyVersion) fingerprint() Fingerprint {
	v.printOnce.Do(func() {
		mac := hmac.New(sha256.New, v.secret[:])
		mac.Write([]byte(fingerprintLabel))
		v.print = Fingerprint(mac.Sum(nil)[:FingerprintSize])
	})
	return v.print
}

// UsedKey says which version of a KMS key sealed or opened something.
type UsedKey struct {
	// Version counts from 1; 0 if the service does not say.
	Version uint32
	// Fingerprint is zero if the service does not say.
	Fingerprint Fingerprint
	// Latest is the newest version of the key; 0 if the service does not say.
	Latest uint32
}

type usedKeyKey struct{}

// NoteUsedKey returns a context under which GenerateDEK and DecryptDEK write down in
// used which version of the KMS key they used. Local does, and a client of a server
// of ours; a cache in front of them does not. The writing ends before the call does.
func NoteUsedKey(ctx context.Context, used *UsedKey) context.Context {
	return context.WithValue(ctx, usedKeyKey{}, used)
}

// UsedKeyIn returns what NoteUsedKey was given, else nil: for services that write
// it down.
func UsedKeyIn(ctx context.Context) *UsedKey {
	used, _ := ctx.Value(usedKeyKey{}).(*UsedKey)
	return used
}

// noteUsed writes down the version if the call asks for it.
func noteUsed(ctx context.Context, v *keyVersion, latest uint32) {
	if used := UsedKeyIn(ctx); used != nil {
		*used = UsedKey{Version: v.number, Fingerprint: v.fingerprint(), Latest: latest}
	}
}
