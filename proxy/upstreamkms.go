package proxy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/proxy/system"
)

// maxNamed bounds how many buckets one line of the log names.
const maxNamed = 20

// upstreamKMS knows whether MinIO has a KMS of its own. What is written to a bucket
// that has a rule there is encrypted twice, and lost with that KMS.
type upstreamKMS struct{ found atomic.Bool }

// find looks for a KMS at MinIO, and for buckets whose rules use it.
func (s *Server) findUpstreamKMS(ctx context.Context) {
	has, err := s.service.HasKMS(ctx)
	if err != nil {
		s.log.Debug("it cannot be told whether MinIO has a KMS of its own", "error", err)
		return
	}
	if s.upstreamKMS.found.Swap(has) == has {
		return
	}
	if !has {
		s.log.Info("MinIO has no KMS of its own any more")
		return
	}
	s.log.Error("MinIO has a KMS of its own, and should have none: what is written to a bucket that has an encryption rule at MinIO is encrypted twice, and lost if that KMS is; rules of buckets cannot be changed")
	dates, err := s.service.CreationDates(ctx)
	if err != nil {
		return
	}
	var ruled []string
	for _, bucket := range slices.Sorted(maps.Keys(dates)) {
		switch has, err := s.service.HasRule(ctx, bucket); {
		case errors.Is(err, system.ErrOwnRights):
			s.log.Warn("which buckets have rules at MinIO cannot be told: the proxy's own credential lacks s3:GetEncryptionConfiguration; look with mc encrypt info")
			return
		case err == nil && has:
			ruled = append(ruled, bucket)
		}
	}
	if len(ruled) > 0 {
		s.log.Error("buckets have encryption rules at MinIO itself: what is written there is encrypted twice; remove the rules there (mc encrypt clear on an alias of MinIO's own), and copy the objects onto themselves",
			"buckets", len(ruled), "named", strings.Join(ruled[:min(len(ruled), maxNamed)], ","))
	}
}

// encryptedTwice is told of a bucket in which MinIO has encrypted what the proxy wrote.
func (s *Server) encryptedTwice(bucket string) {
	s.log.Error("MinIO has encrypted once more what was written to a bucket, by a KMS and a rule or setting of its own: the objects are lost if that KMS is; remove the rule there (mc encrypt clear on an alias of MinIO's own)", "bucket", bucket)
}
