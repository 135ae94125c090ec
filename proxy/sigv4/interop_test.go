package sigv4

import (
	"bytes"
	"context"
	"encoding/base64"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// paths are keys as S3 clients encode them, and as they arrive.
func paths() []string {
	return []string{
		"/", "/bucket/key", "/bucket/a%20b", "/bucket/a//b", "/bucket/a/../b", "/bucket/a/./b/", "/bucket//lead",
		"/bucket/%E4%BD%A0%E5%A5%BD", "/bucket/a%2Bb", "/bucket/a%3Fb%23c", "/bucket/a~b-c_d.e",
		"/bucket/%21%24%26%27%28%29%2A%2C%3B%3D%3A%40", "/bucket/%252F",
	}
}

func request(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMinioGoHeaderSignatureVerifies(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, time.Time{})
	for _, path := range paths() {
		for _, query := range []string{"", "?list-type=2&prefix=a%20b%2Fc&empty=&delimiter=%2F", "?events=s3%3Az&events=s3%3Aa&x"} {
			o := overTheWire(t, v, func(u string) *http.Request {
				r := request(t, "PUT", u+path+query, strings.NewReader("hello"))
				r.Header.Set("X-Amz-Content-Sha256", sha256Hex("hello"))
				r.Header.Set("X-Amz-Meta-Spaces", "  a   b\t c  ")
				r.Header.Add("X-Amz-Meta-Twice", "one")
				r.Header.Add("X-Amz-Meta-Twice", " two ")
				return signer.SignV4(*r, testKey, testSecret, "token", "eu-west-3")
			})
			if o.err != nil || string(o.data) != "hello" {
				t.Errorf("%s%s: %q, %v", path, query, o.data, o.err)
				continue
			}
			if q := o.request; q.Kind != Header || q.Region != "eu-west-3" || q.SessionToken != "token" || q.Payload != PayloadHashed {
				t.Errorf("%s%s: %+v", path, query, q)
			}
		}
	}
}

func TestMinioGoPresignedVerifies(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, time.Time{})
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
		for _, path := range paths() {
			o := overTheWire(t, v, func(u string) *http.Request {
				r := request(t, method, u+path+"?response-content-type=a%2Fb&x-amz-meta-Hoisted=v%20w", nil)
				return signer.PreSignV4(*r, testKey, testSecret, "token", "us-east-1", 60)
			})
			if o.err != nil {
				t.Errorf("%s %s: %v", method, path, o.err)
				continue
			}
			if q := o.request; q.Kind != Presigned || q.SessionToken != "token" || q.Expires != time.Minute || q.Payload != PayloadUnsigned {
				t.Errorf("%s %s: %+v", method, path, q)
			}
			if o.header.Get("X-Amz-Meta-Hoisted") != "v w" || strings.Contains(o.query, "Hoisted") {
				t.Errorf("%s %s: not hoisted from %q", method, path, o.query)
			}
		}
	}
}

func streamSizes() []int {
	return []int{0, 1, 65535, 65536, 65537, 2*65536 + 1, 5<<20 + 3}
}

func TestMinioGoStreamingDecodes(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, time.Time{})
	for _, size := range streamSizes() {
		data := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
		sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
		value := base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
		trailer := func() http.Header { return http.Header{"x-amz-checksum-crc32c": {value}} }

		for name, prepare := range map[string]func(r *http.Request) *http.Request{
			"signed": func(r *http.Request) *http.Request {
				return signer.StreamingSignV4(r, testKey, testSecret, "", "us-east-1", int64(size), time.Now().UTC(), newSHA256())
			},
			"signed with trailer": func(r *http.Request) *http.Request {
				r.Trailer = trailer()
				return signer.StreamingSignV4(r, testKey, testSecret, "", "us-east-1", int64(size), time.Now().UTC(), newSHA256())
			},
			"unsigned with trailer": func(r *http.Request) *http.Request {
				r.Header.Set("X-Amz-Content-Sha256", streamingUnsignedTrailer)
				return signer.SignV4Trailer(*r, testKey, testSecret, "", "us-east-1", trailer())
			},
		} {
			o := overTheWire(t, v, func(u string) *http.Request {
				return prepare(request(t, "PUT", u+"/bucket/key", bytes.NewReader(data)))
			})
			if o.err != nil || !bytes.Equal(o.data, data) {
				t.Errorf("%s, %d bytes: got %d, %v", name, size, len(o.data), o.err)
				continue
			}
			if !o.request.Payload.Streaming() || o.body.Size() != int64(size) {
				t.Errorf("%s, %d bytes: payload %d, size %d", name, size, o.request.Payload, o.body.Size())
			}
			got := base64.StdEncoding.EncodeToString(o.body.Checksums()[checksum.CRC32C])
			if want := map[bool]string{true: value}[strings.HasSuffix(name, "trailer")]; got != want {
				t.Errorf("%s, %d bytes: checksum %q, want %q", name, size, got, want)
			}
		}
	}
}

func TestAWSSDKSignaturesVerify(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, time.Time{})
	credentials := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: "token"}
	s := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	for _, path := range paths() {
		o := overTheWire(t, v, func(u string) *http.Request {
			r := request(t, "PUT", u+path+"?tagging=&x-id=PutObject&b=2&b=1", strings.NewReader("hello"))
			r.Header.Set("X-Amz-Content-Sha256", sha256Hex("hello"))
			r.Header.Set("Content-Type", "text/plain")
			if err := s.SignHTTP(context.Background(), credentials, r, sha256Hex("hello"), "s3", "us-east-1", time.Now()); err != nil {
				t.Fatal(err)
			}
			return r
		})
		if o.err != nil || string(o.data) != "hello" || !o.request.Signed("Content-Length") {
			t.Errorf("header, %s: %q, %v", path, o.data, o.err)
		}
		for _, payload := range []string{unsignedPayload, sha256Hex("hello")} {
			o = overTheWire(t, v, func(u string) *http.Request {
				r := request(t, "PUT", u+path+"?X-Amz-Expires=300", strings.NewReader("hello"))
				r.Header.Set("X-Amz-Server-Side-Encryption", "AES256")
				r.Header.Set("X-Amz-Meta-A", "b")
				signed, header, err := s.PresignHTTP(context.Background(), credentials, r, payload, "s3", "us-east-1", time.Now())
				if err != nil {
					t.Fatal(err)
				}
				r = request(t, "PUT", signed, strings.NewReader("hello"))
				r.Header = header.Clone()
				if payload != unsignedPayload {
					r.Header.Set("X-Amz-Content-Sha256", payload)
				}
				return r
			})
			if o.err != nil || string(o.data) != "hello" {
				t.Errorf("presigned, %s: %q, %v", path, o.data, o.err)
				continue
			}
			if o.header.Get("X-Amz-Server-Side-Encryption") != "AES256" || !o.request.Signed("x-amz-server-side-encryption") {
				t.Errorf("presigned, %s: encryption header lost from %q", path, o.query)
			}
		}
	}
}

// TestMinioGoClientUploads lets the whole client choose how it sends.
func TestMinioGoClientUploads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trailing bool
		opts     minio.PutObjectOptions
	}{
		"default":            {false, minio.PutObjectOptions{}},
		"md5":                {false, minio.PutObjectOptions{SendContentMd5: true}},
		"unsigned":           {false, minio.PutObjectOptions{DisableContentSha256: true}},
		"trailing default":   {true, minio.PutObjectOptions{}},
		"trailing sha256":    {true, minio.PutObjectOptions{Checksum: minio.ChecksumSHA256}},
		"trailing crc64nvme": {true, minio.PutObjectOptions{Checksum: minio.ChecksumCRC64NVME}},
		"trailing unsigned":  {true, minio.PutObjectOptions{DisableContentSha256: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const size = 100_000
			o := putWithMinioGo(t, c.trailing, size, c.opts)
			if o.err != nil || len(o.data) != size {
				t.Errorf("%d bytes, %v", len(o.data), o.err)
			}
		})
	}
}

// putWithMinioGo puts an object with minio-go and returns what the server made of it.
func putWithMinioGo(t *testing.T, trailing bool, size int, opts minio.PutObjectOptions) outcome {
	t.Helper()
	v := newVerifier(t, time.Time{})
	return overTheWire(t, v, func(u string) *http.Request {
		capture := &capturing{}
		target, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		client, err := minio.New(target.Host, &minio.Options{
			Creds: staticCredentials(), Region: "us-east-1", TrailingHeaders: trailing, Transport: capture,
		})
		if err != nil {
			t.Fatal(err)
		}
		opts.DisableMultipart = true
		_, err = client.PutObject(t.Context(), "bucket", "key", bytes.NewReader(make([]byte, size)), int64(size), opts)
		if capture.put == nil {
			t.Fatalf("the client sent no PUT: %v", err)
		}
		return capture.put
	})
}
