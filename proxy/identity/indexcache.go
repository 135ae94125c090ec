package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/register"
)

const (
	// callTimeout bounds one exchange with the system bucket.
	callTimeout = 5 * time.Second
	// failurePause is how long a failed read stands for the next ones too.
	failurePause = 500 * time.Millisecond
)

// indexCache is the index of long-lived identities, as this process knows it. A store
// without one stands for an index of nobody, until this process has seen another: nobody
// was ever learned, as far as it can know.
type indexCache struct {
	*register.Register[*index]
	now func() time.Time
}

func newIndexCache(o Options, clock register.Clock) (*indexCache, error) {
	reg, err := register.New(register.Options[*index]{
		Store: indexStore{o.Objects}, Name: "index", Unavailable: ErrUnavailable,
		Encode:     (*index).encode,
		Decode:     decodeIndex,
		Generation: func(x *index) uint64 { return x.generation },
		Absent:     func() *index { return &index{} },
		Lease:      trust, Timeout: callTimeout, Pause: failurePause, Clock: clock,
		Observe: register.LogTurns(o.Logger,
			"the index of learned identities cannot be used: whoever is not configured is refused", "the index of learned identities can be used again"),
	})
	if err != nil {
		return nil, err
	}
	return &indexCache{Register: reg, now: o.Now}, nil
}

// current returns an index that is no older than trust. ErrUnavailable.
func (c *indexCache) current(ctx context.Context) (*index, error) {
	x, _, err := c.Get(ctx)
	return x, err
}

// indexStore keeps the index in the system bucket.
type indexStore struct{ objects Objects }

// Load implements register.Store.
func (s indexStore) Load(ctx context.Context, etag string) (data []byte, newETag string, err error) {
	data, newETag, err = s.objects.Get(ctx, indexKind, indexName, etag)
	return data, newETag, outcome(err)
}

// Save implements register.Store.
func (s indexStore) Save(ctx context.Context, data []byte, etag string) (newETag string, err error) {
	newETag, err = s.objects.Put(ctx, indexKind, indexName, data, etag)
	return newETag, outcome(err)
}

func outcome(err error) error {
	switch {
	case errors.Is(err, system.ErrNotModified):
		return register.Meaning(register.ErrNotModified, err)
	case errors.Is(err, system.ErrNotFound):
		return register.Meaning(register.ErrNotFound, err)
	case errors.Is(err, system.ErrConflict):
		return register.Meaning(register.ErrConflict, err)
	}
	return err
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
	_, err := c.Change(ctx, func(x *index) (*index, bool, error) {
		next, err := edit(x)
		return next, next != nil, err
	})
	return err
}
