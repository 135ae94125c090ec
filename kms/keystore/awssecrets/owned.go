package awssecrets

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/bucketseal/bucketseal/kms"
)

// owned says whether a secret may be deleted as a key of this store. With
// tags, the tags decide. Without, it is one that this store created, which its
// description tells, or one that KES created, which its value tells: a
// database password whose name happens to be a fit key name stays.
func (s *Store) owned(ctx context.Context, name string, meta *secretsmanager.DescribeSecretOutput) error {
	if service := aws.ToString(meta.OwningService); service != "" {
		return fmt.Errorf("%w: %w: the secret is managed by the AWS service %s", kms.ErrNotPermitted, errForeign, service)
	}
	if len(s.opts.Tags) > 0 {
		if missing := s.missingTag(meta.Tags); missing != "" {
			return fmt.Errorf("%w: %w: the secret does not carry the configured tag %q", kms.ErrNotPermitted, errForeign, missing)
		}
		return nil
	}
	if aws.ToString(meta.Description) == descriptionOfKey {
		return nil
	}
	out, err := s.read(ctx, s.secret(name))
	if err != nil {
		return s.mapError(ctx, s.what("read", name), err)
	}
	value := valueOf(out)
	defer clear(value)
	if !isKeyRecord(value) {
		return fmt.Errorf("%w: %w: the secret's value is no key record", kms.ErrNotPermitted, errForeign)
	}
	return nil
}

// missingTag returns the key of a configured tag that tags lack, or "".
func (s *Store) missingTag(tags []types.Tag) string {
	has := make(map[string]string, len(tags))
	for _, t := range tags {
		has[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for k, v := range s.opts.Tags {
		if got, ok := has[k]; !ok || got != v {
			return k
		}
	}
	return ""
}

// isKeyRecord says whether value is a key, in one of the forms that KES stores.
func isKeyRecord(value []byte) bool {
	key, err := kms.ParseRecord(value)
	if err != nil {
		return false
	}
	key.Zero()
	return true
}
