// Package identity is who speaks to a key server: a client certificate's
// public key, and the API keys that stand for one.
package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
)

// ErrInvalid says that a text is no identity.
var ErrInvalid = errors.New("not an identity: 64 hexadecimal digits expected, the SHA-256 of a certificate's public key")

// Identity is the SHA-256 of a certificate's SubjectPublicKeyInfo in lower case
// hexadecimal. The empty Identity is nobody.
type Identity string

// Of returns the identity of whoever holds the certificate's private key. A
// renewed certificate for the same key has the same identity.
func Of(cert *x509.Certificate) Identity {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return Identity(hex.EncodeToString(sum[:]))
}

// Parse reads an identity as people write it; capital digits are accepted.
// ErrInvalid.
func Parse(s string) (Identity, error) {
	s = strings.ToLower(s)
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		return "", ErrInvalid
	}
	return Identity(s), nil
}

// String returns the hexadecimal digits.
func (i Identity) String() string { return string(i) }
