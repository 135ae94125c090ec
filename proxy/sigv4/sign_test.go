package sigv4

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// randomText is made of what canonical forms treat in different ways.
func randomText(r *rand.Rand, pieces string) string {
	all := []rune(pieces)
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteRune(all[r.IntN(len(all))])
	}
	return b.String()
}

func randomRequest(t *testing.T, r *rand.Rand) *http.Request {
	t.Helper()
	const plain, odd = "aZ09-_.~", "/ +%&=*'()!@:;,$?#äß日"
	query := make(url.Values)
	for range r.IntN(4) {
		query.Add(randomText(r, plain+odd), randomText(r, plain+odd))
	}
	path := "/bucket/" + randomText(r, plain+odd)
	req := request(t, []string{"GET", "PUT", "DELETE"}[r.IntN(3)], "http://minio.example:9000/", nil)
	req.URL.Path, req.URL.RawPath = path, s3utils.EncodePath(path)
	req.URL.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	for i := range r.IntN(6) {
		name := fmt.Sprintf("X-Amz-Meta-%c%d", 'A'+rune(r.IntN(26)), i)
		for range 1 + r.IntN(2) {
			req.Header.Add(name, randomText(r, plain+odd+" \t\u00a0\u2003"))
		}
	}
	for _, name := range []string{"User-Agent", "Accept-Encoding", "Content-Type", "Range", "Expect", "X-Forwarded-For"} {
		if r.IntN(2) == 0 {
			req.Header.Set(name, randomText(r, plain+" "))
		}
	}
	return req
}

func TestSignerSignsAsMinioGoDoes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same requests each time
	var s Signer
	for i := range 3000 {
		ours := randomRequest(t, r)
		payload := []string{"UNSIGNED-PAYLOAD", emptySHA256}[r.IntN(2)]
		access, secret := fmt.Sprint("access", r.IntN(3)), fmt.Sprint("secret", r.IntN(2))
		region := []string{"us-east-1", "eu-west-3"}[r.IntN(2)]
		ours.Header.Set("X-Amz-Content-Sha256", payload)
		service := []Service{S3, STS}[r.IntN(2)]
		var want *http.Request
		if service == STS {
			want = signer.SignV4STS(*ours.Clone(t.Context()), access, secret, region)
			ours.Header.Del("X-Amz-Content-Sha256")
		} else {
			want = signer.SignV4(*ours.Clone(t.Context()), access, secret, "", region)
		}
		now, err := time.Parse(timeFormat, want.Header.Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		s.Sign(ours, service, region, access, secret, payload, now)
		if got, want := ours.Header.Get("Authorization"), want.Header.Get("Authorization"); got != want {
			t.Fatalf("request %d, %s %s, %v:\n got %s\nwant %s", i, ours.Method, ours.URL, ours.Header, got, want)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	var s Signer
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://minio.example:9000/bucket/key", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	b.ReportAllocs()
	for b.Loop() {
		s.Sign(r, S3, "us-east-1", testKey, testSecret, unsignedPayload, time.Now())
	}
}

func BenchmarkSignMinioGo(b *testing.B) {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://minio.example:9000/bucket/key", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	b.ReportAllocs()
	for b.Loop() {
		signer.SignV4(*r, testKey, testSecret, "", "us-east-1")
	}
}
