package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strings"
	"sync"
)

// maxCachedKeys bounds the cache: callers times regions times a few days.
const maxCachedKeys = 1024

// signingKey is derived from a secret for one day, region and service.
type signingKey struct {
	key  [sha256.Size]byte
	macs sync.Pool // of hash.Hash under key: to begin anew is half the work of a short text
}

// mac returns an HMAC under the key, of which nothing is written; done takes it back.
func (k *signingKey) mac() hash.Hash {
	if mac, ok := k.macs.Get().(hash.Hash); ok {
		return mac
	}
	return hmac.New(sha256.New, k.key[:])
}

func (k *signingKey) done(mac hash.Hash) {
	mac.Reset()
	k.macs.Put(mac)
}

// keyID names a signing key.
type keyID struct{ accessKey, day, region, service string }

// cachedKey is a signing key and the digest of the secret it came from, so
// that it is not used once the secret has changed.
type cachedKey struct {
	secret [sha256.Size]byte
	key    *signingKey
}

// keyCache keeps signing keys. The zero value is empty and ready.
type keyCache struct {
	mu   sync.RWMutex
	keys map[keyID]cachedKey
}

// get returns the signing key of a claim and whether it was cached.
func (k *keyCache) get(c *claim, secret string) (key *signingKey, cached bool) {
	k.mu.RLock()
	e, ok := k.keys[keyID{c.accessKey, c.day, c.region, c.service}]
	k.mu.RUnlock()
	if ok {
		sum := sha256.Sum256([]byte(secret))
		if subtle.ConstantTimeCompare(sum[:], e.secret[:]) == 1 {
			return e.key, true
		}
	}
	return deriveKey(secret, c.day, c.region, c.service), false
}

// put keeps a key, in place of any other if there is no room.
func (k *keyCache) put(c *claim, secret string, key *signingKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = make(map[keyID]cachedKey)
	}
	// Clones, or the key would keep the whole header it was cut from.
	id := keyID{strings.Clone(c.accessKey), strings.Clone(c.day), strings.Clone(c.region), c.service}
	if _, ok := k.keys[id]; !ok && len(k.keys) >= maxCachedKeys {
		for old := range k.keys {
			delete(k.keys, old)
			break
		}
	}
	k.keys[id] = cachedKey{secret: sha256.Sum256([]byte(secret)), key: key}
}

// deriveKey derives a signing key as AWS specifies.
func deriveKey(secret, day, region, service string) *signingKey {
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, service, terminal} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return &signingKey{key: [sha256.Size]byte(key)}
}
