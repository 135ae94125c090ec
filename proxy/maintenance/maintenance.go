// Package maintenance keeps what lies in the system bucket about objects in order, on
// nobody's behalf: it removes what nothing needs, and makes anew what was lost.
package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// Options are a Keeper's dependencies.
type Options struct {
	// Storage is where objects lie. Required.
	Storage storage.Storage
	// Keys are the keys of objects, and Objects the encrypted ones. Required.
	Keys    *keyring.Ring
	Objects *sealed.Objects
	// System is the system bucket; Manifests, Ledger and Wraps are what lies there of
	// objects and uploads. Required.
	System    *system.Store
	Manifests *manifest.Store
	Ledger    *manifest.Ledger
	Wraps     *manifest.Wraps
	// Rekeyed says which wraps count. Required.
	Rekeyed *rekey.Book
	// KMS describes KMS keys. Required.
	KMS kms.Service
	// Buckets returns the names of all buckets, as the proxy's own credential sees them;
	// SystemBucket is the one that holds no objects of clients. Required.
	Buckets      func(context.Context) (map[string]time.Time, error)
	SystemBucket string
	// Layout says what the objects of the system bucket are. Required.
	Layout []system.Layout
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Clock returns the storage's time. Required.
	Clock func(context.Context) (time.Time, error)

	// Logger is told what operators should know. Required.
	Logger *slog.Logger
	// SweepOthers is called at the end of each sweep; nil for nothing.
	SweepOthers SweepOthers
	// AuditRewrap is told of each key that was sealed anew, or could not be; never by two at
	// a time. Nil for nobody.
	AuditRewrap func(Rewrapped)
	// LateWrite returns when a write under a version of a KMS key that was not the newest any
	// more was last noted, zero for never. Nil where nobody notes that.
	LateWrite func(context.Context) (time.Time, error)
	// SaveEvery is how often a re-wrap stores how far it is, at most; 0 is 500 ms.
	SaveEvery time.Duration
	// Settles is how long after a run of a re-wrap began no server seals under an older version
	// of a KMS key any more without noting that; 0 is 10 s.
	Settles time.Duration
}

// Keeper does the maintenance of an installation. It is safe for concurrent use.
type Keeper struct {
	o    Options
	last lastSweep
}

// New checks the options and returns a keeper that has done nothing yet.
func New(o Options) (*Keeper, error) {
	if o.Storage == nil || o.Keys == nil || o.Objects == nil || o.System == nil || o.Manifests == nil || o.Ledger == nil || o.Wraps == nil || o.Rekeyed == nil ||
		o.KMS == nil || o.Buckets == nil || o.SystemBucket == "" || len(o.Layout) == 0 || o.Ready == nil || o.Clock == nil || o.Logger == nil {
		return nil, errors.New("maintenance: incomplete options")
	}
	return &Keeper{o: o}, nil
}

// alone returns the storage under the proxy's own credential, on nobody's behalf.
func (k *Keeper) alone() storage.Backend { return k.o.Storage.Own(storage.Actor{}) }
