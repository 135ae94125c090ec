package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNewRefusesIncompleteOptions(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("no error without credentials")
	}
	if _, err := New(Options{Credentials: secrets{}, MaxSkew: -1}); err == nil {
		t.Error("no error with a negative skew")
	}
}

func TestAuthorizationIsParsedAsClientsWriteIt(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*http.Request{
		"no spaces":    replaceAuth(", ", ","),
		"many spaces":  replaceAuth(", ", " ,   "),
		"two before":   replaceAuth("SHA256 ", "SHA256  "),
		"other region": signing{at: now(), scope: "20260301/mars-1/s3/aws4_request"}.inHeader(),
		"no region":    signing{at: now(), scope: "20260301//s3/aws4_request"}.inHeader(),
		"other order": edited(signing{at: now()}.inHeader(), func(r *http.Request) {
			f := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ", ")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 "+f[2]+", "+f[0]+", "+f[1])
		}),
	} {
		if _, err := newVerifier(t, now()).Verify(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAccessKeyMayHoldSlashes(t *testing.T) {
	t.Parallel()
	v, err := New(Options{Credentials: secrets{"team/a": "s"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if q, err := v.Verify(signing{at: now(), key: "team/a", secret: "s"}.inHeader()); err != nil || q.AccessKey != "team/a" {
		t.Errorf("%v, %v", q, err)
	}
}

func TestDateHeaderStandsInForXAmzDate(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"Sun, 01 Mar 2026 12:00:00 GMT", "Sun, 01 Mar 2026 13:00:00 +0100", "20260301T120000Z"} {
		s := signing{at: now(), payload: unsignedPayload}
		s.defaults()
		values := map[string]string{"date": date, "host": s.host, "x-amz-content-sha256": s.payload}
		names := s.names(values)
		r := s.request()
		r.Header.Set("Date", date)
		r.Header.Set("X-Amz-Content-Sha256", s.payload)
		r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
			s.key, s.scope, strings.Join(names, ";"), s.sign(names, values)))
		if q, err := newVerifier(t, now()).Verify(r); err != nil || !q.Date.Equal(now()) {
			t.Errorf("%s: %v", date, err)
		}
	}
}

func TestCanonicalURIEncodesEveryByteOnce(t *testing.T) {
	t.Parallel()
	for sent, canonical := range map[string]string{
		"/b/a%2Fb": "/b/a/b", "/b/%ff%FE": "/b/%FF%FE", "/b/!$'()*": "/b/%21%24%27%28%29%2A", "/b/%7e": "/b/~",
		"/b/a+b": "/b/a%2Bb", "/b/%252f": "/b/%252f", "/b//x/../": "/b//x/../", "/b/a:b@c": "/b/a%3Ab%40c", "/b/%00%0a": "/b/%00%0A",
	} {
		s := signing{at: now(), path: canonical}
		r := s.inHeader()
		url, err := r.URL.Parse("http://s3.example.com" + sent)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawPath = mustPath(t, sent), url.RawPath
		if _, err := newVerifier(t, now()).Verify(r); err != nil {
			t.Errorf("%s: %v", sent, err)
		}
	}
}

// mustPath decodes a path as net/http does for a request line.
func mustPath(t *testing.T, target string) string {
	t.Helper()
	return httptest.NewRequest("GET", target, nil).URL.Path
}

func TestCanonicalQuery(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sent, canonical string }{
		"empty value":          {"acl", "acl="},
		"sorted by name":       {"b=1&a=2", "a=2&b=1"},
		"sorted by value":      {"a=2&a=10&a=1", "a=1&a=10&a=2"},
		"repeated as sent":     {"a=2&a=1&Z=", "Z=&a=2&a=1"},
		"plus is space":        {"prefix=a+b", "prefix=a%20b"},
		"plus escaped":         {"prefix=a%2Bb", "prefix=a%2Bb"},
		"equals in value":      {"a=b=c", "a=b%3Dc"},
		"bytes":                {"p=%ff/%c3%a9", "p=%FF%2F%C3%A9"},
		"empty pairs":          {"&&a=1&", "a=1"},
		"encoded before plain": {"a-=1&a%20=2", "a%20=2&a-=1"},
	} {
		s := signing{at: now(), query: c.canonical, rawQuery: c.sent}
		if _, err := newVerifier(t, now()).Verify(s.inHeader()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeadersThatNetHTTPKeepsElsewhereCanBeSigned(t *testing.T) {
	t.Parallel()
	s := signing{at: now(), method: "PUT", body: "abc", header: map[string]string{
		"content-length": "3", "expect": "100-continue", "transfer-encoding": "chunked", "user-agent": "x y",
	}}
	r := s.inHeader()
	r.Header.Del("Content-Length")
	r.Header.Del("Transfer-Encoding")
	r.Header.Del("Expect")
	r.TransferEncoding = []string{"chunked"}
	if _, err := newVerifier(t, now()).Verify(r); err != nil {
		t.Error(err)
	}
	r.ContentLength = 4
	if _, err := newVerifier(t, now()).Verify(r); !errors.Is(err, ErrSignatureDoesNotMatch) {
		t.Errorf("another length: %v", err)
	}
}

func TestAnonymousIsNoError(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*http.Request{
		"plain":            httptest.NewRequest("GET", "/b/k", nil),
		"with a parameter": httptest.NewRequest("GET", "/b/k?X-Amz-Expires=1", nil),
	} {
		q, err := newVerifier(t, now()).Verify(r)
		if err != nil || q.Kind != Anonymous || q.AccessKey != "" || q.Payload != PayloadNone || q.Signed("host") {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
}

// changing is a store whose secret changes.
type changing struct {
	mu     sync.Mutex
	secret string
}

func (c *changing) Secret(context.Context, string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secret == "" {
		return "", ErrInvalidAccessKeyID
	}
	return c.secret, nil
}

func TestCachedKeyIsNotUsedOnceTheSecretChanges(t *testing.T) {
	t.Parallel()
	store := &changing{secret: "first"}
	v, err := New(Options{Credentials: store, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	first, second := signing{at: now(), secret: "first"}, signing{at: now(), secret: "second"}
	verify := func(s signing, want error) {
		t.Helper()
		if _, err := v.Verify(s.inHeader()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	verify(first, nil)
	verify(first, nil) // from the cache
	store.secret = "second"
	verify(first, ErrSignatureDoesNotMatch)
	verify(second, nil)
	verify(second, nil)
	store.secret = ""
	verify(second, ErrInvalidAccessKeyID)
}

func TestKeyCacheIsBoundedAndClosedToStrangers(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, now())
	for i := range maxCachedKeys + 100 {
		s := signing{at: now(), scope: fmt.Sprintf("20260301/region-%d/s3/aws4_request", i)}
		if _, err := v.Verify(s.inHeader()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.keys.keys); n != maxCachedKeys {
		t.Errorf("%d keys cached", n)
	}
	fresh := newVerifier(t, now())
	if _, err := fresh.Verify(signing{at: now(), secret: "wrong"}.inHeader()); err == nil {
		t.Fatal("a wrong secret verified")
	}
	if n := len(fresh.keys.keys); n != 0 {
		t.Errorf("a stranger's key was cached")
	}
}

func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, now())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				s := signing{at: now(), path: fmt.Sprintf("/b/%d-%d", i, j), secret: []string{testSecret, "wrong"}[j%2]}
				if _, err := v.Verify(s.inHeader()); (err == nil) != (j%2 == 0) {
					t.Errorf("%d-%d: %v", i, j, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPresignedPayload(t *testing.T) {
	t.Parallel()
	sum := sha256Hex("hello")
	header := func(s string) map[string]string { return map[string]string{"x-amz-content-sha256": s} }
	for name, c := range map[string]struct {
		s    signing
		want PayloadKind
	}{
		"nothing said":             {signing{}, PayloadUnsigned},
		"in query":                 {signing{query: "X-Amz-Content-Sha256=" + sum}, PayloadHashed},
		"in query and signed":      {signing{query: "X-Amz-Content-Sha256=" + sum, payload: sum}, PayloadHashed},
		"unsigned header":          {signing{unsigned: header(sum)}, PayloadHashed},
		"unsigned header in hash":  {signing{unsigned: header(sum), payload: sum}, PayloadHashed},
		"signed header":            {signing{header: header(sum), payload: sum}, PayloadHashed},
		"header says unsigned":     {signing{unsigned: header(unsignedPayload)}, PayloadUnsigned},
		"unsigned chunks, trailer": {signing{header: header(streamingUnsignedTrailer), payload: streamingUnsignedTrailer}, PayloadStreamingUnsignedTrailer},
	} {
		c.s.at = now()
		q, err := newVerifier(t, now()).Verify(c.s.inQuery("60"))
		if err != nil || q.Payload != c.want {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
}

// curl --aws-sigv4 sends no x-amz-content-sha256 and signs as if there were no
// body.
func TestHeaderSignatureWithoutPayloadHash(t *testing.T) {
	t.Parallel()
	r := signing{method: "PUT", at: now(), payload: emptySHA256, body: "hello"}.inHeader()
	authorization := r.Header.Get("Authorization")
	r.Header.Del("X-Amz-Content-Sha256")
	if _, err := newVerifier(t, now()).Verify(r); !errors.Is(err, ErrUnsignedHeaders) {
		t.Errorf("header taken out: %v", err)
	}
	s := signing{method: "PUT", at: now(), payload: emptySHA256, body: "hello"}
	s.defaults()
	names := []string{"host", "x-amz-date"}
	_, tail, _ := strings.Cut(authorization, "Signature=")
	r.Header.Set("Authorization", strings.NewReplacer(
		"host;x-amz-content-sha256;x-amz-date", "host;x-amz-date",
		tail, s.sign(names, map[string]string{"host": s.host, "x-amz-date": "20260301T120000Z"}),
	).Replace(authorization))
	if data, b, err := readAll(t, r, BodyOptions{}); err != nil || data != "hello" || b.Size() != 5 {
		t.Errorf("%q, %v", data, err)
	}
	if q, err := newVerifier(t, now()).Verify(r); err != nil || q.Payload != PayloadNone || q.Kind != Header {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestMaxSkewIsConfigurable(t *testing.T) {
	t.Parallel()
	v, err := New(Options{Credentials: secrets{testKey: testSecret}, Now: now, MaxSkew: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(signing{at: now().Add(-2 * time.Minute)}.inHeader()); !errors.Is(err, ErrRequestTimeTooSkewed) {
		t.Error(err)
	}
}

func TestSTSSignature(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, now())
	const form = "Action=AssumeRole&Version=2011-06-15"
	scope := "20260301/us-east-1/sts/aws4_request"
	good := signing{method: "POST", path: "/", at: now(), scope: scope, payload: sha256Hex(form), body: form}
	q, err := v.VerifySTS(good.inHeader(), []byte(form))
	if err != nil || q.AccessKey != testKey {
		t.Fatalf("%v, %v", q, err)
	}
	if _, err := v.VerifySTS(good.inHeader(), []byte(form)); err != nil { // with the cached key
		t.Error(err)
	}
	bad := func(change func(*signing)) *http.Request {
		s := good
		change(&s)
		return s.inHeader()
	}
	for name, tt := range map[string]struct {
		request *http.Request
		body    string
		want    error
	}{
		"another body":      {good.inHeader(), form + "x", ErrContentSHA256Mismatch},
		"an unsigned body":  {bad(func(s *signing) { s.payload = unsignedPayload }), form, ErrContentSHA256Mismatch},
		"another service":   {bad(func(s *signing) { s.scope = "20260301/us-east-1/s3/aws4_request" }), form, ErrInvalidService},
		"another secret":    {bad(func(s *signing) { s.secret = "other" }), form, ErrSignatureDoesNotMatch},
		"another key":       {bad(func(s *signing) { s.key = "nobody" }), form, ErrInvalidAccessKeyID},
		"an old date":       {bad(func(s *signing) { s.at = now().Add(-time.Hour) }), form, ErrRequestTimeTooSkewed},
		"no signature":      {good.request(), form, ErrMissingFields},
		"a presigned query": {good.inQuery("60"), form, ErrUnsupportedAuth},
		"unsigned headers":  {bad(func(s *signing) { s.unsigned = map[string]string{"x-amz-security-token": "t"} }), form, ErrUnsignedHeaders},
	} {
		if _, err := v.VerifySTS(tt.request, []byte(tt.body)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(good.inHeader()); !errors.Is(err, ErrInvalidService) {
		t.Errorf("as a call of S3: %v", err)
	}
}
