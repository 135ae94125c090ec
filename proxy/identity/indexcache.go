package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

const (
	// callTimeout bounds one exchange with the system bucket.
	callTimeout = 5 * time.Second
	// failurePause is how long a failed read stands for the next ones too.
	failurePause = 500 * time.Millisecond
	// maxConflicts bounds how often one change is tried while others change the index.
	maxConflicts  = 64
	conflictPause = 20 * time.Millisecond // at most, and random
)

// indexCache holds the newest index that this process has seen. Its generation
// never falls: what upstream puts back from before is refused.
type indexCache struct {
	objects Objects
	log     *slog.Logger
	now     func() time.Time

	cur atomic.Pointer[snapshot]
	// busy has room for one: reads and changes of this process go one after another.
	busy chan struct{}
	// failed is the last read's error, and when that was; under busy.
	failed   error
	failedAt time.Time
}

// snapshot is the index as it was at one moment.
type snapshot struct {
	*index
	etag string
	sum  [sha256.Size]byte // of the encoded index
	read time.Time         // from before it was asked for
}

func newIndexCache(o Options) *indexCache {
	return &indexCache{objects: o.Objects, log: o.Logger, now: o.Now, busy: make(chan struct{}, 1)}
}

// trusted says whether what was read at a time still answers. Both clocks count:
// the monotonic one stands still while a machine sleeps.
func trusted(read, now time.Time, limit time.Duration) bool {
	wall := now.Round(0).Sub(read.Round(0))
	return now.Sub(read) < limit && wall < limit && wall > -limit
}

// get returns an index that is no older than trust. ErrUnavailable.
func (c *indexCache) get(ctx context.Context) (*index, error) {
	now := c.now()
	if s := c.cur.Load(); s != nil && trusted(s.read, now, trust) {
		if !trusted(s.read, now, trust/2) {
			c.ahead()
		}
		return s.index, nil
	}
	release, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if s := c.cur.Load(); s != nil && trusted(s.read, c.now(), trust) { // somebody else read it meanwhile
		return s.index, nil
	}
	if c.failed != nil && trusted(c.failedAt, c.now(), failurePause) {
		return nil, c.failed
	}
	s, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return s.index, nil
}

// fresh returns the index as it is now. ErrUnavailable.
func (c *indexCache) fresh(ctx context.Context) (*index, error) {
	release, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return s.index, nil
}

// ahead reads the index in the background, so that nobody waits for it later.
func (c *indexCache) ahead() {
	select {
	case c.busy <- struct{}{}:
		go func() {
			defer func() { <-c.busy }()
			if c.failed == nil || !trusted(c.failedAt, c.now(), failurePause) {
				_, _ = c.load(context.Background())
			}
		}()
	default: // it is being read
	}
}

func (c *indexCache) enter(ctx context.Context) (release func(), err error) {
	select {
	case c.busy <- struct{}{}:
		return func() { <-c.busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load reads the index if it has changed. The caller holds busy.
func (c *indexCache) load(ctx context.Context) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	next, err := c.read(ctx, c.cur.Load())
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		c.failed, c.failedAt = err, c.now()
		c.log.Warn("the index of learned identities cannot be used: whoever is not configured is refused", "error", err)
		return nil, err
	}
	c.failed = nil
	c.cur.Store(next)
	return next, nil
}

func (c *indexCache) read(ctx context.Context, cur *snapshot) (*snapshot, error) {
	etag := ""
	if cur != nil {
		etag = cur.etag
	}
	next := &snapshot{read: c.now()}
	data, newETag, err := c.objects.Get(ctx, indexKind, indexName, etag)
	switch {
	case errors.Is(err, system.ErrNotModified) && etag != "":
		next.index, next.etag, next.sum = cur.index, cur.etag, cur.sum
		return next, nil
	case errors.Is(err, system.ErrNotFound) && (cur == nil || cur.generation == 0):
		next.index = &index{} // nobody was ever learned, as far as this process can know
		return next, nil
	case err != nil:
		return nil, err
	}
	if next.index, err = decodeIndex(data); err != nil {
		return nil, err
	}
	next.etag, next.sum = newETag, sha256.Sum256(data)
	switch {
	case newETag == "":
		return nil, errors.New("the index of identities has no ETag")
	case cur != nil && next.generation < cur.generation:
		return nil, fmt.Errorf("generation %d of the index of identities is older than %d, which was seen before", next.generation, cur.generation)
	case cur != nil && next.generation == cur.generation && next.sum != cur.sum:
		return nil, fmt.Errorf("another index of identities of generation %d was seen before", cur.generation)
	}
	return next, nil
}

// put makes id the identity with its access key. ErrProtected, ErrFull,
// ErrUnavailable.
func (c *indexCache) put(ctx context.Context, id Identity) error {
	id.Expires = id.Expires.Truncate(time.Second)
	return c.change(ctx, func(x *index) (*index, error) {
		next, before := id, x.identities[id.AccessKey]
		if before != nil {
			if before.Kind == Added && id.Kind != Added {
				return nil, fmt.Errorf("%q: %w", id.AccessKey, ErrProtected)
			}
			if before.succeededBy(&id) {
				next.serial = before.serial
			}
			if before.same(&next) {
				return nil, nil
			}
		}
		return x.with(id.AccessKey, &next), nil
	})
}

// revoke notes that a session counts no more.
func (c *indexCache) revoke(ctx context.Context, accessKey string, ends time.Time) error {
	return c.change(ctx, func(x *index) (*index, error) {
		if _, done := x.revoked[accessKey]; done {
			return nil, nil
		}
		return x.revoke(accessKey, ends, c.now()), nil
	})
}

// extend changes an identity's end.
func (c *indexCache) extend(ctx context.Context, accessKey string, expires time.Time) error {
	return c.change(ctx, func(x *index) (*index, error) {
		id := x.identities[accessKey]
		switch {
		case id == nil:
			return nil, ErrUnknown
		case id.Kind == Added:
			return nil, fmt.Errorf("%q: %w", accessKey, ErrProtected)
		}
		next := *id
		next.Expires = expires.Truncate(time.Second)
		if id.same(&next) {
			return nil, nil
		}
		return x.with(accessKey, &next), nil
	})
}

// succeededBy says whether next is the same identity with another secret, for
// those whose rights it bounds: the same ones vouch for it.
func (i *Identity) succeededBy(next *Identity) bool {
	if i.Kind != next.Kind || len(i.creators) != len(next.creators) {
		return false
	}
	for n := range i.creators {
		if i.creators[n] != next.creators[n] {
			return false
		}
	}
	return true
}

// same says whether nothing has to be stored.
func (i *Identity) same(next *Identity) bool {
	return i.succeededBy(next) && i.serial == next.serial && i.SecretKey == next.SecretKey &&
		i.Parent == next.Parent && i.Expires.Equal(next.Expires)
}

// remove drops an identity and says whether there was one. ErrProtected for an
// operator's, unless an operator asks; ErrUnavailable.
func (c *indexCache) remove(ctx context.Context, accessKey string, operator bool) (found bool, err error) {
	err = c.change(ctx, func(x *index) (*index, error) {
		id := x.identities[accessKey]
		switch {
		case id == nil:
			return nil, nil
		case id.Kind == Added && !operator:
			return nil, fmt.Errorf("%q: %w", accessKey, ErrProtected)
		}
		found = true
		return x.with(accessKey, nil), nil
	})
	return found, err
}

// change applies an edit to the newest index. An edit that returns nil changes
// nothing. A client that goes away does not end a change that has begun.
func (c *indexCache) change(ctx context.Context, edit func(*index) (*index, error)) error {
	release, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer release()
	for range maxConflicts {
		cur, err := c.load(ctx)
		if err != nil {
			return err
		}
		next, err := edit(cur.index)
		if err != nil || next == nil {
			return err
		}
		if err = c.save(ctx, cur, next); err == nil {
			return nil
		}
		if !errors.Is(err, system.ErrConflict) && !errors.Is(err, storage.ErrUnreachable) {
			return err
		}
		// After a conflict, or where it is not known what became of it, the edit is
		// judged by what is there now.
		select {
		case <-time.After(rand.N(conflictPause)): //nolint:gosec // no secret
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("%w: others change it again and again", ErrUnavailable)
}

func (c *indexCache) save(ctx context.Context, cur *snapshot, next *index) error {
	data, err := next.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	read := c.now()
	etag, err := c.objects.Put(ctx, indexKind, indexName, data, cur.etag)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c.cur.Store(&snapshot{index: next, etag: etag, sum: sha256.Sum256(data), read: read})
	return nil
}
