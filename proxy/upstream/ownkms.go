package upstream

import (
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5, which MinIO insists on
	"encoding/base64"
	"net/http"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// noEncryptionRule is MinIO's answer where a bucket has no rule.
const noEncryptionRule = "ServerSideEncryptionConfigurationNotFoundError"

// ownKMS is what is known of a KMS that MinIO has and should not have.
type ownKMS struct {
	found atomic.Bool
	kept  atomic.Pointer[func(bucket string, err error)]
}

// NoteKMS takes note of whether MinIO has a KMS of its own, and says whether that is news.
// While it has one, nobody may write rules: storage.ErrEncrypts.
func (c *Client) NoteKMS(has bool) (news bool) { return c.kms.found.Swap(has) != has }

// OnRuleKept makes the client call notice when MinIO has taken a bucket's rule of a
// question, as it got a KMS since it was looked at, and does not let it be removed.
func (c *Client) OnRuleKept(notice func(bucket string, err error)) { c.kms.kept.Store(&notice) }

// mayRule asks for what the actor wants with a bucket's rule: MinIO has no KMS and no
// rules, and says so only to those it would have let. storage.ErrEncrypts if it has.
func (b *backend) mayRule(ctx context.Context, q *storage.Question) error {
	r := b.ruleRequest(map[storage.Right]string{
		storage.ReadRule: http.MethodGet, storage.WriteRule: http.MethodPut, storage.RemoveRule: http.MethodDelete,
	}[q.Right], q.Name.Bucket)
	var body []byte
	if q.Right == storage.WriteRule {
		if b.client.kms.found.Load() { // it would take the rule that only asks
			return storage.ErrEncrypts
		}
		body = bucketconfig.Rule{Algorithm: bucketconfig.AES256}.XML()
		sum := md5.Sum(body) //nolint:gosec // see above
		r.Header["Content-Type"] = []string{"application/xml"}
		r.Header["Content-Md5"] = []string{base64.StdEncoding.EncodeToString(sum[:])}
	}
	r.document(body)
	resp, err := b.client.Do(ctx, r)
	if err != nil {
		return err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		Discard(resp)
		if q.Right == storage.RemoveRule && resp.StatusCode == http.StatusNoContent {
			return nil
		}
		if q.Right == storage.WriteRule {
			b.takeBack(ctx, q.Name.Bucket)
		}
		return storage.ErrEncrypts
	}
	answer := ReadError(resp)
	switch {
	case q.Right == storage.WriteRule && answer.Status == http.StatusNotImplemented,
		q.Right == storage.ReadRule && answer.Status == http.StatusNotFound && answer.Code == noEncryptionRule:
		return nil
	}
	return answer
}

func (b *backend) ruleRequest(method, bucket string) *Request {
	r := b.request(method, sse.Name{Bucket: bucket}, nil)
	r.set("encryption", "")
	return r
}

// takeBack removes the rule that MinIO took of a question, as it has got a KMS since it
// was looked at.
func (b *backend) takeBack(ctx context.Context, bucket string) {
	b.client.kms.found.Store(true)
	r := b.ruleRequest(http.MethodDelete, bucket)
	r.document(nil)
	resp, err := b.client.Do(context.WithoutCancel(ctx), r)
	if err == nil {
		Discard(resp)
	}
	if notice := b.client.kms.kept.Load(); notice != nil && (err != nil || resp.StatusCode >= http.StatusMultipleChoices) {
		(*notice)(bucket, err)
	}
}
