package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// maxNamed bounds how many buckets one line of the log names.
const maxNamed = 20

// namePause is how long it takes until buckets are asked about once more, twice as long each time.
const (
	namePause     = 250 * time.Millisecond
	mostNamePause = 30 * time.Second
)

// UpstreamKMS looks for a KMS of MinIO's own, and says so in the log.
type UpstreamKMS struct {
	Service  *upstream.Service
	Upstream *upstream.Client
	Logger   *slog.Logger
}

// Find looks for a KMS at MinIO, and for buckets whose rules use it. What is
// written to a bucket that has a rule there is encrypted twice, and lost with that KMS.
func (u *UpstreamKMS) Find(ctx context.Context) {
	has, err := u.Service.HasKMS(ctx)
	if err != nil {
		u.Logger.Debug("it cannot be told whether MinIO has a KMS of its own", "error", err)
		return
	}
	if !u.Upstream.NoteKMS(has) {
		return
	}
	if !has {
		u.Logger.Info("MinIO has no KMS of its own any more")
		return
	}
	u.Logger.Error("MinIO has a KMS of its own, and should have none: what is written to a bucket that has an encryption rule at MinIO is encrypted twice, and lost if that KMS is; rules of buckets cannot be changed")
	for wait := namePause; u.name(ctx) != nil; wait = min(2*wait, mostNamePause) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// name names the buckets that have rules at MinIO. An error if that could not be told now.
func (u *UpstreamKMS) name(ctx context.Context) error {
	dates, err := u.Service.CreationDates(ctx)
	if errors.Is(err, system.ErrOwnRights) {
		return nil
	}
	if err != nil {
		return err
	}
	var ruled []string
	for _, bucket := range slices.Sorted(maps.Keys(dates)) {
		switch has, err := u.Service.HasRule(ctx, bucket); {
		case errors.Is(err, system.ErrOwnRights):
			u.Logger.Warn("which buckets have rules at MinIO cannot be told: the proxy's own credential lacks s3:GetEncryptionConfiguration; look with mc encrypt info")
			return nil
		case err != nil:
			return err
		case has:
			ruled = append(ruled, bucket)
		}
	}
	if len(ruled) > 0 {
		u.Logger.Error("buckets have encryption rules at MinIO itself: what is written there is encrypted twice; remove the rules there (mc encrypt clear on an alias of MinIO's own), and copy the objects onto themselves",
			"buckets", len(ruled), "named", strings.Join(ruled[:min(len(ruled), maxNamed)], ","))
	}
	return nil
}

// RuleKept is told of a bucket whose rule MinIO took of a question of the proxy's.
func (u *UpstreamKMS) RuleKept(bucket string, err error) {
	u.Logger.Error("MinIO has a KMS of its own, and keeps an encryption rule for a bucket that it should not have: remove it there", "bucket", bucket, "error", err)
}

// EncryptedTwice is told of a bucket in which MinIO has encrypted what the proxy wrote.
func (u *UpstreamKMS) EncryptedTwice(bucket string) {
	u.Logger.Error("MinIO has encrypted once more what was written to a bucket, by a KMS and a rule or setting of its own: the objects are lost if that KMS is; remove the rule there (mc encrypt clear on an alias of MinIO's own)", "bucket", bucket)
}
