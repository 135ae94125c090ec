package intake

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		want        error
	}{
		{"X-Minio-Extract", "true", ErrNotOffered},
		{"X-Minio-Extract", "True", ErrNotOffered},
		{"X-Minio-Extract", "false", nil},
		{"X-Amz-Meta-Snowball-Auto-Extract", "true", ErrNotOffered},
		{"X-Amz-Meta-Snowball-Auto-Extract", "false", nil},
		{"X-Amz-Write-Offset-Bytes", "0", ErrNotOffered},
		{"X-Amz-If-Match-Size", "5", ErrNotOffered},
		{"X-Amz-If-Match-Last-Modified-Time", "Fri, 27 Nov 2026 00:00:00 GMT", ErrNotOffered},
		{"X-Minio-Source-Replication-Request", "false", ErrNotOffered},
		{"X-Amz-Meta-Bucketseal", "x", ErrReservedMetadata},
		{"x-amz-meta-bucketSEAL", "x", ErrReservedMetadata},
		{"X-Amz-Meta-Bucketseal-Other", "x", ErrReservedMetadata},
		{"X-Minio-Meta-A", "x", ErrReservedMetadata},
		{"X-Minio-Internal-Encrypted-Multipart", "x", ErrReservedMetadata},
		{"X-Amz-Meta-Bucket", "x", nil},
		{"X-Amz-Meta-X-Amz-Key", "x", nil},
		{"Content-Type", "x", nil},
	} {
		h := http.Header{}
		h.Set(tt.name, tt.value)
		if err := RefuseHeaders(h); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %s: %v, want %v", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestQueryWithoutTheSignature(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/b/k?versionId=1&x-id=GetObject&X-Amz-Signature=s&X-Amz-Expires=1&X-Amz-Security-Token=t", nil)
	query, err := ParseQuery(r)
	if err != nil || len(query) != 1 || query.Get("versionId") != "1" {
		t.Errorf("got %v, %v", query, err)
	}
	for _, raw := range []string{"a=%zz", "a;b", "%"} {
		r.URL.RawQuery = raw
		if _, err := ParseQuery(r); !errors.Is(err, ErrMalformedQuery) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
