package s3api

import (
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

const metaPrefix = "X-Amz-Meta-"

// storedHeaders are the headers of a write that MinIO stores with the object.
var storedHeaders = []string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
	"X-Amz-Storage-Class", "X-Amz-Tagging", "X-Amz-Acl", "X-Amz-Website-Redirect-Location",
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold",
}

// writeMeta returns what the request's headers say that is stored with an object.
func writeMeta(r *intake.Request) storage.Metadata {
	out := make(storage.Metadata, 8)
	for _, name := range storedHeaders {
		if v := r.Header.Values(name); len(v) > 0 {
			out[name] = v
		}
	}
	if v := withoutAWSChunked(strings.Join(out.Values("Content-Encoding"), ",")); v != "" {
		out.Set("Content-Encoding", v)
	} else {
		delete(out, "Content-Encoding")
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
		if strings.HasPrefix(name, metaPrefix) && !storage.IsReserved(name) {
			// In small letters, as AWS sends them: SDKs make dictionaries of them.
			dst[strings.ToLower(name)] = values
		}
	}
	dst.Set("Accept-Ranges", "bytes")
}

// shownContext is the client's encryption context as answers have it: as it was
// sent, "" if it says nothing.
func shownContext(as *sse.Encryption) string {
	if len(as.ClientContext) == 0 || string(as.ClientContext) == "{}" {
		return ""
	}
	return base64Std(as.ClientContext)
}

// setEncryptionHeaders says how an object is encrypted.
func setEncryptionHeaders(h http.Header, as sse.Encryption, customerKeyMD5 string) {
	switch as.Mode {
	case sse.ModeS3:
		h.Set(sse.HeaderMethod, sse.MethodS3)
	case sse.ModeKMS:
		h.Set(sse.HeaderMethod, sse.MethodKMS)
		h.Set(sse.HeaderKMSKeyID, sse.KeyARNPrefix+as.KMSKey)
		if shown := shownContext(&as); shown != "" {
			h.Set(sse.HeaderContext, shown)
		}
		if as.BucketKey {
			h.Set(sse.HeaderBucketKey, "true")
		}
	case sse.ModeC:
		h.Set(sse.HeaderCustomerAlgorithm, sse.MethodS3)
		h.Set(sse.HeaderCustomerKeyMD5, customerKeyMD5)
	}
}
