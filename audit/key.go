package audit

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// Key signs the heads of a chain and authenticates its lines. It prints as [redacted].
type Key struct {
	sign ed25519.PrivateKey
	mac  []byte
	// Sealed is the secret that the key follows from, as the key service sealed it.
	Sealed []byte
	// KMSKey and KMSVersion name the KMS key that sealed it.
	KMSKey     string
	KMSVersion uint32
}

// NewKey derives the key from a secret of the key service. It keeps nothing of secret.
func NewKey(secret *[32]byte, sealed []byte, kmsKey string, kmsVersion uint32) *Key {
	derive := func(label string) []byte {
		h := hmac.New(sha256.New, secret[:])
		h.Write([]byte(label))
		return h.Sum(nil)
	}
	return &Key{
		sign: ed25519.NewKeyFromSeed(derive("bucketseal audit v1 sign")), mac: derive("bucketseal audit v1 mac"),
		Sealed: sealed, KMSKey: kmsKey, KMSVersion: kmsVersion,
	}
}

// Public returns what verifies signatures.
func (k *Key) Public() ed25519.PublicKey { return k.sign.Public().(ed25519.PublicKey) }

// MAC returns the message authentication code of a line with this hash.
func (k *Key) MAC(h Hash) []byte { return newMacer(k.mac).of(h) }

// Format prints [redacted], whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// HeadText is what a head signs: the lines of a chain from sequence number from on, to seq,
// whose hash is h.
func HeadText(chain string, from, seq uint64, h Hash) []byte {
	return fmt.Appendf(nil, "bucketseal audit head v1\n%s\n%d\n%d\n%s\n", chain, from, seq, h)
}
