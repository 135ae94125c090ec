package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// anotherSeal starts a second proxy over the pair's upstream and keys.
func (p *pair) anotherSeal(t *testing.T) *client {
	t.Helper()
	other := *p
	other.servers = nil
	if err := other.startSeal(t, filepath.Join(filepath.Dir(p.certs), "seal"), p.behind.endpoint, "off"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.servers[0].kill)
	return other.seal
}

// Parts alternate between two proxies; what is read back, around every boundary
// and whole, is what a MinIO with a KMS answers for the same upload.
func TestPartsThroughTwoProxiesReadAsOnMinIO(t *testing.T) {
	p := sharedPair(t)
	proxies := []*client{p.seal, p.anotherSeal(t)}
	bucket := bucketName(t)
	for _, c := range []*client{p.seal, p.reference} {
		c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	}
	count, size := 5, minPart
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		count, size = 193, 16<<20 // 3 GiB
	}
	base := partData(size+count+8, 75)
	data := func(n int) []byte {
		if n == count {
			return base[3:70_000]
		}
		return base[n%7 : size+n] // sizes differ
	}
	header := sseModes()[0].put
	u, ref := p.seal.createUpload(t, bucket, "k", header), p.reference.createUpload(t, bucket, "k", header)
	for n := 1; n <= count; n++ {
		u.via(proxies[n%2]).put(t, n, data(n))
		if etag := ref.put(t, n, data(n)); etag != u.etags[n] {
			t.Errorf("part %d: ETag %s, at a MinIO %s", n, u.etags[n], etag)
		}
	}
	if etag, want := u.via(proxies[1]).complete(t), ref.complete(t); etag != want {
		t.Errorf("ETag %s, at a MinIO %s", etag, want)
	}
	same := func(method, rng string, pairs ...string) {
		t.Helper()
		r := request{method: method, bucket: bucket, key: "k", query: query(pairs...)}
		if rng != "" {
			r.header = map[string]string{"Range": rng}
		}
		want := p.reference.do(t, r)
		for i, c := range proxies {
			got := c.do(t, r)
			if got.status != want.status || got.code != want.code || want.code == "" && !bytes.Equal(got.body, want.body) {
				t.Errorf("%s %s %v through proxy %d: %d, %d bytes, at a MinIO %d, %d bytes", method, rng, pairs, i, got.status, len(got.body), want.status, len(want.body))
			}
			for _, name := range []string{"Content-Range", "Content-Length", "Etag", "X-Amz-Mp-Parts-Count"} {
				if name == "Content-Length" && want.code != "" {
					continue // of the error's document, which names request and host
				}
				if got.header.Get(name) != want.header.Get(name) {
					t.Errorf("%s %s %v through proxy %d: %s %q, at a MinIO %q", method, rng, pairs, i, name, got.header.Get(name), want.header.Get(name))
				}
			}
		}
	}
	at := 0
	for n := 1; n <= count; n++ {
		at += len(data(n))
		same(http.MethodGet, fmt.Sprintf("bytes=%d-%d", at-1, at))
		same(http.MethodGet, fmt.Sprintf("bytes=%d-%d", at-70_000, at+70_000))
		same(http.MethodGet, fmt.Sprintf("bytes=%d-%d", at, at))
		same(http.MethodHead, "", "partNumber", fmt.Sprint(n))
		if n > count-2 {
			same(http.MethodGet, fmt.Sprintf("bytes=%d-", at-1))
			same(http.MethodGet, "", "partNumber", fmt.Sprint(n))
		}
	}
	same(http.MethodGet, "bytes=-70001")
	same(http.MethodGet, "", "partNumber", fmt.Sprint(count+1))
	want := sha256.New()
	for n := 1; n <= count; n++ {
		want.Write(data(n))
	}
	for _, c := range proxies {
		req, err := c.build(request{method: http.MethodGet, bucket: bucket, key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got := sha256.New()
		if n, err := io.Copy(got, resp.Body); err != nil || n != int64(at) || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Errorf("whole: %d bytes of %d, %v", n, at, err)
		}
		resp.Body.Close()
	}
	for _, c := range []*client{p.seal, p.reference} {
		c.remove(t, bucket, "k")
	}
}
