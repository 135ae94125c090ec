package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// The short signer is held to minio-go's.
func TestSignedHeadIsMinioGosSignature(t *testing.T) {
	for _, c := range []struct {
		method, path, query string
		headers             []header
	}{
		{"GET", "/bucket/key", "", nil},
		{"GET", "/bucket", "list-type=2&max-keys=1000&prefix=list%2F", nil},
		{"PUT", "/bucket/a/b", "partNumber=1&uploadId=a%2Bb", []header{{"x-amz-server-side-encryption", "aws:kms"}, {"range", "bytes=0-1"}}},
	} {
		url := "http://127.0.0.1:9000" + c.path
		if c.query != "" {
			url += "?" + c.query
		}
		req, err := http.NewRequest(c.method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		for _, h := range c.headers {
			req.Header.Set(h.name, h.value)
		}
		// minio-go signs for the present second.
		var want, stamp string
		var now time.Time
		for {
			signed := signer.SignV4(*req, accessKey, secretKey, "", region)
			want, stamp = signed.Header.Get("Authorization"), signed.Header.Get("X-Amz-Date")
			if now = time.Now().UTC(); now.Format("20060102T150405Z") == stamp {
				break
			}
		}
		head := string(signedHead(now, c.method, "127.0.0.1:9000", c.path, c.query, -1, c.headers...))
		_, got, _ := strings.Cut(head, "authorization: ")
		got, _, _ = strings.Cut(got, "\r\n")
		if got != strings.ReplaceAll(want, ", ", ",") {
			t.Errorf("%s %s\n got %s\nwant %s", c.method, url, got, want)
		}
	}
}
