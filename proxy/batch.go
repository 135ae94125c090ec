package proxy

import (
	"context"
	"time"

	"github.com/bucketseal/bucketseal/proxy/batchjobs"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// mayMove says whether a user may open objects of a bucket under one KMS key, and seal them under
// another one. identity.ErrNotAllowed, or what keeps it from being told.
func (s *Server) mayMove(ctx context.Context, user, bucket, from, to string) error {
	id, err := s.identities.Lookup(ctx, user)
	if err != nil {
		return err
	}
	if err := s.identities.MayUse(ctx, id, bucket, from, identity.Decrypt); err != nil {
		return err
	}
	return s.identities.MayUse(ctx, id, bucket, to, identity.Generate)
}

// openBatch makes the batch jobs, which Start runs.
func (s *Server) openBatch() (*batchjobs.Jobs, error) {
	o := &s.opts
	return batchjobs.New(batchjobs.Options{
		System: s.system, Rewrapper: s.keeper, Buckets: s.service.CreationDates, SystemBucket: o.SystemBucket, S3Key: func() string { return s.live.Load().S3Key }, MayMove: s.mayMove,
		Ready: s.setup.Ensure, Logger: o.Logger, Metrics: o.Metrics,
		Prune: func(ctx context.Context, prefix string) error {
			return s.service.PruneVersions(ctx, prefix, time.Now(), false, func(string, string) {})
		},
	})
}
