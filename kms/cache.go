package kms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// CacheOptions say how long keys may be used without asking the store again;
// the words are KES's. Any and Unused do not concern a store that is a Stamper,
// which is asked on every use (but for AsOf), unless it is an ExpiringStamper.
type CacheOptions struct {
	// Any is how long a key may be used at most. 0 means 5 minutes, less than 0
	// no limit.
	Any time.Duration
	// Unused is how long a key may lie unused. 0 means 30 seconds, less than 0
	// no limit.
	Unused time.Duration
	// Offline is how long, while the store does not answer, keys may be used
	// that were usable before, counted from when that was noticed. 0 means that
	// an outage changes nothing: keys go when Any and Unused say so.
	Offline time.Duration
	// Size bounds the number of keys; 0 means 10,000. The least recently used
	// go first, roughly.
	Size int
}

const (
	defaultAny    = 5 * time.Minute
	defaultUnused = 30 * time.Second
	defaultSize   = 10_000
	noLimit       = time.Duration(1 << 62)
	// missingTime is how long it is remembered that a key does not exist, and
	// missingSize of how many names: they may come from strangers.
	missingTime = time.Second
	missingSize = 1024
	// loadTime bounds a read of the store, and offlineLoadTime one while the
	// store does not answer: requests must not queue up behind an outage.
	loadTime        = 10 * time.Second
	offlineLoadTime = 3 * time.Second
	// patience is how long who has a key that serves in an outage waits for the
	// store: then it counts as not answering, until it does.
	patience = time.Second
	// evictionSample is among how many keys the least recently used is sought.
	evictionSample = 16
)

func (o CacheOptions) withDefaults() CacheOptions {
	limit := func(d, byDefault time.Duration) time.Duration {
		switch {
		case d == 0:
			return byDefault
		case d < 0:
			return noLimit
		}
		return d
	}
	o.Any, o.Unused = limit(o.Any, defaultAny), limit(o.Unused, defaultUnused)
	if o.Size <= 0 {
		o.Size = defaultSize
	}
	return o
}

// keyCache holds parsed keys of a store. Keys are shared and never zeroed while
// the cache may have handed them out: a request that derives from a key just
// zeroed would seal data under a key that everybody knows. All times are
// counted from start, so that they can be atomic.
type keyCache struct {
	store   Store
	stamper Stamper // nil unless store is one
	// absenter is nil unless store is one.
	absenter Absenter
	// expires says that keys are read again when opts says so: always, but for a
	// store whose stamps say everything.
	expires bool
	opts    CacheOptions
	clock   func() time.Time
	waiting func(context.Context) func(error)
	start   time.Time
	made    time.Time // by the process's own clock, which AsOf is by
	log     *slog.Logger

	// base ends the loads when the cache is closed.
	base  context.Context
	close context.CancelFunc
	loads sync.WaitGroup

	mu      sync.RWMutex
	entries map[string]*cacheEntry
	missing map[string]time.Duration // until when a name is known to be free
	flights map[string]*flight
	offline bool
	since   time.Duration // when the store was found offline
}

type cacheEntry struct {
	key     *Key
	stamp   string
	next    string // the entry that comes next in the key's log
	expires time.Duration
	used    atomic.Int64 // a time.Duration
	looked  atomic.Int64 // when the log was last seen to end where the key says; likewise
	looking atomic.Bool
	held    atomic.Int64 // when a look began that found the stamp to hold; since keyCache.made
}

// flight is a read of the store that several requests may wait for. Key and err
// are set before done is closed. singleflight would not tell who joined a read and may
// have to ask again, nor the read itself that it was forgotten and must not be kept.
type flight struct {
	done chan struct{}
	key  *Key
	err  error
}

func newKeyCache(o LocalOptions) *keyCache {
	c := &keyCache{
		store: o.Store, opts: o.Cache.withDefaults(), clock: o.Now, waiting: o.Waiting, start: o.Now(), made: time.Now(), log: o.Logger,
		entries: make(map[string]*cacheEntry), missing: make(map[string]time.Duration), flights: make(map[string]*flight),
	}
	if c.waiting == nil {
		c.waiting = func(context.Context) func(error) { return func(error) {} }
	}
	c.stamper, _ = o.Store.(Stamper)
	c.absenter, _ = o.Store.(Absenter)
	_, expiring := o.Store.(ExpiringStamper)
	c.expires = c.stamper == nil || expiring
	c.base, c.close = context.WithCancel(context.Background())
	return c
}

func (c *keyCache) now() time.Duration { return c.clock().Sub(c.start) }

// get returns the key of that name, from the cache or from the store.
func (c *keyCache) get(ctx context.Context, name string) (*Key, error) {
	// A key whose load was under way already may have changed since, and a
	// stamp tells. Who finds one that changes all the time takes what he has.
	for tries := 2; ; tries-- {
		key, old, err := c.cached(ctx, name)
		if key != nil || err != nil {
			return key, err
		}
		waited := c.waiting(ctx)
		key, joined, err := c.load(ctx, name, old)
		waited(err)
		if !joined || c.stamper == nil || tries == 0 || errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return key, err
		}
	}
}

// cached returns a key that may be used as it is. If there is none, old is the
// key that may be used if the store does not answer, if any.
func (c *keyCache) cached(ctx context.Context, name string) (key, old *Key, err error) {
	now := c.now()
	c.mu.RLock()
	e := c.entries[name]
	missing := e == nil && c.missing[name] > now
	offline := c.offline && now-c.since < c.opts.Offline
	c.mu.RUnlock()
	switch {
	case missing:
		return nil, nil, ErrKeyNotFound
	case e == nil:
		return nil, nil, nil
	case c.stamper != nil:
		return c.stamped(ctx, name, e, now, offline)
	}
	key, old = c.aged(e, now, offline)
	if key != nil && !offline && !c.current(name, e, now) {
		return nil, nil, nil // there are news in the key's log
	}
	return key, old, nil
}

// aged returns a key that is young enough, or the one to use if the store does not
// answer.
func (c *keyCache) aged(e *cacheEntry, now time.Duration, offline bool) (key, old *Key) {
	switch {
	case !c.expires || offline || e.fresh(now, c.opts):
		e.used.Store(int64(now))
		return e.key, nil
	case c.opts.Offline > 0:
		return nil, e.key
	}
	return nil, nil
}

func (c *keyCache) stamped(ctx context.Context, name string, e *cacheEntry, now time.Duration, offline bool) (key, old *Key, err error) {
	if c.lookedSince(ctx, e) {
		key, old = c.aged(e, now, offline)
		return key, old, nil
	}
	began := time.Since(c.made)
	stamp, err := c.stampOf(name, e.next)
	switch {
	case err == nil && stamp == e.stamp:
		e.held.Store(int64(began))
		key, old = c.aged(e, now, offline)
		return key, old, nil
	case err == nil:
		return nil, nil, nil // the value changed: the old one is nobody's key any more
	case errors.Is(err, ErrKeyNotFound):
		c.forget(name)
		return nil, nil, err
	case c.opts.Offline > 0:
		return nil, e.key, nil
	}
	return nil, nil, nil
}

func (e *cacheEntry) fresh(now time.Duration, o CacheOptions) bool {
	return now < e.expires && now-time.Duration(e.used.Load()) < o.Unused
}

// load reads the key from the store, once for all who wait for it; joined says
// that the read was under way. A waiter that gives up does not end it for the
// others. If the store does not answer, old is returned within the time that
// Offline gives.
func (c *keyCache) load(ctx context.Context, name string, old *Key) (key *Key, joined bool, err error) {
	c.mu.Lock()
	if c.base.Err() != nil {
		c.mu.Unlock()
		return nil, false, fmt.Errorf("key service is closed: %w", ErrUnavailable)
	}
	f, joined := c.flights[name]
	if !joined {
		f = &flight{done: make(chan struct{})}
		c.flights[name] = f
		limit := loadTime
		if c.offline {
			limit = offlineLoadTime
		}
		c.loads.Go(func() { c.run(name, f, limit) })
	}
	c.mu.Unlock()
	if old != nil && c.tooSlow(ctx, f) {
		return old, joined, nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, joined, ctx.Err()
	}
	if old != nil && errors.Is(f.err, ErrUnavailable) && c.mayUseOld() {
		return old, joined, nil
	}
	return f.key, joined, f.err
}

var errNoAnswer = fmt.Errorf("no answer within %v: %w", patience, ErrUnavailable)

// tooSlow says that a read has lasted so long that the key known before is to
// be used. The read goes on; that it succeeds ends what is noted here.
func (c *keyCache) tooSlow(ctx context.Context, f *flight) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.done:
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	c.note(errNoAnswer)
	return c.mayUseOld()
}

func (c *keyCache) mayUseOld() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.offline && c.now()-c.since < c.opts.Offline
}

func (c *keyCache) run(name string, f *flight, limit time.Duration) {
	ctx, cancel := context.WithTimeout(c.base, limit)
	defer cancel()
	e, err := c.read(ctx, name)
	if c.base.Err() == nil {
		c.note(err)
	}
	c.mu.Lock()
	if c.flights[name] == f { // else the key was changed meanwhile, and forgotten
		delete(c.flights, name)
		c.keep(name, e, err)
	}
	c.mu.Unlock()
	if f.err = err; err == nil {
		f.key = e.key
	}
	close(f.done)
}

func (c *keyCache) read(ctx context.Context, name string) (*cacheEntry, error) {
	e := new(cacheEntry)
	began := c.now()
	if c.stamper != nil { // before the value: if it changes in between, the stamp is too old, never too new
		var err error
		if e.stamp, err = c.stampOf(name, ""); err != nil {
			return nil, storeError(err)
		}
	}
	key, err := readKey(ctx, c.store, name)
	if err != nil {
		return nil, storeError(err)
	}
	e.key, e.next = key, key.log.next(name)
	e.looked.Store(int64(began))
	return e, nil
}

// keep remembers what was read. c.mu is held.
func (c *keyCache) keep(name string, e *cacheEntry, err error) {
	now := c.now()
	switch {
	case err == nil:
		if c.base.Err() != nil {
			return
		}
		e.expires = noLimit
		if c.opts.Any < noLimit { // jitter: what was loaded together must not expire together
			e.expires = now + c.opts.Any - time.Duration(rand.Int64N(int64(c.opts.Any)/10+1))
		}
		e.used.Store(int64(now))
		c.makeRoom(name)
		c.entries[name] = e
	case errors.Is(err, ErrKeyNotFound):
		delete(c.entries, name)
		if c.stamper == nil && len(c.missing) < missingSize {
			c.missing[name] = now + missingTime
		}
	case errors.Is(err, ErrCorruptKey), errors.Is(err, ErrNotPermitted):
		delete(c.entries, name)
	}
}

func (c *keyCache) makeRoom(name string) {
	if c.entries[name] != nil || len(c.entries) < c.opts.Size {
		return
	}
	victim, oldest, seen := "", int64(0), 0
	for other, e := range c.entries { // in random order
		if used := e.used.Load(); seen == 0 || used < oldest {
			victim, oldest = other, used
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	delete(c.entries, victim)
}

// storeError lets through what the contract of Store allows, and makes
// ErrUnavailable of the rest.
func storeError(err error) error {
	for _, sentinel := range []error{
		ErrKeyNotFound, ErrKeyExists, ErrNotPermitted, ErrUnavailable, ErrCorruptKey, ErrInvalidKeyName, ErrNotSupported,
		ErrVersionNotFound, ErrVersionDestroyed, ErrNewestVersion, ErrUsageUnknown,
	} {
		if errors.Is(err, sentinel) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// note keeps whether the store answers, from the result of a call to it. What
// came of a caller's own impatience must not be noted.
func (c *keyCache) note(err error) {
	offline := errors.Is(err, ErrUnavailable)
	c.mu.Lock()
	changed := offline != c.offline
	if changed {
		c.offline, c.since = offline, c.now()
	}
	c.mu.Unlock()
	switch {
	case changed && offline:
		c.log.Warn("key store is not reachable", "error", err)
	case changed:
		c.log.Info("key store is reachable again")
	}
}

// forget drops what is known of a key, and of a read under way: it may have
// seen the key as it was before.
func (c *keyCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, name)
	delete(c.missing, name)
	delete(c.flights, name)
}

// sweep drops what may not be used any more, so that secrets do not stay in
// memory longer than they serve.
func (c *keyCache) sweep() {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, until := range c.missing {
		if until <= now {
			delete(c.missing, name)
		}
	}
	if c.offline && now-c.since < c.opts.Offline {
		return
	}
	for name, e := range c.entries {
		idle := now-time.Duration(e.used.Load()) >= c.opts.Unused
		if idle || c.expires && now >= e.expires {
			delete(c.entries, name)
		}
	}
}

// shut ends the reads under way and drops all keys.
func (c *keyCache) shut() {
	c.mu.Lock()
	c.close()
	c.mu.Unlock()
	c.loads.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	clear(c.missing)
}
