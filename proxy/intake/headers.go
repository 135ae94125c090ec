package intake

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// refusedHeaders change what a request means in ways that would reach past the encryption, or
// are conditions that the storage ignores. The value says whether only "true" does.
var refusedHeaders = map[string]bool{
	"X-Minio-Extract":                    true,
	"X-Amz-Meta-Snowball-Auto-Extract":   true,
	"X-Amz-Write-Offset-Bytes":           false,
	"X-Minio-Source-Replication-Request": false,
	"X-Amz-If-Match-Size":                false,
	"X-Amz-If-Match-Last-Modified-Time":  false,
}

// RefuseHeaders refuses requests whose headers ask for what is not offered, or
// use names that are the proxy's own.
func RefuseHeaders(h http.Header) error {
	for name, values := range h {
		if onlyTrue, ok := refusedHeaders[name]; ok && (!onlyTrue || strings.EqualFold(values[0], "true")) {
			return fmt.Errorf("header %s: %w", name, ErrNotOffered)
		}
		if storage.IsReserved(name) || strings.HasPrefix(name, "X-Minio-Meta-") || strings.HasPrefix(name, "X-Minio-Internal-") {
			return fmt.Errorf("header %s: %w", name, ErrReservedMetadata)
		}
	}
	return nil
}

// ParseQuery returns r's query without the parameters of the signature and the one
// that AWS's SDKs add, or ErrMalformedQuery.
func ParseQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", ErrMalformedQuery)
	}
	for name := range query {
		if name == "x-id" || isSignatureParameter(name) {
			delete(query, name)
		}
	}
	return query, nil
}

func isSignatureParameter(name string) bool {
	switch name {
	case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
		"X-Amz-Signature", "X-Amz-Content-Sha256", "X-Amz-Security-Token":
		return true
	}
	return false
}
