package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// wantAsReference sends the same request to the system under test and to a
// MinIO that encrypts by itself, and compares status, code and message.
func wantAsReference(t *testing.T, got, want answer) {
	t.Helper()
	if got.status != want.status || got.code != want.code || got.message != want.message {
		t.Errorf("%s:\n    got %d %s %q\na MinIO %d %s %q", got.what, got.status, got.code, got.message, want.status, want.code, want.message)
	}
}

func TestWrongSignaturesAreRefused(t *testing.T) {
	s := sharedStack(t)
	ok := s.client()
	bucket := newBucket(t, ok)
	data := testData(3000, 14)
	ok.put(t, bucket, "there", data, nil).wantStatus(t, http.StatusOK)
	ref := referenceClient(t)
	ref.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	ref.put(t, bucket, "there", data, nil).wantStatus(t, http.StatusOK)

	for _, tc := range []struct {
		name    string
		change  func(*client)
		status  int
		code    string
		message string
	}{
		{
			"wrong secret", func(c *client) { c.secret += "x" }, 403, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your key and signing method.",
		},
		{
			"unknown key", func(c *client) { c.access = "nobody-we-know" }, 403, "InvalidAccessKeyId",
			"The Access Key Id you provided does not exist in our records.",
		},
		{
			"clock behind", func(c *client) { c.now = func() time.Time { return time.Now().Add(-20 * time.Minute) } }, 403, "RequestTimeTooSkewed",
			"The difference between the request time and the server's time is too large.",
		},
		{
			"clock ahead", func(c *client) { c.now = func() time.Time { return time.Now().Add(20 * time.Minute) } }, 403, "RequestTimeTooSkewed",
			"The difference between the request time and the server's time is too large.",
		},
		{"anonymous", func(c *client) { c.access = "" }, 403, "AccessDenied", "Access Denied."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, r := range []request{
				{method: http.MethodGet, bucket: bucket, key: "there"},
				{method: http.MethodPut, bucket: bucket, key: "new", body: data},
				{method: http.MethodDelete, bucket: bucket, key: "there"},
				{method: http.MethodGet, bucket: bucket, query: "list-type=2"},
				{method: http.MethodGet},
			} {
				c, rc := *ok, *ref
				tc.change(&c)
				tc.change(&rc)
				got := c.do(t, r).wantError(t, tc.status, tc.code, tc.message)
				wantAsReference(t, got, rc.do(t, r))
			}
		})
	}
	wantNothingStored(t, s, bucket, "new")
	ok.get(t, bucket, "there", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

func TestPresignedLinks(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(packageSize+5, 15)
	send := func(method, link string, body []byte) answer {
		t.Helper()
		req, err := http.NewRequest(method, link, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.roundTrip(req, method+" "+link)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	send(http.MethodPut, c.presign(http.MethodPut, bucket, "a b+c", time.Minute), data).wantStatus(t, http.StatusOK)
	send(http.MethodGet, c.presign(http.MethodGet, bucket, "a b+c", time.Minute), nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	send(http.MethodHead, c.presign(http.MethodHead, bucket, "a b+c", time.Minute), nil).wantStatus(t, http.StatusOK)
	override := c.presign(http.MethodGet, bucket, "a b+c", time.Minute, "response-content-type", "text/odd")
	send(http.MethodGet, override, nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"Content-Type": "text/odd"})
	wantSealed(t, s, bucket, "a b+c", data)

	old := *c
	old.now = func() time.Time { return time.Now().Add(-2 * time.Minute) }
	send(http.MethodGet, old.presign(http.MethodGet, bucket, "a b+c", time.Minute), nil).wantError(t, 403, "AccessDenied", "Request has expired")
	future := *c
	future.now = func() time.Time { return time.Now().Add(30 * time.Minute) }
	send(http.MethodGet, future.presign(http.MethodGet, bucket, "a b+c", time.Hour), nil).wantError(t, 403, "AccessDenied", "Request is not valid yet")
	send(http.MethodGet, c.presign(http.MethodGet, bucket, "a b+c", 8*24*time.Hour), nil).wantError(t, 400, "AuthorizationQueryParametersError",
		"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	for name, link := range map[string]string{
		"another key":    strings.Replace(c.presign(http.MethodGet, bucket, "a b+c", time.Minute), "a%20b", "a%20c", 1),
		"another method": c.presign(http.MethodPut, bucket, "a b+c", time.Minute),
		"another query":  c.presign(http.MethodGet, bucket, "a b+c", time.Minute) + "&response-content-type=text%2Fodd",
		"wrong secret":   c.as(rootUser, "no").presign(http.MethodGet, bucket, "a b+c", time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			send(http.MethodGet, link, nil).wantError(t, 403, "SignatureDoesNotMatch", "")
		})
	}
	send(http.MethodDelete, c.presign(http.MethodDelete, bucket, "a b+c", time.Minute), nil).wantStatus(t, http.StatusNoContent)
	c.head(t, bucket, "a b+c", nil).wantStatus(t, http.StatusNotFound)
}

func TestUnsignedAmzHeadersDoNotCount(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for name, value := range map[string]string{
		"X-Amz-Meta-Planted":           "x",
		"X-Amz-Server-Side-Encryption": "aws:kms",
		"X-Amz-Copy-Source":            "/" + bucket + "/other",
		"X-Minio-Source-Etag":          "00000000000000000000000000000000",
	} {
		a := c.do(t, request{
			method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x"),
			header: map[string]string{name: value}, unsigned: []string{name},
		})
		if a.status >= 400 {
			continue
		}
		h := c.head(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
		if h.header.Get(name) == value || strings.Contains(h.header.Get("Etag"), "00000000") {
			t.Errorf("an unsigned %s had its effect: %v", name, h.header)
		}
	}
}

func TestSourceHeadersOfReplicationAreNotPassedOn(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	header := map[string]string{
		"X-Minio-Source-Etag":                 "00000000000000000000000000000000",
		"X-Minio-Source-Mtime":                "2001-01-01T00:00:00Z",
		"X-Minio-Source-Replication-Request":  "true",
		"X-Minio-Extract":                     "true",
		"X-Amz-Meta-Snowball-Auto-Extract":    "true",
		"X-Minio-Internal-Server-Side-Things": "x",
		"X-Real-Ip":                           "203.0.113.9",
		"X-Forwarded-For":                     "203.0.113.9",
		"Forwarded":                           "for=203.0.113.9",
	}
	for name, value := range header {
		mark := s.liar.mark()
		c.put(t, bucket, "k", []byte("data"), map[string]string{name: value})
		for _, r := range s.liar.since(mark, "/"+bucket) {
			if strings.Contains(r.header.Get(name), value) {
				t.Errorf("%s: %s reached MinIO: %v", name, value, r)
			}
		}
	}
	for _, q := range []string{"SourceIp=203.0.113.9", "ExistingObjectTag%2Fa=b"} {
		mark := s.liar.mark()
		c.do(t, request{method: http.MethodGet, bucket: bucket, key: "k", query: q})
		for _, r := range s.liar.since(mark, "/"+bucket) {
			if strings.Contains(r.query, "203.0.113.9") || strings.Contains(r.query, "ExistingObjectTag") {
				t.Errorf("query %s reached MinIO: %v", q, r)
			}
		}
	}
}
