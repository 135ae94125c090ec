package sse

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// KeySize is the length of every key of the hierarchy in bytes.
const KeySize = 32

const (
	labelPrefix = "bucketseal/1/"
	ivSize      = 32
	nonceSize   = 12
	tagSize     = 16
	// sealedKeySize is IV, ciphertext and tag of a sealed object key.
	sealedKeySize = ivSize + KeySize + tagSize
)

// Secret is a DEK or a customer key: what a KEK is derived from.
// It prints as [redacted].
type Secret [KeySize]byte

// String hides the key.
func (Secret) String() string { return "[redacted]" }

// GoString hides the key.
func (Secret) GoString() string { return "[redacted]" }

// Zero overwrites the key.
func (s *Secret) Zero() { clear(s[:]) }

// ObjectKey is the random key of one object write. It prints as [redacted].
type ObjectKey [KeySize]byte

// String hides the key.
func (ObjectKey) String() string { return "[redacted]" }

// GoString hides the key.
func (ObjectKey) GoString() string { return "[redacted]" }

// Zero overwrites the key.
func (k *ObjectKey) Zero() { clear(k[:]) }

// NewObjectKey draws an object key.
func NewObjectKey() ObjectKey {
	var k ObjectKey
	_, _ = rand.Read(k[:]) // never fails (crypto/rand, since Go 1.24)
	return k
}

// PartKey encrypts the data of one part. It prints as [redacted].
type PartKey [KeySize]byte

// String hides the key.
func (PartKey) String() string { return "[redacted]" }

// GoString hides the key.
func (PartKey) GoString() string { return "[redacted]" }

// Part derives the key of part number n; an object that was not uploaded in
// parts is part 1.
func (k *ObjectKey) Part(n uint32) PartKey {
	return PartKey(derive(k[:], "part", u32(n)))
}

func (k *ObjectKey) record() [KeySize]byte { return derive(k[:], "record") }

// Binding is what a KEK is bound to besides its secret.
type Binding struct {
	Mode Mode
	Name Name
	// KMSKey and KMSKeyVersion name the KMS key; "" and 0 for SSE-C.
	KMSKey        string
	KMSKeyVersion uint32
	// Context is the canonical encryption context of the DEK; nil for SSE-C.
	Context []byte
}

func (b *Binding) kek(secret *Secret, iv []byte) [KeySize]byte {
	digest := sha256.Sum256(b.Context)
	return derive(secret[:], "kek", iv, []byte{byte(b.Mode)}, []byte(b.Name.Bucket), []byte(b.Name.Key),
		[]byte(b.KMSKey), u32(b.KMSKeyVersion), digest[:])
}

// sealedKey is an object key sealed under a KEK: IV, ciphertext, tag.
type sealedKey [sealedKeySize]byte

func (b *Binding) seal(secret *Secret, key *ObjectKey) sealedKey {
	var out sealedKey
	_, _ = rand.Read(out[:ivSize])
	kek := b.kek(secret, out[:ivSize])
	defer clear(kek[:])
	var zero [nonceSize]byte
	newGCM(kek[:]).Seal(out[ivSize:ivSize], zero[:], key[:], nil)
	return out
}

func (b *Binding) unseal(secret *Secret, sealed *sealedKey) (ObjectKey, error) {
	kek := b.kek(secret, sealed[:ivSize])
	defer clear(kek[:])
	var zero [nonceSize]byte
	var key ObjectKey
	if _, err := newGCM(kek[:]).Open(key[:0], zero[:], sealed[ivSize:], nil); err != nil {
		return ObjectKey{}, fmt.Errorf("unseal object key: %w", ErrWrongKey)
	}
	return key, nil
}

// Derive returns HMAC-SHA256 under key of the length-prefixed label and
// fields, as docs/format.md defines it. Labels are listed there.
func Derive(key *Secret, label string, fields ...[]byte) [KeySize]byte {
	return derive(key[:], label, fields...)
}

func derive(key []byte, label string, fields ...[]byte) (out [KeySize]byte) {
	mac := hmac.New(sha256.New, key)
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(labelPrefix)+len(label)))
	mac.Write(n[:])
	mac.Write([]byte(labelPrefix))
	mac.Write([]byte(label))
	for _, f := range fields {
		binary.BigEndian.PutUint32(n[:], uint32(len(f)))
		mac.Write(n[:])
		mac.Write(f)
	}
	mac.Sum(out[:0])
	return out
}

// associated returns the length-prefixed label and fields: associated data of
// the same unambiguous shape as derive's input.
func associated(label string, fields ...[]byte) []byte {
	size := 4 + len(labelPrefix) + len(label)
	for _, f := range fields {
		size += 4 + len(f)
	}
	out := make([]byte, 0, size)
	out = binary.BigEndian.AppendUint32(out, uint32(len(labelPrefix)+len(label)))
	out = append(append(out, labelPrefix...), label...)
	for _, f := range fields {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(f))), f...)
	}
	return out
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a key of another size than 16, 24 or 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for a block size other than 16
	}
	return aead
}
