package sigv4

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

func staticCredentials() *credentials.Credentials {
	return credentials.NewStaticV4(testKey, testSecret, "")
}

// hasher is the standard library's SHA-256 in the shape minio-go asks for.
type hasher struct{ hash.Hash }

func (hasher) Close() {}

func newSHA256() hasher { return hasher{sha256.New()} }

// capturing is a transport that keeps the PUT it is given, for sending it on
// its own, and answers 200.
type capturing struct{ put *http.Request }

func (c *capturing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		put := r.Clone(r.Context())
		put.RequestURI, put.Body, put.ContentLength = "", io.NopCloser(bytes.NewReader(body)), int64(len(body))
		c.put = put
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Etag": {`"d41d8cd98f00b204e9800998ecf8427e"`}},
		Body: io.NopCloser(strings.NewReader("")), Request: r,
	}, nil
}
