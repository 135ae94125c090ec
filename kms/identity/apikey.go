package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"
)

const (
	prefix   = "kes:v1:"
	typeSeed = 0 // the only type of API key: an Ed25519 seed

	// certificateLife is short, as the certificate is made anew in memory; it
	// begins early for servers whose clock is behind.
	certificateLife  = 90 * 24 * time.Hour
	certificateEarly = 5 * time.Minute
)

// ErrAPIKey says that a text is no API key. It never quotes the text.
var ErrAPIKey = errors.New("not an API key: \"kes:v1:\" and 44 base64 characters expected")

// APIKey is an Ed25519 private key in the form of one line of text. It prints
// as [redacted]; Reveal returns the text.
type APIKey struct {
	seed [ed25519.SeedSize]byte
}

// New returns a random API key.
func New() APIKey {
	var k APIKey
	rand.Read(k.seed[:]) //nolint:errcheck // never fails: crypto/rand ends the process instead
	return k
}

// ParseAPIKey reads "kes:v1:..."; the prefix may be missing. ErrAPIKey.
func ParseAPIKey(s string) (APIKey, error) {
	var k APIKey
	s = strings.TrimPrefix(strings.TrimSpace(s), prefix)
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	defer clear(b)
	if err != nil || len(b) != 1+len(k.seed) || b[0] != typeSeed {
		return APIKey{}, ErrAPIKey
	}
	copy(k.seed[:], b[1:])
	return k, nil
}

// Reveal returns the key as text: "kes:v1:...".
func (k APIKey) Reveal() string {
	b := append([]byte{typeSeed}, k.seed[:]...)
	defer clear(b)
	return prefix + base64.StdEncoding.EncodeToString(b)
}

// Identity returns the identity of the key's certificates.
func (k APIKey) Identity() Identity {
	public := k.private().Public()
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		// An Ed25519 key always has an encoding.
		panic(fmt.Sprintf("identity: encode Ed25519 public key: %v", err))
	}
	sum := sha256.Sum256(spki)
	return Identity(hex.EncodeToString(sum[:]))
}

// Certificate returns a fresh self-signed client certificate of the key, valid
// for 90 days. Callers that live longer call it again; the identity stays.
func (k APIKey) Certificate() (tls.Certificate, error) {
	private := k.private()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of API key: %w", err)
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: k.Identity().String()},
		NotBefore:             now.Add(-certificateEarly),
		NotAfter:              now.Add(certificateLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of API key: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of API key: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}

func (k APIKey) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.seed[:]) }

// Format hides the key from every verb of fmt.
func (APIKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[redacted]") }

// MarshalText hides the key from encoders.
func (APIKey) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
