// Package payloadtest seals admin payloads as clients and MinIO do, for tests of
// what opens them.
package payloadtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// The algorithms that clients use.
const (
	AESGCM = 0
	ChaCha = 1
)

// Seal returns plain sealed under secret.
func Seal(t testing.TB, algorithm byte, secret string, plain []byte) []byte {
	t.Helper()
	const salt, header, fragment = 32, 41, 16 << 10
	out := make([]byte, header)
	_, _ = rand.Read(out)
	out[salt] = algorithm
	aead, err := newAEAD(algorithm, argon2.IDKey([]byte(secret), out[:salt], 1, 64<<10, 4, 32))
	if err != nil {
		t.Fatal(err)
	}
	nonce := func(n uint32) []byte {
		return binary.LittleEndian.AppendUint32(bytes.Clone(out[salt+1:header]), n)
	}
	tag := aead.Seal(nil, nonce(0), nil, nil)
	for n := uint32(1); ; n++ {
		if len(plain) <= fragment {
			return aead.Seal(out, nonce(n), plain, append([]byte{0x80}, tag...))
		}
		out = aead.Seal(out, nonce(n), plain[:fragment], append([]byte{0x00}, tag...))
		plain = plain[fragment:]
	}
}

func newAEAD(algorithm byte, key []byte) (cipher.AEAD, error) {
	if algorithm == ChaCha {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
