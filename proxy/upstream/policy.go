package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// maxPolicy is the largest policy that is read, in bytes. MinIO takes up to 20 KiB.
const maxPolicy = 64 << 10

// Policy returns the policy document of a bucket, nil if it has none. storage.ErrForbidden
// if the service credential may not read it, storage.ErrUnreachable for an answer that
// does not say what it is.
func (s *Service) Policy(ctx context.Context, bucket string) ([]byte, error) {
	resp, err := s.client.Do(ctx, &Request{
		Method: http.MethodGet, Bucket: bucket, Query: url.Values{"policy": {""}}, Header: make(http.Header), Credential: &s.cred,
	})
	if err != nil {
		return nil, fmt.Errorf("read bucket policy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		answer := ReadError(resp)
		switch {
		case answer.Status == http.StatusForbidden && answer.Code == "AccessDenied": // another 403 says nothing about the right to read
			return nil, fmt.Errorf("read bucket policy: %w (%w)", storage.ErrForbidden, answer)
		case answer.Status == http.StatusNotFound && (answer.Code == "NoSuchBucketPolicy" || answer.Code == "NoSuchBucket"):
			return nil, nil
		}
		return nil, fmt.Errorf("read bucket policy: %w (%v)", storage.ErrUnreachable, answer) //nolint:errorlint // a 403 is no ErrForbidden here
	}
	defer Discard(resp)
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicy))
	if err != nil {
		return nil, fmt.Errorf("read bucket policy: %w", err)
	}
	return document, nil
}
