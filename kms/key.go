package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	ivSize    = 16
	nonceSize = 12
	tagSize   = 16
	overhead  = ivSize + nonceSize + tagSize
)

// secretBytes is a key that prints as [redacted].
type secretBytes [DEKSize]byte

// String hides the key.
func (secretBytes) String() string { return "[redacted]" }

// GoString hides the key.
func (secretBytes) GoString() string { return "[redacted]" }

// MarshalText hides the key.
func (secretBytes) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Key is one version of a KMS key with its secret. It prints without it.
type Key struct {
	Algorithm Algorithm
	CreatedAt time.Time
	CreatedBy string

	secret secretBytes
	// hmac is the key of HMAC; hasHMAC is false for keys from before KES had it.
	hmac    secretBytes
	hasHMAC bool
}

// NewKey draws a random AES-256 key.
func NewKey(now time.Time, createdBy string) *Key {
	var secret [DEKSize]byte
	_, _ = rand.Read(secret[:])
	defer clear(secret[:])
	return ImportedKey(secret, AES256, now, createdBy)
}

// ImportedKey makes a key of a given secret; its HMAC key is random.
func ImportedKey(secret [DEKSize]byte, algorithm Algorithm, now time.Time, createdBy string) *Key {
	k := &Key{Algorithm: algorithm, CreatedAt: now.UTC(), CreatedBy: createdBy, secret: secret, hasHMAC: true}
	_, _ = rand.Read(k.hmac[:])
	return k
}

// Zero overwrites the secrets.
func (k *Key) Zero() {
	clear(k.secret[:])
	clear(k.hmac[:])
}

// Encrypt seals plaintext: AEAD ciphertext, tag, 16-byte IV, 12-byte nonce.
func (k *Key) Encrypt(plaintext, encContext []byte) ([]byte, error) {
	out := make([]byte, 0, len(plaintext)+overhead)
	var random [ivSize + nonceSize]byte
	_, _ = rand.Read(random[:])
	aead, err := k.aead(random[:ivSize])
	if err != nil {
		return nil, err
	}
	out = aead.Seal(out, random[ivSize:], plaintext, encContext)
	return append(out, random[:]...), nil
}

// Decrypt unseals a ciphertext of Encrypt, of KES, or of older releases of KES.
// ErrDecrypt.
func (k *Key) Decrypt(ciphertext, encContext []byte) ([]byte, error) {
	for _, c := range parseCiphertext(ciphertext) {
		if c.algorithm != 0 && c.algorithm != k.Algorithm {
			continue
		}
		aead, err := k.aead(c.iv)
		if err != nil {
			return nil, err
		}
		aad := encContext
		if c.head != nil {
			aad = slices.Concat(c.head, encContext)
		}
		if plain, err := aead.Open(nil, c.nonce, c.box, aad); err == nil {
			return plain, nil
		}
	}
	return nil, ErrDecrypt
}

// HMAC returns the HMAC-SHA256 of message. ErrNotSupported.
func (k *Key) HMAC(message []byte) ([]byte, error) {
	if !k.hasHMAC {
		return nil, fmt.Errorf("key does not support HMAC: %w", ErrNotSupported)
	}
	mac := hmac.New(sha256.New, k.hmac[:])
	mac.Write(message)
	return mac.Sum(nil), nil
}

// aead returns the cipher of one ciphertext: its key is derived from its IV.
func (k *Key) aead(iv []byte) (cipher.AEAD, error) {
	if k.Algorithm == ChaCha20 {
		key, err := chacha20.HChaCha20(k.secret[:], iv)
		if err != nil {
			return nil, fmt.Errorf("derive ChaCha20 key: %w", err)
		}
		defer clear(key)
		return chacha20poly1305.New(key)
	}
	mac := hmac.New(sha256.New, k.secret[:])
	mac.Write(iv)
	var key [DEKSize]byte
	mac.Sum(key[:0])
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("derive AES key: %w", err)
	}
	return cipher.NewGCM(block)
}

// randomDEK draws a DEK. Its array is never all zero: 256 random bits are not.
func randomDEK() [DEKSize]byte {
	var dek [DEKSize]byte
	_, _ = rand.Read(dek[:])
	return dek
}
