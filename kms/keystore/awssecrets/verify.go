package awssecrets

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
)

// probeName is looked up at start when the store holds no key. It is never
// created.
const probeName = "bucketseal-startup-probe"

// verify finds out at start what would otherwise fail at the first request.
func (s *Store) verify(ctx context.Context) error {
	page, err := awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.ListSecretsOutput, error) {
		return s.api.ListSecrets(ctx, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(pageSize), Filters: s.filters("")})
	})
	if err != nil {
		return awsapi.Explain(ctx, s.opts.Section, `secretsmanager:ListSecrets on "*"`, s.opts.Section+".endpoint and .region", err)
	}
	probe := probeName
	for i := range page.SecretList {
		if name, ok := s.listed(&page.SecretList[i]); ok {
			probe = name // reading a real key proves kms:Decrypt too
			break
		}
	}
	if err := s.verifyRead(ctx, probe); err != nil {
		return err
	}
	if s.opts.KMSKey == "" {
		return nil
	}
	return awsapi.KeyCheck{
		Client: s.kmsAPI, Key: s.opts.KMSKey, Region: s.region, Timeout: s.opts.Timeout,
		Section: s.opts.Section, Setting: "kmskey", EndpointSetting: "kmsendpoint",
	}.Run(ctx)
}

func (s *Store) verifyRead(ctx context.Context, name string) error {
	_, err := s.read(ctx, s.secret(name))
	if err == nil {
		return nil
	}
	switch code := awsapi.Code(err); {
	case code == codeNotFound || isScheduled(err):
		return nil
	case code == "DecryptionFailure":
		return awsapi.Translate(ctx, fmt.Sprintf("%s: Secrets Manager cannot decrypt secret %q: allow kms:Decrypt on its KMS key, and check that the key is enabled",
			s.opts.Section, s.secret(name)), err, sentinels())
	case awsapi.IsDenied(err) && mentionsKMS(err):
		return awsapi.Explain(ctx, s.opts.Section, "kms:Decrypt on the KMS key of the secrets", "", err)
	default:
		return awsapi.Explain(ctx, s.opts.Section, fmt.Sprintf(`secretsmanager:GetSecretValue on "arn:aws:secretsmanager:%s:ACCOUNT:secret:%s*"`,
			s.region, s.opts.Prefix), s.opts.Section+".endpoint", err)
	}
}
