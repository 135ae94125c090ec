package awssecrets

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
)

// pageSize is the largest page that AWS returns.
const pageSize = 100

var errListLoop = errors.New("AWS repeats a page of the listing")

// List returns the names of all secrets that have the configured prefix and
// tags, are fit key names, belong to no AWS service and are not scheduled for
// deletion. AWS filters by words and prefixes; what it returns is judged again
// here.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	found := make(map[string]bool)
	seen := make(map[string]bool)
	in := &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(pageSize), Filters: s.filters(prefix)}
	for {
		page, err := awsapi.Attempt(ctx, s.opts.Timeout, func(ctx context.Context) (*secretsmanager.ListSecretsOutput, error) {
			return s.api.ListSecrets(ctx, in)
		})
		if err != nil {
			return nil, s.mapError(ctx, "AWS Secrets Manager: list secrets", err)
		}
		for i := range page.SecretList {
			if name, ok := s.listed(&page.SecretList[i]); ok && strings.HasPrefix(name, prefix) {
				found[name] = true
			}
		}
		token := aws.ToString(page.NextToken)
		if token == "" {
			break
		}
		if seen[token] {
			return nil, fmt.Errorf("AWS Secrets Manager: list secrets: %w: %w", kms.ErrUnavailable, errListLoop)
		}
		seen[token] = true
		in.NextToken = aws.String(token)
	}
	if err := s.correct(ctx, prefix, found); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

// filters ask AWS to leave out what it can. A value that begins with an
// exclamation mark would mean the opposite; neither prefix nor key name may
// hold one.
func (s *Store) filters(prefix string) []types.Filter {
	var filters []types.Filter
	if full := s.secret(prefix); full != "" {
		filters = append(filters, types.Filter{Key: types.FilterNameStringTypeName, Values: []string{full}})
	}
	keys := make([]string, 0, len(s.opts.Tags))
	for k := range s.opts.Tags {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if !strings.HasPrefix(k, "!") {
			return append(filters, types.Filter{Key: types.FilterNameStringTypeTagKey, Values: []string{k}})
		}
	}
	return filters
}

// listed returns the key name of a secret, if it is a key's.
func (s *Store) listed(entry *types.SecretListEntry) (string, bool) {
	name, ok := strings.CutPrefix(aws.ToString(entry.Name), s.opts.Prefix)
	if !ok || entry.DeletedDate != nil || aws.ToString(entry.OwningService) != "" {
		return "", false
	}
	if kms.ValidateEntryName(name) != nil || s.missingTag(entry.Tags) != "" {
		return "", false
	}
	return name, true
}

// correct brings what this process changed a short while ago into a listing
// that does not show it yet. Another process may have changed it again, so the
// secret itself is asked; a caller without secretsmanager:DescribeSecret gets
// AWS's listing as it is.
func (s *Store) correct(ctx context.Context, prefix string, found map[string]bool) error {
	for name, created := range s.recent.all() {
		if found[name] == created || !strings.HasPrefix(name, prefix) {
			continue
		}
		meta, err := s.describe(ctx, s.secret(name))
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("AWS Secrets Manager: list secrets: %w", ctx.Err())
		case awsapi.Code(err) == codeNotFound || (err == nil && meta.DeletedDate != nil):
			delete(found, name)
		case err == nil:
			found[name] = true
		}
	}
	return nil
}
