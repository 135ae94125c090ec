package kms

import (
	"context"
	"errors"
	"time"
)

const (
	// lookTime is how old what is known of a key's log may be before it is looked at
	// again, while the key is in use: that is how soon a rotation and a retirement are
	// known everywhere.
	lookTime = 4 * time.Second
	// lookLimit is when a request waits for that look, up to patience.
	lookLimit = 2 * lookTime
)

// current says whether the log of a cached key ended where the key says when it was
// last looked at, and looks again in time. A store that does not answer changes
// nothing: then Any and Unused say how long the key serves.
func (c *keyCache) current(name string, e *cacheEntry, now time.Duration) bool {
	age := now - time.Duration(e.looked.Load())
	if age < lookTime {
		return true
	}
	done := make(chan struct{})
	started := e.looking.CompareAndSwap(false, true)
	if started && !c.launch(func() { defer close(done); c.look(name, e) }) {
		return true // the cache is closed; whoever loads from it hears that
	}
	if age < lookLimit {
		return true
	}
	if !started {
		// Somebody waits already. Who comes later must not have what he may learn is over.
		return false
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[name] == e
}

// launch runs f as one of the loads that shut waits for; false if that has been called.
func (c *keyCache) launch(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base.Err() != nil {
		return false
	}
	c.loads.Go(f)
	return true
}

// look asks whether the log of a key goes on. The key is forgotten if it does.
func (c *keyCache) look(name string, e *cacheEntry) {
	defer e.looking.Store(false)
	ctx, cancel := context.WithTimeout(c.base, offlineLoadTime)
	defer cancel()
	began := c.now()
	text, err := c.store.Get(ctx, e.next)
	clear(text)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		c.note(nil)
	case err == nil:
		c.note(nil)
		c.forgetEntry(name, e)
	case c.base.Err() == nil:
		c.note(storeError(err))
	}
	e.looked.Store(int64(began))
}

// forgetEntry drops an entry unless another one has taken its place.
func (c *keyCache) forgetEntry(name string, e *cacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[name] == e {
		delete(c.entries, name)
	}
}

// stampOf returns what tells whether a key has changed: the stamp of its record, or of
// its log's root if the record was destroyed. If next is there, an entry of the log,
// there is no stamp that equals another.
func (c *keyCache) stampOf(name, next string) (string, error) {
	stamp, err := c.stamper.Stamp(name)
	if errors.Is(err, ErrKeyNotFound) {
		stamp, err = c.stamper.Stamp(rootEntry(name))
	}
	if err != nil || next == "" {
		return stamp, err
	}
	if c.absenter != nil && c.absenter.Absent(next) {
		return stamp, nil
	}
	switch _, err := c.stamper.Stamp(next); {
	case errors.Is(err, ErrKeyNotFound):
		return stamp, nil
	case err != nil:
		return "", err
	}
	return "", nil
}

// reloaded returns the key as it is if its log has gone on since it was cached.
func (c *keyCache) reloaded(ctx context.Context, name string, key *Key) (*Key, error) {
	text, err := c.store.Get(ctx, key.log.next(name))
	clear(text)
	if err != nil { // also in an outage: what is cached serves then
		return key, ctx.Err()
	}
	c.forget(name)
	return c.get(ctx, name)
}
