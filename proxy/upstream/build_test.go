package upstream

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

func FuzzEncodePath(f *testing.F) {
	for _, path := range []string{"/", "/b/k", "/b/a b+c%2F", "/b/ü€😀", "/b/a\xffb", "/b/\x00\x7f~_-.", "/b//../"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if got, want := encodePath(path), s3utils.EncodePath(path); got != want {
			t.Errorf("%q is %q, not %q", path, got, want)
		}
	})
}

func FuzzEncodeQuery(f *testing.F) {
	f.Add("prefix", "a b+c/ü", "versions", "", "versions", "told")
	f.Add("a", "\xff", "", "x=y&z", "b", "%20")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2, name3, told string) {
		r := &Request{Query: url.Values{name1: {value1, value2}, name2: {value2}}, Told: url.Values{name3: {told}, "x": {told, value1}}}
		all := maps.Clone(r.Told)
		maps.Copy(all, r.Query)
		if got, want := r.encodeQuery(), strings.ReplaceAll(all.Encode(), "+", "%20"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		r.STS = true
		if got, want := r.encodeQuery(), strings.ReplaceAll(r.Query.Encode(), "+", "%20"); got != want {
			t.Errorf("STS: got %q, want %q", got, want)
		}
	})
}

func BenchmarkBuildAndSign(b *testing.B) {
	endpoint, _ := url.Parse("http://127.0.0.1:9000")
	client, err := New(Options{Endpoint: endpoint})
	if err != nil {
		b.Fatal(err)
	}
	told := url.Values{"X-Amz-Server-Side-Encryption": {"AES256"}, "s3:authType": {"REST-HEADER"}}
	b.ReportAllocs()
	for b.Loop() {
		r := &Request{
			Method: http.MethodPut, Bucket: "bucket", Key: "some/key of an object", Told: told, Credential: testCredential,
			Header: http.Header{"User-Agent": {"aws-cli"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "Content-Type": {"text/plain"}},
		}
		r.record(strings.Repeat("record", 50))
		client.sign(client.build(b.Context(), r), r)
	}
}
