package awsapi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bucketseal/bucketseal/kms"
)

// ErrKeyUnusable says that an AWS KMS key cannot be used: it does not exist, is
// in another region, disabled, about to be deleted, or no symmetric encryption
// key. It is a kms.ErrNotPermitted: an answer, and no outage, in which cached keys may
// serve on.
var ErrKeyUnusable error = keyUnusable{}

type keyUnusable struct{}

func (keyUnusable) Error() string { return "AWS KMS key cannot be used" }

func (keyUnusable) Unwrap() error { return kms.ErrNotPermitted }

// KeyCheck verifies an AWS KMS key.
type KeyCheck struct {
	Client *awskms.Client
	// Key is a key id, key ARN, alias/NAME or alias ARN.
	Key string
	// Section, Setting and EndpointSetting are the configuration entries that
	// error messages name.
	Section, Setting, EndpointSetting string
	// Region is the region that is asked.
	Region  string
	Timeout time.Duration
}

// Run asks kms:DescribeKey whether the key exists, is enabled and encrypts.
// Its errors name the missing permission or the setting to change.
func (c KeyCheck) Run(ctx context.Context) error {
	if region := arnRegion(c.Key); region != "" && region != c.Region {
		return fmt.Errorf("%s.%s: key %s is in region %s, but the region in use is %s: %w", c.Section, c.Setting, c.Key, region, c.Region, ErrKeyUnusable)
	}
	out, err := Attempt(ctx, c.Timeout, func(ctx context.Context) (*awskms.DescribeKeyOutput, error) {
		return c.Client.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: aws.String(c.Key)})
	})
	switch code := Code(err); {
	case err == nil:
		return c.judge(out.KeyMetadata)
	case code == "NotFoundException" || code == "InvalidArnException":
		return fmt.Errorf("%s.%s: AWS KMS key %q does not exist in region %s: %w: %v", c.Section, c.Setting, c.Key, c.Region, ErrKeyUnusable, err)
	case code == "UnknownOperationException" || code == "InvalidAction" || code == "InvalidParameterValue":
		return fmt.Errorf("%s.%s: what answers there is not AWS KMS: %w: %v", c.Section, c.EndpointSetting, kms.ErrUnavailable, err)
	default:
		return Explain(ctx, c.Section, fmt.Sprintf("kms:DescribeKey on %s", c.Key), c.Section+"."+c.EndpointSetting, err)
	}
}

func (c KeyCheck) judge(meta *types.KeyMetadata) error {
	if meta == nil {
		return fmt.Errorf("%s.%s: what answers there is not AWS KMS: %w", c.Section, c.EndpointSetting, kms.ErrUnavailable)
	}
	switch {
	case meta.KeyState != types.KeyStateEnabled:
		return fmt.Errorf("%s.%s: AWS KMS key %q is in state %s, not Enabled: %w", c.Section, c.Setting, c.Key, meta.KeyState, ErrKeyUnusable)
	case (meta.KeyUsage != "" && meta.KeyUsage != types.KeyUsageTypeEncryptDecrypt) || (meta.KeySpec != "" && meta.KeySpec != types.KeySpecSymmetricDefault):
		return fmt.Errorf("%s.%s: AWS KMS key %q is for %s with %s; a symmetric encryption key is needed: %w",
			c.Section, c.Setting, c.Key, meta.KeyUsage, meta.KeySpec, ErrKeyUnusable)
	}
	return nil
}

// arnRegion returns the region of arn:PARTITION:kms:REGION:..., or "".
func arnRegion(key string) string {
	parts := strings.SplitN(key, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[2] != "kms" {
		return ""
	}
	return parts[3]
}
