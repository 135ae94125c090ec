package integration

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestWholeGetIsOneUpstreamRequest(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, size := range borderSizes() {
		data := testData(size, 10)
		c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
		mark := s.liar.mark()
		c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		requests := s.liar.since(mark, "/"+bucket)
		if len(requests) != 1 || requests[0].received != cipherSize(size) {
			t.Errorf("%d bytes: %v, want one GET of %d bytes", size, requests, cipherSize(size))
		}
		mark = s.liar.mark()
		c.head(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
		if requests := s.liar.since(mark, "/"+bucket); len(requests) != 1 || requests[0].method != http.MethodHead {
			t.Errorf("%d bytes: HEAD became %v, want one HEAD", size, requests)
		}
	}
}

func TestSmallPutIsOneUpstreamRequest(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "warm", []byte("x"), nil).wantStatus(t, http.StatusOK)
	for _, size := range append(borderSizes(), 1<<20) {
		mark := s.liar.mark()
		c.put(t, bucket, "k", testData(size, 11), nil).wantStatus(t, http.StatusOK)
		requests := s.liar.since(mark, "/"+bucket)
		if len(requests) != 1 || requests[0].method != http.MethodPut || requests[0].sent != cipherSize(size) {
			t.Errorf("%d bytes: %v, want one PUT of %d bytes", size, requests, cipherSize(size))
		}
	}
}

// A page of objects that were written or listed through the same proxy costs MinIO a plain
// listing.
func TestAPageThatIsKnownIsAskedForWithoutMetadata(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	asked := func(query string) (pages []string) {
		t.Helper()
		mark := s.liar.mark()
		c.do(t, request{method: http.MethodGet, bucket: bucket, query: query}).wantStatus(t, http.StatusOK)
		for _, r := range s.liar.since(mark, "/"+bucket) {
			kind := "plain"
			if strings.Contains(r.query, "metadata=true") {
				kind = "full"
			}
			pages = append(pages, kind)
		}
		return pages
	}
	want := func(query string, want ...string) {
		t.Helper()
		if got := asked(query); !slices.Equal(got, want) {
			t.Errorf("?%s asks MinIO for %q, want %q", query, got, want)
		}
	}
	for name, header := range map[string]map[string]string{"s3 ü+": nil, "kms": {sseHeader: "aws:kms"}} {
		for _, size := range borderSizes() {
			c.put(t, bucket, name+strconv.Itoa(size), testData(size, 13), header).wantStatus(t, http.StatusOK)
		}
	}
	u := c.createUpload(t, bucket, "of parts", nil)
	u.put(t, 1, testData(5000, 13))
	u.complete(t, 1)
	want("list-type=2", "plain") // what was written is known
	want("list-type=2&metadata=true", "full")
	want("versions=", "plain", "full")
	want("versions=", "plain")
	want("", "plain")
}

func TestUpstreamSeesTheClientsAccessKeyAndNoPlaintextHash(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(5000, 12)
	mark := s.liar.mark()
	c.do(t, request{
		method: http.MethodPut, bucket: bucket, key: "k", body: data, payload: sha256Hex(data),
		header: map[string]string{"Content-Md5": contentMD5(data)},
	}).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	for _, r := range s.liar.since(mark, "/"+bucket) {
		for name := range r.header {
			switch value := r.header.Get(name); {
			case value == sha256Hex(data), value == contentMD5(data):
				t.Errorf("%v: header %s carries a digest of the plaintext", r, name)
			case name == "X-Amz-Server-Side-Encryption":
				t.Errorf("%v: MinIO is asked to encrypt", r)
			}
		}
	}
}

// That MinIO is asked first costs what docs/compatibility.md says, and leaves nothing.
func TestAskingFirstCostsLittleAndStoresNothing(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	versioning := []byte("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "versioning=", body: versioning}).wantStatus(t, http.StatusOK)
	data := testData(5000, 14)
	asked := func(r request) (methods string) {
		t.Helper()
		mark := s.liar.mark()
		c.do(t, r)
		for _, r := range s.liar.since(mark, "/"+bucket) {
			methods += r.method + " "
		}
		return methods
	}
	put := func(name, value string) request {
		return request{method: http.MethodPut, bucket: bucket, key: "k", body: data, header: map[string]string{name: value}}
	}
	u := c.createUpload(t, bucket, "of-parts", nil)
	for _, tc := range []struct {
		what string
		r    request
		want string
	}{
		{"a write if there is none", put("If-None-Match", "*"), "PUT "},
		{"again", put("If-None-Match", "*"), "PUT "},
		{"a write on any", put("If-Match", "*"), "PUT "},
		{"a write on an ETag", put("If-Match", md5ETag(data)), "PUT HEAD PUT "},
		{"a write on another ETag", put("If-Match", md5ETag(nil)), "PUT HEAD "},
		{"a first part", u.partRequest(1, data), "PUT PUT "},
		{"another part", u.partRequest(2, data), "PUT "},
	} {
		if got := asked(tc.r); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
	}
	if versions := strings.Count(string(c.do(t, request{method: http.MethodGet, bucket: bucket, query: "versions="}).body), "<Version>"); versions != 3 {
		t.Errorf("%d versions, want the 3 that were written", versions)
	}
}
