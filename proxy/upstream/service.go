package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// ownFault returns which of these an error code stands for, and nil for none.
func ownFault(code string) error {
	if code == "NoSuchBucket" {
		return system.ErrNoBucket
	}
	return (&storage.Error{Code: code}).AgainstOwn()
}

// maxSystemObject bounds a system object that is read into memory, in bytes.
const maxSystemObject = 64 << 20

// Service is the proxy's own access to MinIO, under its service credential: the
// system bucket and nothing that a client asks for. It is safe for concurrent use.
type Service struct {
	client *Client
	core   *minio.Core
	cred   storage.Credential
	bucket string
}

// NewService returns the service access to the system bucket named bucket.
func (c *Client) NewService(cred storage.Credential, bucket string) (*Service, error) {
	core, err := minio.NewCore(c.endpoint.Host, &minio.Options{
		Creds:        credentials.NewStaticV4(cred.AccessKey, cred.SecretKey, cred.SessionToken),
		Secure:       c.endpoint.Scheme == "https",
		Transport:    c.transport,
		Region:       c.region,
		BucketLookup: minio.BucketLookupPath,
		MaxRetries:   1,
	})
	if err != nil {
		return nil, fmt.Errorf("service access to upstream: %w", err)
	}
	return &Service{client: c, core: core, cred: cred, bucket: bucket}, nil
}

// Bucket returns the system bucket's name.
func (s *Service) Bucket() string { return s.bucket }

// CreateBucket creates the system bucket if it is missing and turns its
// versioning on.
func (s *Service) CreateBucket(ctx context.Context) error {
	err := s.core.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{})
	var answer minio.ErrorResponse
	if err != nil && (!errors.As(err, &answer) || answer.Code != minio.BucketAlreadyOwnedByYou) {
		return serviceError("create system bucket", err)
	}
	return serviceError("turn on versioning of the system bucket", s.core.EnableVersioning(ctx, s.bucket))
}

// CreationDates returns when each bucket was created.
func (s *Service) CreationDates(ctx context.Context) (map[string]time.Time, error) {
	resp, err := s.client.Do(ctx, &Request{Method: http.MethodGet, Header: make(http.Header), Credential: &s.cred})
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list buckets: %w", asked(ReadError(resp)))
	}
	defer Discard(resp)
	list, err := ParseBuckets(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w (%w)", storage.ErrUnreachable, err)
	}
	dates := make(map[string]time.Time, len(list.Buckets))
	for _, b := range list.Buckets {
		created, err := time.Parse(time.RFC3339, b.CreationDate)
		if err != nil {
			return nil, fmt.Errorf("creation date of bucket %q: %w (%w)", b.Name, storage.ErrUnreachable, err)
		}
		dates[b.Name] = created
	}
	return dates, nil
}

// Get reads a system object. If etag is not empty and still current, it
// returns system.ErrNotModified. system.ErrNotFound, storage.ErrUnreachable.
func (s *Service) Get(ctx context.Context, name, etag string) (data []byte, newETag string, err error) {
	var o minio.GetObjectOptions
	if etag != "" {
		if err := o.SetMatchETagExcept(etag); err != nil {
			return nil, "", err
		}
	}
	body, info, _, err := s.core.GetObject(ctx, s.bucket, name, o)
	if err != nil {
		return nil, "", serviceError("read system object", err)
	}
	defer func() { _ = body.Close() }()
	data, err = io.ReadAll(io.LimitReader(body, maxSystemObject+1))
	if err != nil || len(data) > maxSystemObject || int64(len(data)) != info.Size {
		return nil, "", fmt.Errorf("read system object: %w (%d of %d bytes, %v)", storage.ErrUnreachable, len(data), info.Size, err)
	}
	return data, info.ETag, nil
}

// Put stores a system object if the current one has the given ETag; "" means
// only if there is none. system.ErrConflict, storage.ErrUnreachable; after any error but
// system.ErrConflict the object may have been stored all the same.
func (s *Service) Put(ctx context.Context, name string, data []byte, etag string) (newETag string, err error) {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}
	if etag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(etag)
	}
	info, err := s.core.PutObject(ctx, s.bucket, name, bytes.NewReader(data), int64(len(data)), "", "", o)
	if err != nil {
		return "", serviceError("write system object", err)
	}
	return info.ETag, nil
}

// Hide removes a system object and keeps its versions, which is no error if there is
// none.
func (s *Service) Hide(ctx context.Context, name string) error {
	err := serviceError("hide system object", s.core.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{}))
	if errors.Is(err, system.ErrNotFound) {
		return nil
	}
	return err
}

// MayWrite asks whether a system object could be written now, without writing one:
// the condition is never met. system.ErrOwnCredential, system.ErrOwnRights, system.ErrNoBucket,
// storage.ErrUnreachable.
func (s *Service) MayWrite(ctx context.Context) error {
	r := s.request(http.MethodPut, probeName)
	r.Header.Set("If-Match", `"00000000000000000000000000000000"`)
	body := []byte("never written")
	r.Body, r.Length = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := s.client.Do(ctx, r)
	if err != nil {
		return err
	}
	defer Discard(resp)
	answer := ReadError(resp)
	if answer.Status == http.StatusPreconditionFailed || answer.Code == minio.NoSuchKey {
		return nil
	}
	return fmt.Errorf("write to the system bucket: %w", asked(answer))
}

// probeName is an object that never exists.
const probeName = CanaryPrefix + "0-probe"

// asked returns an answer to the proxy itself with what it means; storage.ErrUnreachable
// for what says nothing.
func asked(answer *storage.Error) error {
	if fault := ownFault(answer.Code); fault != nil {
		return fmt.Errorf("%w (%w)", fault, answer)
	}
	return fmt.Errorf("%w (%w)", storage.ErrUnreachable, answer)
}

func serviceError(what string, err error) error {
	if err == nil {
		return nil
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w (%w)", what, storage.ErrUnreachable, err)
	}
	fault := ownFault(answer.Code)
	switch {
	case answer.StatusCode == http.StatusNotModified:
		return system.ErrNotModified
	case fault != nil:
		return fmt.Errorf("%s: %w (%w)", what, fault, err)
	case answer.Code == minio.NoSuchKey:
		return fmt.Errorf("%s: %w", what, system.ErrNotFound)
	case answer.StatusCode == http.StatusPreconditionFailed, answer.StatusCode == http.StatusConflict:
		return fmt.Errorf("%s: %w", what, system.ErrConflict)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
