// Package vault is the object engine: it keeps encrypted objects at a storage, and knows
// nothing of how they are asked for. What a client may do is decided by package keyring
// for keys, and by the storage for the rest; what is told to whom, here.
//
// Every operation takes the Caller on whose behalf it is done. Objects are read through
// Open, Stat and List, and written through Put, Copy and the methods about uploads. What
// they return is about the plaintext: sizes, ETags and checksums are those that clients
// know.
package vault

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// Options are a Vault's dependencies and settings.
type Options struct {
	// Storage is where objects lie. Required.
	Storage storage.Storage
	// Keys are the keys of objects. Required.
	Keys *keyring.Ring
	// System is the system bucket, and Manifests and Ledger what lies there of objects
	// and uploads. Required.
	System    *system.Store
	Manifests *manifest.Store
	Ledger    *manifest.Ledger
	// Rules are the buckets' default encryption. Required.
	Rules *bucketconfig.Rules
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Policy returns a bucket's policy document, nil if it has none, and ErrForbidden if
	// the proxy may not read it. Required.
	Policy func(ctx context.Context, bucket string) ([]byte, error)
	// Clock returns the storage's time. Required.
	Clock func(context.Context) (time.Time, error)

	// PlainRead lists the buckets whose objects without a record are readable.
	PlainRead glob.Patterns
	// AutoEncryption is what a write gets that asks for no encryption, in a bucket
	// without a rule.
	AutoEncryption sse.Mode
	// SmallObject is the size in bytes up to which an upload is read whole before it is
	// sent on.
	SmallObject int64
	// Logger is told what operators should know; nil means slog.Default().
	Logger *slog.Logger
	// SweepOthers is called at the end of each sweep; nil for nothing.
	SweepOthers SweepOthers
	// OnRestored is called once for each object whose manifest was found by its data; nil
	// for nobody.
	OnRestored func()
}

// Vault is the object engine. It is safe for concurrent use.
type Vault struct {
	o       Options
	log     *slog.Logger
	layouts layouts
	senders partSenders
	demands demands
	copies  sync.Pool // of *[copyBuffer]byte
}

// New checks the options and returns an engine that has asked for nothing yet.
func New(o Options) (*Vault, error) {
	if o.Storage == nil || o.Keys == nil || o.System == nil || o.Manifests == nil || o.Ledger == nil || o.Rules == nil ||
		o.Ready == nil || o.Policy == nil || o.Clock == nil {
		return nil, errors.New("vault: incomplete options")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	v := &Vault{o: o, log: o.Logger}
	v.copies.New = func() any { return new([copyBuffer]byte) }
	o.Manifests.OnRestored = v.onRestored
	return v, nil
}

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
	Memory Memory
	// Policy returns what a bucket's policy may ask of the request, by the names of package
	// bucketpolicy. It is asked where there is such a policy; nil knows nothing.
	Policy func() map[string][]string
}

// Memory hands out buffers.
type Memory interface {
	// Take returns a buffer of size bytes, nil if none is left. It never waits.
	Take(size int64) []byte
	// Give takes one back; reuse is false while somebody may still read it.
	Give(buffer []byte, reuse bool)
}

// as returns the storage as the caller sees it.
func (v *Vault) as(c *Caller) storage.Backend { return v.o.Storage.As(c.Actor) }

// own returns the storage under the proxy's own credential, on behalf of a caller. What it
// tells may show only to whom the storage would have told it.
func (v *Vault) own(c *Caller) storage.Backend { return v.o.Storage.Own(c.Actor) }

// alone returns the storage under the proxy's own credential, on nobody's behalf.
func (v *Vault) alone() storage.Backend { return v.o.Storage.Own(storage.Actor{}) }

// copyBuffer is what data is moved with: two DARE packages.
const copyBuffer = 128 << 10

// discard reads src to its end. Its error is src's.
func (v *Vault) discard(src io.Reader) error {
	buffer := v.copies.Get().(*[copyBuffer]byte)
	defer func() {
		clear(buffer[:]) // plaintext
		v.copies.Put(buffer)
	}()
	for {
		if _, err := src.Read(buffer[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
