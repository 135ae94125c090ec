package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// maxSharedKeys bounds the number of bucket keys in memory.
const maxSharedKeys = 1024

// sharedKeys shares one DEK among the writes of a bucket for a while: those of
// SSE-S3, and of SSE-KMS with bucket keys. Object keys are fresh in any case. It
// saves a remote key service a request per write; an embedded one answers faster
// than sharing is worth, and then ttl is 0 and every write has its own DEK. A DEK is
// shared while its KMS key opens it, which is asked again each dekLease.
type sharedKeys struct {
	kms      kms.Service
	verifier *dekVerifier
	ttl      time.Duration
	now      func() time.Time

	mu      sync.Mutex
	entries map[sharedKeyID]*sharedKey
}

type sharedKeyID struct{ keyName, context string }

type sharedKey struct {
	dek     kms.DEK
	expires time.Time
	asked   time.Time // when its KMS key was last known to open it
	asking  bool      // in the background
}

func newSharedKeys(service kms.Service, ttl time.Duration) *sharedKeys {
	return &sharedKeys{kms: service, verifier: &dekVerifier{kms: service}, ttl: ttl, now: time.Now, entries: make(map[sharedKeyID]*sharedKey)}
}

// generate returns a DEK for the context, a copy that is the caller's to zero, and
// when its KMS key was last known to open it.
func (b *sharedKeys) generate(ctx context.Context, keyName string, encContext []byte) (dek kms.DEK, asked time.Time, err error) {
	if b.ttl <= 0 {
		return b.fresh(ctx, keyName, encContext)
	}
	id := sharedKeyID{keyName, string(encContext)}
	if dek, asked, ok := b.shared(ctx, id); ok {
		if withinLease(asked, b.now()) {
			return dek, asked, nil
		}
		asked, err := b.renew(ctx, id, &dek)
		if err == nil {
			return dek, asked, nil
		}
		clear(dek.Plaintext[:])
		if errors.Is(err, kms.ErrUnavailable) && !b.gone(id) {
			return kms.DEK{}, time.Time{}, err
		}
	}
	dek, asked, err = b.fresh(ctx, keyName, encContext)
	if err != nil {
		return kms.DEK{}, time.Time{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.evict()
	kept := dek
	kept.Ciphertext = bytes.Clone(dek.Ciphertext)
	if b.entries[id] != nil {
		b.drop(id)
	}
	b.entries[id] = &sharedKey{dek: kept, expires: b.now().Add(b.ttl), asked: asked}
	return dek, asked, nil
}

func (b *sharedKeys) fresh(ctx context.Context, keyName string, encContext []byte) (dek kms.DEK, asked time.Time, err error) {
	asked = b.now()
	dek, err = b.kms.GenerateDEK(ctx, keyName, encContext)
	if err == nil && dek.Plaintext == ([kms.DEKSize]byte{}) {
		err = fmt.Errorf("a DEK of zeros: %w", kms.ErrUnavailable)
	}
	return dek, asked, err
}

// shared returns a copy, made under the lock: zeroing an entry while somebody
// derives from it would lose data. In the second half of its lease it is asked about
// in the background, so that writes seldom wait.
func (b *sharedKeys) shared(ctx context.Context, id sharedKeyID) (dek kms.DEK, asked time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil {
		return kms.DEK{}, time.Time{}, false
	}
	now := b.now()
	if !now.Before(e.expires) {
		b.drop(id)
		return kms.DEK{}, time.Time{}, false
	}
	dek = e.dek
	dek.Ciphertext = bytes.Clone(e.dek.Ciphertext)
	if age := now.Sub(e.asked); age > dekLease/2 && age < dekLease && !e.asking {
		e.asking = true
		ahead := dek
		clear(ahead.Plaintext[:])
		go func() { _, _ = b.renew(context.WithoutCancel(ctx), id, &ahead) }()
	}
	return dek, e.asked, true
}

// errRotatedKey says that a shared DEK is of an older version of its KMS key than there
// is: a new DEK takes its place.
var errRotatedKey = errors.New("the KMS key was rotated")

// renew asks whether the KMS key still opens a shared DEK, and whether it still seals
// with that version. All that were shared under it are dropped if not.
func (b *sharedKeys) renew(ctx context.Context, id sharedKeyID, dek *kms.DEK) (time.Time, error) {
	answer, err := b.verifier.verify(ctx, id.keyName, dek.Ciphertext, []byte(id.context))
	asked := answer.asked
	if err == nil && answer.latest > kms.CiphertextVersion(dek.Ciphertext) {
		err = fmt.Errorf("%q: %w", id.keyName, errRotatedKey)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil || !bytes.Equal(e.dek.Ciphertext, dek.Ciphertext) {
		return asked, err
	}
	e.asking = false
	switch {
	case err == nil:
		e.asked = asked
	case errors.Is(err, errReplacedKey), !errors.Is(err, kms.ErrUnavailable) && ctx.Err() == nil:
		for other := range b.entries {
			if other.keyName == id.keyName {
				b.drop(other)
			}
		}
	}
	return asked, err
}

// gone says that a DEK is not shared any more.
func (b *sharedKeys) gone(id sharedKeyID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries[id] == nil
}

// evict makes room: what has expired goes, else any entry.
func (b *sharedKeys) evict() {
	if len(b.entries) < maxSharedKeys {
		return
	}
	now := b.now()
	for id, e := range b.entries {
		if !now.Before(e.expires) {
			b.drop(id)
		}
	}
	for id := range b.entries {
		if len(b.entries) < maxSharedKeys {
			return
		}
		b.drop(id)
	}
}

func (b *sharedKeys) drop(id sharedKeyID) {
	clear(b.entries[id].dek.Plaintext[:])
	delete(b.entries, id)
}
