package bucketconfig

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bucketseal/bucketseal/register"
)

// BucketRule is the rule of a bucket, as it is exported.
type BucketRule struct {
	Bucket           string    `json:"bucket"`
	Algorithm        Algorithm `json:"algorithm"`
	KMSKeyID         string    `json:"kms_key_id,omitempty"`
	BucketKeyEnabled bool      `json:"bucket_key_enabled,omitempty"`
}

// Rule returns the rule alone.
func (b BucketRule) Rule() Rule {
	return Rule{Algorithm: b.Algorithm, KMSKeyID: b.KMSKeyID, BucketKeyEnabled: b.BucketKeyEnabled}
}

// Export returns all rules in the order of their buckets, also of buckets that do not
// exist any more. ErrUnavailable.
func (r *Rules) Export(ctx context.Context) ([]BucketRule, error) {
	x, err := r.index.Fresh(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]BucketRule, 0, len(x.rules))
	for _, bucket := range slices.Sorted(maps.Keys(x.rules)) {
		rule := x.rules[bucket].rule
		all = append(all, BucketRule{bucket, rule.Algorithm, rule.KMSKeyID, rule.BucketKeyEnabled})
	}
	return all, nil
}

// Import sets rules as Set does, and returns when every process obeys them. missing
// are buckets that do not exist, which get none. Rules of other buckets stay. Nothing
// is set if one of the rules is not valid: *InvalidRuleError. Other errors are those
// of Set; some rules may be set then.
func (r *Rules) Import(ctx context.Context, rules []BucketRule) (missing []string, err error) {
	for _, b := range rules {
		if err := b.Rule().check(); err != nil {
			return nil, fmt.Errorf("bucket %q: %w", b.Bucket, err)
		}
	}
	m, err := r.dates.flights.Fresh(ctx)
	if err != nil {
		return nil, unavailable("get creation dates", err)
	}
	var last register.Instant
	set := false
	for _, b := range rules {
		created, ok := m.byBucket[b.Bucket]
		if !ok || !validBucket(b.Bucket) {
			missing = append(missing, b.Bucket)
			continue
		}
		want := entry{rule: b.Rule(), created: max(created.UnixMilli(), m.other(m.home))} // as Set does
		if last, err = r.change(ctx, b.Bucket, func(entry, bool) (entry, bool) { return want, true }); err != nil {
			return missing, fmt.Errorf("bucket %q: %w", b.Bucket, err)
		}
		set = true
	}
	if !set {
		return missing, nil
	}
	return missing, r.index.Obeyed(ctx, last)
}

// IsLost says whether an error of Rules means that the index is gone or cannot be
// opened for good, and not only that it cannot be reached.
func IsLost(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, errIndex) }
