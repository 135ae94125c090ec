package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	testKey    = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// secrets is a CredentialStore.
type secrets map[string]string

func (s secrets) Secret(_ context.Context, accessKey string) (string, error) {
	secret, ok := s[accessKey]
	if !ok {
		return "", ErrInvalidAccessKeyID
	}
	return secret, nil
}

// newVerifier returns a Verifier whose clock stands still, or runs if now is
// the zero time.
func newVerifier(tb testing.TB, now time.Time) *Verifier {
	tb.Helper()
	o := Options{Credentials: secrets{testKey: testSecret}}
	if !now.IsZero() {
		o.Now = func() time.Time { return now }
	}
	v, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// outcome is what a server made of a request.
type outcome struct {
	request *Request
	body    *Body
	data    []byte
	header  http.Header
	query   string
	err     error
}

// overTheWire sends a request to a server that verifies it and reads its
// body, so that headers are where net/http puts them.
func overTheWire(t *testing.T, v *Verifier, prepare func(url string) *http.Request) outcome {
	t.Helper()
	results := make(chan outcome, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var o outcome
		defer func() { results <- o }()
		if o.request, o.err = v.Verify(r); o.err != nil {
			return
		}
		if o.err = o.request.HoistQuery(r); o.err != nil {
			return
		}
		if o.body, o.err = o.request.Body(r, BodyOptions{}); o.err != nil {
			return
		}
		o.data, o.err = io.ReadAll(o.body)
		o.header, o.query = r.Header, r.URL.RawQuery
	}))
	defer srv.Close()
	res, err := srv.Client().Do(prepare(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return <-results
}

// signing makes requests by the letter of the AWS pages, independently of
// the code under test, with every part open to be wrong.
type signing struct {
	method, path, query string
	host                string
	header              map[string]string // lower-case names; sent
	unsigned            map[string]string // sent, but not signed
	phantom             string            // signed, but not sent
	payload             string            // default UNSIGNED-PAYLOAD
	key, secret         string
	at                  time.Time
	scope               string // default DAY/us-east-1/s3/aws4_request
	rawQuery            string // sent in place of query
	body                string
}

func hmacSHA256(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (s *signing) defaults() {
	if s.method == "" {
		s.method = "GET"
	}
	if s.path == "" {
		s.path = "/bucket/key"
	}
	if s.host == "" {
		s.host = "s3.example.com"
	}
	if s.key == "" {
		s.key = testKey
	}
	if s.secret == "" {
		s.secret = testSecret
	}
	if s.payload == "" {
		s.payload = unsignedPayload
	}
	if s.scope == "" {
		s.scope = s.at.Format("20060102") + "/us-east-1/s3/aws4_request"
	}
}

// sign returns the signature of the request with the given signed headers.
func (s *signing) sign(names []string, values map[string]string) string {
	var headers strings.Builder
	for _, n := range names {
		fmt.Fprintf(&headers, "%s:%s\n", n, values[n])
	}
	canonical := strings.Join([]string{
		s.method, s.path, s.query, headers.String(), strings.Join(names, ";"), s.payload,
	}, "\n")
	toSign := strings.Join([]string{
		"AWS4-HMAC-SHA256", s.at.Format("20060102T150405Z"), s.scope, sha256Hex(canonical),
	}, "\n")
	return hex.EncodeToString(hmacSHA256(s.signingKey(), toSign))
}

func (s *signing) signingKey() []byte {
	key := []byte("AWS4" + s.secret)
	for part := range strings.SplitSeq(s.scope, "/") {
		key = hmacSHA256(key, part)
	}
	return key
}

func (s *signing) names(values map[string]string) []string {
	var names []string
	for n := range values {
		names = append(names, n)
	}
	if s.phantom != "" {
		names = append(names, s.phantom)
	}
	slices.Sort(names)
	return names
}

// request returns what a server would be handed.
func (s *signing) request() *http.Request {
	q := s.query
	if s.rawQuery != "" {
		q = s.rawQuery
	}
	target := s.path
	if q != "" {
		target += "?" + q
	}
	r := httptest.NewRequest(s.method, target, strings.NewReader(s.body))
	r.Host = s.host
	for n, v := range s.header {
		r.Header.Set(n, v)
	}
	for n, v := range s.unsigned {
		r.Header.Set(n, v)
	}
	return r
}

// inHeader returns the request signed in the Authorization header.
func (s signing) inHeader() *http.Request {
	s.defaults()
	values := map[string]string{
		"host": s.host, "x-amz-date": s.at.Format("20060102T150405Z"), "x-amz-content-sha256": s.payload,
	}
	for n, v := range s.header {
		values[n] = v
	}
	names := s.names(values)
	r := s.request()
	for n, v := range values {
		if n != "host" {
			r.Header.Set(n, v)
		}
	}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		s.key, s.scope, strings.Join(names, ";"), s.sign(names, values)))
	return r
}

// inQuery returns the request presigned. expires is put in as it is.
func (s signing) inQuery(expires string) *http.Request {
	s.defaults()
	values := map[string]string{"host": s.host}
	for n, v := range s.header {
		values[n] = v
	}
	names := s.names(values)
	auth := strings.Join([]string{
		"X-Amz-Algorithm=AWS4-HMAC-SHA256",
		"X-Amz-Credential=" + strings.ReplaceAll(s.key+"/"+s.scope, "/", "%2F"),
		"X-Amz-Date=" + s.at.Format("20060102T150405Z"),
		"X-Amz-Expires=" + expires,
		"X-Amz-SignedHeaders=" + strings.Join(names, "%3B"),
	}, "&")
	if s.query != "" {
		auth += "&" + s.query
	}
	pairs := strings.Split(auth, "&")
	slices.Sort(pairs)
	s.query = strings.Join(pairs, "&")
	s.query += "&X-Amz-Signature=" + s.sign(names, values)
	return s.request()
}

// now is the time of the tests that need none in particular.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// signV2 signs a text of version 2.
func signV2(text string) string {
	h := hmac.New(sha1.New, []byte(testSecret))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// inHeaderV2 returns a request of version 2: signed is its canonical text from the
// x-amz-* headers on.
func inHeaderV2(method, target, signed string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	date := now().Format(time.RFC1123)
	r.Header.Set("Date", date)
	r.Header.Set("Authorization", "AWS "+testKey+":"+signV2(method+"\n\n\n"+date+"\n"+signed))
	return r
}
