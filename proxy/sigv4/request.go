package sigv4

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// AuthKind is how a caller proved who it is.
type AuthKind int

// The kinds of authentication.
const (
	Anonymous   AuthKind = iota // no signature at all
	Header                      // Authorization header
	Presigned                   // presigned query
	Form                        // the policy of a browser form
	HeaderV2                    // Authorization header, signature version 2
	PresignedV2                 // presigned query, signature version 2
)

// String returns the kind's name, for logs.
func (k AuthKind) String() string {
	switch k {
	case Header:
		return "header"
	case Presigned:
		return "presigned"
	case Form:
		return "form"
	case HeaderV2:
		return "header, version 2"
	case PresignedV2:
		return "presigned, version 2"
	default:
		return "anonymous"
	}
}

// PayloadKind is what the signature says of the body.
type PayloadKind int

// The kinds of payload.
const (
	// PayloadNone is no x-amz-content-sha256, be the caller anonymous or not.
	// Clients that sign without it (curl --aws-sigv4) sign the hash of an
	// empty body also when they send one, so it says nothing of the body.
	PayloadNone                     PayloadKind = iota
	PayloadUnsigned                             // UNSIGNED-PAYLOAD, or a presigned request that says nothing
	PayloadHashed                               // a SHA-256
	PayloadStreamingSigned                      // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
	PayloadStreamingSignedTrailer               // STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
	PayloadStreamingUnsignedTrailer             // STREAMING-UNSIGNED-PAYLOAD-TRAILER
)

// The values of x-amz-content-sha256 that are not a hash.
const (
	unsignedPayload          = "UNSIGNED-PAYLOAD"
	streamingSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// Streaming says whether the body is aws-chunked.
func (k PayloadKind) Streaming() bool { return k >= PayloadStreamingSigned }

// signedChunks says whether each chunk has a signature.
func (k PayloadKind) signedChunks() bool {
	return k == PayloadStreamingSigned || k == PayloadStreamingSignedTrailer
}

// trailers says whether the body may end in trailers.
func (k PayloadKind) trailers() bool {
	return k == PayloadStreamingSignedTrailer || k == PayloadStreamingUnsignedTrailer
}

// Request is what a verified request says of its caller and body. It is not
// safe for concurrent use. It holds key material and prints without it.
type Request struct {
	// Kind is how the caller signed.
	Kind AuthKind
	// AccessKey is the caller's, "" if anonymous.
	AccessKey string
	// SessionToken is what the caller sent with temporary credentials, "" if
	// nothing. It is covered by the signature, but not checked.
	SessionToken string `json:"-"`
	// Region is the one in the credential, any or none.
	Region string
	// Date is when the request was signed; zero if anonymous.
	Date time.Time
	// Expires is how long from Date a presigned request is valid; else 0.
	Expires time.Duration
	// Payload is what the signature says of the body.
	Payload PayloadKind
	// SignedHeaders are the names of the signed headers, in lower case and
	// sorted.
	SignedHeaders []string

	verifier    *Verifier
	payloadHash []byte     // PayloadHashed: the SHA-256 declared
	seed        *chunkSeed // signed chunks: what their signatures chain to
}

// Signed says whether a header, in any case, is covered by the signature.
func (q *Request) Signed(name string) bool {
	return slices.ContainsFunc(q.SignedHeaders, func(s string) bool { return strings.EqualFold(s, name) })
}

// Format prints the caller without session token and keys, whatever the verb.
func (q Request) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %q %q [redacted]}", q.Kind, q.AccessKey, q.Region)
}

// setPayload takes over a value of x-amz-content-sha256.
func (q *Request) setPayload(declared string) error {
	switch declared {
	case "":
		q.Payload = PayloadNone
	case unsignedPayload:
		q.Payload = PayloadUnsigned
	case streamingUnsignedTrailer:
		q.Payload = PayloadStreamingUnsignedTrailer
	case streamingSigned:
		q.Payload = PayloadStreamingSigned
	case streamingSignedTrailer:
		q.Payload = PayloadStreamingSignedTrailer
	default:
		sum, err := hex.DecodeString(declared)
		if err != nil || len(sum) != checksum.SHA256.Size() {
			return ErrInvalidSHA256Header
		}
		q.Payload, q.payloadHash = PayloadHashed, sum
	}
	if q.Payload.signedChunks() && q.Kind != Header {
		return ErrUnsupportedStreaming
	}
	return nil
}

// singleHeader returns a header that must not be repeated. The name is in
// canonical case.
func singleHeader(h http.Header, name string) (value string, ok bool, err error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	default:
		return "", false, fmt.Errorf("%w: %s", ErrDuplicateAuth, name)
	}
}
