package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// The bounds of what is read of an answer's document, in bytes.
const (
	maxAnswer = 64 << 10
	maxParts  = 16 << 20 // 10,000 parts with their checksums
)

// Storage is MinIO as a storage.Storage. It is safe for concurrent use.
type Storage struct {
	client *Client
	own    storage.Credential
}

// Storage returns MinIO as a storage, with own as the proxy's own credential there.
func (c *Client) Storage(own storage.Credential) *Storage {
	return &Storage{client: c, own: own}
}

// As implements storage.Storage.
func (s *Storage) As(actor storage.Actor) storage.Backend {
	return &backend{client: s.client, actor: actor}
}

// Own implements storage.Storage. Who looks something up for nobody says that it is the
// proxy.
func (s *Storage) Own(actor storage.Actor) storage.Backend {
	nobody := actor.Agent == "" && actor.Referer == "" && !actor.Addr.IsValid()
	actor.Credential = &s.own
	return storage.ForOwn(&backend{client: s.client, actor: actor, nobody: nobody})
}

// maxRecord is how much metadata MinIO takes in the signed query, in bytes, at every call
// that stores an object.
const maxRecord = 32 << 10

// Capabilities implements storage.Storage.
func (s *Storage) Capabilities() storage.Capabilities {
	return storage.Capabilities{
		ListsMetadata: true, KeepsCreationDates: true, PredictsETags: true, ConditionsInVersions: true, ReplacesVersions: true,
		RecordBytes: maxRecord, Checksums: kept, Secure: s.client.Secure(),
	}
}

// backend is MinIO as one actor sees it.
type backend struct {
	client *Client
	actor  storage.Actor
	// nobody says that there is no client whose user agent could be told.
	nobody bool
}

// request begins a request about an object: signed as the actor, with what MinIO's
// policies are to see of the client's request. It takes meta over.
func (b *backend) request(method string, name sse.Name, meta storage.Metadata) *Request {
	return &Request{
		Method: method, Bucket: name.Bucket, Key: name.Key,
		Told: b.actor.Told, Header: b.header(meta), Credential: b.actor.Credential,
	}
}

// set gives the query a parameter.
func (r *Request) set(name string, values ...string) {
	if r.Query == nil {
		r.Query = make(url.Values)
	}
	r.Query[name] = values
}

// tell lets change what is told. The actor's own stays as it is.
func (r *Request) tell(change func(told url.Values)) {
	told := make(url.Values, len(r.Told)+2)
	maps.Copy(told, r.Told)
	change(told)
	r.Told = told
}

// header adds to meta what every request for a client carries: who asks, and from where.
// MinIO believes X-Forwarded-For in its policies' aws:SourceIp, so it gets the actor's
// address, never one that a client claims.
func (b *backend) header(meta storage.Metadata) http.Header {
	h := http.Header(meta)
	if h == nil {
		h = make(http.Header, 8)
	}
	if b.nobody {
		return h
	}
	h["User-Agent"] = []string{b.actor.Agent} // "" is not sent at all
	if b.actor.Referer != "" {
		h["Referer"] = []string{b.actor.Referer}
	}
	if b.actor.Addr.IsValid() {
		address := b.actor.Addr.String()
		h["X-Forwarded-For"], h["X-Real-Ip"] = []string{address}, []string{address}
	}
	return h
}

// version names a version of the request's object, "" for the current one.
func (r *Request) version(id string) {
	if id != "" {
		r.set("versionId", id)
	}
}

// record gives what is stored a record, "" for none. It travels in the signed query, where
// MinIO does not count it against the client's 2 KiB of metadata.
func (r *Request) record(text string) {
	if text != "" {
		r.set(storage.RecordName, text)
	}
}

// conditions has MinIO judge c.
func (r *Request) conditions(c storage.Conditions) {
	if c.IfMatch != "" {
		r.Header["If-Match"] = []string{c.IfMatch}
	}
	if c.IfNoneMatch != "" {
		r.Header["If-None-Match"] = []string{c.IfNoneMatch}
	}
}

// body gives the request a body. Where somebody on the way could change it unnoticed, its
// chunks are signed; so is a trailer, always.
func (r *Request) body(body *storage.Body, secure bool) {
	switch reader := body.Reader.(type) {
	case nil:
	case io.ReadCloser:
		r.Body = reader
	default:
		r.Body = io.NopCloser(reader)
	}
	r.Length, r.Trailer = body.Length, http.Header(body.Trailer)
	r.SignBody = body.Unprotected && !secure || len(body.Trailer) > 0
	if !r.SignBody { // else it is not these bytes that are sent
		r.GetBody = body.Again
	}
	if body.Expect {
		r.Header["Expect"] = []string{"100-continue"}
	}
}

// document gives the request a body that is signed whole.
func (r *Request) document(body []byte) {
	hash := sha256.Sum256(body)
	r.PayloadHash = hex.EncodeToString(hash[:])
	if len(body) > 0 {
		r.Body, r.Length = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
}

// declared takes the client's digest of a body out of the header and tells it, where the
// proxy signs another one: a policy may forbid bodies that nobody has signed.
func (r *Request) declared() {
	digest := r.Header.Get(storage.ToldPayload)
	delete(r.Header, storage.ToldPayload)
	if digest != "" && digest != r.PayloadHash {
		r.tell(func(told url.Values) { told.Set(storage.ToldPayload, digest) })
	}
}

// answer is an answer whose status was as expected. It is read and closed as an
// io.ReadCloser.
type answer struct{ resp *http.Response }

// Read reads the body.
func (a answer) Read(p []byte) (int, error) { return a.resp.Body.Read(p) }

// header is what the answer says besides its body.
func (a answer) header() http.Header { return a.resp.Header }

// Close reads a little of what is left, so that the connection can be used again, and
// closes the body.
func (a answer) Close() error {
	Discard(a.resp)
	return nil
}

// do sends a request. An answer whose status is none of ok is an *storage.Error.
func (c *Client) do(ctx context.Context, r *Request, ok ...int) (answer, error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return answer{}, err
	}
	if !slices.Contains(ok, resp.StatusCode) {
		return answer{}, ReadError(resp)
	}
	return answer{resp}, nil
}

// parse reads an answer's document of at most limit bytes and closes it.
// storage.ErrUnreachable.
func (a answer) parse(limit int64, what string, into any) error {
	defer func() { _ = a.Close() }()
	if err := xml.NewDecoder(io.LimitReader(a, limit)).Decode(into); err != nil {
		return fmt.Errorf("parse %s: %w (%w)", what, storage.ErrUnreachable, err)
	}
	return nil
}
