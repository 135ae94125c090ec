// Package caller says on whose behalf something is done.
//
// What upstream told the proxy's own credential may show only to callers whom upstream
// would have told it. So upstream is asked first, as the caller, for the same right
// (storage.Backend.May).
package caller

import (
	"context"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Caller is on whose behalf something is done.
type Caller struct {
	// Keys is what the caller may do with keys.
	Keys keyring.Caller
	// Actor is the caller as the storage knows it.
	Actor storage.Actor
	// Name is the access key, "" for a caller without a signature, and RequestID names the
	// request: for notes and the log.
	Name, RequestID string
	// Memory is the caller's share of the memory for small uploads.
	Memory plaintext.Memory
	// Policy returns what a bucket's policy may ask of the request, by the names of package
	// bucketpolicy. It is asked where there is such a policy; nil knows nothing.
	Policy func() map[string][]string
}

// MayWrite asks a storage, as the caller, whether it may write an object with these
// metadata. It returns the storage's refusal.
func (c *Caller) MayWrite(ctx context.Context, at storage.Storage, name sse.Name, meta storage.Metadata) error {
	return at.As(c.Actor).May(ctx, &storage.Question{Right: storage.WriteObject, Name: name, Meta: meta})
}

// Refusal returns the answer to a write that a rule, a key or the access to it forbids, as
// err says: the storage's own refusal, if the caller may not write there at all.
func (c *Caller) Refusal(ctx context.Context, at storage.Storage, name sse.Name, meta storage.Metadata, err error) error {
	if denied := c.MayWrite(ctx, at, name, meta); denied != nil {
		return denied
	}
	return err
}
