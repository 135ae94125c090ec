// Package sigv4 says who sent an S3 request and gives its body as the client
// signed it.
//
// A Verifier checks AWS Signature Version 4, in the Authorization header or in
// a presigned query. The Request it returns opens the body: decoded from
// aws-chunked where it is, and at its end only once the declared length, the
// chunk signatures and all digests have been verified.
//
// What counts, counts only if it is signed: a request with an x-amz-* header
// outside its signature is refused. Values that decide about authentication
// may be given once only.
//
// Signature Version 2 is accepted where Options.Version2 says so: it signs less.
//
// Sources: the AWS pages "Authenticating Requests (AWS Signature Version 4)",
// "Signature Calculations for the Authorization Header: Transferring Payload
// in Multiple Chunks" and "Authenticating Requests: Using Query Parameters" of
// the Amazon S3 API reference.
package sigv4

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Words and limits of the signature.
const (
	algorithm   = "AWS4-HMAC-SHA256"
	s3Service   = "s3"
	stsService  = "sts"
	terminal    = "aws4_request"
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

	timeFormat = "20060102T150405Z"
	dayFormat  = "20060102"

	defaultMaxSkew = 15 * time.Minute
	maxExpires     = 7 * 24 * time.Hour
)

// CredentialStore looks up secrets. Implementations are safe for concurrent use.
type CredentialStore interface {
	// Secret returns the secret key of an access key, or an error that wraps
	// ErrInvalidAccessKeyID if nobody has it. Other errors say that it cannot be
	// told; Verify passes them on.
	Secret(ctx context.Context, accessKey string) (secret string, err error)
}

// Options are what a Verifier needs.
type Options struct {
	// Credentials holds the callers' secrets. Required.
	Credentials CredentialStore
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// MaxSkew is how far a request's date may be from now, either way; 0 is
	// 15 minutes.
	MaxSkew time.Duration
	// Version2 also accepts signatures of version 2.
	Version2 bool
	// Bucket returns the bucket that a request's host names, if it does; nil means
	// that none does. Only version 2 signs it as a part of the path.
	Bucket func(host string) (bucket string, ok bool)
}

// Verifier checks signatures. It is safe for concurrent use.
type Verifier struct {
	credentials CredentialStore
	now         func() time.Time
	live        atomic.Pointer[Live]
	bucket      func(host string) (string, bool)

	keys    keyCache
	scratch sync.Pool // of *[]byte: canonical requests
	readers sync.Pool // of *bufio.Reader: chunked bodies
}

// New returns a Verifier.
func New(o Options) (*Verifier, error) {
	if o.Credentials == nil {
		return nil, errors.New("sigv4: Options.Credentials is nil")
	}
	if o.MaxSkew < 0 {
		return nil, errors.New("sigv4: Options.MaxSkew is negative")
	}
	v := &Verifier{credentials: o.Credentials, now: o.Now, bucket: o.Bucket}
	if v.now == nil {
		v.now = time.Now
	}
	v.Adopt(Live{MaxSkew: o.MaxSkew, Version2: o.Version2})
	v.scratch.New = func() any { b := make([]byte, 0, 2<<10); return &b }
	v.readers.New = func() any { return bufio.NewReaderSize(nil, maxChunkLine) }
	return v, nil
}

// Verify checks the signature of r's headers; the body is not read. It
// returns an error that wraps one of the sentinels of this package, or one of
// the credential store's. Path,
// query, host and headers of r must be as they arrived.
//
// A request without any signature is Anonymous and no error.
func (v *Verifier) Verify(r *http.Request) (*Request, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	auth, inHeader := r.Header["Authorization"]
	inQuery, inQueryV2 := query.presigned(), query.has(v2AccessKey)
	switch {
	case inHeader && (inQuery || inQueryV2), inQuery && inQueryV2:
		return nil, ErrMultipleAuth
	case inQueryV2 && !v.live.Load().Version2:
		return nil, ErrSigV2NotSupported
	case inQueryV2:
		return v.verifyPresignedV2(r, query)
	case inHeader && v.live.Load().Version2 && isVersion2(auth[0]):
		return v.verifyHeaderV2(r, auth, query)
	case inHeader:
		return v.verifyHeader(r, auth, query)
	case inQuery:
		return v.verifyPresigned(r, query)
	default:
		return v.anonymous(r)
	}
}

// VerifySTS checks the signature of a call of the Security Token Service, whose
// body is signed whole and is body. Only the Authorization header can hold it.
// Errors are as those of Verify, and ErrMissingFields without a signature.
func (v *Verifier) VerifySTS(r *http.Request, body []byte) (*Request, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	auth, ok := r.Header["Authorization"]
	switch {
	case query.presigned() || query.has(v2AccessKey):
		return nil, ErrUnsupportedAuth
	case !ok:
		return nil, ErrMissingFields
	}
	c, err := v.headerClaim(r.Header, auth, stsService)
	if err != nil {
		return nil, err
	}
	declared, given, err := singleHeader(r.Header, "X-Amz-Content-Sha256")
	if err != nil {
		return nil, err
	}
	token, _, err := singleHeader(r.Header, "X-Amz-Security-Token")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	payload := hex.EncodeToString(sum[:])
	if given && declared != payload {
		return nil, ErrContentSHA256Mismatch
	}
	if _, err := v.check(r, c, query, Header, payload); err != nil {
		return nil, err
	}
	return v.request(Header, c, token), nil
}

// anonymous returns the Request of a caller who did not sign.
func (v *Verifier) anonymous(r *http.Request) (*Request, error) {
	declared, _, err := singleHeader(r.Header, "X-Amz-Content-Sha256")
	if err != nil {
		return nil, err
	}
	q := &Request{Kind: Anonymous, verifier: v}
	if err := q.setPayload(declared); err != nil {
		return nil, err
	}
	return q, nil
}
