package sse

import (
	"crypto/md5" //nolint:gosec // S3 names customer keys by their MD5
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/textproto"
	"strings"
)

// The request and response headers of server-side encryption, canonical.
const (
	HeaderMethod            = "X-Amz-Server-Side-Encryption"
	HeaderKMSKeyID          = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	HeaderContext           = "X-Amz-Server-Side-Encryption-Context"
	HeaderBucketKey         = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"
	HeaderCustomerAlgorithm = "X-Amz-Server-Side-Encryption-Customer-Algorithm"
	HeaderCustomerKey       = "X-Amz-Server-Side-Encryption-Customer-Key"
	HeaderCustomerKeyMD5    = "X-Amz-Server-Side-Encryption-Customer-Key-Md5"

	// MethodS3 and MethodKMS are the values of HeaderMethod.
	MethodS3  = "AES256"
	MethodKMS = "aws:kms"
)

// Errors of request headers. Their texts are those that S3 clients of MinIO
// see inside the message of the answer.
var (
	ErrMethod              = errors.New("The encryption method is not supported")                                                                 //nolint:staticcheck // shown as it is
	ErrIncompatible        = errors.New("Server Side Encryption with Customer provided key is incompatible with the encryption method specified") //nolint:staticcheck // shown as it is
	ErrCustomerAlgorithm   = errors.New("The SSE-C algorithm is not supported")                                                                   //nolint:staticcheck // shown as it is
	ErrCustomerKey         = errors.New("The SSE-C client key is invalid")                                                                        //nolint:staticcheck // shown as it is
	ErrCustomerKeyMissing  = errors.New("The SSE-C request is missing the customer key")                                                          //nolint:staticcheck // shown as it is
	ErrCustomerMD5Missing  = errors.New("The SSE-C request is missing the customer key MD5")                                                      //nolint:staticcheck // shown as it is
	ErrCustomerMD5Mismatch = errors.New("The provided SSE-C key MD5 does not match the computed MD5 of the SSE-C key")                            //nolint:staticcheck // shown as it is
	ErrHeaderContext       = errors.New("the encryption context is not base64 of a JSON object of strings")
	errEmptyContext        = errors.New("the encryption context is empty")
	ErrBucketKeyValue      = errors.New("the bucket key setting is neither true nor false")
)

// Request is the server-side encryption that a request's headers ask for.
type Request struct {
	// Mode is ModeNone if the request asks for none.
	Mode Mode
	// KMSKeyID is the key id as the client wrote it, "" for the default.
	KMSKeyID string
	// ClientContext is the decoded context; nil if there is none. It is not
	// parsed here.
	ClientContext []byte
	// BucketKey is the bucket key setting, nil if not given.
	BucketKey *bool
	// OpaqueETag, of ModeS3, asks for no MD5 to be computed for an ETag. No header says so:
	// it is the bucket's setting.
	OpaqueETag bool
	// CustomerKey is the key of SSE-C, and CustomerKeyMD5 its MD5 as sent.
	CustomerKey    Secret
	CustomerKeyMD5 string
}

// NeedsMD5 says whether the plaintext's MD5 is to be computed if nobody knows it.
func (r *Request) NeedsMD5() bool { return r.Mode == ModeS3 && !r.OpaqueETag }

// ParseWrite reads what a write asks for from its headers, whose names are
// canonical. It returns one of the sentinels above.
func ParseWrite(h map[string][]string) (Request, error) {
	header := textproto.MIMEHeader(h)
	method, hasMethod := first(h, HeaderMethod)
	_, hasID := first(h, HeaderKMSKeyID)
	encoded, hasContext := first(h, HeaderContext)
	if HasCustomerKey(h) {
		switch {
		case hasMethod:
			return Request{}, ErrIncompatible
		case hasID || hasContext:
			return Request{}, ErrMethod
		}
		return parseCustomer(h)
	}
	switch {
	case !hasMethod && !hasID && !hasContext:
		return Request{}, nil
	case strings.EqualFold(method, MethodS3):
		if hasID || hasContext {
			return Request{}, ErrMethod
		}
		return Request{Mode: ModeS3}, nil
	case method != MethodKMS:
		return Request{}, ErrMethod
	}
	req := Request{Mode: ModeKMS, KMSKeyID: strings.TrimSpace(header.Get(HeaderKMSKeyID))}
	if hasContext {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil && len(raw) == 0 {
			err = errEmptyContext
		}
		if err != nil {
			return Request{}, contextError{err}
		}
		req.ClientContext = raw
	}
	if v, ok := first(h, HeaderBucketKey); ok {
		on := strings.EqualFold(v, "true")
		if !on && !strings.EqualFold(v, "false") {
			return Request{}, ErrBucketKeyValue
		}
		req.BucketKey = &on
	}
	return req, nil
}

// ParseCustomer reads the customer key of a read; ok is false if the request
// has no SSE-C header at all.
func ParseCustomer(h map[string][]string) (req Request, ok bool, err error) {
	if !HasCustomerKey(h) {
		return Request{}, false, nil
	}
	req, err = parseCustomer(h)
	return req, true, err
}

// HasCustomerKey says whether a request has any SSE-C header.
func HasCustomerKey(h map[string][]string) bool {
	for _, name := range []string{HeaderCustomerAlgorithm, HeaderCustomerKey, HeaderCustomerKeyMD5} {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
}

func parseCustomer(h map[string][]string) (Request, error) {
	algorithm, _ := first(h, HeaderCustomerAlgorithm)
	if algorithm != MethodS3 {
		return Request{}, ErrCustomerAlgorithm
	}
	encoded, _ := first(h, HeaderCustomerKey)
	if encoded == "" {
		return Request{}, ErrCustomerKeyMissing
	}
	sum, _ := first(h, HeaderCustomerKeyMD5)
	if sum == "" {
		return Request{}, ErrCustomerMD5Missing
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	defer clear(key)
	if err != nil || len(key) != KeySize {
		return Request{}, ErrCustomerKey
	}
	want, err := base64.StdEncoding.DecodeString(sum)
	got := md5.Sum(key) //nolint:gosec // see above
	if err != nil || subtle.ConstantTimeCompare(want, got[:]) != 1 {
		return Request{}, ErrCustomerMD5Mismatch
	}
	return Request{Mode: ModeC, CustomerKey: Secret(key), CustomerKeyMD5: sum}, nil
}

// contextError is ErrHeaderContext with the decoder's own words, which MinIO
// shows.
type contextError struct{ cause error }

// Error is the decoder's.
func (e contextError) Error() string { return e.cause.Error() }

// Is says that it is ErrHeaderContext.
func (e contextError) Is(target error) bool { return target == ErrHeaderContext }

func first(h map[string][]string, name string) (string, bool) {
	v, ok := h[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}
