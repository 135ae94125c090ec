package upstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// What MinIO told the proxy's own credential may show only to callers whom MinIO would
// have told it. So MinIO is asked first, as the caller, for something of the same right
// that cannot be done: it judges rights before all else.

const (
	// noETag is one that no object at MinIO has: its own are 32 digits.
	noETag = `"bucketseal-asks-whether-the-caller-may-write"`
	// noMD5 is of no body that is sent: should the condition be ignored, nothing is
	// stored all the same.
	noMD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
	// noUpload is an upload id that MinIO never gives.
	noUpload = "bucketseal-asks-whether-the-caller-may"
)

// May implements storage.Backend. storage.ErrLied if MinIO did what cannot be done.
func (b *backend) May(ctx context.Context, q *storage.Question) error {
	switch q.Right {
	case storage.WriteObject:
		r := b.request(http.MethodPut, q.Name, maps.Clone(q.Meta))
		r.Header["If-Match"] = []string{noETag}
		r.Header["Content-Md5"] = []string{noMD5}
		return b.ask(ctx, r, "PreconditionFailed", "NoSuchKey", "BadDigest")
	case storage.ListUploads: // it can be done, and does no harm
		r := b.request(http.MethodGet, sse.Name{Bucket: q.Name.Bucket}, nil)
		r.set("uploads", "")
		r.set("prefix", q.Name.Key)
		r.set("max-uploads", "1")
		a, err := b.client.do(ctx, r, http.StatusOK)
		if err != nil {
			return err
		}
		return a.Close()
	case storage.ReadRule, storage.WriteRule, storage.RemoveRule:
		return b.mayRule(ctx, q)
	case storage.SendPart, storage.CompleteUpload, storage.AbortUpload, storage.ReadUpload:
		return b.ask(ctx, b.askUpload(q), "NoSuchUpload")
	}
	return fmt.Errorf("right %d: %w", q.Right, errors.ErrUnsupported)
}

// askUpload wants something done with an upload that does not exist.
func (b *backend) askUpload(q *storage.Question) *Request {
	r := b.upload(http.MethodGet, &storage.Upload{Name: q.Name, ID: noUpload, As: q.As}, nil)
	switch q.Right {
	case storage.SendPart:
		r.Method = http.MethodPut
		r.set("partNumber", "1")
	case storage.CompleteUpload:
		r.Method = http.MethodPost
		r.document(completeDocument([]storage.CompletePart{{Number: 1, ETag: "d41d8cd98f00b204e9800998ecf8427e"}}))
	case storage.AbortUpload:
		r.Method = http.MethodDelete
	}
	return r
}

// ask sends what MinIO cannot do. Errors with the codes that say so are nil, and so is its
// 204 to the end of an upload that does not exist.
func (b *backend) ask(ctx context.Context, r *Request, impossible ...string) error {
	resp, err := b.client.Do(ctx, r)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNoContent && r.Method == http.MethodDelete:
		Discard(resp)
		return nil
	case resp.StatusCode < http.StatusBadRequest:
		Discard(resp)
		return fmt.Errorf("upstream did what cannot be done, with status %d: %w", resp.StatusCode, storage.ErrLied)
	}
	answer := ReadError(resp)
	if slices.Contains(impossible, answer.Code) {
		return nil
	}
	return answer
}
