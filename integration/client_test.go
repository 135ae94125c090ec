package integration

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// client sends single S3 requests, signed by this package's own code and with
// every byte under the test's control. Safe for concurrent use.
type client struct {
	endpoint string
	// access is empty for an anonymous caller.
	access, secret string
	http           *http.Client
	// now is the clock of signatures.
	now func() time.Time
}

func newClient(endpoint, access, secret string) *client {
	transport := &http.Transport{
		DisableCompression:    true,
		MaxIdleConnsPerHost:   16,
		ExpectContinueTimeout: 5 * time.Second,
	}
	return &client{
		endpoint: endpoint, access: access, secret: secret, now: time.Now,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// as returns the same client with another credential.
func (c *client) as(access, secret string) *client {
	other := *c
	other.access, other.secret = access, secret
	return &other
}

// anonymous returns the same client without a credential.
func (c *client) anonymous() *client { return c.as("", "") }

// request is one S3 request.
type request struct {
	method, bucket, key string
	// path replaces the path made of bucket and key: raw, as it goes on the wire.
	path string
	// query is the raw query; use canonical escapes, it is signed.
	query  string
	header map[string]string
	body   []byte
	// stream replaces body; size is its length then.
	stream io.Reader
	size   int64
	// payload is the value of x-amz-content-sha256; empty means UNSIGNED-PAYLOAD.
	payload string
	// unsigned names headers that are sent but not signed.
	unsigned []string
	// token is sent as x-amz-security-token, signed.
	token string
	// limit ends the request after this time; 0 means 60 s.
	limit time.Duration
}

// answer is what came back; body is complete unless bodyErr is set.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	bodyErr error
	// code and message of an S3 error, from the body or, for HEAD, from MinIO's headers.
	code, message string
	// what names the request, for failures.
	what string
}

func (c *client) build(r request) (*http.Request, error) {
	path := r.path
	if path == "" {
		path = "/"
		if r.bucket != "" {
			path += r.bucket
		}
		if r.key != "" {
			path += "/" + escapePath(r.key)
		}
	}
	body, size := r.stream, r.size
	if body == nil {
		body, size = bytes.NewReader(r.body), int64(len(r.body))
	}
	if size == 0 && r.stream == nil {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(context.Background(), r.method, c.endpoint, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	// Opaque keeps the path as it is: neither cleaned nor escaped again.
	req.URL.Opaque = path
	if strings.HasPrefix(path, "//") {
		req.URL.Opaque = req.URL.Scheme + "://" + req.URL.Host + path
	}
	req.URL.RawQuery = r.query
	for name, value := range r.header {
		if strings.EqualFold(name, "host") {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	if c.access != "" {
		payload := r.payload
		if payload == "" {
			payload = "UNSIGNED-PAYLOAD"
		}
		req.Header.Set("X-Amz-Content-Sha256", payload)
		if r.token != "" {
			req.Header.Set("X-Amz-Security-Token", r.token)
		}
		c.sign(req, path, payload, r.unsigned)
	}
	return req, nil
}

// try sends the request; the error is the transport's, before an answer.
func (c *client) try(r request) (answer, error) {
	req, err := c.build(r)
	if err != nil {
		return answer{}, err
	}
	limit := r.limit
	if limit == 0 {
		limit = 60 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return c.roundTrip(req.WithContext(ctx), fmt.Sprintf("%s %s?%s", r.method, req.URL.Opaque, r.query))
}

func (c *client) roundTrip(req *http.Request, what string) (answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{what: what}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header, what: what}
	a.body, a.bodyErr = io.ReadAll(resp.Body)
	a.readError()
	return a, nil
}

func (a *answer) readError() {
	if a.status < 300 {
		return
	}
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if xml.Unmarshal(a.body, &e) == nil {
		a.code, a.message = e.Code, e.Message
		return
	}
	a.code = a.header.Get("X-Minio-Error-Code")
	a.message = strings.Trim(a.header.Get("X-Minio-Error-Desc"), `"`)
}

// do sends the request and ends the test if there is no answer at all.
func (c *client) do(t *testing.T, r request) answer {
	t.Helper()
	a, err := c.try(r)
	if err != nil {
		t.Fatalf("%s /%s/%s?%s: %v", r.method, r.bucket, r.key, r.query, err)
	}
	return a
}

func (c *client) put(t *testing.T, bucket, key string, data []byte, header map[string]string) answer {
	t.Helper()
	return c.do(t, request{method: http.MethodPut, bucket: bucket, key: key, body: data, header: header})
}

func (c *client) get(t *testing.T, bucket, key string, header map[string]string) answer {
	t.Helper()
	return c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, header: header})
}

func (c *client) head(t *testing.T, bucket, key string, header map[string]string) answer {
	t.Helper()
	return c.do(t, request{method: http.MethodHead, bucket: bucket, key: key, header: header})
}

func (a answer) wantStatus(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status || a.bodyErr != nil {
		t.Fatalf("%s: status %d, want %d; code %q, message %q, body error %v", a.what, a.status, status, a.code, a.message, a.bodyErr)
	}
	return a
}

// wantError checks status and code, and the message unless it is "".
func (a answer) wantError(t *testing.T, status int, code, message string) answer {
	t.Helper()
	if a.status != status || a.code != code || (message != "" && a.message != message) {
		t.Errorf("%s:\n got %d %s %q\nwant %d %s %q", a.what, a.status, a.code, a.message, status, code, message)
	}
	return a
}

// wantBody checks that the whole body arrived and equals data.
func (a answer) wantBody(t *testing.T, data []byte) answer {
	t.Helper()
	if a.bodyErr != nil {
		t.Fatalf("%s: body broke off after %d bytes: %v", a.what, len(a.body), a.bodyErr)
	}
	if !bytes.Equal(a.body, data) {
		t.Fatalf("%s: body of %d bytes is not the %d bytes expected (first difference at %d)", a.what, len(a.body), len(data), firstDifference(a.body, data))
	}
	return a
}

// wantHeader checks headers; "" means absent.
func (a answer) wantHeader(t *testing.T, want map[string]string) answer {
	t.Helper()
	for name, value := range want {
		if got := a.header.Get(name); got != value {
			t.Errorf("%s: header %s is %q, want %q", a.what, name, got, value)
		}
	}
	return a
}

// notComplete checks that the answer is an S3 error or a body that broke off:
// never something a client takes for a whole object.
func (a answer) notComplete(t *testing.T, err error) {
	t.Helper()
	switch {
	case err != nil, a.bodyErr != nil:
	case a.status >= 400 && a.code != "":
	default:
		t.Errorf("%s: a complete answer, status %d with %d bytes, code %q", a.what, a.status, len(a.body), a.code)
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// md5ETag is the ETag of an SSE-S3 object of one piece.
func md5ETag(data []byte) string {
	sum := md5.Sum(data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func contentMD5(data []byte) string {
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// escapePath escapes a key as SigV4 wants it: everything but unreserved
// characters and the slash.
func escapePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-', c == '_', c == '.', c == '~', c == '/':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// query makes a canonical raw query of name, value pairs.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return strings.ReplaceAll(v.Encode(), "+", "%20")
}

var errShort = errors.New("the stream ends here, on purpose")

// size parses a Content-Length.
func (a answer) size(t *testing.T) int64 {
	t.Helper()
	n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64)
	if err != nil {
		t.Fatalf("%s: Content-Length: %v", a.what, err)
	}
	return n
}
