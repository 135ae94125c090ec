package s3api

import (
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// What the conditions of MinIO's policies ask about stands in the client's request,
// and MinIO sees the proxy's. It takes the values of conditions from headers and from
// query parameters alike, and acts on headers only: so the proxy tells in the query
// what the client said in headers that must not reach MinIO as such. Nothing that a
// client puts into a query itself gets there: see parameters.go.

// toldHeaders are the headers that never go upstream themselves.
var toldHeaders = [...]struct{ name, header string }{
	{storage.ToldMethod, sse.HeaderMethod}, {storage.ToldKMSKeyID, sse.HeaderKMSKeyID}, {storage.ToldCustomerAlgorithm, sse.HeaderCustomerAlgorithm},
}

// tell adds to told what MinIO's policies shall know of an S3 request and would not see;
// mostly nothing.
func tell(told map[string][]string, r *intake.Request) {
	for _, t := range toldHeaders {
		if values := encryptionSaid(r.Header, t.header); len(values) > 0 {
			told[t.name] = values
		}
	}
	if values := r.Header["X-Amz-Copy-Source"]; len(values) > 0 && isCopy(r) {
		told[storage.ToldCopySource] = []string{copySourceAsSaid(values[0])}
		if directive := r.Header["X-Amz-Metadata-Directive"]; len(directive) > 0 {
			told[storage.ToldDirective] = directive[:1]
		}
	}
}

// encryptionSaid is what one of toldHeaders says, as policies write it: the proxy takes
// a method in any case, and several spellings of a key's id, which no policy lists.
func encryptionSaid(h http.Header, name string) []string {
	values := h[name]
	if len(values) == 0 {
		return nil
	}
	value := values[0] // the one that counts
	switch name {
	case sse.HeaderMethod:
		for _, method := range []string{sse.MethodS3, sse.MethodKMS} {
			if strings.EqualFold(value, method) {
				value = method
			}
		}
	case sse.HeaderKMSKeyID:
		return storage.KeySpellings(strings.TrimSpace(value))
	}
	return []string{value}
}

// isCopy says whether the request is a copy. What others say of a source, as a form's
// fields may, is no fact about them.
func isCopy(r *intake.Request) bool {
	return r.Route != nil && (r.Route.Op == "CopyObject" || r.Route.Op == "UploadPartCopy")
}

// copySourceAsSaid is a copy's source as the proxy understands it, with a slash before
// it if the client's has one: policies mostly name it without.
func copySourceAsSaid(header string) string {
	name, version, err := parseSourceName(header)
	if err != nil {
		return header // and the copy is refused
	}
	return storage.Source{Name: name, Version: version, Slash: header[0] == '/'}.Text()
}
