// Package awskms seals key records with an AWS KMS key before they go to
// another store: envelope mode, for those who do not want a secret per key.
//
// Format of a stored value, version 1, ASCII:
//
//	"bucketseal.awskms.v1:" || standard base64, padded, of AWS KMS's ciphertext
//
// The ciphertext is that of kms:Encrypt with the KMS key configured, the
// algorithm SYMMETRIC_DEFAULT and the encryption context
// {"bucketseal:key": NAME}, so that a value that was moved to another name
// does not open. Values without the version's first bytes are refused: whoever
// can write to the inner store must not be able to plant a key.
package awskms

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
)

const (
	// MaxValue is the longest value in bytes that AWS KMS encrypts directly.
	// Key records have about 150.
	MaxValue = 4096

	magic          = "bucketseal.awskms.v1:"
	contextName    = "bucketseal:key"
	probeName      = "bucketseal-startup-probe"
	defaultSection = "keystore.aws.kms"
)

var (
	// ErrOptions says that Options lack something or contradict themselves.
	ErrOptions = errors.New("invalid AWS KMS options")
	// ErrTooLong says that a value has more than MaxValue bytes.
	ErrTooLong = errors.New("value is too long for AWS KMS")
)

// Options configure Open.
type Options struct {
	// Inner keeps the sealed values. The store that Open returns owns it: its
	// Close closes Inner.
	Inner kms.Store
	// Key seals and unseals: key id, ARN, alias/NAME or alias ARN.
	Key string
	// FormerKeys only unseal what was sealed before Key changed.
	FormerKeys []string
	// Region; empty takes the one of the environment or the AWS profile.
	Region string
	// Endpoint of AWS KMS: host, host:port or URL; a missing scheme means
	// https. Empty: AWS's endpoint of the region.
	Endpoint string
	// Credentials; zero is the SDK's whole chain.
	Credentials awsapi.Credentials
	// Timeout of one call to AWS KMS with its retries; 0 is
	// awsapi.DefaultTimeout.
	Timeout time.Duration
	// Section is the configuration section that error messages name; empty is
	// keystore.aws.kms.
	Section string
}

type store struct {
	kms.Store
	api    *sdk.Client
	opts   Options
	region string
}

// stamped is a store whose inner store is a kms.Stamper: its stamps say that the
// sealed value has not changed, and nothing of whether AWS KMS still opens it.
type stamped struct {
	*store
	kms.Stamper
}

var _ kms.ExpiringStamper = (*stamped)(nil)

// StampsExpire implements kms.ExpiringStamper.
func (*stamped) StampsExpire() {}

// Open returns a store that keeps values of opts.Inner sealed. It verifies that
// the AWS KMS key exists, is enabled, encrypts and decrypts; its errors name
// the missing permission or the setting to change, and wrap ErrOptions,
// kms.ErrNotPermitted or kms.ErrUnavailable. When it fails, Inner stays open.
// The store is a kms.ExpiringStamper if Inner is a kms.Stamper.
func Open(ctx context.Context, opts Options) (kms.Store, error) {
	s, err := newStore(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := s.verify(ctx); err != nil {
		return nil, err
	}
	if stamper, ok := opts.Inner.(kms.Stamper); ok {
		return &stamped{store: s, Stamper: stamper}, nil
	}
	return s, nil
}

func newStore(ctx context.Context, opts Options) (*store, error) {
	if opts.Section == "" {
		opts.Section = defaultSection
	}
	if opts.Timeout <= 0 {
		opts.Timeout = awsapi.DefaultTimeout
	}
	if opts.Inner == nil {
		return nil, fmt.Errorf("%s: %w: no store for the sealed keys", opts.Section, ErrOptions)
	}
	if opts.Key == "" {
		return nil, fmt.Errorf("%s.key: %w: no AWS KMS key", opts.Section, ErrOptions)
	}
	endpoint, err := awsapi.ParseEndpoint(opts.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("%s.endpoint: %w: %v", opts.Section, ErrOptions, err)
	}
	cfg, err := awsapi.Load(ctx, awsapi.Settings{
		Region:      opts.Region,
		Credentials: opts.Credentials,
		Timeout:     opts.Timeout,
		Section:     opts.Section,
	})
	if err != nil {
		return nil, err
	}
	api := sdk.NewFromConfig(cfg, func(o *sdk.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	if _, err := awsapi.ParseEndpoint(aws.ToString(api.Options().BaseEndpoint)); err != nil {
		return nil, fmt.Errorf("%s.endpoint: %w: AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL or the AWS profile: %v", opts.Section, ErrOptions, err)
	}
	return &store{Store: opts.Inner, api: api, opts: opts, region: cfg.Region}, nil
}

// Create seals value and stores it: kms.ErrKeyExists, ErrTooLong.
func (s *store) Create(ctx context.Context, name string, value []byte) error {
	sealed, err := s.seal(ctx, name, value)
	if err != nil {
		return err
	}
	return s.Store.Create(ctx, name, sealed)
}

// Get returns the unsealed value: kms.ErrKeyNotFound, kms.ErrCorruptKey.
func (s *store) Get(ctx context.Context, name string) ([]byte, error) {
	sealed, err := s.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.unseal(ctx, name, sealed)
}

// Status asks the inner store and AWS KMS.
func (s *store) Status(ctx context.Context) (kms.State, error) {
	state, err := s.Store.Status(ctx)
	if err != nil {
		return state, err
	}
	start := time.Now()
	if err := s.keyCheck().Run(ctx); err != nil {
		return kms.State{}, err
	}
	state.Latency += time.Since(start)
	return state, nil
}

func (s *store) keyCheck() awsapi.KeyCheck {
	return awsapi.KeyCheck{
		Client: s.api, Key: s.opts.Key, Region: s.region, Timeout: s.opts.Timeout,
		Section: s.opts.Section, Setting: "key", EndpointSetting: "endpoint",
	}
}

// verify asks for the key, then seals and unseals a random value.
func (s *store) verify(ctx context.Context) error {
	if err := s.keyCheck().Run(ctx); err != nil {
		return err
	}
	probe := make([]byte, 32)
	if _, err := rand.Read(probe); err != nil {
		return fmt.Errorf("%s: random probe: %w", s.opts.Section, err)
	}
	sealed, err := s.encrypt(ctx, probeName, probe)
	if err != nil {
		return awsapi.Explain(ctx, s.opts.Section, "kms:Encrypt on "+s.opts.Key, s.opts.Section+".endpoint", err)
	}
	opened, err := s.decrypt(ctx, s.opts.Key, probeName, sealed)
	if err != nil {
		return awsapi.Explain(ctx, s.opts.Section, "kms:Decrypt on "+s.opts.Key, s.opts.Section+".endpoint", err)
	}
	if subtle.ConstantTimeCompare(opened, probe) != 1 {
		return fmt.Errorf("%s.key: AWS KMS does not give back what was encrypted: %w", s.opts.Section, kms.ErrUnavailable)
	}
	return s.verifyStored(ctx)
}

// verifyStored opens keys that are stored already until one opens: under another AWS
// KMS key than theirs, new keys would lie beside old ones that seem damaged.
func (s *store) verifyStored(ctx context.Context) error {
	names, err := s.Store.List(ctx, "")
	if err != nil {
		return err
	}
	const enough = 3 // one may be damaged
	for i, name := range names {
		value, err := s.Get(ctx, name)
		clear(value)
		if err == nil {
			return nil
		}
		if i+1 == enough || i+1 == len(names) {
			return fmt.Errorf("%s.key: the stored key %q does not open; if it was sealed with another AWS KMS key, name that in %s.former_keys: %w", s.opts.Section, name, s.opts.Section, err)
		}
	}
	return nil
}

func (s *store) seal(ctx context.Context, name string, value []byte) ([]byte, error) {
	if len(value) > MaxValue {
		return nil, fmt.Errorf("AWS KMS: seal key %q: %w: %d bytes, at most %d", name, ErrTooLong, len(value), MaxValue)
	}
	sealed, err := s.encrypt(ctx, name, value)
	if err != nil {
		return nil, awsapi.Translate(ctx, fmt.Sprintf("AWS KMS: seal key %q", name), err, sentinels())
	}
	return base64.StdEncoding.AppendEncode([]byte(magic), sealed), nil
}

func (s *store) unseal(ctx context.Context, name string, value []byte) ([]byte, error) {
	what := fmt.Sprintf("AWS KMS: unseal key %q", name)
	text, ok := bytes.CutPrefix(value, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%s: %w: it is not sealed with AWS KMS", what, kms.ErrCorruptKey)
	}
	sealed, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: no base64", what, kms.ErrCorruptKey)
	}
	var plain []byte
	for _, key := range append([]string{s.opts.Key}, s.opts.FormerKeys...) {
		plain, err = s.decrypt(ctx, key, name, sealed)
		if awsapi.Code(err) != codeOtherKey {
			break
		}
	}
	return plain, awsapi.Translate(ctx, what, err, sentinels())
}

func (s *store) encrypt(ctx context.Context, name string, value []byte) ([]byte, error) {
	out, err := awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*sdk.EncryptOutput, error) {
		return s.api.Encrypt(ctx, &sdk.EncryptInput{
			KeyId:             aws.String(s.opts.Key),
			Plaintext:         value,
			EncryptionContext: map[string]string{contextName: name},
		})
	})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, nil
}

func (s *store) decrypt(ctx context.Context, key, name string, sealed []byte) ([]byte, error) {
	out, err := awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*sdk.DecryptOutput, error) {
		return s.api.Decrypt(ctx, &sdk.DecryptInput{
			KeyId:             aws.String(key), // never a key that the ciphertext chooses
			CiphertextBlob:    sealed,
			EncryptionContext: map[string]string{contextName: name},
		})
	})
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}
