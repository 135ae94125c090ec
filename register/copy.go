package register

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
)

// maxOvertaken bounds how often one read is repeated because a change of this process came between. Each time one of
// our own changes was stored meanwhile, so only a broken store reaches it.
const maxOvertaken = 32

// snapshot is the document as it was read or stored at one moment. Not modified after it is published.
type snapshot[T any] struct {
	doc  T
	gen  uint64            // the document's; 0 for the absent one
	etag string            // "" for the absent one
	sum  [sha256.Size]byte // of the encoded document; zero for the absent one
	// start is from before the read or the store was sent: until one lease later the snapshot answers.
	start Instant
	// seen is when this process first knew this generation.
	seen Instant
}

// load reads the document and returns the newest snapshot, at least as new as the moment of the call. Errors wrap
// Options.Unavailable and what the store said.
func (r *Register[T]) load(ctx context.Context) (*snapshot[T], error) {
	for range maxOvertaken {
		s, overtaken, err := r.loadOnce(ctx)
		if !overtaken {
			return s, err
		}
	}
	return nil, r.unavailable("load", errors.New("overtaken by changes again and again"))
}

func (r *Register[T]) loadOnce(ctx context.Context) (s *snapshot[T], overtaken bool, err error) {
	base := r.cur.Load()
	etag := ""
	if base != nil {
		etag = base.etag
	}
	start := r.clock.Now()
	data, newETag, err := r.o.Store.Load(ctx, etag)
	switch {
	case errors.Is(err, ErrNotModified) && etag != "":
		return r.publish(base, &snapshot[T]{doc: base.doc, gen: base.gen, etag: base.etag, sum: base.sum, start: start})
	case errors.Is(err, ErrNotFound) && r.o.Absent != nil && (base == nil || base.gen == 0):
		return r.publish(base, &snapshot[T]{doc: r.o.Absent(), start: start})
	case err != nil:
		return nil, false, r.unavailable("load", err)
	case newETag == "":
		return nil, false, r.unavailable("load", errors.New("it has no ETag"))
	}
	doc, err := r.o.Decode(data)
	if err != nil {
		return nil, false, r.unavailable("load", err)
	}
	gen := r.o.Generation(doc)
	if gen == 0 {
		return nil, false, r.unavailable("load", errors.New("it has no generation"))
	}
	return r.publish(base, &snapshot[T]{doc: doc, gen: gen, etag: newETag, sum: sha256.Sum256(data), start: start})
}

// publish makes next the current snapshot unless it is older than the current one. base was current when the call that
// brought next was sent: a document older than that was put back, one that is only older than the current one was
// overtaken on its way.
func (r *Register[T]) publish(base, next *snapshot[T]) (s *snapshot[T], overtaken bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cur := r.cur.Load()
	if base != nil && next.gen < base.gen {
		return nil, false, r.unavailable("load", fmt.Errorf("generation %d is older than %d, which was seen before", next.gen, base.gen))
	}
	next.seen = r.clock.Now()
	if cur != nil {
		switch {
		case next.gen < cur.gen:
			return nil, true, nil
		case next.gen == cur.gen && next.sum != cur.sum:
			return nil, false, r.unavailable("load", fmt.Errorf("another %s of generation %d was seen before", r.o.Name, next.gen))
		case next.gen == cur.gen:
			next.doc, next.seen = cur.doc, cur.seen
		}
	}
	r.cur.Store(next)
	return next, false, nil
}
