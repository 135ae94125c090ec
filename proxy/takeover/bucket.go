package takeover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// run is an order on its way.
type run struct {
	taker *Taker
	order *Order
	at    storage.Backend
	pace  *inventory.Pace
	began time.Time

	mu    sync.Mutex
	total Counts // of buckets that are done
}

// pass is one look at all that a bucket has.
type pass struct {
	*run
	// whole is why nothing in the bucket is taken over, nil if things are; locks says that its
	// versions may be locked, retains that what is stored gets a retention.
	whole          error
	locks, retains bool
	// n is the pass's number, from 1; after the last one none follows.
	n    int
	last bool

	mu sync.Mutex
	Counts
	changed int64
}

// bucket looks at a bucket until a pass has found nothing to do.
func (r *run) bucket(ctx context.Context, name string) (Bucket, error) {
	out := Bucket{Name: name}
	var whole *leaving
	err := r.whole(ctx, name)
	if err != nil && !errors.As(err, &whole) {
		return out, err
	}
	locks, retains := false, false
	if whole == nil {
		if locks, retains, err = r.at.Locks(ctx, name); err != nil {
			return out, fmt.Errorf("has the bucket object lock: %w", err)
		}
	}
	for n := 1; ; n++ {
		p := &pass{run: r, locks: locks, retains: retains, n: n, last: n == maxPasses}
		if whole != nil {
			p.whole = whole
		}
		err := p.walk(ctx, name)
		before := out.Counts
		out.Counts = p.Counts
		out.Done += before.Done
		out.DoneBytes += before.DoneBytes
		out.NewETags += before.NewETags
		if n > 1 { // what was there before anything was done
			out.Plain, out.Own, out.Bytes = before.Plain, before.Own, before.Bytes
		}
		if err != nil {
			return out, err
		}
		if r.order.DryRun || p.Done == 0 && p.changed == 0 || p.last {
			out.Clean = p.Seen == p.Sealed
			r.mu.Lock()
			r.total.add(&out.Counts)
			r.mu.Unlock()
			return out, nil
		}
	}
}

// walk does one pass. Versions of a key that a listing tells the same age are looked at
// together, also where a page ends between them.
func (p *pass) walk(ctx context.Context, bucket string) error {
	var open []inventory.Version
	return inventory.Walk(ctx, p.at, bucket, inventory.Place{}, func(versions []inventory.Version, next inventory.Place) error {
		all := append(open, versions...)
		end := len(all)
		if next != (inventory.Place{}) {
			for end > 0 && sameAge(&all[end-1], &all[len(all)-1]) {
				end--
			}
			if len(all)-end > maxSameAge {
				end = len(all)
			}
		}
		open = append([]inventory.Version(nil), all[end:]...)
		err := p.page(ctx, all[:end])
		p.tell()
		return err
	})
}

// maxSameAge bounds how many versions are kept for the next page.
const maxSameAge = 1000

func sameAge(a, b *inventory.Version) bool {
	return a.Name == b.Name && a.Modified.Equal(b.Modified)
}

// page works on versions, those of one key one after another from the newest.
func (p *pass) page(ctx context.Context, all []inventory.Version) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(max(p.order.Workers, 1))
	for len(all) > 0 && working.Err() == nil {
		n := 1
		for n < len(all) && all[n].Name == all[0].Name {
			n++
		}
		ofKey := all[:n]
		all = all[n:]
		if !p.wanted(ofKey) {
			continue
		}
		group.Go(func() error { return p.key(working, ofKey) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// wanted counts versions, and says whether there is anything to be done about one.
func (p *pass) wanted(versions []inventory.Version) (some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range versions {
		v := &versions[i]
		if v.Marker {
			continue
		}
		p.Seen++
		switch rec, err := sealed.RecordOf(v.Reserved); {
		case err == nil && rec != nil && v.Encrypted == "":
			p.Sealed++
			continue
		case err == nil && rec == nil:
			if p.Bytes += v.Size; v.Encrypted != "" {
				p.Own++
			} else {
				p.Plain++
			}
		}
		some = true
	}
	return some
}

// key works on the versions of one key.
func (p *pass) key(ctx context.Context, versions []inventory.Version) error {
	for len(versions) > 0 {
		n, marker := 0, false
		for n < len(versions) && sameAge(&versions[n], &versions[0]) {
			marker = marker || versions[n].Marker
			n++
		}
		for i := range versions[:n] {
			v := &versions[i]
			if v.Marker {
				continue
			}
			age := v.Modified
			if n > 1 { // the newest first: each stays newer than what follows
				age = age.Add(time.Millisecond - time.Duration(i+1))
			}
			if err := p.version(ctx, v, age, marker); err != nil {
				return err
			}
		}
		versions = versions[n:]
	}
	return nil
}

// version works on one version, which is to have an age. What happens to the one object is
// noted; the error is what ends the pass.
func (p *pass) version(ctx context.Context, v *inventory.Version, age time.Time, marker bool) error {
	rec, err := sealed.RecordOf(v.Reserved)
	switch {
	case err != nil:
		return p.leave(v, leave(Damaged, "%w", err))
	case rec != nil && v.Encrypted != "":
		return p.leave(v, &leaving{reason: Twice})
	case rec != nil:
		return nil
	case v.Encrypted == inventory.Customer:
		return p.leave(v, &leaving{reason: CustomerKey})
	case p.whole != nil:
		return p.leave(v, p.whole)
	case marker:
		return p.leave(v, &leaving{reason: SameAge})
	}
	if err := p.pace.Wait(ctx); err != nil {
		return err
	}
	t := &taking{pass: p, version: v, age: age}
	if p.order.DryRun {
		return p.leave(v, t.look(ctx))
	}
	done, err := t.patiently(ctx)
	if err == nil {
		p.mu.Lock()
		p.Done++
		p.DoneBytes += done.size
		if done.newETag {
			p.NewETags++
		}
		p.mu.Unlock()
		p.tell()
		return nil
	}
	return p.leave(v, err)
}

// leave notes that an object stays as it is, if that is what err says. nil for an error that
// concerns the one object only.
func (p *pass) leave(v *inventory.Version, err error) error {
	var left *leaving
	switch {
	case err == nil:
		return nil
	case (errors.Is(err, sealed.ErrChanged) || errors.Is(err, storage.ErrNotFound)) && !p.last: // or deleted
		p.mu.Lock()
		p.changed++
		p.mu.Unlock()
		return nil
	case errors.Is(err, sealed.ErrChanged), errors.Is(err, storage.ErrNotFound):
		left = &leaving{Busy, err}
	case !errors.As(err, &left):
		var answer *storage.Error
		if !errors.As(err, &answer) || answer.Status >= 500 {
			return err
		}
		left = &leaving{Refused, err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Left == nil {
		p.Left = make(map[Reason]int64)
	}
	p.Left[left.reason]++
	if p.n > 1 && left.reason != Busy && v.Modified.Before(p.began) {
		return nil // told before
	}
	p.order.Left(Left{Bucket: v.Name.Bucket, Key: v.Name.Key, Version: v.ID, Reason: left.reason, Err: left.err})
	return nil
}

// tell says how far the run is.
func (p *pass) tell() {
	p.run.mu.Lock()
	sum := Counts{}
	sum.add(&p.total)
	p.run.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	sum.add(&p.Counts)
	p.order.Progress(sum)
}
