package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/bucketpolicy"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// MinIO's bucket policies bind callers without a signature only. On AWS they bind
// everybody, and "deny unless encrypted" is meant so: the proxy has signed callers
// obey what a bucket's policy demands of encryption.

const (
	// demandsLease is how long a bucket's policy may be trusted unseen. Whoever puts
	// one that demands something is answered when that has passed.
	demandsLease = 2 * time.Second
	// maxPolicy is the largest policy that is read, in bytes. MinIO takes up to 20 KiB.
	maxPolicy = 64 << 10
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
func (s *Server) bucketDemands(ctx context.Context, bucket string) (bucketpolicy.Demands, error) {
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

func (s *Server) readDemands(ctx context.Context, bucket string, b *bucketDemands) (bucketpolicy.Demands, error) {
	asked := time.Now()
	known, err := s.readPolicy(ctx, bucket)
	b.set(known, asked, err)
	return known, err
}

// readPolicy asks upstream for the policy of a bucket. One that it does not let the
// proxy read demands nothing, and the log says so. storage.ErrUnreachable for an
// answer that does not say what is demanded.
func (s *Server) readPolicy(ctx context.Context, bucket string) (bucketpolicy.Demands, error) {
	resp, err := s.opts.Upstream.Do(ctx, &upstream.Request{
		Method: http.MethodGet, Bucket: bucket, Query: url.Values{"policy": {""}}, Header: make(http.Header), Credential: &s.opts.Service,
	})
	if err != nil {
		return nil, fmt.Errorf("read bucket policy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		answer := upstream.ReadError(resp)
		switch {
		case answer.Status == http.StatusForbidden && answer.Code == "AccessDenied": // another 403 says nothing about the right to read
			if s.demands.warnOnce() {
				s.log.Warn("bucket policies do not bind signed callers in what they demand of encryption: MinIO does not let the proxy's own credential read them",
					"bucket", bucket, "upstream", answer.Code, "todo", "give it s3:GetBucketPolicy")
			}
			return nil, nil
		case answer.Status == http.StatusNotFound && (answer.Code == "NoSuchBucketPolicy" || answer.Code == "NoSuchBucket"):
			return nil, nil
		}
		return nil, fmt.Errorf("read bucket policy: %w (%w)", storage.ErrUnreachable, answer)
	}
	defer upstream.Discard(resp)
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicy))
	if err != nil {
		return nil, fmt.Errorf("read bucket policy: %w", err)
	}
	known, err := bucketpolicy.Parse(document)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", storage.ErrUnreachable, err)
	}
	return known, nil
}

// obeys says whether a write of a signed caller is encrypted as the bucket's policy
// demands. errAccessDenied.
func (s *Server) obeys(ctx context.Context, r *request) error {
	if r.caller.identity == nil {
		return nil // MinIO judges
	}
	known, err := s.bucketDemands(ctx, r.bucket)
	if err != nil || len(known) == 0 {
		return err
	}
	q := &bucketpolicy.Request{
		Bucket: r.bucket, Key: r.key, Principals: r.caller.identity.Names(),
		Values: map[string][]string{
			bucketpolicy.Method:            encryptionSaid(r.Header, sse.HeaderMethod),
			bucketpolicy.KMSKeyID:          encryptionSaid(r.Header, sse.HeaderKMSKeyID),
			bucketpolicy.CustomerAlgorithm: encryptionSaid(r.Header, sse.HeaderCustomerAlgorithm),
			bucketpolicy.UserAgent:         {r.UserAgent()}, bucketpolicy.Referer: {r.Referer()},
			bucketpolicy.SecureTransport: {fmt.Sprint(r.origin.Secure)}, bucketpolicy.SourceIP: {r.origin.Addr.String()},
		},
	}
	if known.Denies(q) {
		return fmt.Errorf("the bucket's policy demands another encryption: %w", errAccessDenied)
	}
	return nil
}

// putBucketPolicy serves PutBucketPolicy. One that demands something of encryption is
// answered when every proxy obeys it.
func (s *Server) putBucketPolicy(w http.ResponseWriter, r *request) error {
	body, err := s.document(r)
	if err != nil {
		return err
	}
	resp, err := s.forwardDocument(r, body) //nolint:bodyclose // forwardAnswer closes it
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return s.forwardAnswer(w, resp)
	}
	s.demands.forget(r.bucket)
	if known, err := bucketpolicy.Parse(body); err != nil || len(known) > 0 {
		awaitLease(r.Context())
	}
	return s.forwardAnswer(w, resp)
}

// awaitLease waits until no proxy trusts what it read before.
func awaitLease(ctx context.Context) {
	timer := time.NewTimer(demandsLease)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// deleteBucketPolicy serves DeleteBucketPolicy: other proxies may go on demanding
// for a lease.
func (s *Server) deleteBucketPolicy(w http.ResponseWriter, r *request) error {
	err := s.forward(w, r)
	s.demands.forget(r.bucket)
	return err
}
