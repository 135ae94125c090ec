package upstream

import (
	"crypto/sha256"
	"hash"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// sign signs req, which r has become, with r's credential.
func (c *Client) sign(req *http.Request, r *Request) *http.Request {
	cred := r.Credential
	if r.SignBody && r.Length > 0 {
		req.Trailer = r.Trailer // the signer takes it over
		return signer.StreamingSignV4(req, cred.AccessKey, cred.SecretKey, cred.SessionToken, c.region, r.Length, time.Now().UTC(), newSHA256())
	}
	payload := r.PayloadHash
	if payload == "" {
		payload = UnsignedPayload
	}
	service := sigv4.STS
	if !r.STS {
		service = sigv4.S3
		req.Header.Set("X-Amz-Content-Sha256", payload)
		if cred.SessionToken != "" {
			req.Header.Set("X-Amz-Security-Token", cred.SessionToken)
		}
	}
	c.signer.Sign(req, service, c.region, cred.AccessKey, cred.SecretKey, payload, time.Now())
	return req
}

// chunkHash is the SHA-256 that minio-go's chunk signer asks for.
type chunkHash struct{ hash.Hash }

func newSHA256() chunkHash { return chunkHash{sha256.New()} }

// Close implements the signer's interface; there is nothing to free.
func (chunkHash) Close() {}
