// Package verify reads what is stored and says what is wrong with it: every package is
// authenticated, and what clients know of an object, its ETag and checksum, is compared with
// its data. It changes nothing.
package verify

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Options are a Verifier's dependencies.
type Options struct {
	// Storage is where objects lie. Required.
	Storage storage.Storage
	// Objects opens them. Required.
	Objects *sealed.Objects
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Buckets returns the names of all buckets, with their creation dates. Required.
	Buckets func(context.Context) (map[string]time.Time, error)
	// Orphans tells of each manifest that no object needs, by its name. Required.
	Orphans func(ctx context.Context, tell func(name string)) error

	// SystemBucket is left alone.
	SystemBucket string
}

// Verifier verifies objects. It is safe for concurrent use.
type Verifier struct{ o Options }

// New checks the options.
func New(o Options) (*Verifier, error) {
	if o.Storage == nil || o.Objects == nil || o.Ready == nil || o.Buckets == nil || o.Orphans == nil {
		return nil, errors.New("verify: incomplete options")
	}
	return &Verifier{o}, nil
}

// Order says what is to be verified.
type Order struct {
	// Buckets are those that are looked at.
	Buckets glob.Patterns
	// As is a credential of the storage that may read their objects; nil is the proxy's own.
	As *storage.Credential
	// Sample is the share of the objects that are read, from 0 to 1, and Seed chooses which.
	Sample float64
	Seed   uint64
	// Since leaves out what is older.
	Since time.Time
	// Orphans looks for manifests that no object needs, too.
	Orphans bool
	// Workers is how many objects are read at a time. Rate bounds how many are begun in a
	// second, 0 for no bound.
	Workers int
	Rate    float64
	// From is where an earlier run came to. Reached is told of it, page by page.
	From    State
	Reached func(State) error
	// Found is told of everything that is wrong. Required.
	Found func(Finding)
}

// State is how far a verification is, and what it found until then.
type State struct {
	// Bucket is the one that is being looked at; those before it are done.
	Bucket string          `json:"bucket"`
	Place  inventory.Place `json:"place"`
	Counts Counts          `json:"counts"`
}

// Counts are counts of versions of objects.
type Counts struct {
	// Seen is how many were listed, Skipped how many of those were left out by sample or age.
	Seen    int64 `json:"seen"`
	Skipped int64 `json:"skipped"`
	// Good are those that are as they should be, Bytes their plaintexts'.
	Good  int64 `json:"good"`
	Bytes int64 `json:"bytes"`
	// Found is what was found, by its kind.
	Found map[Kind]int64 `json:"found"`
}

// Bad is how much was found that is wrong.
func (c *Counts) Bad() (n int64) {
	for kind, one := range c.Found {
		if kind.Bad() {
			n += one
		}
	}
	return n
}

func (c *Counts) clone() Counts {
	out := *c
	out.Found = maps.Clone(c.Found)
	return out
}

// Run verifies what an order asks for. It returns the counts also where it breaks off.
// ErrNoBucket, inventory.ErrRights, and errors of the storage and the key service that may
// pass.
func (v *Verifier) Run(ctx context.Context, order *Order) (*Counts, error) {
	r := &run{verifier: v, order: order, at: v.o.Storage.Own(storage.Actor{}), state: order.From, pace: inventory.NewPace(order.Rate)}
	if order.As != nil {
		r.at = v.o.Storage.As(storage.Actor{Credential: order.As})
	}
	r.state.Counts = order.From.Counts.clone()
	if r.state.Counts.Found == nil {
		r.state.Counts.Found = make(map[Kind]int64)
	}
	counts := &r.state.Counts
	if err := v.o.Ready(ctx); err != nil {
		return counts, err
	}
	dates, err := v.o.Buckets(ctx)
	if err != nil {
		return counts, err
	}
	looked := false
	for _, name := range slices.Sorted(maps.Keys(dates)) {
		if name == v.o.SystemBucket || !order.Buckets.Match(name) {
			continue
		}
		looked = true
		if name < order.From.Bucket {
			continue
		}
		if err := r.bucket(ctx, name); err != nil {
			return counts, err
		}
	}
	if !looked {
		return counts, ErrNoBucket
	}
	if order.Orphans {
		return counts, v.o.Orphans(ctx, func(name string) { r.note(Finding{Kind: Orphan, Key: name}) })
	}
	return counts, nil
}

// ErrNoBucket says that no bucket has a name that was asked for.
var ErrNoBucket = errors.New("no bucket matches")

// run is an order on its way.
type run struct {
	verifier *Verifier
	order    *Order
	at       storage.Backend
	pace     *inventory.Pace

	mu    sync.Mutex
	state State
}

func (r *run) bucket(ctx context.Context, name string) error {
	if r.state.Bucket != name {
		r.state.Bucket, r.state.Place = name, inventory.Place{}
	}
	return inventory.Walk(ctx, r.at, name, r.state.Place, func(versions []inventory.Version, next inventory.Place) error {
		if err := r.page(ctx, versions); err != nil {
			return err
		}
		r.state.Place = next
		if next == (inventory.Place{}) {
			r.state.Bucket += "\x00" // what comes behind it
		}
		if r.order.Reached == nil {
			return nil
		}
		reached := r.state
		reached.Counts = r.state.Counts.clone()
		return r.order.Reached(reached)
	})
}

// page verifies the versions of a page.
func (r *run) page(ctx context.Context, versions []inventory.Version) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(max(r.order.Workers, 1))
	for i := range versions {
		v := &versions[i]
		if v.Marker {
			continue
		}
		r.count(func(c *Counts) { c.Seen++ })
		if !r.chosen(v) {
			r.count(func(c *Counts) { c.Skipped++ })
			continue
		}
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return r.version(working, v) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (r *run) count(f func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.state.Counts)
}

// note tells of a finding.
func (r *run) note(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Counts.Found[f.Kind]++
	r.order.Found(f)
}

// chosen says whether a version is in the sample.
func (r *run) chosen(v *inventory.Version) bool {
	if v.Modified.Before(r.order.Since) {
		return false
	}
	if r.order.Sample >= 1 {
		return true
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%x/%s/%s/%s", r.order.Seed, v.Name.Bucket, v.Name.Key, v.ID)
	x := h.Sum64() // its low bits are well mixed, its high ones are not
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11)/(1<<53) < r.order.Sample
}

// readTries is how often a version is looked at that changes meanwhile or cannot be reached.
const readTries = 4

// version verifies one version. An error is what ends the run.
func (r *run) version(ctx context.Context, v *inventory.Version) error {
	for n := 1; ; n++ {
		if err := r.pace.Wait(ctx); err != nil {
			return err
		}
		size, err := r.check(ctx, v)
		kind, passes := kindOf(err)
		switch {
		case err == nil:
			r.count(func(c *Counts) { c.Good++; c.Bytes += size })
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case kind == changed && n == readTries, errors.Is(err, storage.ErrNotFound):
			r.count(func(c *Counts) { c.Skipped++ }) // it is another one, or none, by now
			return nil
		case passes && n == readTries:
			return err
		case passes:
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Duration(n) * 250 * time.Millisecond):
			}
		case kind == changed:
		default:
			r.note(Finding{Kind: kind, Bucket: v.Name.Bucket, Key: v.Name.Key, Version: v.ID, Err: err})
			return nil
		}
	}
}
