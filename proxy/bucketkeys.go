package proxy

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// maxBucketKeys bounds the number of bucket keys in memory.
const maxBucketKeys = 1024

// bucketKeys shares one DEK among the writes of a bucket for a while: those of
// SSE-S3, and of SSE-KMS with bucket keys. Object keys are fresh in any case. It
// saves a remote key service a request per write; an embedded one answers faster
// than sharing is worth, and then ttl is 0 and every write has its own DEK. A KMS
// key that is removed goes on being used until its bucket keys expire.
type bucketKeys struct {
	kms kms.Service
	ttl time.Duration
	now func() time.Time

	mu      sync.Mutex
	entries map[bucketKeyID]*bucketKey
}

type bucketKeyID struct{ keyName, context string }

type bucketKey struct {
	dek     kms.DEK
	expires time.Time
}

func newBucketKeys(service kms.Service, ttl time.Duration) *bucketKeys {
	return &bucketKeys{kms: service, ttl: ttl, now: time.Now, entries: make(map[bucketKeyID]*bucketKey)}
}

// generate returns a DEK for the context, a copy that is the caller's to zero.
func (b *bucketKeys) generate(ctx context.Context, keyName string, encContext []byte) (kms.DEK, error) {
	if b.ttl <= 0 {
		return b.fresh(ctx, keyName, encContext)
	}
	id := bucketKeyID{keyName, string(encContext)}
	if dek, ok := b.shared(id); ok {
		return dek, nil
	}
	dek, err := b.fresh(ctx, keyName, encContext)
	if err != nil {
		return kms.DEK{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.evict()
	kept := dek
	kept.Ciphertext = bytes.Clone(dek.Ciphertext)
	b.entries[id] = &bucketKey{dek: kept, expires: b.now().Add(b.ttl)}
	return dek, nil
}

func (b *bucketKeys) fresh(ctx context.Context, keyName string, encContext []byte) (kms.DEK, error) {
	dek, err := b.kms.GenerateDEK(ctx, keyName, encContext)
	if err == nil && dek.Plaintext == ([kms.DEKSize]byte{}) {
		err = fmt.Errorf("a DEK of zeros: %w", kms.ErrUnavailable)
	}
	return dek, err
}

// shared returns a copy, made under the lock: zeroing an entry while somebody
// derives from it would lose data.
func (b *bucketKeys) shared(id bucketKeyID) (kms.DEK, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil {
		return kms.DEK{}, false
	}
	if !b.now().Before(e.expires) {
		b.drop(id)
		return kms.DEK{}, false
	}
	dek := e.dek
	dek.Ciphertext = bytes.Clone(e.dek.Ciphertext)
	return dek, true
}

// evict makes room: what has expired goes, else any entry.
func (b *bucketKeys) evict() {
	if len(b.entries) < maxBucketKeys {
		return
	}
	now := b.now()
	for id, e := range b.entries {
		if !now.Before(e.expires) {
			b.drop(id)
		}
	}
	for id := range b.entries {
		if len(b.entries) < maxBucketKeys {
			return
		}
		b.drop(id)
	}
}

func (b *bucketKeys) drop(id bucketKeyID) {
	clear(b.entries[id].dek.Plaintext[:])
	delete(b.entries, id)
}
