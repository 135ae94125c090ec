package client

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// Defaults of CacheOptions.
const (
	DefaultCacheSize   = 16384
	DefaultCacheTTL    = 5 * time.Minute
	DefaultNegativeTTL = time.Second

	// flightTimeout bounds a request that several callers wait for.
	flightTimeout = 60 * time.Second
	// askAgain is the pause after which a service that was down is asked again.
	askAgain = 2 * time.Second
)

// CacheOptions configure Cached.
type CacheOptions struct {
	// Size is how many DEKs are kept; 0 is DefaultCacheSize.
	Size int
	// TTL is how long a DEK is used without asking the service; 0 is
	// DefaultCacheTTL. Each DEK's own is up to a tenth shorter, so that not
	// all are asked for at once.
	TTL time.Duration
	// Offline is how much longer a DEK is used while the service cannot be
	// reached; 0 is not at all.
	Offline time.Duration
	// NegativeTTL is how long a KMS key that does not exist is not asked for
	// again; 0 is DefaultNegativeTTL, negative is not at all.
	NegativeTTL time.Duration
	// Recheck is how often, while DEKs of a version of a KMS key are used, the service is
	// asked whether it still opens one of them: that is how soon it is noticed that the
	// version was retired, or the key deleted. 0 is not before their time is over.
	Recheck time.Duration
}

// Cache is a kms.Service that keeps unsealed DEKs of another one in memory. It
// is safe for concurrent use. DecryptDEK hands out copies, made under the lock
// under which entries are zeroed; zeroing is best effort, as Go may have moved
// or copied what it zeroes.
//
// A caller gets a cached DEK without the service being asked: whoever decides
// by caller must do so before.
type Cache struct {
	kms.Service

	opts CacheOptions
	now  func() time.Time

	mu      sync.Mutex
	entries map[cacheKey]*list.Element // of *entry
	recency *list.List                 // front: used last
	missing map[string]time.Time       // KMS keys that do not exist, until when
	flights map[cacheKey]*flight
	leases  map[leaseID]*lease
	// downUntil is until when the service is not asked for DEKs that are cached
	// for offline use, as it did not answer a moment ago.
	downUntil time.Time
	// epoch counts deletions: an answer on its way when a KMS key was deleted
	// must not be cached after that.
	epoch uint64

	counts cacheCounts
}

type cacheKey [sha256.Size]byte

// entry is a cached DEK.
type entry struct {
	key     cacheKey
	kmsKey  string
	dek     [kms.DEKSize]byte
	fresh   time.Time // used without asking until then
	offline time.Time // used while the service is down until then
}

// flight is a request under way. dek and err are set when done is closed. singleflight
// would not tell when the last caller has its copy, and the DEK can be zeroed.
type flight struct {
	done    chan struct{}
	waiting int // callers that have yet to copy dek; guarded by Cache.mu
	dek     [kms.DEKSize]byte
	err     error
}

// Cached returns service with its unsealed DEKs cached.
func Cached(service kms.Service, opts CacheOptions) *Cache {
	if opts.Size <= 0 {
		opts.Size = DefaultCacheSize
	}
	if opts.TTL <= 0 {
		opts.TTL = DefaultCacheTTL
	}
	if opts.NegativeTTL == 0 {
		opts.NegativeTTL = DefaultNegativeTTL
	}
	return &Cache{
		Service: service,
		opts:    opts,
		now:     time.Now,
		entries: make(map[cacheKey]*list.Element),
		recency: list.New(),
		missing: make(map[string]time.Time),
		flights: make(map[cacheKey]*flight),
		leases:  make(map[leaseID]*lease),
	}
}

// DecryptDEK implements kms.Service. Concurrent calls for one DEK are one call
// of the service, which ends on its own account and not with a caller's
// context.
func (c *Cache) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	key := keyOf(name, ciphertext, encContext)
	if kms.IsUncached(ctx) {
		return c.decryptUncached(ctx, key, name, ciphertext, encContext)
	}
	c.mu.Lock()
	c.sweep()
	if e := c.lookup(key); e != nil && (c.now().Before(e.fresh) || c.now().Before(c.downUntil)) {
		c.counts.hits.Add(1)
		dek := e.dek
		q, ask, wait := c.due(name, ciphertext)
		c.mu.Unlock()
		if ask { // The caller may change its buffers once it has given up waiting.
			go c.recheck(context.WithoutCancel(ctx), q, name, clone(ciphertext), clone(encContext))
		}
		var err error
		if wait {
			err = q.answered(ctx)
		}
		if err != nil {
			clear(dek[:])
		}
		return dek, err
	}
	if c.isMissing(name) {
		c.mu.Unlock()
		return [kms.DEKSize]byte{}, fmt.Errorf("KMS key %q: %w", name, kms.ErrKeyNotFound)
	}
	c.counts.misses.Add(1)
	f, running := c.flights[key]
	if !running {
		f = &flight{done: make(chan struct{})}
		c.flights[key] = f
		// The caller may change its buffers once it has given up waiting.
		go c.fly(context.WithoutCancel(ctx), f, key, name, clone(ciphertext), clone(encContext), c.epoch)
	}
	f.waiting++
	c.mu.Unlock()
	return c.wait(ctx, f)
}

// decryptUncached asks the service whatever is cached, and drops what it does not
// give any more: all that was sealed under a KMS key that is gone.
func (c *Cache) decryptUncached(ctx context.Context, key cacheKey, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	c.mu.Lock()
	epoch := c.epoch
	c.mu.Unlock()
	dek, err := c.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	c.counts.answered(err, c.now)
	gone := errors.Is(err, kms.ErrKeyNotFound) || errors.Is(err, kms.ErrDecrypt) || errors.Is(err, kms.ErrKeyReplaced) ||
		errors.Is(err, kms.ErrVersionRetired) || errors.Is(err, kms.ErrVersionDestroyed)
	if err == nil {
		c.mu.Lock()
		c.renewed(name, ciphertext)
		c.mu.Unlock()
	} else if gone {
		c.forget(name)
	} else if !errors.Is(err, kms.ErrUnavailable) && ctx.Err() == nil {
		c.mu.Lock()
		c.refused(key, name, err, epoch)
		c.mu.Unlock()
	}
	return dek, err
}

func (c *Cache) wait(ctx context.Context, f *flight) ([kms.DEKSize]byte, error) {
	var ctxErr error
	select {
	case <-f.done:
	case <-ctx.Done():
		ctxErr = ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if ctxErr != nil {
		f.wipe()
		return [kms.DEKSize]byte{}, fmt.Errorf("decrypt DEK: %w", ctxErr)
	}
	dek, err := f.dek, f.err
	f.wipe()
	return dek, err
}

// wipe zeroes the DEK when nobody waits for it any more. Cache.mu is held.
func (f *flight) wipe() {
	if f.waiting > 0 {
		return
	}
	select {
	case <-f.done:
		clear(f.dek[:])
	default:
	}
}

// fly asks the service and settles the flight.
func (c *Cache) fly(ctx context.Context, f *flight, key cacheKey, name string, ciphertext, encContext []byte, epoch uint64) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	dek, err := c.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	c.counts.answered(err, c.now)
	if err == nil && dek == [kms.DEKSize]byte{} {
		err = fmt.Errorf("decrypt DEK: the key is all zero: %w", kms.ErrCorruptKey)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("decrypt DEK: %w: no answer within %v", kms.ErrUnavailable, flightTimeout)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.downUntil = time.Time{}
		if c.epoch == epoch {
			c.store(key, name, &dek)
			c.renewed(name, ciphertext)
		}
	case errors.Is(err, kms.ErrUnavailable):
		c.downUntil = c.now().Add(askAgain)
		if e := c.lookup(key); e != nil && c.now().Before(e.offline) {
			c.counts.offline.Add(1)
			dek, err = e.dek, nil
		}
	default:
		c.refused(key, name, err, epoch)
	}
	f.dek, f.err = dek, err
	clear(dek[:])
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	close(f.done)
	f.wipe()
}

// refused drops what the service no longer gives, and remembers for a moment
// that a KMS key does not exist. Of one that was replaced nothing stays. Cache.mu is held.
func (c *Cache) refused(key cacheKey, name string, err error, epoch uint64) {
	if errors.Is(err, kms.ErrKeyReplaced) {
		c.forgetLocked(name)
		return
	}
	if e, ok := c.entries[key]; ok {
		c.drop(e)
	}
	if errors.Is(err, kms.ErrKeyNotFound) && c.epoch == epoch {
		c.noteMissing(name)
	}
}

// GenerateDEK implements kms.Service. The new DEK is cached.
func (c *Cache) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	c.mu.Lock()
	missing, epoch := c.isMissing(name), c.epoch
	c.mu.Unlock()
	if missing {
		return kms.DEK{}, fmt.Errorf("KMS key %q: %w", name, kms.ErrKeyNotFound)
	}
	dek, err := c.Service.GenerateDEK(ctx, name, encContext)
	c.counts.answered(err, c.now)
	if err == nil && dek.Plaintext == [kms.DEKSize]byte{} {
		return kms.DEK{}, fmt.Errorf("generate DEK: the key is all zero: %w", kms.ErrCorruptKey)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		switch {
		case err == nil:
			c.store(keyOf(name, dek.Ciphertext, encContext), name, &dek.Plaintext)
			c.renewed(name, dek.Ciphertext)
		case errors.Is(err, kms.ErrKeyNotFound):
			c.noteMissing(name)
		case errors.Is(err, kms.ErrKeyReplaced):
			c.forgetLocked(name)
		}
	}
	return dek, err
}

// CreateKey implements kms.Service and forgets that the key did not exist.
func (c *Cache) CreateKey(ctx context.Context, name string) error {
	defer c.forget(name)
	return c.Service.CreateKey(ctx, name)
}

// ImportKey implements kms.Service and forgets that the key did not exist.
func (c *Cache) ImportKey(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm) error {
	defer c.forget(name)
	return c.Service.ImportKey(ctx, name, key, algorithm)
}

// DeleteKey implements kms.Service and drops the DEKs sealed under the key.
func (c *Cache) DeleteKey(ctx context.Context, name string) error {
	defer c.forget(name)
	return c.Service.DeleteKey(ctx, name)
}

// ChangeVersion implements kms.Service and drops the DEKs sealed under the key.
func (c *Cache) ChangeVersion(ctx context.Context, name string, change kms.VersionChange) error {
	defer c.forget(name)
	return c.Service.ChangeVersion(ctx, name, change)
}

// forget drops everything known under a KMS key.
func (c *Cache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(name)
}

// forgetLocked is forget with Cache.mu held.
func (c *Cache) forgetLocked(name string) {
	c.epoch++
	delete(c.missing, name)
	clear(c.flights) // those under way end, but nobody joins them any more
	for _, e := range c.entries {
		if e.Value.(*entry).kmsKey == name {
			c.drop(e)
		}
	}
}

// Purge zeroes and drops all DEKs.
func (c *Cache) Purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.missing)
	clear(c.flights)
	for _, e := range c.entries {
		c.drop(e)
	}
}

// Len returns how many DEKs are cached.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// lookup returns the entry of a DEK unless its time is over. Cache.mu is held.
func (c *Cache) lookup(key cacheKey) *entry {
	element, ok := c.entries[key]
	if !ok {
		return nil
	}
	e := element.Value.(*entry)
	if now := c.now(); !now.Before(e.fresh) && !now.Before(e.offline) {
		c.drop(element)
		return nil
	}
	c.recency.MoveToFront(element)
	return e
}

// sweep drops what was used longest ago if its time is over, so that unused
// DEKs do not stay in memory as long as there is any traffic. Cache.mu is held.
func (c *Cache) sweep() {
	for range 2 {
		oldest := c.recency.Back()
		if oldest == nil || c.now().Before(oldest.Value.(*entry).offline) {
			return
		}
		c.drop(oldest)
	}
}

// store keeps a copy of a DEK, in place of the one used longest ago if the
// cache is full. Cache.mu is held.
func (c *Cache) store(key cacheKey, name string, dek *[kms.DEKSize]byte) {
	if old, ok := c.entries[key]; ok {
		c.drop(old)
	}
	for len(c.entries) >= c.opts.Size {
		c.drop(c.recency.Back())
	}
	fresh := c.now().Add(c.opts.TTL - rand.N(c.opts.TTL/10+1))
	e := &entry{key: key, kmsKey: name, dek: *dek, fresh: fresh, offline: fresh.Add(c.opts.Offline)}
	c.entries[key] = c.recency.PushFront(e)
}

// drop zeroes and removes an entry. Cache.mu is held.
func (c *Cache) drop(element *list.Element) {
	e := element.Value.(*entry)
	clear(e.dek[:])
	delete(c.entries, e.key)
	c.recency.Remove(element)
}

// isMissing says whether a KMS key is known not to exist. Cache.mu is held.
func (c *Cache) isMissing(name string) bool {
	until, ok := c.missing[name]
	if ok && !c.now().Before(until) {
		delete(c.missing, name)
		return false
	}
	return ok
}

// noteMissing is bounded like the cache itself. Cache.mu is held.
func (c *Cache) noteMissing(name string) {
	if c.opts.NegativeTTL < 0 {
		return
	}
	if len(c.missing) >= c.opts.Size {
		clear(c.missing)
	}
	c.missing[name] = c.now().Add(c.opts.NegativeTTL)
}

// keyOf hashes what names one DEK, each field with its length before it.
func keyOf(name string, ciphertext, encContext []byte) cacheKey {
	var onStack [512]byte // ciphertexts have about 100 bytes, contexts a little more
	text := onStack[:0]
	text = binary.BigEndian.AppendUint64(text, uint64(len(name)))
	text = append(text, name...)
	text = binary.BigEndian.AppendUint64(text, uint64(len(ciphertext)))
	text = append(text, ciphertext...)
	text = binary.BigEndian.AppendUint64(text, uint64(len(encContext)))
	text = append(text, encContext...)
	return sha256.Sum256(text)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
