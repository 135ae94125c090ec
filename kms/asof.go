package kms

import (
	"context"
	"time"
)

// asOfTime is how old what AsOf lets serve may be, at most: a request that waits long for
// something else must not use a key that was removed long ago.
const asOfTime = 10 * time.Millisecond

type asOfKey struct{}

// AsOf returns a context under which a Service may answer by a look at its store that
// began after t, in place of one of the call's own: so requests that are served at the
// same time share looks. t is when what the call is made for began. Whoever must know what
// is the case now uses no such context.
func AsOf(ctx context.Context, t time.Time) context.Context {
	return context.WithValue(ctx, asOfKey{}, t)
}

// lookedSince says whether the stamp of e held at a look that began after the time of
// AsOf, and not long ago.
func (c *keyCache) lookedSince(ctx context.Context, e *cacheEntry) bool {
	t, ok := ctx.Value(asOfKey{}).(time.Time)
	if !ok {
		return false
	}
	held := time.Duration(e.held.Load())
	return held > t.Sub(c.made) && time.Since(c.made)-held < asOfTime
}

type uncachedKey struct{}

// Uncached returns a context under which a cache in front of a Service lets a call
// through, whatever it holds: for whoever must know what is the case now.
func Uncached(ctx context.Context) context.Context {
	return context.WithValue(ctx, uncachedKey{}, true)
}

// IsUncached says whether ctx is one of Uncached.
func IsUncached(ctx context.Context) bool {
	asked, _ := ctx.Value(uncachedKey{}).(bool)
	return asked
}
