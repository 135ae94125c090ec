package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// What the conditions of MinIO's policies ask about stands in the client's request,
// and MinIO sees the proxy's. It takes the values of conditions from headers and from
// query parameters alike, and acts on headers only: so the proxy tells in the query
// what the client said in headers that must not reach MinIO as such. Nothing that a
// client puts into a query itself gets there: see parameters.go.

// The names in the query. MinIO looks a condition's key up in a header's canonical
// form first: those of Go's canonical form replace what MinIO sees itself.
const (
	toldMethod            = "x-amz-server-side-encryption"
	toldKMSKeyID          = "x-amz-server-side-encryption-aws-kms-key-id"
	toldCustomerAlgorithm = "x-amz-server-side-encryption-customer-algorithm"
	toldCopySource        = "x-amz-copy-source"
	toldDirective         = "x-amz-metadata-directive"
	toldPayload           = "X-Amz-Content-Sha256"
	toldTransport         = "Securetransport"
	toldAuthType          = "Authtype"
	toldVersion           = "Signatureversion"
	toldAge               = "Signatureage" // in milliseconds
)

// toldHeaders are the headers that never go upstream themselves.
var toldHeaders = [...]struct{ name, header string }{
	{toldMethod, sse.HeaderMethod}, {toldKMSKeyID, sse.HeaderKMSKeyID}, {toldCustomerAlgorithm, sse.HeaderCustomerAlgorithm},
}

// told is what MinIO's policies shall know of the client's request and would not
// see; mostly nothing.
func (r *request) told() url.Values {
	told := make(url.Values)
	for _, t := range toldHeaders {
		if values := encryptionSaid(r.Header, t.header); len(values) > 0 {
			told[t.name] = values
		}
	}
	if values := r.Header["X-Amz-Copy-Source"]; len(values) > 0 && r.isCopy() {
		told.Set(toldCopySource, copySourceAsSaid(values[0]))
		if directive := r.Header["X-Amz-Metadata-Directive"]; len(directive) > 0 {
			told[toldDirective] = directive[:1]
		}
	}
	if r.origin.Secure != r.upstreamTLS {
		told.Set(toldTransport, strconv.FormatBool(r.origin.Secure))
	}
	r.tellSignature(told)
	return told
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
		return keySpellings(strings.TrimSpace(value))
	}
	return []string{value}
}

// keySpellings are the ways to name the key of an id, and that of the id itself; none
// for an empty one, which names no key.
func keySpellings(id string) []string {
	if id == "" {
		return nil
	}
	name := sse.KeyName(id)
	spellings := []string{name, sse.KeyARNPrefix + name}
	if !slices.Contains(spellings, id) {
		spellings = append(spellings, id)
	}
	return spellings
}

// isCopy says whether the request is a copy. What others say of a source, as a form's
// fields may, is no fact about them.
func (r *request) isCopy() bool {
	return r.route != nil && (r.route.op == "CopyObject" || r.route.op == "UploadPartCopy")
}

// tellSignature tells how and when the client signed, if not in a header, now.
func (r *request) tellSignature(told url.Values) {
	if r.auth == nil || r.caller.credential == nil {
		return
	}
	switch r.auth.Kind {
	case sigv4.Presigned:
		told.Set(toldAge, strconv.FormatInt(time.Since(r.auth.Date).Milliseconds(), 10))
		told.Set(toldAuthType, "REST-QUERY-STRING")
	case sigv4.PresignedV2:
		told.Set(toldAuthType, "REST-QUERY-STRING")
	case sigv4.Form:
		told.Set(toldAuthType, "POST")
	}
	if r.auth.Kind == sigv4.HeaderV2 || r.auth.Kind == sigv4.PresignedV2 {
		told.Set(toldVersion, "AWS")
	}
}

// copySourceAsSaid is a copy's source as the proxy understands it, with a slash before
// it if the client's has one: policies mostly name it without.
func copySourceAsSaid(header string) string {
	name, version, err := parseSourceName(header)
	if err != nil {
		return header // and the copy is refused
	}
	said := sourceHeader(name, version)
	if header[0] != '/' {
		said = said[1:]
	}
	return said
}

// tellUpload tells with a request about an upload's parts how the upload is encrypted:
// clients say that once, when they create it, and AWS judges every part by it.
func tellUpload(up *upstream.Request, how sealedUnder) {
	for _, t := range toldHeaders { // what a part's own headers say counts for nothing
		delete(up.Told, t.name)
	}
	switch how.mode {
	case sse.ModeS3:
		up.Told.Set(toldMethod, sse.MethodS3)
	case sse.ModeKMS:
		up.Told.Set(toldMethod, sse.MethodKMS)
		up.Told[toldKMSKeyID] = keySpellings(how.kmsKey)
	case sse.ModeC:
		up.Told.Set(toldCustomerAlgorithm, sse.MethodS3)
	}
}

// tellPayload tells a body's digest as the client declares it, where the proxy signs
// another one than that: a policy may forbid bodies that nobody has signed.
func tellPayload(up *upstream.Request, h http.Header) {
	if declared := h.Get("X-Amz-Content-Sha256"); declared != "" && up.PayloadHash != "" && declared != up.PayloadHash {
		up.Told.Set(toldPayload, declared)
	}
}
