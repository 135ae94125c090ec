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
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/listing"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/turns"
)

// Options are a Vault's dependencies and settings.
type Options struct {
	// Storage is where objects lie. Required.
	Storage storage.Storage
	// Keys are the keys of objects, and Objects the encrypted ones. Required.
	Keys    *keyring.Ring
	Objects *sealed.Objects
	// Manifests and Ledger are what lies in the system bucket of objects and uploads.
	// Required.
	Manifests *manifest.Store
	Ledger    *manifest.Ledger
	// Rekeyed says how objects are encrypted that were re-keyed. Required.
	Rekeyed *rekey.Book
	// Encryption says how writes are encrypted. Required.
	Encryption *encryption.Settings
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error

	// PlainRead lists the buckets whose objects without a record are readable.
	PlainRead glob.Patterns
	// SmallObject is the size in bytes up to which an upload is read whole before it is
	// sent on.
	SmallObject int64
	// ListingCache is how many bytes of memory may be used to remember what listings show;
	// 0 remembers nothing.
	ListingCache int64
	// Logger is told what operators should know; nil means slog.Default().
	Logger *slog.Logger
}

// Vault is the object engine. It is safe for concurrent use.
type Vault struct {
	o       Options
	plain   atomic.Pointer[glob.Patterns]
	log     *slog.Logger
	lists   *listing.Lister
	layouts layouts
	senders partSenders
	commits commits
	circles turns.Copies
	turns   turns.ByKey // of Completes, by the storage's upload ids
	copies  sync.Pool   // of *[copyBuffer]byte
}

// New checks the options and returns an engine that has asked for nothing yet.
func New(o Options) (*Vault, error) {
	if o.Storage == nil || o.Keys == nil || o.Objects == nil || o.Manifests == nil || o.Ledger == nil || o.Rekeyed == nil || o.Encryption == nil ||
		o.Ready == nil {
		return nil, errors.New("vault: incomplete options")
	}
	if lacks := o.Storage.Capabilities().Missing(); lacks != "" {
		return nil, fmt.Errorf("vault: the storage lacks %s", lacks)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	lists, err := listing.New(listing.Options{
		Storage: o.Storage, Keys: o.Keys, Objects: o.Objects, Manifests: o.Manifests, Logger: o.Logger, Cache: o.ListingCache,
	})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	v := &Vault{o: o, log: o.Logger, lists: lists}
	v.AdoptPlainRead(o.PlainRead)
	v.copies.New = func() any { return new([copyBuffer]byte) }
	return v, nil
}

// as returns the storage as the caller sees it.
func (v *Vault) as(c *caller.Caller) storage.Backend { return v.o.Storage.As(c.Actor) }

// own returns the storage under the proxy's own credential, on behalf of a caller. What it
// tells may show only to whom the storage would have told it. A refusal of that credential is
// storage.ErrOwnCredential or ErrOwnRights.
func (v *Vault) own(c *caller.Caller) storage.Backend { return v.o.Storage.Own(c.Actor) }

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
