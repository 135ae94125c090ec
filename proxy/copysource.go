package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

const copySourcePrefix = "X-Amz-Copy-Source-"

// copySource is the object that a copy reads.
type copySource struct {
	name    sse.Name
	version string // "" for the current one
	// customer is the customer key given for the source.
	customer sse.Request
	hasKey   bool

	// head is upstream's answer about the object, and stored its ETag there.
	head   http.Header
	stored string
	record *sse.Record // nil for a plain object
	key    sse.ObjectKey
	// private holds the facts too, those of a manifest included.
	private *sse.Private
	size    int64
}

// parseCopySource reads x-amz-copy-source: [/]bucket/key[?versionId=ID], URL-encoded.
func (s *Server) parseCopySource(r *request) (*copySource, error) {
	path, query, _ := strings.Cut(r.Header.Get("X-Amz-Copy-Source"), "?")
	raw, err := url.PathUnescape(path)
	if err != nil {
		return nil, errCopySource
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(raw, "/"), "/")
	if !ok || key == "" {
		return nil, errCopySource
	}
	src := &copySource{}
	if err := checkName(bucket, key); err != nil {
		return nil, err
	}
	if strings.EqualFold(bucket, s.opts.SystemBucket) {
		return nil, errReservedBucket(r.route.op)
	}
	src.name = sse.Name{Bucket: bucket, Key: key}
	if query != "" {
		values, err := url.ParseQuery(query)
		if err != nil || len(values) != 1 || len(values["versionId"]) != 1 {
			return nil, errCopySource
		}
		src.version = values.Get("versionId")
	}
	if err := s.parseSourceKey(r, src); err != nil {
		return nil, err
	}
	return src, nil
}

// parseSourceKey reads the customer key of the source, whose headers are those
// of a read with another prefix.
func (s *Server) parseSourceKey(r *request, src *copySource) (err error) {
	h := make(map[string][]string)
	for name, values := range r.Header {
		if rest, ok := strings.CutPrefix(name, copySourcePrefix); ok {
			h[textproto.CanonicalMIMEHeaderKey("X-Amz-"+rest)] = values
		}
	}
	if sse.HasCustomerKey(h) && r.TLS == nil && !s.opts.CustomerKeysOverHTTP {
		return errPlainHTTP
	}
	if src.customer, src.hasKey, err = sse.ParseCustomer(h); err != nil {
		return readHeaderError(err)
	}
	return nil
}

func (c *copySource) zero() {
	c.key.Zero()
	c.customer.CustomerKey.Zero()
}

// open looks the source up as the caller and unseals its record.
func (c *copySource) open(ctx context.Context, s *Server, r *request) error {
	up := c.upstreamRequest(r, http.MethodHead)
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	c.head, c.stored, c.size = resp.Header, resp.Header.Get("ETag"), resp.ContentLength
	if c.record, err = recordOf(resp); err != nil {
		return err
	}
	switch {
	case c.record == nil && !s.opts.PlainRead.Match(c.name.Bucket):
		return errPlainObject
	case c.record == nil && c.hasKey:
		return errCustomerKeyUnused
	case c.record == nil:
		return c.checkConditions(r)
	case c.hasKey && c.record.Mode != sse.ModeC:
		return errNoCustomerKey
	}
	if err := s.mayUseKeys(r.caller, c.name.Bucket); err != nil {
		return err
	}
	var customer *sse.Secret
	if c.hasKey {
		customer = &c.customer.CustomerKey
	}
	if c.key, c.private, err = s.keys.open(ctx, c.name, c.record, customer); err != nil {
		return err
	}
	if err := s.completeFacts(ctx, c.name, c.record, c.private, true); err != nil {
		return err
	}
	if err := checkLength(resp, sse.EncSize(c.record.PlainSize)); err != nil {
		return err
	}
	c.size = c.record.PlainSize
	return c.checkConditions(r)
}

func (c *copySource) upstreamRequest(r *request, method string) *upstream.Request {
	up := r.upstreamRequest(method)
	up.Bucket, up.Key = c.name.Bucket, c.name.Key
	if c.version != "" {
		up.Query = url.Values{"versionId": {c.version}}
	}
	return up
}

// etag is the source's ETag as clients know it.
func (c *copySource) etag() string {
	var md5 []byte
	if c.private != nil {
		md5 = c.private.MD5
	}
	return clientETag(c.record, md5, c.stored)
}

// checkConditions judges x-amz-copy-source-if-*: all failures are 412.
func (c *copySource) checkConditions(r *request) error {
	h := http.Header{}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if v := r.Header.Get(copySourcePrefix + name); v != "" {
			h.Set(name, v)
		}
	}
	if len(h) == 0 {
		return nil
	}
	modified, _ := http.ParseTime(c.head.Get("Last-Modified"))
	if checkRead(h, c.etag(), modified) != nil {
		return errPrecondition
	}
	return nil
}

// header is the value of x-amz-copy-source that upstream gets.
func (c *copySource) header() string {
	segments := strings.Split(c.name.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	value := "/" + c.name.Bucket + "/" + strings.Join(segments, "/")
	if c.version != "" {
		value += "?versionId=" + url.QueryEscape(c.version)
	}
	return value
}

// read opens the source's data, pinned to what was looked up: plaintext and the
// upstream answer to close.
func (c *copySource) read(ctx context.Context, s *Server, r *request) (*download, *http.Response, error) {
	up := c.upstreamRequest(r, http.MethodGet)
	up.Header.Set("If-Match", c.stored)
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, upstream.ReadError(resp)
	}
	if resp.Header.Get(recordHeader) != c.head.Get(recordHeader) {
		upstream.Discard(resp)
		return nil, nil, fmt.Errorf("the source was changed meanwhile: %w", errPrecondition)
	}
	return &download{server: s, request: r}, resp, nil
}

// modified is when the source was last written.
func (c *copySource) modified() time.Time {
	t, _ := http.ParseTime(c.head.Get("Last-Modified"))
	return t
}
