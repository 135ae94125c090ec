package encryption

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// MinIO's bucket policies bind callers without a signature only. On AWS they bind
// everybody, and "deny unless encrypted" is meant so: the proxy has signed callers
// obey what a bucket's policy demands of encryption.

const (
	// demandsLease is how long a bucket's policy may be trusted unseen. Whoever puts
	// one that demands something is answered when that has passed.
	demandsLease = 2 * time.Second
	// maxDemands bounds the buckets whose policies are remembered.
	maxDemands = 10_000
)

// demands remembers what buckets' policies demand. The zero value is ready.
type demands struct {
	mu      sync.Mutex
	buckets map[string]*bucketDemands
	warned  bool // that policies cannot be read
}

// bucketDemands is what one bucket's policy demands.
type bucketDemands struct {
	mu    sync.Mutex
	known bucketpolicy.Demands
	asked time.Time // before the question was sent; zero for never
	ahead bool      // somebody asks before it is needed
}

func (d *demands) of(bucket string) *bucketDemands {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.buckets[bucket]
	if b == nil {
		if d.buckets == nil || len(d.buckets) >= maxDemands { // reading again is cheap
			d.buckets = make(map[string]*bucketDemands)
		}
		b = new(bucketDemands)
		d.buckets[bucket] = b
	}
	return b
}

// forget has the next write in the bucket read its policy.
func (d *demands) forget(bucket string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.buckets, bucket)
}

// warnOnce says whether nobody was told so far that policies cannot be read.
func (d *demands) warnOnce() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.warned
	d.warned = true
	return first
}

// fresh returns what is known, if it may be trusted, and whether to ask ahead.
func (b *bucketDemands) fresh() (known bucketpolicy.Demands, ok, ahead bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	age, wall := time.Since(b.asked), time.Now().Round(0).Sub(b.asked.Round(0)) // a machine that slept
	ok = !b.asked.IsZero() && age < demandsLease && wall < demandsLease && wall > -demandsLease
	if ok && age > demandsLease/2 && !b.ahead {
		b.ahead, ahead = true, true
	}
	return b.known, ok, ahead
}

// set keeps an answer, unless a later question was answered before.
func (b *bucketDemands) set(known bucketpolicy.Demands, asked time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ahead = false
	if err == nil && asked.After(b.asked) {
		b.known, b.asked = known, asked
	}
}

// bucketDemands returns what the policy of a bucket demands of encryption.
func (s *Settings) bucketDemands(ctx context.Context, bucket string) (bucketpolicy.Demands, error) {
	b := s.demands.of(bucket)
	known, ok, ahead := b.fresh()
	if ahead {
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), demandsLease)
			defer cancel()
			_, _ = s.readDemands(ctx, bucket, b) // who needs it asks again
		}()
	}
	if ok {
		return known, nil
	}
	return s.readDemands(ctx, bucket, b)
}

func (s *Settings) readDemands(ctx context.Context, bucket string, b *bucketDemands) (bucketpolicy.Demands, error) {
	asked := time.Now()
	known, err := s.readPolicy(ctx, bucket)
	b.set(known, asked, err)
	return known, err
}

// readPolicy returns what the policy of a bucket demands. One that the storage does not
// let the proxy read demands nothing, and the log says so. storage.ErrUnreachable for a
// policy that does not say what is demanded.
func (s *Settings) readPolicy(ctx context.Context, bucket string) (bucketpolicy.Demands, error) {
	document, err := s.o.Policy(ctx, bucket)
	if errors.Is(err, storage.ErrForbidden) {
		if s.demands.warnOnce() {
			s.o.Logger.Warn("bucket policies do not bind signed callers in what they demand of encryption: MinIO does not let the proxy's own credential read them",
				"bucket", bucket, "upstream", "AccessDenied", "todo", "give it s3:GetBucketPolicy")
		}
		return nil, nil
	}
	if err != nil || document == nil {
		return nil, err
	}
	known, err := bucketpolicy.Parse(document)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", storage.ErrUnreachable, err)
	}
	return known, nil
}

// obeys says whether a write of a signed caller is encrypted as the bucket's policy
// demands. ErrAccessDenied.
func (s *Settings) obeys(ctx context.Context, c *caller.Caller, name sse.Name) error {
	id := c.Keys.Identity()
	if id == nil {
		return nil // MinIO judges
	}
	known, err := s.bucketDemands(ctx, name.Bucket)
	if err != nil || len(known) == 0 {
		return err
	}
	q := &bucketpolicy.Request{Bucket: name.Bucket, Key: name.Key, Principals: id.Names()}
	if c.Policy != nil {
		q.Values = c.Policy()
	}
	if known.Denies(q) {
		return fmt.Errorf("the bucket's policy demands another encryption: %w", ErrAccessDenied)
	}
	return nil
}

// PolicyChanged is told when a bucket's policy was changed through this proxy: document is
// the new one, nil if it was removed. If the new one demands something of encryption, it
// returns when every proxy obeys it; of one that was removed others may go on demanding
// for a lease.
func (s *Settings) PolicyChanged(ctx context.Context, bucket string, document []byte) {
	s.demands.forget(bucket)
	if document == nil {
		return
	}
	if known, err := bucketpolicy.Parse(document); err == nil && len(known) == 0 {
		return
	}
	timer := time.NewTimer(demandsLease) // until no proxy trusts what it read before
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
