package takeover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Reason is why an object stays as it is.
type Reason string

// Reasons. Those of a whole bucket come first.
const (
	// NotExpected is for a plain object in a bucket that plain_read does not list: it may
	// have been planted, and must not become one that is authentic.
	NotExpected Reason = "not-in-plain-read"
	// NotEncrypted is for a bucket whose setting is no encryption.
	NotEncrypted Reason = "setting-is-off"
	// OwnRule is for a bucket that has an encryption rule at the storage itself.
	OwnRule Reason = "rule-at-minio"
	// Retention is for a bucket that would give the object a retention that it has not.
	Retention Reason = "default-retention"

	// Locked is for an object under retention or legal hold.
	Locked Reason = "locked"
	// CustomerKey is for one that the storage encrypts under a key of its client's.
	CustomerKey Reason = "customer-key-at-minio"
	// Twice is for one that the proxy and the storage have encrypted.
	Twice Reason = "encrypted-twice"
	// Damaged is for one whose record cannot be read.
	Damaged Reason = "damaged-record"
	// Tier is for one whose data lie in another tier.
	Tier Reason = "tiered"
	// SameAge is for a version whose place among the others cannot be kept.
	SameAge Reason = "same-millisecond-as-delete-marker"
	// Suspended is for a version of a bucket whose versioning is suspended.
	Suspended Reason = "versioning-suspended"
	// Mismatch is for one whose data are not those of its checksum.
	Mismatch Reason = "checksum-mismatch"
	// Refused is for one that the storage does not let be read or written.
	Refused Reason = "refused"
	// Busy is for one that was changed in every pass.
	Busy Reason = "changed"
)

// leaving is the error of an object that stays as it is.
type leaving struct {
	reason Reason
	err    error
}

// Error names the reason.
func (l *leaving) Error() string {
	if l.err == nil {
		return string(l.reason)
	}
	return fmt.Sprintf("%s: %v", l.reason, l.err)
}

// Unwrap returns what says more.
func (l *leaving) Unwrap() error { return l.err }

// leave returns the error of an object that stays as it is.
func leave(reason Reason, format string, args ...any) error {
	return &leaving{reason, fmt.Errorf(format, args...)}
}

// whole says whether, and why, nothing in a bucket is taken over; nil if things are.
func (r *run) whole(ctx context.Context, bucket string) error {
	if !r.taker.o.PlainRead.Match(bucket) {
		return leave(NotExpected, "plain_read does not list the bucket, so plain objects there may be planted")
	}
	asked, err := r.taker.o.Encryption.Default(ctx, bucket)
	if err != nil {
		return err
	}
	if asked.Mode == sse.ModeNone {
		return leave(NotEncrypted, "the bucket has no rule, and auto_encryption is off")
	}
	err = r.at.May(ctx, &storage.Question{Right: storage.ReadRule, Name: sse.Name{Bucket: bucket}})
	switch {
	case errors.Is(err, storage.ErrEncrypts):
		return leave(OwnRule, "the bucket has an encryption rule at MinIO itself, which would encrypt objects once more: remove it there with mc encrypt clear")
	case err != nil:
		return fmt.Errorf("has the bucket an encryption rule at MinIO: %w; which rights a credential needs for this says docs/operations.md", err)
	}
	return nil
}

// lockOf says whether an object may be replaced as it is locked, and returns the headers
// that keep its retention.
func (r *run) lockOf(meta storage.Metadata) (storage.Metadata, error) {
	mode, text := meta.Get(lockMode), meta.Get(lockUntil)
	if hold := meta.Get(lockHold); hold == "ON" {
		return nil, leave(Locked, "legal hold")
	}
	if mode == "" {
		return nil, nil
	}
	until, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return nil, leave(Locked, "a retention until %q", text)
	case until.Before(time.Now().Add(-lockSkew)):
		return nil, nil
	case mode != "GOVERNANCE" || !r.order.Governance:
		return nil, leave(Locked, "%s until %s", mode, until.Format(time.RFC3339))
	}
	return storage.Metadata{lockMode: {mode}, lockUntil: {text}, "X-Amz-Bypass-Governance-Retention": {"true"}}, nil
}

// lockSkew is how long ago a retention must have ended: clocks differ.
const lockSkew = time.Minute

const (
	lockMode  = "X-Amz-Object-Lock-Mode"
	lockUntil = "X-Amz-Object-Lock-Retain-Until-Date"
	lockHold  = "X-Amz-Object-Lock-Legal-Hold"
)
