package encryption

import (
	"context"
	"fmt"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// SetRule gives a bucket a rule for what its clients ask nothing for, and returns when
// every proxy obeys it. read returns the rule; it is called once the storage has let the
// caller. ErrAccess and ErrKeyName of package keyring, kms and bucketconfig errors,
// storage.ErrEncrypts, or the storage's refusal.
func (s *Settings) SetRule(ctx context.Context, c *caller.Caller, bucket string, read func() (bucketconfig.Rule, error)) error {
	if err := s.mayRule(ctx, c, bucket, storage.WriteRule); err != nil {
		return err
	}
	rule, err := read()
	if err != nil {
		return err
	}
	mode, key := sse.ModeS3, s.o.Keys.S3Key()
	if rule.Algorithm == bucketconfig.AWSKMS {
		mode = sse.ModeKMS
		if key, err = s.o.Keys.KeyName(rule.KMSKeyID); err != nil {
			return err
		}
	}
	// Upstream can only narrow access: who may not write under a key here does not
	// make others do so.
	if err := s.o.Keys.MayRule(ctx, c.Keys, bucket, mode, key); err != nil {
		return err
	}
	if mode == sse.ModeKMS {
		if err := s.o.Keys.Exists(ctx, key); err != nil {
			return fmt.Errorf("KMS key of the rule: %w", err)
		}
	}
	if err := s.o.Ready(ctx); err != nil {
		return err
	}
	return s.o.Rules.Set(ctx, bucket, rule)
}

// Rule returns a bucket's rule. ErrNoRule, bucketconfig errors, storage.ErrEncrypts, or the
// storage's refusal.
func (s *Settings) Rule(ctx context.Context, c *caller.Caller, bucket string) (bucketconfig.Rule, error) {
	if err := s.mayRule(ctx, c, bucket, storage.ReadRule); err != nil {
		return bucketconfig.Rule{}, err
	}
	if err := s.o.Ready(ctx); err != nil {
		return bucketconfig.Rule{}, err
	}
	rule, ok, err := s.o.Rules.Get(ctx, bucket)
	if err == nil && !ok {
		err = ErrNoRule
	}
	return rule, err
}

// DropRule removes a bucket's rule, and returns when every proxy has forgotten it. Errors
// are those of SetRule; a bucket without a rule is none.
func (s *Settings) DropRule(ctx context.Context, c *caller.Caller, bucket string) error {
	if err := s.o.Keys.MayRule(ctx, c.Keys, bucket, sse.ModeS3, s.o.Keys.S3Key()); err != nil {
		return err
	}
	if err := s.mayRule(ctx, c, bucket, storage.RemoveRule); err != nil {
		return err
	}
	if err := s.o.Ready(ctx); err != nil {
		return err
	}
	return s.o.Rules.Delete(ctx, bucket)
}

// mayRule asks upstream whether the caller may do what it wants with the bucket's rule.
func (s *Settings) mayRule(ctx context.Context, c *caller.Caller, bucket string, right storage.Right) error {
	if c.Name == "" { // upstream can only narrow access
		return fmt.Errorf("anonymous caller: %w", keyring.ErrAccess)
	}
	return s.o.Storage.As(c.Actor).May(ctx, &storage.Question{Right: right, Name: sse.Name{Bucket: bucket}})
}

// BucketRemoved removes the rule of a bucket that the storage has removed for a caller with
// a signature.
func (s *Settings) BucketRemoved(ctx context.Context, bucket string) error {
	if err := s.o.Ready(ctx); err != nil {
		return err
	}
	return s.o.Rules.BucketRemoved(ctx, bucket)
}

// ExportRules returns the rules of all buckets, for operators. bucketconfig.ErrUnavailable.
func (s *Settings) ExportRules(ctx context.Context) ([]bucketconfig.BucketRule, error) {
	return s.o.Rules.Export(ctx)
}

// ImportRules sets bucket rules, for operators; missing are buckets that do not exist. A
// rule whose KMS key does not exist is refused before any is set: kms.ErrKeyNotFound.
func (s *Settings) ImportRules(ctx context.Context, rules []bucketconfig.BucketRule) (missing []string, err error) {
	if err := s.o.Ready(ctx); err != nil {
		return nil, err
	}
	for _, b := range rules {
		if b.Algorithm != bucketconfig.AWSKMS {
			continue
		}
		key, err := s.o.Keys.KeyName(b.KMSKeyID)
		if err != nil {
			return nil, fmt.Errorf("bucket %q: %w", b.Bucket, err)
		}
		if err := s.o.Keys.Exists(ctx, key); err != nil {
			return nil, fmt.Errorf("bucket %q: KMS key of the rule: %w", b.Bucket, err)
		}
	}
	return s.o.Rules.Import(ctx, rules)
}

// RulesUsing returns those buckets whose rules encrypt under a KMS key.
func (s *Settings) RulesUsing(rules []bucketconfig.BucketRule, key string) (buckets []string) {
	for _, b := range rules {
		name := s.o.Keys.S3Key()
		if b.Algorithm == bucketconfig.AWSKMS {
			var malformed error
			if name, malformed = s.o.Keys.KeyName(b.KMSKeyID); malformed != nil {
				continue
			}
		}
		if name == key {
			buckets = append(buckets, b.Bucket)
		}
	}
	return buckets
}
