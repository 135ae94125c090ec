// Package awssecrets keeps KMS keys in AWS Secrets Manager, one secret a key,
// as KES does: the secret's name is the key's name, its string is the record
// of the key. A store of KES can be taken over, and given back.
//
// Beyond KES it can confine itself to a name prefix and to tags, deletes with
// a recovery window, never deletes a secret that is not a key, and verifies at
// start what it was given.
package awssecrets

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
)

var (
	_ kms.Store           = (*Store)(nil)
	_ kms.DeletionChecker = (*Store)(nil)
)

// Store is a kms.Store on AWS Secrets Manager. It is safe for concurrent use.
type Store struct {
	api    *secretsmanager.Client
	kmsAPI *awskms.Client
	region string
	opts   Options
	recent *recent
}

// Open returns a store whose credentials may list and read, and whose
// KMS key, if one is set, exists and is enabled. Its errors name the missing
// permission or the setting to change, and wrap ErrOptions,
// kms.ErrNotPermitted or kms.ErrUnavailable.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if err := opts.check(); err != nil {
		return nil, err
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
	api := secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) {
		if opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(opts.Endpoint)
		}
	})
	kmsAPI, err := kmsClient(cfg, opts, api.Options().BaseEndpoint)
	if err != nil {
		return nil, err
	}
	s := &Store{
		api:    api,
		kmsAPI: kmsAPI,
		region: cfg.Region,
		opts:   opts,
		recent: newRecent(),
	}
	if err := s.verify(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// kmsClient returns the client that asks about the KMS key. The environment and AWS's
// shared files may name endpoints too: found is the one that Secrets Manager got, nil
// for AWS's own. A private one must not leave AWS KMS at Amazon, with the same
// credentials.
func kmsClient(cfg aws.Config, opts Options, found *string) (*awskms.Client, error) {
	private, err := awsapi.ParseEndpoint(aws.ToString(found))
	if err != nil {
		return nil, opts.bad("endpoint", "AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_ENDPOINT_URL or the AWS profile: %v", err)
	}
	api := awskms.NewFromConfig(cfg, func(o *awskms.Options) {
		if opts.KMSEndpoint != "" {
			o.BaseEndpoint = aws.String(opts.KMSEndpoint)
		}
	})
	own := aws.ToString(api.Options().BaseEndpoint)
	if _, err := awsapi.ParseEndpoint(own); err != nil {
		return nil, opts.bad("kmsendpoint", "AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL or the AWS profile: %v", err)
	}
	if own != "" {
		return api, nil
	}
	same, err := awsapi.KMSEndpoint("", private)
	if err != nil || same == "" {
		return api, err
	}
	return awskms.NewFromConfig(cfg, func(o *awskms.Options) { o.BaseEndpoint = aws.String(same) }), nil
}

// Endpoints returns where Secrets Manager and AWS KMS are asked, "" for AWS's own.
func (s *Store) Endpoints() (secrets, keys string) {
	return aws.ToString(s.api.Options().BaseEndpoint), aws.ToString(s.kmsAPI.Options().BaseEndpoint)
}

// Create stores value as a new secret: kms.ErrKeyExists, also for a name that
// is scheduled for deletion.
func (s *Store) Create(ctx context.Context, name string, value []byte) error {
	// AWS makes the token the version's id: by it a secret can be told to be
	// ours when a call failed after AWS had stored it.
	token := requestToken()
	in := &secretsmanager.CreateSecretInput{
		Name:               aws.String(s.secret(name)),
		Description:        aws.String(descriptionOfKey),
		ClientRequestToken: aws.String(token),
		Tags:               s.tags(),
	}
	if s.opts.KMSKey != "" {
		in.KmsKeyId = aws.String(s.opts.KMSKey)
	}
	if len(value) > 0 && utf8.Valid(value) {
		in.SecretString = aws.String(string(value))
	} else {
		in.SecretBinary = value
	}
	_, err := awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.CreateSecretOutput, error) {
		return s.api.CreateSecret(ctx, in)
	})
	if err != nil {
		err = s.afterFailedCreate(ctx, name, token, err)
	}
	if err != nil {
		return err
	}
	s.recent.note(name, true)
	return nil
}

// afterFailedCreate finds out what stands under the name: what this call did
// store before it failed, a secret that is scheduled for deletion, or another.
func (s *Store) afterFailedCreate(ctx context.Context, name, token string, err error) error {
	what := s.what("create", name)
	failed := s.mapError(ctx, what, err)
	if awsapi.IsDenied(err) || awsapi.IsBadCredentials(err) || ctx.Err() != nil {
		return failed
	}
	out, readErr := s.read(ctx, s.secret(name))
	switch {
	case readErr == nil && aws.ToString(out.VersionId) == token:
		return nil
	case isScheduled(err) || isScheduled(readErr):
		return fmt.Errorf("%s: %w: a secret of that name is scheduled for deletion; restore it "+
			"(aws secretsmanager restore-secret --secret-id %s) or wait until AWS has removed it", what, kms.ErrKeyExists, s.secret(name))
	default:
		return failed
	}
}

// Get returns the secret's string, or its binary value.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	out, err := s.read(ctx, s.secret(name))
	for pause := firstPause; s.recent.created(name) && awsapi.Code(err) == codeNotFound && pause <= lastPause; pause *= 2 {
		// A secret created a moment ago may not be seen by every part of AWS.
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("%s: %w", s.what("read", name), err)
		}
		out, err = s.read(ctx, s.secret(name))
	}
	if err != nil {
		if isScheduled(err) {
			return nil, fmt.Errorf("%s: %w: its secret is scheduled for deletion", s.what("read", name), kms.ErrKeyNotFound)
		}
		return nil, s.mapError(ctx, s.what("read", name), err)
	}
	return valueOf(out), nil
}

// MayDelete implements kms.DeletionChecker: kms.ErrNotPermitted for a secret that is not this
// store's key. Whether the caller may delete at all it does not tell.
func (s *Store) MayDelete(ctx context.Context, name string) error {
	_, err := s.deletable(ctx, name)
	return err
}

// deletable returns what AWS says of a secret that may be deleted; else what Delete returns.
func (s *Store) deletable(ctx context.Context, name string) (*secretsmanager.DescribeSecretOutput, error) {
	what := s.what("delete", name)
	meta, err := s.describe(ctx, s.secret(name))
	if err != nil {
		return nil, s.mapError(ctx, what, err)
	}
	if meta.DeletedDate != nil {
		return nil, fmt.Errorf("%s: %w: its secret is scheduled for deletion", what, kms.ErrKeyNotFound)
	}
	if err := s.owned(ctx, name, meta); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return meta, nil
}

// Delete schedules the secret's deletion, or deletes it at once with Purge:
// kms.ErrKeyNotFound, also for one that is scheduled already;
// kms.ErrNotPermitted for a secret that is not this store's key.
func (s *Store) Delete(ctx context.Context, name string) error {
	what := s.what("delete", name)
	meta, err := s.deletable(ctx, name)
	if err != nil {
		return err
	}
	// By ARN, which is this secret's alone: the SDK repeats a call whose answer was
	// lost, and somebody may have made another of that name meanwhile.
	in := &secretsmanager.DeleteSecretInput{SecretId: aws.String(cmp.Or(aws.ToString(meta.ARN), s.secret(name)))}
	if s.opts.Purge {
		in.ForceDeleteWithoutRecovery = aws.Bool(true)
	} else {
		in.RecoveryWindowInDays = aws.Int64(int64(s.opts.RecoveryDays))
	}
	_, err = awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.DeleteSecretOutput, error) {
		return s.api.DeleteSecret(ctx, in)
	})
	// It was there a moment ago: what is gone now was deleted by this call, by
	// an attempt of it whose answer was lost, or by a rival.
	if err != nil && !isScheduled(err) && awsapi.Code(err) != codeNotFound {
		return s.mapError(ctx, what, err)
	}
	s.recent.note(name, false)
	return nil
}

// Status makes the cheapest call that every caller of the store may make.
func (s *Store) Status(ctx context.Context) (kms.State, error) {
	start := time.Now()
	_, err := awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.ListSecretsOutput, error) {
		return s.api.ListSecrets(ctx, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(1)})
	})
	if err != nil {
		return kms.State{}, s.mapError(ctx, "AWS Secrets Manager: status", err)
	}
	return kms.State{Latency: time.Since(start)}, nil
}

// Close does nothing: connections end with their idle timeout.
func (s *Store) Close() error { return nil }

func (s *Store) secret(name string) string { return s.opts.Prefix + name }

func (s *Store) what(verb, name string) string {
	return fmt.Sprintf("AWS Secrets Manager: %s secret %q", verb, s.secret(name))
}

func (s *Store) tags() []types.Tag {
	tags := make([]types.Tag, 0, len(s.opts.Tags))
	for k, v := range s.opts.Tags {
		tags = append(tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return tags
}

func (s *Store) read(ctx context.Context, secret string) (*secretsmanager.GetSecretValueOutput, error) {
	return awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.GetSecretValueOutput, error) {
		return s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(secret)})
	})
}

func (s *Store) describe(ctx context.Context, secret string) (*secretsmanager.DescribeSecretOutput, error) {
	return awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.DescribeSecretOutput, error) {
		return s.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(secret)})
	})
}

func valueOf(out *secretsmanager.GetSecretValueOutput) []byte {
	if out.SecretString != nil {
		return []byte(*out.SecretString)
	}
	return out.SecretBinary
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// errForeign says that a secret is not this store's.
var errForeign = errors.New("not a key of this store")

// requestToken returns a new ClientRequestToken: 32 of the 32 to 64 letters that AWS asks
// for.
func requestToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
