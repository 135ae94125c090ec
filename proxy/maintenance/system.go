package maintenance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// systemPasses bounds how often the system bucket is gone through: servers that had not heard
// of a new version yet sealed something under the former one after it was passed.
const systemPasses = 3

// SystemUnder is what system objects are counted by.
type SystemUnder struct {
	KMSKey  string
	Version uint32
}

// SystemUsage is how many objects of the system bucket lie under each version of a KMS key,
// and how large they are.
type SystemUsage struct {
	Counts map[SystemUnder]Count
	// Unknown are those of which it cannot be told, 1,000 at most.
	Unknown []Unknown
}

// countSystem counts one of the proxies' own objects. No key is opened for it.
func (k *Keeper) countSystem(ctx context.Context, u *SystemUsage, n system.Note) error {
	s := k.systemObject(n)
	if s.unsealed() {
		return nil
	}
	switch err := k.look(ctx, &s); {
	case sealed.MayPass(err):
		return err
	case errors.Is(err, system.ErrNotFound): // it went while the page was read
	case err != nil:
		if len(u.Unknown) < maxUnknown {
			u.Unknown = append(u.Unknown, Unknown{Name: k.systemName(n.Name), Err: err})
		}
	default:
		count := u.Counts[s.under]
		count.Objects++
		count.Bytes += n.Size + int64(len(n.Value))
		u.Counts[s.under] = count
	}
	return nil
}

// systemObject is one object in the system bucket.
type systemObject struct {
	note   system.Note
	layout system.Layout
	under  SystemUnder
	err    error // of its layout
}

func (k *Keeper) systemName(name string) sse.Name {
	return sse.Name{Bucket: k.o.SystemBucket, Key: name}
}

// ownKey is the KMS key that system objects lie under.
func (k *Keeper) ownKey() string { return k.o.System.Key() }

func (k *Keeper) systemObject(n system.Note) systemObject {
	s := systemObject{note: n}
	s.layout, s.err = system.LayoutOf(k.o.Layout, n.Name)
	return s
}

// unsealed says that an object is none that is sealed.
func (s *systemObject) unsealed() bool { return s.err == nil && s.layout.Kind == "" }

// eachNote calls f for each page of the system bucket, behind a name.
func (k *Keeper) eachNote(ctx context.Context, after string, f func([]system.Note) error) error {
	for {
		notes, more, err := k.o.System.ListNotes(ctx, "", after)
		if err != nil {
			return fmt.Errorf("list the system bucket: %w", err)
		}
		if err := f(notes); err != nil || !more || len(notes) == 0 {
			return err
		}
		after = notes[len(notes)-1].Name
	}
}

// eachSystem calls f for each page of the system bucket behind a name, without what is not sealed.
// last is the last name of the page.
func (k *Keeper) eachSystem(ctx context.Context, after string, f func(page []systemObject, last string) error) error {
	return k.eachNote(ctx, after, func(notes []system.Note) error {
		if len(notes) == 0 {
			return nil
		}
		page := make([]systemObject, 0, len(notes))
		for _, n := range notes {
			if s := k.systemObject(n); !s.unsealed() {
				page = append(page, s)
			}
		}
		return f(page, notes[len(notes)-1].Name)
	})
}

// look finds out what an object lies under.
func (k *Keeper) look(ctx context.Context, s *systemObject) (err error) {
	switch {
	case s.err != nil:
		return s.err
	case s.layout.Note:
		s.under.KMSKey, s.under.Version, err = system.UnderOf(s.note)
	default:
		s.under.KMSKey, s.under.Version, err = k.o.System.Under(ctx, s.note.Name)
	}
	return err
}

// system does the objects of the system bucket behind a name, if they are in scope.
func (r *rewrap) system(ctx context.Context, after string) error {
	own := r.keeper.ownKey()
	switch {
	case r.o.Key == own && r.o.To != "" && r.o.To != own:
		return fmt.Errorf("what the proxies keep for themselves stays under %q: %w", own, keyring.ErrNotRewrapped)
	case len(r.o.Buckets) > 0, r.o.Selects(), r.o.Key != "" && r.o.Key != own, r.o.To != "" && r.o.To != own:
		return nil
	}
	newest, err := r.newestOf(ctx, own)
	if err != nil {
		return err
	}
	for pass := 1; ; pass++ {
		before := r.total.SystemDone
		if err := r.systemPass(ctx, newest, pass == 1, after); err != nil {
			return err
		}
		after = ""
		if r.total.SystemDone == before || r.o.CountOnly || r.o.DryRun || pass == systemPasses {
			return nil
		}
	}
}

// systemPass goes through the system bucket once, from behind a name. What cannot be done is
// reported by the first pass only.
func (r *rewrap) systemPass(ctx context.Context, newest uint32, first bool, after string) error {
	return r.keeper.eachSystem(ctx, after, func(page []systemObject, last string) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(rewrappers)
		for i := range page {
			s := &page[i]
			if first {
				r.total.System++
			}
			err := r.keeper.look(ctx, s)
			if sealed.MayPass(err) {
				return errors.Join(err, group.Wait())
			}
			if err != nil {
				if first && !errors.Is(err, system.ErrNotFound) {
					r.systemReport(s, Rewrapped{Err: err})
				}
				continue
			}
			if !r.systemInScope(s, newest) {
				continue
			}
			if r.o.CountOnly {
				r.total.SystemDone++
				continue
			}
			if err := r.limit.Wait(ctx); err != nil {
				return errors.Join(err, group.Wait())
			}
			if err := r.trail.soil(ctx); err != nil {
				return errors.Join(err, group.Wait())
			}
			group.Go(func() error {
				r.systemOne(ctx, s, newest, first)
				return ctx.Err()
			})
		}
		err := group.Wait()
		r.progress()
		if err == nil {
			r.trail.reach(progress.Place{Phase: progress.System, After: last})
		}
		return err
	})
}

// systemInScope says whether an object is to be sealed anew.
func (r *rewrap) systemInScope(s *systemObject, newest uint32) bool {
	limit := newest
	if r.o.OlderThan > 0 {
		limit = min(limit, r.o.OlderThan)
	}
	return s.under.KMSKey == r.keeper.ownKey() && s.under.Version < limit
}

// systemOne seals one object anew, several times where what fails may pass, or where somebody
// wrote it meanwhile.
func (r *rewrap) systemOne(ctx context.Context, s *systemObject, newest uint32, first bool) {
	for try := 1; ; try++ {
		done, err := r.reseal(ctx, s, newest)
		again := errors.Is(err, system.ErrConflict) || sealed.MayPass(err)
		if err == nil && done == 0 { // nothing is left to do
			return
		}
		if err == nil || !again || try == rewrapTries {
			if err == nil || first {
				r.systemReport(s, Rewrapped{ToVersion: done, Err: err})
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rewrapPause << try):
		}
		if s.note, err = r.keeper.o.System.Look(ctx, s.note.Name); errors.Is(err, system.ErrNotFound) {
			return // it is needed no more
		}
		if err == nil {
			err = r.keeper.look(ctx, s)
		}
		if err == nil && !r.systemInScope(s, newest) { // another one did it
			return
		}
	}
}

// reseal seals one object anew and returns the version of the KMS key that it lies under then;
// 0 for an object that is gone.
func (r *rewrap) reseal(ctx context.Context, s *systemObject, newest uint32) (version uint32, err error) {
	if r.o.DryRun {
		return newest, r.keeper.o.System.Opens(ctx, s.layout, s.note)
	}
	version, err = r.keeper.o.System.Reseal(ctx, s.layout, s.note, newest)
	if errors.Is(err, system.ErrNotFound) {
		return 0, nil
	}
	return version, err
}

// systemReport reports an object that was sealed anew, or could not be.
func (r *rewrap) systemReport(s *systemObject, done Rewrapped) {
	own := r.keeper.ownKey()
	done.Name, done.System = r.keeper.systemName(s.note.Name), true
	done.FromKey, done.FromVersion, done.ToKey = s.under.KMSKey, s.under.Version, own
	r.report(done)
}
