package awssecrets

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

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
	if err := s.verifyRead(ctx, s.probes(page.SecretList)); err != nil {
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

// maxProbes bounds the secrets that are read at start to find a readable one.
const maxProbes = 10

// probes returns key names to read, best first. A key of this store comes
// first: reading it proves kms:Decrypt too. Without prefix and tags, others may
// be foreign secrets, or KES's keys under a policy that names them one by one:
// they are tried only after the name that does not exist.
func (s *Store) probes(listed []types.SecretListEntry) []string {
	var ours, others []string
	for i := range listed {
		name, ok := s.listed(&listed[i])
		switch {
		case !ok:
		case s.opts.Prefix != "" || len(s.opts.Tags) > 0 || aws.ToString(listed[i].Description) == descriptionOfKey:
			ours = append(ours, name)
		default:
			others = append(others, name)
		}
	}
	return slices.Concat(ours[:min(1, len(ours))], []string{probeName}, others[:min(maxProbes, len(others))])
}

// verifyRead reads until one of the names may be read. It reports the first
// refusal.
func (s *Store) verifyRead(ctx context.Context, names []string) error {
	var first error
	for _, name := range names {
		_, err := s.read(ctx, s.secret(name))
		if err == nil || awsapi.Code(err) == codeNotFound || isScheduled(err) {
			return nil
		}
		refused := s.explainRead(ctx, name, err)
		if !awsapi.IsDenied(err) || mentionsKMS(err) {
			return refused
		}
		if first == nil {
			first = refused
		}
	}
	return first
}

func (s *Store) explainRead(ctx context.Context, name string, err error) error {
	switch {
	case awsapi.Code(err) == "DecryptionFailure":
		return awsapi.Translate(ctx, fmt.Sprintf("%s: Secrets Manager cannot decrypt secret %q: allow kms:Decrypt on its KMS key, and check that the key is enabled",
			s.opts.Section, s.secret(name)), err, sentinels())
	case awsapi.IsDenied(err) && mentionsKMS(err):
		return awsapi.Explain(ctx, s.opts.Section, "kms:Decrypt on the KMS key of the secrets", "", err)
	}
	return awsapi.Explain(ctx, s.opts.Section, fmt.Sprintf(`secretsmanager:GetSecretValue on "arn:aws:secretsmanager:%s:ACCOUNT:secret:%s*" (tried %q)`,
		s.region, s.opts.Prefix, s.secret(name)), s.opts.Section+".endpoint", err)
}
