package upstream

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// build makes r a request of net/http's. It closes a body that is empty.
func (c *Client) build(ctx context.Context, r *Request) *http.Request {
	path := "/" + r.Bucket
	if r.Key != "" {
		path += "/" + r.Key
	}
	header := r.Header
	if header == nil {
		header = make(http.Header, 8)
	}
	if _, said := header["User-Agent"]; !said {
		header["User-Agent"] = []string{"bucketseal"}
	}
	// A promise that a request may be sent twice is the client's, and not kept here.
	delete(header, "Idempotency-Key")
	delete(header, "X-Idempotency-Key")
	req := &http.Request{
		Method: r.Method,
		URL: &url.URL{
			Scheme:   c.endpoint.Scheme,
			Host:     c.endpoint.Host,
			Path:     path,
			RawPath:  encodePath(path),
			RawQuery: r.encodeQuery(),
		},
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Host:          c.endpoint.Host,
		Body:          r.Body,
		GetBody:       r.GetBody,
		ContentLength: r.Length,
	}
	if r.Length == 0 {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		req.Body, req.GetBody = http.NoBody, nil
	}
	return req.WithContext(ctx)
}

// encodePath encodes a path as minio-go does, and MinIO expects.
func encodePath(path string) string {
	if !utf8.ValidString(path) {
		return s3utils.EncodePath(path)
	}
	var room [512]byte
	encoded := sigv4.AppendEscaped(room[:0], path, true)
	if len(encoded) == len(path) {
		return path
	}
	return string(encoded)
}

// encodeQuery writes all of the request's query, sorted, as it is signed: '+' and ' '
// differ in a signature's canonical form. What a request means hides what is told under
// the same name.
func (r *Request) encodeQuery() string {
	told := r.Told
	if r.STS {
		told = nil
	}
	if len(r.Query)+len(told) == 0 {
		return ""
	}
	var roomForNames [16]string
	names := roomForNames[:0]
	for name := range r.Query {
		names = append(names, name)
	}
	for name := range told {
		if _, said := r.Query[name]; !said {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var room [1024]byte
	b := room[:0]
	for _, name := range names {
		values, said := r.Query[name]
		if !said {
			values = told[name]
		}
		for _, value := range values {
			if len(b) > 0 {
				b = append(b, '&')
			}
			b = append(sigv4.AppendEscaped(b, name, false), '=')
			b = sigv4.AppendEscaped(b, value, false)
		}
	}
	return string(b)
}
