package integration

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// sayYes makes MinIO's answers to root the answers to everybody in the bucket.
func (h *hostile) sayYes(bucket string) {
	h.up.tell(lie{answer: func(r *http.Request) *http.Response {
		if !strings.HasPrefix(r.URL.Path, "/"+bucket) || r.Header.Get("Authorization") != "" {
			return nil
		}
		body, _ := io.ReadAll(r.Body)
		a, err := h.stack.raw().try(request{method: r.Method, path: r.URL.EscapedPath(), query: r.URL.RawQuery, body: body})
		if err != nil {
			return nil
		}
		return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: -1}
	}})
}

func TestHostileUpstreamSaysYesToEverybody(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	data := testData(100_000, 60)
	h.root.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	h.sayYes(bucket)
	nobody := h.root.anonymous()
	for _, r := range []request{
		{method: http.MethodGet, key: "k"},
		{method: http.MethodGet, key: "k", header: map[string]string{"Range": "bytes=0-9"}},
		{method: http.MethodHead, key: "k"},
		{method: http.MethodGet, key: "k", query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize,Checksum"}},
		{method: http.MethodPut, key: "new", body: data},
		{method: http.MethodPut, key: "copy", header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/k"}},
		{method: http.MethodPut, key: "k", body: data, header: map[string]string{"If-Match": md5ETag(data)}},
	} {
		r.bucket = bucket
		a := nobody.do(t, r)
		if a.status < 400 {
			t.Errorf("%s: status %d for a caller without a signature", a.what, a.status)
		}
		if strings.Contains(string(a.body)+a.header.Get("Etag"), strings.Trim(md5ETag(data), `"`)) {
			t.Errorf("%s: shows the plaintext's MD5", a.what)
		}
	}
	for _, q := range []string{"list-type=2", "", "versions=", query("list-type", "2", "metadata", "true")} {
		a := nobody.do(t, request{method: http.MethodGet, bucket: bucket, query: q})
		if body := strings.ToLower(string(a.body)); strings.Contains(body, strings.Trim(md5ETag(data), `"`)) || strings.Contains(body, "bucketseal:") || strings.Contains(body, "x-amz-meta-bucketseal") {
			t.Errorf("%s: shows what only readers may know: %s", a.what, a.body)
		}
	}
	h.up.honest()
	for _, key := range []string{"new", "copy"} {
		if a := h.stack.raw().head(t, bucket, key, nil); a.status != http.StatusNotFound {
			t.Errorf("%s was stored: %d", key, a.status)
		}
	}
	h.root.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

// What the proxy cannot verify never reaches the upstream, hostile or not.
func TestUnknownCallersAreNotAsked(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.root.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	mark := h.up.mark()
	for _, c := range []*client{h.root.as("stranger", "secret"), h.root.as(rootUser, "wrong-secret-0000")} {
		for _, r := range []request{
			{method: http.MethodGet, bucket: bucket, key: "k"},
			{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("y")},
			{method: http.MethodGet, bucket: bucket, query: "list-type=2"},
			{method: http.MethodDelete, bucket: bucket, key: "k"},
			{method: http.MethodDelete, bucket: bucket, query: "encryption="},
		} {
			if a := c.do(t, r); a.status != http.StatusForbidden {
				t.Errorf("%s as %s: %d %s", a.what, c.access, a.status, a.code)
			}
		}
	}
	if asked := h.up.since(mark, "/"+bucket); len(asked) != 0 {
		t.Errorf("upstream was asked: %v", asked)
	}
}

func TestHostileUpstreamAnswersForBucketRulesWrongly(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.root.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	h.unharmed(t)
	s3Rule := encryptionRule("AES256", "")
	for _, status := range []int{200, 201, 204, 206, 301, 304, 307, 400, 403, 404, 500, 503} {
		h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/"+bucket) || !r.URL.Query().Has("encryption") {
				return false
			}
			w.WriteHeader(status)
			return true
		})
		if a := h.root.putEncryption(t, bucket, s3Rule); a.status < 400 {
			t.Errorf("PUT answered %d upstream: %d", status, a.status)
		}
		if a := h.root.bucketEncryption(t, http.MethodGet, bucket); a.status < 400 {
			t.Errorf("GET answered %d upstream: %d", status, a.status)
		}
		if a := h.root.bucketEncryption(t, http.MethodDelete, bucket); a.status < 400 && status != 204 {
			t.Errorf("DELETE answered %d upstream: %d", status, a.status)
		} else if status == 204 {
			h.up.honest()
			h.root.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
		}
	}
	h.up.honest()
	got := h.root.bucketEncryption(t, http.MethodGet, bucket).wantStatus(t, http.StatusOK)
	if !strings.Contains(string(got.body), "aws:kms") {
		t.Errorf("the rule is now %s", got.body)
	}
}

// sayYesToRules answers ?encryption as MinIO answers those who may change it.
func sayYesToRules(bucket string) act {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/"+bucket) || !r.URL.Query().Has("encryption") {
			return false
		}
		w.WriteHeader(map[string]int{http.MethodPut: http.StatusNotImplemented, http.MethodDelete: http.StatusNoContent, http.MethodGet: http.StatusNotFound}[r.Method])
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "<Error><Code>ServerSideEncryptionConfigurationNotFoundError</Code></Error>")
		}
		return true
	}
}

func TestHostileUpstreamLetsAnybodyChangeBucketRules(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.root.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	h.up.order(sayYesToRules(bucket))
	nobody := h.root.anonymous()
	for _, a := range []answer{
		nobody.bucketEncryption(t, http.MethodGet, bucket),
		nobody.putEncryption(t, bucket, encryptionRule("AES256", "")),
		nobody.bucketEncryption(t, http.MethodDelete, bucket),
	} {
		if a.status != http.StatusForbidden {
			t.Errorf("%s without a signature: %d %s", a.what, a.status, a.body)
		}
	}
	h.up.honest()
	h.root.bucketEncryption(t, http.MethodGet, bucket).wantStatus(t, http.StatusOK)
}

func TestHostileUpstreamPretendsThatABucketWasDeleted(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.root.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodDelete || strings.Trim(r.URL.Path, "/") != bucket {
			return false
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
		if r.URL.Path == "/" {
			alterBody(resp, func(b []byte) []byte {
				return regexp.MustCompile(`<Bucket><Name>`+bucket+`</Name>.*?</Bucket>`).ReplaceAll(b, nil)
			})
		}
	}})
	h.root.anonymous().do(t, request{method: http.MethodDelete, bucket: bucket})
	h.up.honest()
	h.root.bucketEncryption(t, http.MethodGet, bucket).wantStatus(t, http.StatusOK)
}

// Forwarded operations pass MinIO's own documents on, and nothing that steers
// the client's program.
func TestHostileUpstreamSteersClientsOfForwardedOperations(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	trap, visits := newTrap(t)
	for _, status := range []string{"200 OK", "301 Moved Permanently", "307 Temporary Redirect", "101 Switching Protocols"} {
		answer := "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: x\r\nLocation: " + trap + "\r\nAlt-Svc: h2=\"" + trap + "\"\r\nRefresh: 0; url=" + trap + "\r\n\r\n"
		for _, r := range []request{
			{method: http.MethodHead, bucket: bucket},
			{method: http.MethodGet, bucket: bucket, query: "location="},
			{method: http.MethodGet, bucket: bucket, query: "versioning="},
			{method: http.MethodDelete, bucket: bucket, key: "k"},
			{method: http.MethodGet, bucket: bucket, key: "k", query: "tagging="},
			{method: http.MethodPut, bucket: bucket, query: "policy=", body: []byte("{}")},
		} {
			h.up.order(func(w http.ResponseWriter, q *http.Request) bool {
				return strings.HasPrefix(q.URL.Path, "/"+bucket) && raw(answer, 0)(w, q)
			})
			r.limit = hostileLimit
			a, err := h.root.try(r)
			if err != nil {
				t.Errorf("%s ?%s answered %s: %v", r.method, r.query, status, err)
				continue
			}
			if a.status < 200 || a.status >= 300 && a.status < 400 {
				t.Errorf("%s answered %s: status %d", a.what, status, a.status)
			}
			for _, name := range []string{"Location", "Alt-Svc", "Refresh", "Upgrade"} {
				if v := a.header.Get(name); v != "" {
					t.Errorf("%s answered %s: header %s: %s", a.what, status, name, v)
				}
			}
		}
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("followed %d times", n)
	}
}
