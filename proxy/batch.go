package proxy

import (
	"context"
	"time"

	"github.com/bucketseal/bucketseal/proxy/batchjobs"
)

// openBatch makes the batch jobs, which Start runs.
func (s *Server) openBatch() (*batchjobs.Jobs, error) {
	o := &s.opts
	return batchjobs.New(batchjobs.Options{
		System: s.system, Rewrapper: s.keeper, Buckets: s.service.CreationDates, SystemBucket: o.SystemBucket, S3Key: o.S3Key,
		Ready: s.setup.Ensure, Logger: o.Logger, Metrics: o.Metrics,
		Prune: func(ctx context.Context, prefix string) error {
			return s.service.PruneVersions(ctx, prefix, time.Now(), false, func(string, string) {})
		},
	})
}
