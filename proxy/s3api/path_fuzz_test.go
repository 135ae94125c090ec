package s3api

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/route"
)

// Whatever stands in a request line: a name that is accepted is the one that goes
// upstream, there is no way around the reserved bucket, and nothing that MinIO or
// something before it might resolve to another name.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/b", "/bucket/", "/bucket/key", "/bucket//key", "/bucket//", "/bucket///a//b/", "/bucket/a__XLDIR__", "//bucket/key", "/bucket/a%2Fb", "/bucket/%2e%2e/x", "/bucket/../bucketseal-system/x",
		"/bucketseal-system/rules/index", "/bucketseal%2Dsystem/x", "/BUCKETSEAL-SYSTEM/x", "/bucketseal-system%2fx/y", "/bucket/%00", "/bucket/%ff",
		"/bucket/a+b", "/bucket/a%20b", "/bucket/%", "/bucket/%zz", "/bucket%2fkey", "/.minio.sys/x", "/minio/admin/v3/info", "/bucket/a;b?c=d", "/%2e%2e/bucketseal-system/x",
		"http://other/bucket/key", "*", "/bucket/\xc3\xa4", "/bucket/%c3%28",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if strings.ContainsAny(target, " \r\n") {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: proxy\r\n\r\n")))
		if err != nil {
			return
		}
		served := 0
		router := newRouter(func(_ http.ResponseWriter, r *http.Request, sc route.Scope, bucket, key string) {
			served++
			req := &intake.Request{Request: r}
			if err := setName(req, sc, bucket, key); err != nil || sc == route.Service {
				return
			}
			checkAccepted(t, target, sc, req.Bucket, req.Key)
		})
		router.ServeHTTP(discardWriter{}, r)
		if served != 1 {
			t.Errorf("%q was served %d times", target, served)
		}
	})
}

func checkAccepted(t *testing.T, target string, sc route.Scope, bucket, key string) {
	t.Helper()
	// As the upstream request is built, and as a server on the way reads it.
	sent := s3utils.EncodePath("/" + bucket + "/" + key)
	u, err := url.ParseRequestURI(sent)
	if err != nil {
		t.Fatalf("%q: %v", target, err)
	}
	gotBucket, gotKey, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	again, err := objectname.Canonical(key)
	switch {
	case sc == route.Object && (err != nil || again != key || strings.HasPrefix(key, "/")):
		t.Errorf("%q: key %q is no canonical one: %q, %v", target, key, again, err)
	case gotBucket != bucket || gotKey != key:
		t.Errorf("%q: %q %q goes upstream as %q %q", target, bucket, key, gotBucket, gotKey)
	case strings.ContainsAny(bucket, "/\\%?#"):
		t.Errorf("%q: bucket %q", target, bucket)
	case objectname.HasDotSegment(key) || bucket == "." || bucket == "..":
		t.Errorf("%q: %q has a dot segment", target, key)
	case sc == route.Bucket && key != "":
		t.Errorf("%q: a bucket with key %q", target, key)
	case bucket == "minio" || bucket == ".minio.sys":
		t.Errorf("%q: bucket %q is accepted", target, bucket)
	}
}

// discardWriter is an answer that nobody reads.
type discardWriter struct{}

func (discardWriter) Header() http.Header         { return http.Header{} }
func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (discardWriter) WriteHeader(int)             {}
