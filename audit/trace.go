package audit

import (
	"context"
	"sync"
)

// Trace is what becomes known of a request on its way: who asks, and which KMS key was
// used. It is safe for concurrent use.
type Trace struct {
	RequestID string

	mu         sync.Mutex
	accessKey  string
	bucket     string
	object     string
	kmsKey     string
	kmsVersion uint32
}

// About says whose request it is, and about what.
func (t *Trace) About(accessKey, bucket, object string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accessKey, t.bucket, t.object = accessKey, bucket, object
}

// Used says that a KMS key was used for the request. version 0 is an unknown one.
func (t *Trace) Used(key string, version uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kmsKey, t.kmsVersion = key, version
}

// Key returns the KMS key that was used last; "" if none was.
func (t *Trace) Key() (name string, version uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kmsKey, t.kmsVersion
}

// Fill sets in e what is known of the request.
func (t *Trace) Fill(e *Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.RequestID, e.AccessKey, e.Bucket, e.Object = t.RequestID, t.accessKey, t.bucket, t.object
}

type traceKey struct{}

// WithTrace returns a context in which t is found.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace of ctx, or nil.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}
