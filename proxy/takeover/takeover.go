// Package takeover makes encrypted objects of those that were there before the proxy: plain
// ones, and those that the storage encrypted itself. Each takes its own place: version id,
// age, metadata, tags and retention stay, and so does the ETag with SSE-S3.
//
// An object is read whole, sealed, and stored under the condition that it is still the one
// that was read. Nothing is kept about what was done: a listing shows it.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Options are a Taker's dependencies.
type Options struct {
	// Storage is where objects lie. It must be able to replace versions. Required.
	Storage storage.Storage
	// Keys are the keys of objects, Manifests describe those of parts, and Encryption says
	// how buckets are encrypted. Required.
	Keys       *keyring.Ring
	Manifests  *manifest.Store
	Encryption *encryption.Settings
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Buckets returns the names of all buckets, with their creation dates. Required.
	Buckets func(context.Context) (map[string]time.Time, error)

	// PlainRead lists the buckets that plain objects are expected in.
	PlainRead glob.Patterns
	// SystemBucket is left alone.
	SystemBucket string
}

// Taker takes objects over. It is safe for concurrent use.
type Taker struct{ o Options }

// New checks the options.
func New(o Options) (*Taker, error) {
	if o.Storage == nil || o.Keys == nil || o.Manifests == nil || o.Encryption == nil || o.Ready == nil || o.Buckets == nil {
		return nil, errors.New("takeover: incomplete options")
	}
	return &Taker{o}, nil
}

// Order says what is to be taken over, and how.
type Order struct {
	// Buckets are those that are looked at.
	Buckets glob.Patterns
	// As is a credential of the storage that may read and write their objects; nil is the
	// proxy's own.
	As *storage.Credential
	// DryRun only counts.
	DryRun bool
	// Governance also takes over what is retained in governance mode. The retention stays.
	Governance bool
	// Workers is how many objects are worked on at a time, 0 means 4.
	Workers int
	// Rate bounds how many objects are begun in a second, 0 for no bound.
	Rate float64
	// Memory is the size in bytes up to which an object is held in memory. Of larger ones the
	// ciphertext goes to a file in Spool, "" for the system's directory, that nobody else can
	// open.
	Memory int64
	Spool  string
	// Left is told of each object that stays as it is, and why. Required.
	Left func(Left)
	// Progress is told, from time to time, of what was done so far. Required.
	Progress func(Counts)
}

// Left is an object that stays readable at the storage.
type Left struct {
	Bucket, Key, Version string
	Reason               Reason
	// Err says more, nil for nothing.
	Err error
}

// Counts are counts of versions of objects.
type Counts struct {
	// Seen is how many were listed, delete markers apart, and Sealed how many of those were
	// encrypted by the proxy before.
	Seen, Sealed int64
	// Plain and Own are those found plain, and encrypted by the storage itself. Bytes are
	// theirs together.
	Plain, Own, Bytes int64
	// Done were taken over, DoneBytes are their plaintexts'.
	Done, DoneBytes int64
	// NewETags is how many of Done have another ETag than before.
	NewETags int64
	// Left is how many stay as they are, by their reasons.
	Left map[Reason]int64
}

func (c *Counts) add(d *Counts) {
	c.Seen += d.Seen
	c.Sealed += d.Sealed
	c.Plain += d.Plain
	c.Own += d.Own
	c.Bytes += d.Bytes
	c.Done += d.Done
	c.DoneBytes += d.DoneBytes
	c.NewETags += d.NewETags
	for reason, n := range d.Left {
		if c.Left == nil {
			c.Left = make(map[Reason]int64)
		}
		c.Left[reason] += n
	}
}

// Bucket is what became of a bucket.
type Bucket struct {
	Name string
	// Counts are of all passes; Seen, Sealed and Left of the last one.
	Counts
	// Clean says that a pass over all of it found nothing that the storage can read.
	Clean bool
}

// maxPasses bounds how often a bucket is listed. Each pass but the first is for what was
// changed while the last one ran.
const maxPasses = 8

// Result is what became of what was asked for.
type Result struct {
	Buckets []Bucket
	// Others is how many buckets plain_read lists besides.
	Others int
}

// Clean says that nothing was found that the storage can read, in none of the buckets.
func (r *Result) Clean() bool {
	return len(r.Buckets) > 0 && !slices.ContainsFunc(r.Buckets, func(b Bucket) bool { return !b.Clean })
}

// Run takes over what an order asks for. It returns what became of each bucket, also where
// it breaks off: run again, it goes on. ErrNoBucket, ErrEncryptedTwice, inventory.ErrRights,
// and the errors of the storage and of the key service.
func (t *Taker) Run(ctx context.Context, order *Order) (*Result, error) {
	done := new(Result)
	if !t.o.Storage.Capabilities().ReplacesVersions {
		return done, errors.New("the storage cannot put an object in the place of a version")
	}
	if err := t.o.Ready(ctx); err != nil {
		return done, err
	}
	dates, err := t.o.Buckets(ctx)
	if err != nil {
		return done, err
	}
	run := &run{taker: t, order: order, at: t.o.Storage.Own(storage.Actor{}), pace: inventory.NewPace(order.Rate), began: time.Now()}
	if order.As != nil {
		run.at = t.o.Storage.As(storage.Actor{Credential: order.As})
	}
	for _, name := range slices.Sorted(maps.Keys(dates)) {
		if name == t.o.SystemBucket {
			continue
		}
		if !order.Buckets.Match(name) {
			if t.o.PlainRead.Match(name) {
				done.Others++
			}
			continue
		}
		one, err := run.bucket(ctx, name)
		done.Buckets = append(done.Buckets, one)
		if err != nil {
			return done, fmt.Errorf("bucket %q: %w", name, err)
		}
	}
	if len(done.Buckets) == 0 {
		return done, ErrNoBucket
	}
	return done, nil
}

// Sentinels.
var (
	// ErrNoBucket says that no bucket has a name that was asked for.
	ErrNoBucket = errors.New("no bucket matches")
	// ErrEncryptedTwice says that the storage has encrypted once more what was stored.
	ErrEncryptedTwice = errors.New("the storage encrypts what is stored by a rule or setting of its own: take MINIO_KMS_AUTO_ENCRYPTION, or the bucket's rule there, away first")
)
