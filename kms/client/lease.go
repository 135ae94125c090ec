package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// leaseTimeout bounds the question whether a version of a KMS key still opens.
const leaseTimeout = 2 * time.Second

// leaseID is what is asked about: one DEK stands for all of its version.
type leaseID struct {
	kmsKey  string
	version uint32
}

// lease says when the service was last known to open what a version sealed. Guarded by
// Cache.mu.
type lease struct {
	asked  time.Time
	asking *question // nil while nobody asks
}

// question is a recheck under way. err may be read once done is closed.
type question struct {
	lease *lease
	done  chan struct{}
	err   error
}

// renewed notes that the service has just opened, or made, a DEK of a version. Cache.mu
// is held.
func (c *Cache) renewed(name string, ciphertext []byte) {
	if c.opts.Recheck <= 0 {
		return
	}
	id := leaseID{name, kms.CiphertextVersion(ciphertext)}
	if l := c.leases[id]; l != nil {
		l.asked = c.now()
		return
	}
	if len(c.leases) >= c.opts.Size {
		clear(c.leases) // their DEKs are asked about once more
	}
	c.leases[id] = &lease{asked: c.now()}
}

// due says whether the service has to be asked before a cached DEK is used again, and
// whether the caller has to wait for the answer: then q is not nil. Who is told to ask
// does, and whoever comes meanwhile waits for the same answer. Cache.mu is held.
func (c *Cache) due(name string, ciphertext []byte) (q *question, ask, wait bool) {
	if c.opts.Recheck <= 0 {
		return nil, false, false
	}
	id := leaseID{name, kms.CiphertextVersion(ciphertext)}
	l := c.leases[id]
	if l == nil {
		l = new(lease)
		c.leases[id] = l
	}
	age := c.now().Sub(l.asked)
	if age < c.opts.Recheck {
		return nil, false, false
	}
	if l.asking == nil {
		l.asking, ask = &question{lease: l, done: make(chan struct{})}, true
	}
	return l.asking, ask, age >= 2*c.opts.Recheck
}

// answered waits for the answer, which comes within leaseTimeout.
func (q *question) answered(ctx context.Context) error {
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
		return fmt.Errorf("decrypt DEK: %w", ctx.Err())
	}
}

// recheck asks the service for a DEK that is cached. What it does not give any more is
// dropped, with all of the KMS key. That it does not answer changes nothing: the
// cache's times count then. Who waits for q gets the error.
func (c *Cache) recheck(ctx context.Context, q *question, name string, ciphertext, encContext []byte) {
	ctx, cancel := context.WithTimeout(kms.Uncached(ctx), leaseTimeout)
	defer cancel()
	dek, err := c.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	clear(dek[:])
	c.counts.answered(err, c.now)
	if err != nil && (errors.Is(err, kms.ErrUnavailable) || ctx.Err() != nil) {
		err = nil
	}
	if err != nil {
		c.forget(name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q.lease.asking, q.lease.asked, q.err = nil, c.now(), err
	close(q.done)
}
