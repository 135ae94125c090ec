package upstream

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Put implements storage.Backend.
func (b *backend) Put(ctx context.Context, p *storage.Put) (*storage.Stored, error) {
	r := b.request(http.MethodPut, p.Name, p.Meta)
	r.record(p.Record)
	r.conditions(p.Conditions)
	r.instead(p.Instead)
	r.body(&p.Body, b.client.Secure())
	begin := time.Now()
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	_ = a.Close()
	h := a.header()
	stored := &storage.Stored{
		ETag: h.Get("Etag"), Version: h.Get("X-Amz-Version-Id"), Modified: modified(h), Meta: storage.Metadata(h),
	}
	stored.After, stored.Before = between(h, time.Since(begin))
	return stored, nil
}

// maxBetween is how long a write may take for its time to be of any use.
const maxBetween = time.Minute

// between returns the times between which MinIO stored what a request brought that took so
// long: a request's id is when it came, in nanoseconds by the clock of the node that
// answers. Zero times for an id that is no such time.
func between(h http.Header, took time.Duration) (after, before time.Time) {
	n, err := strconv.ParseUint(h.Get("X-Amz-Request-Id"), 16, 63)
	if err != nil || len(h.Get("X-Amz-Request-Id")) != 16 || took > maxBetween {
		return time.Time{}, time.Time{}
	}
	after = time.Unix(0, int64(n)) //nolint:gosec // 63 bits
	return after, after.Add(took)
}

// instead puts an object in the place of a version. MinIO takes its age from whoever may
// write, and judges conditions on the version that is named.
func (r *Request) instead(of *storage.Instead) {
	if of != nil {
		r.version(of.Version)
		r.Header["X-Minio-Source-Mtime"] = []string{of.Modified.UTC().Format(time.RFC3339Nano)}
	}
}

// Delete implements storage.Backend.
func (b *backend) Delete(ctx context.Context, d *storage.Delete) (storage.Metadata, error) {
	r := b.request(http.MethodDelete, d.Name, d.Meta)
	r.version(d.Version)
	r.document(nil)
	r.declared()
	a, err := b.client.forward(ctx, r, S3)
	if err != nil {
		return nil, err
	}
	_ = a.Close()
	return storage.Metadata(a.header()), nil
}

// Copy implements storage.Backend. With a checksum to compute, MinIO writes data and
// metadata of a copy onto itself together; else a PUT that comes between would get this
// copy's metadata on its data.
func (b *backend) Copy(ctx context.Context, c *storage.Copy) (*storage.Stored, error) {
	r := b.request(http.MethodPut, c.Name, c.Meta)
	r.Slow = true
	r.record(c.Record)
	r.Header["X-Amz-Copy-Source"] = []string{c.Source.Text()}
	r.Header["X-Amz-Metadata-Directive"] = []string{"REPLACE"}
	if directive, said := r.Told[storage.ToldDirective]; said { // conditions see both
		r.tell(func(told url.Values) { told["X-Amz-Metadata-Directive"] = directive })
	}
	for name, value := range map[string]string{
		"X-Amz-Copy-Source-If-Match": c.SourceMatch,
		"X-Amz-Tagging-Directive":    c.Tagging,
		"X-Amz-Checksum-Algorithm":   c.Checksum,
	} {
		if value != "" {
			r.Header[name] = []string{value}
		}
	}
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return a.stored("upstream's answer to a copy")
}

// stored reads the answer to a request for which MinIO moves data. It begins with status
// 200 before that is done, so that the document may be an error.
func (a answer) stored(what string) (*storage.Stored, error) {
	var result struct {
		XMLName      xml.Name
		ETag         string    `xml:"ETag"`
		LastModified time.Time `xml:"LastModified"`
		Code         string    `xml:"Code"`
		Message      string    `xml:"Message"`
	}
	if err := a.parse(maxAnswer, what, &result); err != nil {
		return nil, err
	}
	meta := storage.Metadata(a.header())
	if result.XMLName.Local == "Error" {
		return nil, &storage.Error{Status: lateStatus(result.Code), Code: result.Code, Message: result.Message, Header: meta}
	}
	return &storage.Stored{ETag: result.ETag, Version: meta.Get("X-Amz-Version-Id"), Modified: result.LastModified, Meta: meta}, nil
}

// lateStatus is the status of an error that came behind status 200: one that says that nothing was
// done has its own, as if MinIO had answered in time.
func lateStatus(code string) int {
	switch code {
	case "InvalidPart":
		return http.StatusBadRequest
	case "NoSuchKey", "NoSuchUpload":
		return http.StatusNotFound
	case "PreconditionFailed":
		return http.StatusPreconditionFailed
	}
	return http.StatusInternalServerError
}
