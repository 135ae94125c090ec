package kms

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// CacheOptions say how long keys may be used without asking the store again;
// the words are KES's. They do not concern a store that is a Stamper, which is
// asked on every use.
type CacheOptions struct {
	// Any is how long a key may be used at most; 0 means 5 minutes.
	Any time.Duration
	// Unused is how long a key may lie unused; 0 means 30 seconds.
	Unused time.Duration
	// Offline is how long keys may be used while the store does not answer; 0
	// means not at all beyond Any.
	Offline time.Duration
	// Size bounds the number of keys; 0 means 10,000.
	Size int
}

const (
	defaultAny    = 5 * time.Minute
	defaultUnused = 30 * time.Second
	defaultSize   = 10000
	// negativeTime is how long it is remembered that a key does not exist.
	negativeTime = time.Second
	// sweepInterval is the pace of the background pass.
	sweepInterval = 10 * time.Second
)

// keyCache holds parsed keys of a store.
type keyCache struct {
	store   Store
	stamper Stamper // nil unless store is one
	opts    CacheOptions
	now     func() time.Time
	flight  singleflight.Group

	mu           sync.Mutex
	entries      map[string]*cacheEntry
	offlineSince time.Time // zero while the store answers
	generation   uint64    // grows with every change made through this cache
}

type cacheEntry struct {
	key     *Key // nil: the key does not exist
	stamp   string
	expires time.Time
	used    time.Time
}

func newKeyCache(store Store, o CacheOptions, now func() time.Time) *keyCache {
	if o.Any <= 0 {
		o.Any = defaultAny
	}
	if o.Unused <= 0 {
		o.Unused = defaultUnused
	}
	if o.Size <= 0 {
		o.Size = defaultSize
	}
	c := &keyCache{store: store, opts: o, now: now, entries: make(map[string]*cacheEntry)}
	c.stamper, _ = store.(Stamper)
	return c
}

// get returns the key of that name. Keys are shared and never zeroed while the
// cache hands them out: zeroing under a request that derives from one would
// seal data under a key of zeros.
func (c *keyCache) get(ctx context.Context, name string) (*Key, error) {
	if c.stamper != nil {
		return c.getStamped(ctx, name)
	}
	if e := c.lookup(name, false); e != nil {
		return e.result()
	}
	key, err := c.load(ctx, name, "")
	if err != nil && errors.Is(err, ErrUnavailable) {
		if e := c.lookup(name, true); e != nil {
			return e.result()
		}
	}
	return key, err
}

func (c *keyCache) getStamped(ctx context.Context, name string) (*Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stamp, err := c.stamper.Stamp(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	e := c.entries[name]
	c.mu.Unlock()
	if e != nil && e.stamp == stamp {
		return e.key, nil
	}
	return c.load(ctx, name, stamp)
}

func (e *cacheEntry) result() (*Key, error) {
	if e.key == nil {
		return nil, ErrKeyNotFound
	}
	return e.key, nil
}

// lookup returns an entry that may still be used; stale asks for one that may
// be used because the store does not answer.
func (c *keyCache) lookup(name string, stale bool) *cacheEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	if e == nil {
		return nil
	}
	now := c.now()
	offline := !c.offlineSince.IsZero() && now.Sub(c.offlineSince) < c.opts.Offline && e.key != nil
	fresh := now.Before(e.expires) && now.Sub(e.used) < c.opts.Unused
	if !fresh && !offline || stale && !offline {
		return nil
	}
	e.used = now
	return e
}

// load reads the key from the store, once for all who wait for it. A waiter that
// gives up does not end it for the others.
func (c *keyCache) load(ctx context.Context, name, stamp string) (*Key, error) {
	done := c.flight.DoChan(name+"\x00"+stamp, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return c.read(ctx, name, stamp)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Key), nil
	}
}

func (c *keyCache) read(ctx context.Context, name, stamp string) (*Key, error) {
	c.mu.Lock()
	generation := c.generation
	c.mu.Unlock()
	value, err := c.store.Get(ctx, name)
	c.note(err)
	if errors.Is(err, ErrKeyNotFound) && c.stamper == nil {
		c.put(name, &cacheEntry{expires: c.now().Add(negativeTime), used: c.now()}, generation)
	}
	if err != nil {
		return nil, err
	}
	key, err := ParseRecord(value)
	clear(value)
	if err != nil {
		return nil, err
	}
	// Jitter keeps many keys of one start from expiring together.
	lifetime := c.opts.Any - time.Duration(rand.Int64N(int64(c.opts.Any)/10+1))
	c.put(name, &cacheEntry{key: key, stamp: stamp, expires: c.now().Add(lifetime), used: c.now()}, generation)
	return key, nil
}

// note keeps when the store stopped answering.
func (c *keyCache) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, ErrKeyNotFound) || errors.Is(err, ErrKeyExists):
		c.offlineSince = time.Time{}
	case errors.Is(err, ErrUnavailable) && c.offlineSince.IsZero():
		c.offlineSince = c.now()
	}
}

// put stores what was read, unless something was changed meanwhile.
func (c *keyCache) put(name string, e *cacheEntry, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if len(c.entries) >= c.opts.Size {
		for victim := range c.entries { // any: the map's order is random
			delete(c.entries, victim)
			break
		}
	}
	c.entries[name] = e
}

// forget drops a key that is being changed.
func (c *keyCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	delete(c.entries, name)
}

// sweep drops what may not be used any more.
func (c *keyCache) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !c.offlineSince.IsZero() && now.Sub(c.offlineSince) < c.opts.Offline {
		return
	}
	for name, e := range c.entries {
		if now.Sub(e.used) >= c.opts.Unused || !now.Before(e.expires) && c.stamper == nil {
			delete(c.entries, name)
		}
	}
}
