// Package awsapi is what the AWS key stores share: how credentials, region,
// endpoint, timeouts and retries are set up, what an AWS error says in the
// key service's own words, and the check of a KMS key at start.
package awsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bucketseal/bucketseal/kms"
)

// DefaultTimeout bounds one store operation, its retries included. It is
// shorter than the 15 s in which the key service has to answer.
const DefaultTimeout = 10 * time.Second

// The SDK retries throttled and failed calls after random pauses whose upper
// bound doubles from firstBackoff to maxBackoff. The timeout of the operation
// ends them.
const (
	maxAttempts  = 6
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// Credentials are static AWS credentials. The zero value stands for the SDK's
// own chain: environment, shared files and SSO, web identity, container and
// instance roles. They print as [redacted].
type Credentials struct {
	AccessKey    string
	SecretKey    string
	SessionToken string
}

// String hides the credentials.
func (Credentials) String() string { return "[redacted]" }

// GoString hides the credentials.
func (Credentials) GoString() string { return "[redacted]" }

// MarshalJSON hides the credentials.
func (Credentials) MarshalJSON() ([]byte, error) { return json.Marshal("[redacted]") }

// Settings say how to reach AWS.
type Settings struct {
	// Region is the AWS region; empty takes AWS_REGION, AWS_DEFAULT_REGION or
	// the profile's.
	Region string
	// Credentials are static credentials; zero is the SDK's chain.
	Credentials Credentials
	// Timeout bounds one operation with its retries; 0 is DefaultTimeout.
	Timeout time.Duration
	// Section is the configuration section that error messages name, such as
	// "keystore.aws.secretsmanager".
	Section string
}

// Load makes the SDK configuration and verifies that there is a region and
// that credentials can be had. Its errors name the setting to change.
func Load(ctx context.Context, s Settings) (aws.Config, error) {
	c := s.Credentials
	if (c.AccessKey == "") != (c.SecretKey == "") || (c.SessionToken != "" && c.AccessKey == "") {
		return aws.Config{}, fmt.Errorf("%s.credentials: accesskey and secretkey go together, and token needs both", s.Section)
	}
	opts := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient(s.OperationTimeout())),
		config.WithRetryer(newRetryer),
	}
	if s.Region != "" {
		opts = append(opts, config.WithRegion(s.Region))
	}
	if c.AccessKey != "" {
		opts = append(opts, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("%s: AWS settings of the environment or the shared files cannot be used: %w", s.Section, err)
	}
	if cfg.Region == "" {
		return aws.Config{}, fmt.Errorf("%s.region is not set, and neither AWS_REGION nor the AWS profile names a region", s.Section)
	}
	if err := requireCredentials(ctx, cfg, s); err != nil {
		return aws.Config{}, err
	}
	return cfg, nil
}

// OperationTimeout returns Timeout or its default.
func (s Settings) OperationTimeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return DefaultTimeout
}

func requireCredentials(ctx context.Context, cfg aws.Config, s Settings) error {
	ctx, cancel := context.WithTimeout(ctx, s.OperationTimeout())
	defer cancel()
	if cfg.Credentials != nil {
		_, err := cfg.Credentials.Retrieve(ctx)
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s.credentials: no AWS credentials found: set accesskey and secretkey, or AWS_ACCESS_KEY_ID and "+
			"AWS_SECRET_ACCESS_KEY, a profile, a web identity or an instance role: %w: %v", s.Section, kms.ErrNotPermitted, err)
	}
	return fmt.Errorf("%s.credentials: no AWS credentials configured: %w", s.Section, kms.ErrNotPermitted)
}

// httpClient leaves room for a second attempt when one hangs.
func httpClient(timeout time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(timeout * 2 / 5).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = timeout / 5 }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 16
			t.TLSHandshakeTimeout = timeout / 5
		})
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
		o.Backoff = retry.BackoffDelayerFunc(backoff)
	})
}

// backoff returns the pause after the attempt, counted from 1 or 0.
func backoff(attempt int, _ error) (time.Duration, error) {
	limit := firstBackoff << min(max(attempt, 0), 8)
	return firstBackoff/2 + rand.N(min(limit, maxBackoff)), nil
}

// Attempt runs one operation under its own timeout.
func Attempt[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	callCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := call(callCtx)
	if err != nil && ctx.Err() != nil {
		return out, ctx.Err()
	}
	return out, err
}
