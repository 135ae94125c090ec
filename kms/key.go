package kms

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// Key is a KMS key with its secrets: one version or several, and the key of
// HMAC. It is safe for concurrent use, and prints as [redacted].
type Key struct {
	// versions are in ascending order; the first is always version 1.
	versions []*keyVersion
	// hmacKey is nil for keys from before KES had it. It belongs to the key and
	// not to a version: an HMAC stays the same when the key is rotated.
	hmacKey *[DEKSize]byte
	// log is where the key's log ends, for a key that was read from a store.
	log keyLog
}

// keyVersion is one secret of a key.
type keyVersion struct {
	number    uint32
	algorithm Algorithm
	createdAt time.Time
	createdBy string
	secret    [DEKSize]byte
	// state is VersionActive or 0 for the newest version; the others' comes of the log.
	state     VersionState
	changedAt time.Time
	changedBy string
	destroyAt time.Time
	// expected is the fingerprint that the log tells; zero for version 1.
	expected Fingerprint
	// derivers holds *deriver: HMAC states keyed with secret, because keying one
	// costs more than using it.
	derivers sync.Pool
	// print is the fingerprint, made when it is first asked for.
	printOnce sync.Once
	print     Fingerprint
}

// NewKey draws a random key of the algorithm that this machine does best.
func NewKey(now time.Time, createdBy string) *Key {
	var secret [DEKSize]byte
	defer clear(secret[:])
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	return ImportedKey(secret, fastestAlgorithm(), now, createdBy)
}

// ImportedKey makes a key of a given secret, which has to be AES256 or ChaCha20;
// its HMAC key is random.
func ImportedKey(secret [DEKSize]byte, algorithm Algorithm, now time.Time, createdBy string) *Key {
	k := &Key{
		versions: []*keyVersion{{number: 1, algorithm: algorithm, createdAt: now.UTC(), createdBy: createdBy, secret: secret}},
		hmacKey:  new([DEKSize]byte),
	}
	_, _ = rand.Read(k.hmacKey[:])
	return k
}

// Zero overwrites the secrets. Nothing may use the key any more, or begin to:
// what is derived from zeros seals data for everybody. Go may have copied
// secrets elsewhere, so this is best effort.
func (k *Key) Zero() {
	for _, v := range k.versions {
		clear(v.secret[:])
	}
	if k.hmacKey != nil {
		clear(k.hmacKey[:])
	}
}

// Info describes the key; when and by whom it was created is said of version 1.
func (k *Key) Info(name string) KeyInfo {
	first, latest := k.versions[0], k.latest()
	return KeyInfo{
		Name: name, Algorithm: latest.algorithm, Version: latest.number,
		CreatedAt: first.createdAt, CreatedBy: first.createdBy,
	}
}

// Encrypt seals plaintext under the latest version of the key (docs/keys.md,
// section 3).
func (k *Key) Encrypt(plaintext, encContext []byte) ([]byte, error) {
	v := k.latest()
	var header []byte
	if v.number > 1 {
		header = ciphertextHeader(v.number)
		encContext = slices.Concat(header, encContext)
	}
	box := len(header) + len(plaintext) + tagSize
	out := make([]byte, box+ivSize+nonceSize)
	copy(out, header)
	iv, nonce := out[box:box+ivSize], out[box+ivSize:]
	_, _ = rand.Read(out[box:])
	aead, err := v.aead(v.algorithm, iv)
	if err != nil {
		return nil, err
	}
	aead.Seal(out[:len(header)], nonce, plaintext, encContext)
	return out, nil
}

// generate draws a DEK and seals it.
func (k *Key) generate(name string, encContext []byte) (DEK, error) {
	dek := DEK{KeyName: name, KeyVersion: k.latest().number}
	_, _ = rand.Read(dek.Plaintext[:])
	if dek.Plaintext == ([DEKSize]byte{}) { // whoever broke the random source must not get data sealed with it
		return DEK{}, fmt.Errorf("random source returned zeros: %w", ErrUnavailable)
	}
	var err error
	if dek.Ciphertext, err = k.Encrypt(dek.Plaintext[:], encContext); err != nil {
		return DEK{}, err
	}
	return dek, nil
}

// Decrypt unseals a ciphertext of Encrypt, of KES, or of older releases of KES.
// ErrDecrypt.
func (k *Key) Decrypt(ciphertext, encContext []byte) ([]byte, error) {
	plaintext, _, err := k.decrypt(ciphertext, encContext)
	return plaintext, err
}

// decrypt says besides which version opened it. ErrVersionRetired for what a retired
// one sealed, ErrVersionDestroyed for what says to be of a destroyed one.
func (k *Key) decrypt(ciphertext, encContext []byte) ([]byte, *keyVersion, error) {
	err := ErrDecrypt
	for _, parse := range []func([]byte) (sealed, bool){parseMarked, parseRaw} {
		// A raw ciphertext begins at random, maybe as a marked one does.
		s, ok := parse(ciphertext)
		if !ok {
			continue
		}
		plaintext, v, failed := k.open(s, encContext)
		if failed == nil {
			return plaintext, v, nil
		}
		// Nothing tells whether a destroyed version sealed it but what it says of itself.
		if errors.Is(err, ErrDecrypt) && s.version == CiphertextVersion(ciphertext) {
			err = failed
		}
	}
	return nil, nil, err
}

// open unseals with the version that the ciphertext says.
func (k *Key) open(s sealed, encContext []byte) ([]byte, *keyVersion, error) {
	v := k.version(s.version)
	switch {
	case v == nil:
		return nil, nil, ErrDecrypt
	case v.state == VersionDestroyed:
		return nil, nil, OfVersion(ErrVersionDestroyed, v.number)
	}
	if s.algorithm == 0 {
		s.algorithm = v.algorithm
	}
	if len(s.header) > 0 {
		encContext = slices.Concat(s.header, encContext)
	}
	aead, err := v.aead(s.algorithm, s.iv)
	if err != nil {
		return nil, nil, ErrDecrypt
	}
	plaintext, err := aead.Open(nil, s.nonce, s.box, encContext)
	if err != nil {
		return nil, nil, ErrDecrypt
	}
	if v.state == VersionRetired || v.state == VersionDoomed {
		clear(plaintext)
		return nil, nil, OfVersion(ErrVersionRetired, v.number)
	}
	return plaintext, v, nil
}

// version returns the version of that number, else nil.
func (k *Key) version(number uint32) *keyVersion {
	i, ok := slices.BinarySearchFunc(k.versions, number, func(v *keyVersion, number uint32) int {
		return cmp.Compare(v.number, number)
	})
	if !ok {
		return nil
	}
	return k.versions[i]
}

// HMAC returns the HMAC-SHA256 of message. ErrNotSupported for a key that has no
// HMAC key.
func (k *Key) HMAC(message []byte) ([]byte, error) {
	if k.hmacKey == nil {
		return nil, fmt.Errorf("key does not support HMAC: %w", ErrNotSupported)
	}
	mac := hmac.New(sha256.New, k.hmacKey[:])
	mac.Write(message)
	return mac.Sum(nil), nil
}

func (k *Key) latest() *keyVersion { return k.versions[len(k.versions)-1] }

// deriver derives the key of one ciphertext with AES256.
type deriver struct {
	mac hash.Hash
	key [DEKSize]byte
}

// aead returns the cipher of one ciphertext, whose key is derived from its IV.
// The algorithm is the version's but for ciphertexts that name their own: before
// KES kept an algorithm with a key, it chose one anew for every ciphertext.
func (v *keyVersion) aead(algorithm Algorithm, iv []byte) (cipher.AEAD, error) {
	if algorithm == ChaCha20 {
		key, err := chacha20.HChaCha20(v.secret[:], iv)
		if err != nil {
			return nil, fmt.Errorf("derive ChaCha20 key: %w", err)
		}
		defer clear(key)
		return chacha20poly1305.New(key)
	}
	d, _ := v.derivers.Get().(*deriver)
	if d == nil {
		d = &deriver{mac: hmac.New(sha256.New, v.secret[:])}
	}
	defer v.derivers.Put(d)
	defer clear(d.key[:])
	d.mac.Reset()
	d.mac.Write(iv)
	d.mac.Sum(d.key[:0])
	block, err := aes.NewCipher(d.key[:])
	if err != nil {
		return nil, fmt.Errorf("derive AES key: %w", err)
	}
	return cipher.NewGCM(block)
}
