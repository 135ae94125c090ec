package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/bucketseal/bucketseal/proxy/keyring"
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
	object *object     // nil for a plain object
	size   int64
}

// parseCopySource reads x-amz-copy-source: [/]bucket/key[?versionId=ID], URL-encoded.
func (s *Server) parseCopySource(r *request) (*copySource, error) {
	src := &copySource{}
	var err error
	if src.name, src.version, err = parseSourceName(r.Header.Get("X-Amz-Copy-Source")); err != nil {
		return nil, err
	}
	if strings.EqualFold(src.name.Bucket, s.opts.SystemBucket) {
		return nil, errReservedBucket(r.route.op)
	}
	if err := s.parseSourceKey(r, src); err != nil {
		return nil, err
	}
	return src, nil
}

// parseSourceName returns the object that x-amz-copy-source names, and its version,
// "" for the current one.
func parseSourceName(header string) (name sse.Name, version string, err error) {
	path, query, _ := strings.Cut(header, "?")
	raw, err := url.PathUnescape(path)
	if err != nil {
		return name, "", errCopySource
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(raw, "/"), "/")
	if !ok || bucket == "" || key == "" {
		return name, "", errCopySource
	}
	if name, err = objectName(bucket, key); err != nil {
		return name, "", err
	}
	if query == "" {
		return name, "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return name, "", errCopySource
	}
	// As at MinIO the first one counts, other parameters do not, and an id that none
	// can be is that of no version.
	if version = values.Get("versionId"); version != "" && version != "null" {
		if _, err := uuid.Parse(version); err != nil {
			return name, "", errNoSuchVersion
		}
	}
	return name, version, nil
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
	if sse.HasCustomerKey(h) && !r.origin.Secure && !s.opts.CustomerKeysOverHTTP {
		return errPlainHTTP
	}
	if src.customer, src.hasKey, err = sse.ParseCustomer(h); err != nil {
		return readHeaderError(err)
	}
	return nil
}

func (c *copySource) zero() {
	if c.object != nil {
		c.object.zero()
	}
	c.customer.CustomerKey.Zero()
}

// open looks the source up as the caller and unseals its record.
// It may be called again.
func (c *copySource) open(ctx context.Context, s *Server, r *request) error {
	if c.object != nil {
		c.object.zero()
		c.object = nil
	}
	up := c.upstreamRequest(r, http.MethodHead)
	up.Header.Set("X-Amz-Checksum-Mode", "ENABLED") // of use for plain objects only
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
	case c.size < 0:
		return errNoLength
	case c.record == nil && !s.opts.PlainRead.Match(c.name.Bucket):
		return errPlainObject
	case c.record == nil && c.hasKey:
		return errCustomerKeyUnused
	case c.record == nil:
		return nil
	case c.hasKey && c.record.Mode != sse.ModeC:
		return keyring.ErrNoCustomerKey
	}
	var customer *sse.Secret
	if c.hasKey {
		customer = &c.customer.CustomerKey
	}
	if c.object, err = s.openObject(ctx, r.caller.keys(), c.name, c.record, resp, customer, true); err != nil {
		return err
	}
	if c.record.Layout == sse.OneStream {
		if err := checkLength(resp, sse.EncSize(c.record.PlainSize)); err != nil {
			return err
		}
	}
	c.size = c.object.size
	return nil
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
	if c.object != nil {
		return c.object.etag()
	}
	return clientETag(nil, nil, c.stored)
}

// checkConditions judges x-amz-copy-source-if-*: all failures are 412.
func (c *copySource) checkConditions(w http.ResponseWriter, r *request) error {
	h := http.Header{}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if v := r.Header.Get(copySourcePrefix + name); v != "" {
			h.Set(name, v)
		}
	}
	if len(h) == 0 {
		return nil
	}
	if readConditions(w, h, c.etag(), c.modified()) != nil {
		return errPrecondition // also where a read were not modified
	}
	return nil
}

// sourceHeader is the value of x-amz-copy-source that names a version of an object.
func sourceHeader(name sse.Name, version string) string {
	segments := strings.Split(name.Key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	value := "/" + name.Bucket + "/" + strings.Join(segments, "/")
	if version != "" {
		value += "?versionId=" + url.QueryEscape(version)
	}
	return value
}

// read opens the plaintext part of the source, pinned to what was looked up. done
// is called when it has been read.
func (c *copySource) read(ctx context.Context, s *Server, r *request, part sse.Range) (plain io.Reader, done func(), err error) {
	up := c.upstreamRequest(r, http.MethodGet)
	up.Header.Set("If-Match", c.stored)
	var parts *sse.Parts
	need, total := part, c.size
	if c.object != nil {
		if parts, err = s.layout(ctx, c.object); err != nil {
			return nil, nil, err
		}
		need, total = parts.Encrypted(part), parts.EncSize()
	}
	partial := need.Length > 0 && need.Length < total
	if partial {
		up.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", need.Offset, need.Offset+need.Length-1))
	}
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, nil, readChanged(resp)
	}
	done = func() { upstream.Discard(resp) }
	if err = checkAnswer(resp, need, total, partial); err == nil && resp.Header.Get(recordHeader) != c.head.Get(recordHeader) {
		err = errChanged
	}
	if err == nil && c.object != nil {
		plain, err = parts.Decrypt(&c.object.key, resp.Body, part)
		plain = &doubtingReader{plain, s, c.object}
	} else {
		plain = resp.Body
	}
	if err != nil {
		s.doubtUnfit(c.object, err)
		done()
		return nil, nil, err
	}
	return plain, done, nil
}

// modified is when the source was last written.
func (c *copySource) modified() time.Time {
	t, _ := http.ParseTime(c.head.Get("Last-Modified"))
	return t
}
