package bucketconfig

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxOvertaken bounds how often one load is repeated because a change of this process came between. Each time one of
// our own changes was stored meanwhile, so only a broken backend reaches it.
const maxOvertaken = 32

// snapshot is the index as it was read or stored at one moment. Not modified after it is published.
type snapshot struct {
	index *index
	etag  string
	sum   [sha256.Size]byte // of the encoded index
	// start is from before the read or the store was sent: until one lease later the snapshot answers.
	start instant
	// seen is when this process first knew this generation.
	seen instant
}

// cache holds the newest index this process has seen.
type cache struct {
	backend Backend
	clock   clock
	lease   time.Duration

	mu  sync.Mutex               // held while cur is replaced
	cur atomic.Pointer[snapshot] // nil until the first load; its generation never falls
}

// load reads the index and returns the newest snapshot, at least as new as the moment of the call. Errors are ErrNotFound
// as the backend gave it or wrapped in ErrUnavailable.
func (c *cache) load(ctx context.Context) (*snapshot, error) {
	for range maxOvertaken {
		s, overtaken, err := c.loadOnce(ctx)
		if !overtaken {
			return s, err
		}
	}
	return nil, unavailable("load index", errors.New("overtaken by changes again and again"))
}

func (c *cache) loadOnce(ctx context.Context) (s *snapshot, overtaken bool, err error) {
	base := c.cur.Load()
	etag := ""
	if base != nil {
		etag = base.etag
	}
	start := c.clock.now()
	data, newETag, err := c.backend.Load(ctx, etag)
	if errors.Is(err, ErrNotModified) && base != nil {
		return c.publish(base, &snapshot{index: base.index, etag: base.etag, sum: base.sum, start: start})
	}
	if err != nil {
		return nil, false, unavailable("load index", err)
	}
	if newETag == "" {
		return nil, false, unavailable("load index", errors.New("it has no ETag"))
	}
	index, err := decodeIndex(data)
	if err != nil {
		return nil, false, unavailable("load index", err)
	}
	return c.publish(base, &snapshot{index: index, etag: newETag, sum: sha256.Sum256(data), start: start})
}

// publish makes next the current snapshot unless it is older than the current one. base was current when the call that
// brought next was sent: an index older than that was put back, one that is only older than the current one was
// overtaken on its way.
func (c *cache) publish(base, next *snapshot) (s *snapshot, overtaken bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cur := c.cur.Load()
	gen := next.index.generation
	if base != nil && gen < base.index.generation {
		return nil, false, unavailable("load index", fmt.Errorf("generation %d is older than %d, which was seen before", gen, base.index.generation))
	}
	next.seen = c.clock.now()
	if cur != nil {
		switch {
		case gen < cur.index.generation:
			return nil, true, nil
		case gen == cur.index.generation && next.sum != cur.sum:
			return nil, false, unavailable("load index", fmt.Errorf("another index of generation %d was seen before", gen))
		case gen == cur.index.generation:
			next.index, next.seen = cur.index, cur.seen
		}
	}
	c.cur.Store(next)
	return next, false, nil
}

// valid returns the current snapshot if its lease has not ended, with the moment at which that was checked.
func (c *cache) valid() (*snapshot, instant, bool) {
	s := c.cur.Load()
	now := c.clock.now()
	return s, now, s != nil && now.within(s.start, c.lease)
}

// unavailable wraps err in ErrUnavailable.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}
