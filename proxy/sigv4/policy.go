package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"
)

// SignedPolicy is the policy of a browser form and what signs it, as the form has
// them.
type SignedPolicy struct {
	Policy, Algorithm, Credential, Date, Signature string
	// SessionToken comes with temporary credentials.
	SessionToken string
	// AccessKeyV2 and SignatureV2 are those of version 2, AWSAccessKeyId and signature.
	AccessKeyV2, SignatureV2 string
}

// VerifyPolicy checks the signature of a form's policy: HMAC-SHA256 of its base64
// text under the signing key. How long it is good for is said by the policy
// itself. The returned Request opens the form's file as an unsigned body.
//
// What is missing is reported in MinIO's order: the credential, whose access key
// must be known, then the signature.
//
// Source: "POST Policy" of the Amazon S3 API reference.
func (v *Verifier) VerifyPolicy(ctx context.Context, p SignedPolicy) (*Request, error) {
	if p.SignatureV2 != "" {
		return v.verifyPolicyV2(ctx, p)
	}
	c := &claim{signature: p.Signature, service: s3Service}
	if err := c.parseCredential(p.Credential); err != nil {
		return nil, err
	}
	secret, err := v.credentials.Secret(ctx, c.accessKey)
	switch {
	case err != nil:
		return nil, err
	case p.Signature == "":
		return nil, ErrSignatureDoesNotMatch
	case p.Algorithm != algorithm:
		return nil, ErrInvalidQueryAlgorithm
	}
	if c.date, err = time.Parse(timeFormat, p.Date); err != nil {
		return nil, ErrMalformedPresignedDate
	}
	key, cached := v.keys.get(c, secret)
	mac := hmac.New(sha256.New, key.key[:])
	mac.Write([]byte(p.Policy))
	if c.date.Format(dayFormat) != c.day || !equalHex(mac.Sum(nil), p.Signature) {
		return nil, ErrSignatureDoesNotMatch
	}
	if !cached {
		v.keys.put(c, secret, key)
	}
	return v.request(Form, c, p.SessionToken), nil
}

// Unsigned returns the Request of a form without a policy.
func (v *Verifier) Unsigned() *Request { return &Request{Kind: Anonymous, verifier: v} }
