package upstream

import (
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 of forwarded documents
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Forwarder passes requests on to MinIO, signed as their caller: the proxy's own credential
// it does not have. It is safe for concurrent use.
type Forwarder struct{ client *Client }

// Forwarder returns a Forwarder to the client's MinIO.
func (c *Client) Forwarder() *Forwarder { return &Forwarder{c} }

// API is one of the interfaces that MinIO has, which differ in how they write an error.
type API int

// APIs. A request for STS is signed for that service, whose query tells no conditions.
const (
	S3 API = iota
	STS
	Admin
)

// Forward is a request to pass on.
type Forward struct {
	Method string
	// Bucket and Key are raw names; Key needs Bucket, both empty is the service.
	Bucket, Key string
	Query       map[string][]string
	// Header is sent as it is, besides what tells who asks. Forward takes it over. A digest
	// of the body that is the client's, in X-Amz-Content-Sha256, is told to policies.
	Header storage.Metadata
	// Body is sent whole, and signed so.
	Body []byte
	// WithMD5 adds the Content-MD5 of Body, if there is one, on which some operations insist.
	WithMD5 bool
	API     API
}

// Answer is an answer of success. The caller closes it.
type Answer struct {
	Status int
	Header storage.Metadata
	// Length is that of the body in bytes, -1 if it is not known.
	Length int64
	// ReadCloser is the body. Reading it fails as that of a storage.Object does.
	io.ReadCloser
}

// Forward passes a request on as an actor. *storage.Error for a refusal,
// storage.ErrUnreachable, or the context's cause.
func (f *Forwarder) Forward(ctx context.Context, actor storage.Actor, what *Forward) (*Answer, error) {
	b := &backend{client: f.client, actor: actor}
	r := b.request(what.Method, sse.Name{Bucket: what.Bucket, Key: what.Key}, what.Header)
	r.document(what.Body)
	if what.WithMD5 && len(what.Body) > 0 {
		sum := md5.Sum(what.Body) //nolint:gosec // see above
		r.Header["Content-Md5"] = []string{base64.StdEncoding.EncodeToString(sum[:])}
	}
	r.declared()
	r.Query, r.STS = what.Query, what.API == STS
	a, err := f.client.forward(ctx, r, what.API)
	if err != nil {
		return nil, err
	}
	return &Answer{a.resp.StatusCode, storage.Metadata(a.header()), a.resp.ContentLength, a}, nil
}

// forward sends a request to one of the APIs. What is no success is an *storage.Error if
// MinIO says what is wrong, storage.ErrUnreachable if not.
func (c *Client) forward(ctx context.Context, r *Request, api API) (answer, error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return answer{}, err
	}
	switch {
	case resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices:
		return answer{resp}, nil
	case resp.StatusCode >= http.StatusBadRequest && api == S3:
		return answer{}, ReadError(resp)
	}
	defer Discard(resp)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		body = nil
	}
	if e := (&storage.Error{Status: resp.StatusCode, Header: storage.Metadata(resp.Header)}); api.says(e, body) {
		return answer{}, e
	}
	return answer{}, fmt.Errorf("upstream answered %d: %w", resp.StatusCode, storage.ErrUnreachable)
}

// says reads an API's error, and says whether it is one.
func (api API) says(e *storage.Error, body []byte) bool {
	switch {
	case e.Status < http.StatusBadRequest:
		return false
	case api == Admin:
		var said struct{ Code, Message string }
		if json.Unmarshal(body, &said) == nil {
			e.Code, e.Message = said.Code, said.Message
		}
		return true
	default:
		var said struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Error   struct{ Code, Message string }
		}
		err := xml.Unmarshal(body, &said)
		e.Code, e.Message = said.Error.Code, said.Error.Message
		return err == nil && e.Code != ""
	}
}

// kept are the checksums that MinIO verifies and keeps.
var kept = checksum.SetOf(checksum.CRC32, checksum.CRC32C, checksum.CRC64NVME, checksum.SHA1, checksum.SHA256)

// Keeps says whether MinIO verifies and keeps a checksum.
func Keeps(a checksum.Algorithm) bool { return kept.Has(a) }
