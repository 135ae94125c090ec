// Package adminpayload opens and seals the sealed bodies of MinIO's admin API: requests and
// answers that carry secrets are encrypted under the caller's secret key, besides
// any TLS.
//
// A payload is
//
//	salt (32 bytes) | algorithm (1 byte) | nonce (8 bytes) | stream
//
// The key is Argon2id of the secret and the salt (one pass, 64 MiB, four lanes,
// 32 bytes). The stream is that of the library secure-io/sio-go, under
// AES-256-GCM (algorithm 0) or ChaCha20-Poly1305 (1): fragments of 16 KiB, each
// followed by its 16-byte tag, the last one shorter or full. A fragment's nonce is
// the payload's nonce and the fragment's number, 32 bits in little endian, which
// begins at 1. Number 0 seals nothing: its tag, after a first byte of 0x80 for the
// last fragment and 0x00 for all others, is the associated data of every fragment.
//
// Algorithm 2 is the same under PBKDF2, which builds of MinIO for FIPS 140 use;
// it is refused.
package adminpayload

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// Sentinels of Open.
var (
	// ErrMalformed says that the bytes are no payload: too short, or of an unknown
	// algorithm.
	ErrMalformed = errors.New("not a sealed admin payload")
	// ErrUnsupported says that the payload is sealed as FIPS 140 builds do it.
	ErrUnsupported = errors.New("admin payloads of FIPS builds are not supported")
	// ErrNotAuthentic says that the secret is another one, or the bytes were changed
	// or cut.
	ErrNotAuthentic = errors.New("admin payload is not authentic")
)

const (
	saltSize     = 32
	nonceSize    = 8
	headerSize   = saltSize + 1 + nonceSize
	tagSize      = 16
	fragmentSize = 16 << 10

	aesGCM     = 0
	chacha     = 1
	pbkdf2FIPS = 2

	argonPasses, argonKiB, argonLanes, keySize = 1, 64 << 10, 4, 32
)

// Opener opens payloads. It is safe for concurrent use.
type Opener struct{ slots chan struct{} }

// New returns an Opener that opens as many payloads at once as given, each in 64
// MiB of memory; others wait.
func New(atOnce int) *Opener { return &Opener{make(chan struct{}, max(atOnce, 1))} }

// IsSealed says whether a document, or its first SealedHead bytes, may be a payload: no
// text has such a byte where a payload says its algorithm.
func IsSealed(document []byte) bool {
	return len(document) > saltSize && document[saltSize] <= pbkdf2FIPS
}

// SealedHead is how many bytes IsSealed looks at.
const SealedHead = saltSize + 1

// Reseal returns a payload that was sealed under one secret sealed under another one, by
// the same algorithm: it is as long as it was. Errors are as those of Open.
func (o *Opener) Reseal(ctx context.Context, from, to string, payload []byte) ([]byte, error) {
	plain, err := o.Open(ctx, from, payload)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	head := make([]byte, headerSize, len(payload))
	_, _ = rand.Read(head)
	head[saltSize] = payload[saltSize]
	key, err := o.key(ctx, to, head[:saltSize])
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := newAEAD(head[saltSize], key)
	if err != nil {
		return nil, err
	}
	return sealStream(aead, head, plain), nil
}

// Open returns what was sealed under secret. The caller clears it when done.
// ErrMalformed, ErrUnsupported, ErrNotAuthentic, or the context's error if it ends
// while others are being opened.
func (o *Opener) Open(ctx context.Context, secret string, payload []byte) ([]byte, error) {
	if len(payload) < headerSize+tagSize {
		return nil, fmt.Errorf("%d bytes: %w", len(payload), ErrMalformed)
	}
	switch algorithm := payload[saltSize]; algorithm {
	case aesGCM, chacha:
	case pbkdf2FIPS:
		return nil, ErrUnsupported
	default:
		return nil, fmt.Errorf("algorithm %d: %w", algorithm, ErrMalformed)
	}
	key, err := o.key(ctx, secret, payload[:saltSize])
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := newAEAD(payload[saltSize], key)
	if err != nil {
		return nil, err
	}
	return openStream(aead, payload[saltSize+1:headerSize], payload[headerSize:])
}

func (o *Opener) key(ctx context.Context, secret string, salt []byte) ([]byte, error) {
	select {
	case o.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-o.slots }()
	return argon2.IDKey([]byte(secret), salt, argonPasses, argonKiB, argonLanes, keySize), nil
}

func newAEAD(algorithm byte, key []byte) (cipher.AEAD, error) {
	if algorithm == chacha {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// numbered is the nonce of a payload's fragment.
func numbered(nonce []byte, n uint32) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(nonce), n)
}

// sealStream appends the fragments to a payload's head.
func sealStream(aead cipher.AEAD, head, plain []byte) []byte {
	nonce := bytes.Clone(head[saltSize+1:])
	associated := aead.Seal([]byte{0x00}, numbered(nonce, 0), nil, nil)
	for n := uint32(1); ; n++ {
		fragment := plain[:min(len(plain), fragmentSize)]
		plain = plain[len(fragment):]
		if len(plain) == 0 {
			associated[0] = 0x80
		}
		head = aead.Seal(head, numbered(nonce, n), fragment, associated)
		if len(plain) == 0 {
			return head
		}
	}
}

// openStream opens all fragments, or none.
func openStream(aead cipher.AEAD, nonce, stream []byte) ([]byte, error) {
	associated := aead.Seal([]byte{0x00}, numbered(nonce, 0), nil, nil)
	plain := make([]byte, 0, len(stream))
	for n := uint32(1); ; n++ {
		fragment := stream[:min(len(stream), fragmentSize+tagSize)]
		stream = stream[len(fragment):]
		last := len(stream) == 0
		if last {
			associated[0] = 0x80
		}
		var err error
		if plain, err = aead.Open(plain, numbered(nonce, n), fragment, associated); err != nil {
			clear(plain[:cap(plain)])
			return nil, fmt.Errorf("fragment %d: %w", n, ErrNotAuthentic)
		}
		if last {
			return plain, nil
		}
	}
}
