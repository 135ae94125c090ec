package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	metaPrefix = "X-Amz-Meta-"
	// recordHeader carries an object's record. It travels upstream in the query
	// string, where MinIO does not count it against the client's 2 KiB, in
	// canonical case, so that it has one name in every answer.
	recordHeader = "X-Amz-Meta-Bucketseal"
)

// isReservedMeta says whether a canonical header name is the proxy's own.
func isReservedMeta(name string) bool { return strings.HasPrefix(name, recordHeader) }

// isReservedName says so of a name in any case, as listings have them.
func isReservedName(name string) bool {
	return len(name) >= len(recordHeader) && strings.EqualFold(name[:len(recordHeader)], recordHeader)
}

// refusedHeaders change what a request means in ways that would reach past the
// encryption. The value says whether only "true" does.
var refusedHeaders = map[string]bool{
	"X-Minio-Extract":                    true,
	"X-Amz-Meta-Snowball-Auto-Extract":   true,
	"X-Amz-Write-Offset-Bytes":           false,
	"X-Minio-Source-Replication-Request": false,
}

// refuseHeaders refuses requests whose headers ask for what is not offered, or
// use names that are the proxy's own.
func refuseHeaders(h http.Header) error {
	for name, values := range h {
		if onlyTrue, ok := refusedHeaders[name]; ok && (!onlyTrue || strings.EqualFold(values[0], "true")) {
			return fmt.Errorf("header %s: %w", name, errNotOffered)
		}
		if isReservedMeta(name) || strings.HasPrefix(name, "X-Minio-Meta-") || strings.HasPrefix(name, "X-Minio-Internal-") {
			return fmt.Errorf("header %s: %w", name, errReservedMetadata)
		}
	}
	return nil
}

// storedHeaders are the headers of a write that MinIO stores with the object.
var storedHeaders = []string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
	"X-Amz-Storage-Class", "X-Amz-Tagging", "X-Amz-Acl", "X-Amz-Website-Redirect-Location",
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold",
}

// writeHeaders returns the headers of a write that go upstream.
func (r *request) writeHeaders() http.Header {
	out := r.commonHeaders()
	for _, name := range storedHeaders {
		if v := r.Header.Values(name); len(v) > 0 {
			out[name] = v
		}
	}
	if v := withoutAWSChunked(strings.Join(out.Values("Content-Encoding"), ",")); v != "" {
		out.Set("Content-Encoding", v)
	} else {
		out.Del("Content-Encoding")
	}
	for name, values := range r.Header {
		if strings.HasPrefix(name, metaPrefix) {
			out[name] = values
		}
	}
	return out
}

// withoutAWSChunked removes the encoding of the transfer, which is not stored;
// a value that does not have it stays as it is.
func withoutAWSChunked(value string) string {
	if !strings.Contains(strings.ToLower(value), "aws-chunked") {
		return value
	}
	var kept []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "aws-chunked") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ",")
}

// commonHeaders returns what every upstream request carries: who asks, and from
// where. MinIO believes X-Forwarded-For in its policies' aws:SourceIp, so it
// gets the address that the proxy or one it trusts sees, never the one that a
// client claims.
func (r *request) commonHeaders() http.Header {
	out := make(http.Header, 8)
	out["User-Agent"] = []string{r.UserAgent()} // "" is not sent at all
	if v := r.Referer(); v != "" {
		out.Set("Referer", v)
	}
	if a := r.origin.Addr; a.IsValid() {
		out.Set("X-Forwarded-For", a.String())
		out.Set("X-Real-Ip", a.String())
	}
	return out
}

// readHeaders are the headers of a stored object that clients see.
var readHeaders = []string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
	"Last-Modified", "X-Amz-Version-Id", "X-Amz-Delete-Marker", "X-Amz-Tagging-Count", "X-Amz-Storage-Class",
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold",
	"X-Amz-Restore", "X-Amz-Expiration", "X-Amz-Replication-Status", "X-Amz-Website-Redirect-Location", "X-Amz-Missing-Meta",
}

// copyObjectHeaders copies what a client may see of a stored object: the headers
// above and its own metadata. Sizes, ETags, checksums and encryption are said
// by the proxy.
func copyObjectHeaders(dst, src http.Header) {
	for _, name := range readHeaders {
		if v := src.Values(name); len(v) > 0 {
			dst[name] = v
		}
	}
	for name, values := range src {
		if strings.HasPrefix(name, metaPrefix) && !isReservedMeta(name) {
			// In small letters, as AWS sends them: SDKs make dictionaries of them.
			dst[strings.ToLower(name)] = values
		}
	}
	dst.Set("Accept-Ranges", "bytes")
}

// recordOf returns the record of an answer, nil if the object has none. Two
// records, or another reserved entry, are an error.
func recordOf(resp *http.Response) (*sse.Record, error) {
	var text []string
	for name, values := range resp.Header {
		if isReservedMeta(name) {
			if name != recordHeader {
				return nil, fmt.Errorf("metadata %q is reserved: %w", name, sse.ErrRecord)
			}
			text = values
		}
	}
	switch len(text) {
	case 0:
		return nil, nil
	case 1:
		return sse.ParseRecord(text[0])
	default:
		return nil, fmt.Errorf("%d records on one object: %w", len(text), sse.ErrRecord)
	}
}

// shownContext is the client's encryption context as answers have it: as it was
// sent, "" if it says nothing.
func shownContext(rec *sse.Record) string {
	if len(rec.ClientContext) == 0 || string(rec.ClientContext) == "{}" {
		return ""
	}
	return base64Std(rec.ClientContext)
}

// setEncryptionHeaders says how an object is encrypted.
func setEncryptionHeaders(h http.Header, rec *sse.Record, customerKeyMD5 string) {
	switch rec.Mode {
	case sse.ModeS3:
		h.Set(sse.HeaderMethod, sse.MethodS3)
	case sse.ModeKMS:
		h.Set(sse.HeaderMethod, sse.MethodKMS)
		h.Set(sse.HeaderKMSKeyID, sse.KeyARNPrefix+rec.KMSKey)
		if shown := shownContext(rec); shown != "" {
			h.Set(sse.HeaderContext, shown)
		}
		if rec.BucketKey {
			h.Set(sse.HeaderBucketKey, "true")
		}
	case sse.ModeC:
		h.Set(sse.HeaderCustomerAlgorithm, sse.MethodS3)
		h.Set(sse.HeaderCustomerKeyMD5, customerKeyMD5)
	}
}

// upstreamRequest is the beginning of every upstream request for r.
func (r *request) upstreamRequest(method string) *upstream.Request {
	return &upstream.Request{
		Method: method, Bucket: r.bucket, Key: r.key, Header: r.commonHeaders(), Told: r.told(), Credential: r.caller.credential,
	}
}
