package kms

import "context"

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
