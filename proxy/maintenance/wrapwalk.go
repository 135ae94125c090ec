package maintenance

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// maxAhead bounds the wraps that are kept of what was passed, about 800 bytes each.
const maxAhead = 16384

// wrapWalk finds the wraps of objects while the system bucket is gone through once, whoever needs
// all of it: both are listed in the order of names. What is asked for in another order is listed
// by itself.
type wrapWalk struct {
	keeper *Keeper
	// pages are those of the system bucket, in order.
	pages <-chan []system.Note
	// passed is told of each note once.
	passed func(context.Context, system.Note) error

	rest []system.Note // of the last page, not passed yet
	// from is the name behind which all wraps are known that are needed: those in ahead, and those
	// that were not passed yet.
	from  string
	ahead map[manifest.WrapRef]system.Note
	// full says that ahead had no room for all.
	full bool
}

// find gives each record its wrap.
func (w *wrapWalk) find(ctx context.Context, bucket string, todo []*sealedOnce) error {
	if len(todo) == 0 {
		return nil
	}
	first, last := spanOf(todo)
	after, end := manifest.WrapNames(bucket, first, last)
	if after < w.from {
		return w.keeper.findWraps(ctx, bucket, todo)
	}
	w.forget(after)
	if err := w.pass(ctx, end); err != nil {
		return err
	}
	if w.full {
		w.full = false
		w.forget(end)
		return w.keeper.findWraps(ctx, bucket, todo)
	}
	for _, s := range todo {
		if err := w.take(ctx, s); err != nil {
			return err
		}
	}
	after, _ = manifest.WrapNames(bucket, last, last)
	w.forget(after) // and no further: the next page may have older versions of this object
	return nil
}

// take gives one record its wrap.
func (w *wrapWalk) take(ctx context.Context, s *sealedOnce) error {
	note, there := w.ahead[s.WrapRef]
	if !there {
		return w.keeper.findHashed(ctx, s)
	}
	wrap, err := w.keeper.o.Wraps.Open(ctx, s.WrapRef, note)
	if err != nil && !errors.Is(err, manifest.ErrNoWrap) {
		return err
	}
	s.wrap = wrap // what does not open is none
	return nil
}

// forget says that nothing is needed that comes before a name.
func (w *wrapWalk) forget(name string) {
	w.from = name
	for ref := range w.ahead {
		if !w.needs(ref) {
			delete(w.ahead, ref)
		}
	}
}

func (w *wrapWalk) needs(ref manifest.WrapRef) bool {
	name, _ := manifest.WrapNames(ref.Name.Bucket, ref.Name.Key, ref.Name.Key)
	return name >= w.from
}

// pass goes on to a name, "" for the end.
func (w *wrapWalk) pass(ctx context.Context, end string) error {
	for {
		for i, n := range w.rest {
			if end != "" && n.Name >= end {
				w.rest = w.rest[i:]
				return nil
			}
			if err := w.passed(ctx, n); err != nil {
				return err
			}
			w.keep(n)
		}
		more := false
		select {
		case w.rest, more = <-w.pages:
		case <-ctx.Done():
		}
		if !more {
			w.rest = nil
			return context.Cause(ctx)
		}
	}
}

// keep keeps a wrap that may be needed. Those of one record come in the order of their
// sequences.
func (w *wrapWalk) keep(n system.Note) {
	ref, err := manifest.WrapOf(n.Name)
	if err != nil || !w.needs(ref) {
		return
	}
	if _, there := w.ahead[ref]; !there && len(w.ahead) >= maxAhead {
		w.full = true
		return
	}
	w.ahead[ref] = n
}

// spanOf returns the first and the last key of some records.
func spanOf(todo []*sealedOnce) (first, last string) {
	first, last = todo[0].Name.Key, todo[0].Name.Key
	for _, s := range todo {
		first, last = min(first, s.Name.Key), max(last, s.Name.Key)
	}
	return first, last
}
