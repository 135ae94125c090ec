package intake

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Request is one client request on its way through the proxy.
type Request struct {
	*http.Request
	// ID names the request in answers and in the log.
	ID     string
	Origin forwarded.Origin
	// Route is what the request asks for; nil until that is known.
	Route *Route
	// Bucket and Key are what it is about, by their canonical names.
	Bucket, Key string
	// VirtualHost says that the bucket is in the host, not in the path.
	VirtualHost bool
	// Query is the query without the signature, as far as the route accepts it.
	Query url.Values
	// Target is what an administrator's request is about, for the audit log: a query.
	Target string
	// Auth is how the request is signed, Caller who signed it.
	Auth   *sigv4.Request
	Caller Caller
	// Claimed is the access key that a form names, for the log.
	Claimed string
	// Tell, if not nil, adds what the API knows to what an Actor tells.
	Tell func(told map[string][]string, r *Request)
	// Answer is what the client is answered with, for deadlines.
	Answer http.ResponseWriter

	began time.Time
	// account is the account that is given of it; nil for none.
	account *account
	// held is a document that takes its memory from the budget; nil for none.
	held []byte
	// leave gives its place back; nil if it has none.
	leave func()
	// upstreamTLS says that MinIO sees a connection by TLS, whatever the client's is.
	upstreamTLS bool
}

// Route is what this package needs to know of an operation.
type Route struct {
	// Op is the operation's name in the API's documentation.
	Op string
	// Body is the largest body in bytes that is read into memory; 0 means that the
	// operation has none, or streams it.
	Body int64
	// XML says that such a body is a document of S3's.
	XML bool
	// Headers are request headers that go upstream besides those of every forwarded
	// request.
	Headers []string
}

// Op is the operation's name, "unknown" before it is known.
func (r *Request) Op() string {
	if r.Route == nil {
		return "unknown"
	}
	return r.Route.Op
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

// Caller is who makes a request, once its signature is verified. The zero value is a
// caller without one.
type Caller struct {
	// AccessKey is "" for a caller without a signature, and Identity nil.
	AccessKey string
	Identity  *identity.Identity
}

// String returns what the log shows.
func (c Caller) String() string {
	if c.AccessKey == "" {
		return "anonymous"
	}
	return c.AccessKey
}

// Keys is the caller as package keyring knows it.
func (c Caller) Keys() keyring.Caller { return keyring.As(c.Identity) }

// credential signs upstream requests for the caller; nil sends them without a signature.
func (c Caller) credential() *storage.Credential {
	if c.Identity == nil {
		return nil
	}
	at := c.Identity.AtUpstream()
	return &storage.Credential{AccessKey: at.AccessKey, SecretKey: at.SecretKey, SessionToken: c.Identity.SessionToken}
}

// Actor is the request's caller as the storage is to know it, with what its policies shall
// know of the client's request and would not see, as they see the proxy's.
func (r *Request) Actor() storage.Actor {
	told := make(url.Values)
	if r.Origin.Secure != r.upstreamTLS {
		told.Set(storage.ToldTransport, strconv.FormatBool(r.Origin.Secure))
	}
	credential := r.Caller.credential()
	if r.Auth != nil && credential != nil {
		tellSignature(told, r.Auth)
	}
	if r.Tell != nil {
		r.Tell(told, r)
	}
	return storage.Actor{Credential: credential, Agent: r.UserAgent(), Referer: r.Referer(), Addr: r.Origin.Addr, Told: told}
}

// tellSignature tells how and when the client signed, if not in a header, now.
func tellSignature(told url.Values, auth *sigv4.Request) {
	switch auth.Kind {
	case sigv4.Presigned:
		told.Set(storage.ToldAge, strconv.FormatInt(time.Since(auth.Date).Milliseconds(), 10))
		told.Set(storage.ToldAuthType, "REST-QUERY-STRING")
	case sigv4.PresignedV2:
		told.Set(storage.ToldAuthType, "REST-QUERY-STRING")
	case sigv4.Form:
		told.Set(storage.ToldAuthType, "POST")
	}
	if auth.Kind == sigv4.HeaderV2 || auth.Kind == sigv4.PresignedV2 {
		told.Set(storage.ToldVersion, "AWS")
	}
}

// Memory is the request's share of the memory for small uploads.
func (in *Intake) Memory(r *Request) Share { return Share{in.buffers, r.Claim()} }

// Share is what a caller takes of the memory for small uploads.
type Share struct {
	buffers *Buffers
	claim   edge.Claim
}

// Take returns a buffer of size bytes, nil if none is left. It never waits.
func (s Share) Take(size int64) []byte { return s.buffers.Take(s.claim, size) }

// Give takes a buffer back; reuse is false while somebody may still read it.
func (s Share) Give(buffer []byte, reuse bool) { s.buffers.Give(s.claim, buffer, reuse) }

// logLeftOut says that callers without a valid signature had more requests refused
// than the log has lines for.
func (in *Intake) logLeftOut(requests int, most netip.Addr) {
	in.log.Warn("refused requests without a valid signature that are not in the log, in the last minute", "requests", requests, "most_from", most.String())
}
