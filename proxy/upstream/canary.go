package upstream

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// ErrUnfit says that the storage loses what bucketseal keeps with objects, or does
// not obey the conditions that it relies on: what is written there cannot be read
// again.
var ErrUnfit = errors.New("the storage cannot be used with bucketseal")

const (
	// CanaryPrefix begins the names of canaries. None outlives its check, unless the
	// connection breaks.
	CanaryPrefix = "canary/"
	// canaryHeader is the metadata entry that objects keep their records in.
	canaryHeader = "X-Amz-Meta-Bucketseal"
	// canarySize is the length of a canary's record: 3 KiB, which a header could not have.
	canarySize = 3 << 10
)

// canary is a small object on which the storage shows what it does.
type canary struct {
	service *Service
	name    string
	missing []string // what the storage lacks
	// encrypted says that the storage has encrypted a canary by itself.
	encrypted bool
}

// Check writes objects to the system bucket in each way in which records are
// written, and reads the records back. ErrUnfit, which says what is lacking;
// system.ErrNotFound without the bucket, storage.ErrUnreachable.
func (s *Service) Check(ctx context.Context) error {
	c := &canary{service: s, name: CanaryPrefix + strconv.FormatInt(time.Now().Unix(), 10) + "-" + strings.ToLower(rand.Text())}
	defer func() {
		_, _ = s.DeleteNotes(context.WithoutCancel(ctx), c.name, nil) // what is left is swept
	}()
	for _, step := range []func(context.Context) error{c.put, c.list, c.copy, c.upload, c.condition} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("check the storage: %w", err)
		}
		if c.encrypted { // parts have other ETags then
			return fmt.Errorf("%w: it encrypts once more what lies in the bucket %q, by a KMS of its own, and all would be lost with that: take MINIO_KMS_AUTO_ENCRYPTION, or the bucket's encryption rule (mc encrypt clear), away from MinIO", ErrUnfit, s.bucket)
		}
	}
	if len(c.missing) > 0 {
		return fmt.Errorf("%w: %s", ErrUnfit, strings.Join(c.missing, "; "))
	}
	return nil
}

// SweepCanaries removes what checks left that broke off before a time, and returns
// how many objects that were.
func (s *Service) SweepCanaries(ctx context.Context, before time.Time) (int, error) {
	return s.DeleteNotes(ctx, CanaryPrefix, func(name string) bool {
		began, _, _ := strings.Cut(strings.TrimPrefix(name, CanaryPrefix), "-")
		seconds, err := strconv.ParseInt(began, 10, 64)
		return err != nil || seconds >= before.Unix()
	})
}

// HasKMS says whether MinIO has a KMS of its own, and encrypts an object if it is
// asked to. storage.ErrUnreachable, and the errors of MayWrite.
func (s *Service) HasKMS(ctx context.Context) (bool, error) {
	c := &canary{service: s, name: CanaryPrefix + strconv.FormatInt(time.Now().Unix(), 10) + "-" + strings.ToLower(rand.Text())}
	_, err := c.do(ctx, http.MethodPut, "/kms", nil, http.Header{encryptionHeader: {"AES256"}}, []byte("canary"), http.StatusOK)
	if err == nil {
		_, _ = s.DeleteNotes(context.WithoutCancel(ctx), c.name, nil)
		return true, nil
	}
	var answer *storage.Error
	switch {
	case !errors.As(err, &answer):
		return false, err
	case strings.HasPrefix(answer.Code, "kms:"): // it has one that is out of order
		return true, nil
	case answer.Status == http.StatusNotImplemented:
		return false, nil
	}
	return false, asked(answer)
}

// HasRule says whether a bucket has an encryption rule at MinIO itself. system.ErrOwnRights,
// storage.ErrUnreachable.
func (s *Service) HasRule(ctx context.Context, bucket string) (bool, error) {
	resp, err := s.client.Do(ctx, &Request{
		Method: http.MethodGet, Bucket: bucket, Query: url.Values{"encryption": {""}}, Header: make(http.Header), Credential: &s.cred,
	})
	if err != nil {
		return false, err
	}
	if resp.StatusCode == http.StatusOK {
		Discard(resp)
		return true, nil
	}
	answer := ReadError(resp)
	if answer.Status == http.StatusNotFound {
		return false, nil
	}
	return false, asked(answer)
}

// lacks notes what the storage does not do.
func (c *canary) lacks(format string, args ...any) error {
	c.missing = append(c.missing, fmt.Sprintf(format, args...))
	return nil
}

func (c *canary) put(ctx context.Context) error {
	record := canaryRecord()
	_, err := c.do(ctx, http.MethodPut, "/put", url.Values{canaryHeader: {record}}, nil, []byte("canary"), http.StatusOK)
	if err != nil {
		return err
	}
	return c.kept(ctx, "/put", record, "an upload")
}

func (c *canary) list(ctx context.Context) error {
	query := url.Values{"list-type": {"2"}, "metadata": {"true"}, "prefix": {c.name + "/"}}
	page, err := c.service.list(ctx, query)
	if err != nil {
		return err
	}
	for i := range page.Entries {
		for _, m := range page.Entries[i].Metadata {
			if m.Name == canaryHeader {
				return nil
			}
		}
	}
	return c.lacks("its listings show no metadata")
}

// copy copies an object onto itself, as clients do that change its metadata.
func (c *canary) copy(ctx context.Context) error {
	record := canaryRecord()
	header := http.Header{
		"X-Amz-Copy-Source": {"/" + c.service.bucket + "/" + c.name + "/put"}, "X-Amz-Metadata-Directive": {"REPLACE"}, "X-Amz-Checksum-Algorithm": {"CRC64NVME"},
	}
	answer, err := c.do(ctx, http.MethodPut, "/put", url.Values{canaryHeader: {record}}, header, nil, http.StatusOK)
	if err != nil {
		return err
	}
	if !bytes.Contains(answer, []byte("CopyObjectResult")) {
		return fmt.Errorf("a copy of an object onto itself: %w (%.200q)", storage.ErrUnreachable, answer)
	}
	return c.kept(ctx, "/put", record, "a copy of an object onto itself")
}

func (c *canary) upload(ctx context.Context) error {
	record, data := canaryRecord(), []byte("canary of one part")
	answer, err := c.do(ctx, http.MethodPost, "/parts", url.Values{"uploads": {""}, canaryHeader: {record}}, nil, nil, http.StatusOK)
	if err != nil {
		return err
	}
	var created struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(answer, &created); err != nil || created.UploadID == "" {
		return c.lacks("it does not begin uploads in parts")
	}
	if _, err := c.do(ctx, http.MethodPut, "/parts", url.Values{"uploadId": {created.UploadID}, "partNumber": {"1"}}, nil, data, http.StatusOK); err != nil {
		return err
	}
	sum := md5.Sum(data) //nolint:gosec // see above
	list := fmt.Sprintf(`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"%x"</ETag></Part></CompleteMultipartUpload>`, sum)
	answer, err = c.do(ctx, http.MethodPost, "/parts", url.Values{"uploadId": {created.UploadID}}, nil, []byte(list), http.StatusOK)
	if err != nil {
		return err
	}
	whole := md5.Sum(sum[:]) //nolint:gosec // see above
	if !bytes.Contains(answer, []byte(hex.EncodeToString(whole[:])+"-1")) {
		return c.lacks("the ETag of an upload in parts does not follow from its parts")
	}
	return c.kept(ctx, "/parts", record, "an upload in parts")
}

// condition writes where something is already, which the storage must refuse.
func (c *canary) condition(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPut, "/put", nil, http.Header{"If-None-Match": {"*"}}, []byte("another"), http.StatusPreconditionFailed)
	var answer *storage.Error
	if errors.As(err, &answer) && answer.Status == http.StatusOK {
		return c.lacks("it does not obey If-None-Match")
	}
	return err
}

// kept says whether an object has the record that it was written with.
func (c *canary) kept(ctx context.Context, suffix, record, how string) error {
	resp, err := c.service.client.Do(ctx, c.service.request(http.MethodHead, c.name+suffix))
	if err != nil {
		return err
	}
	defer Discard(resp)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("look %s up: %w (%w)", how, storage.ErrUnreachable, ReadError(resp))
	}
	c.encrypted = c.encrypted || resp.Header.Get(encryptionHeader) != ""
	if values := resp.Header.Values(canaryHeader); len(values) != 1 || values[0] != record {
		return c.lacks("%s loses metadata that is sent in the query", how)
	}
	return nil
}

// do sends a request and returns the whole answer. For an answer of another status
// *storage.Error, and what it means besides: the errors of MayWrite.
func (c *canary) do(ctx context.Context, method, suffix string, query url.Values, header http.Header, body []byte, status int) ([]byte, error) {
	r := c.service.request(method, c.name+suffix)
	r.Query = query
	for name, values := range header {
		r.Header[name] = values
	}
	r.Body, r.Length = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := c.service.client.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != status {
		return nil, fmt.Errorf("%s: %w", method, asked(ReadError(resp)))
	}
	defer Discard(resp)
	return io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
}

func canaryRecord() string {
	raw := make([]byte, canarySize/2)
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}
