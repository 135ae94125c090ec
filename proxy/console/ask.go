package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// maxAnswer bounds an answer that is read whole, in bytes. A page of a listing has less.
const maxAnswer = 8 << 20

// host is what requests in this process are addressed to. It has no bucket in it.
const host = "console.invalid"

// request is one to the proxy.
type request struct {
	method string
	// path begins with "/" and is not escaped.
	path   string
	query  url.Values
	header http.Header
	body   []byte
}

// signer signs them.
type signer = sigv4.Signer

// objectPath is the path of an object, or of a bucket.
func objectPath(bucket, key string) string {
	if key == "" {
		return "/" + bucket
	}
	return "/" + bucket + "/" + key
}

// ask sends a request as who has logged in, and reads the answer. If the credential is valid
// no more the session ends: errNoSession.
func (c *Console) ask(v *visit, r *request) (*reply, error) {
	a, err := c.askAs(v, v.session.who, r)
	if err == nil && a.stale() {
		c.log.Info("a session of the console ended: its credential is valid no more", "access_key", v.session.who.AccessKey)
		c.sessions.end(v.session)
		err = errNoSession
	}
	return a, err
}

func (c *Console) askAs(v *visit, who Credential, r *request) (a *reply, err error) {
	req, err := c.build(v.Context(), who, v.from, r)
	if err != nil {
		return nil, err
	}
	a = &reply{header: make(http.Header)}
	defer func() {
		if cut := recover(); cut != nil {
			if cut != http.ErrAbortHandler { //nolint:errorlint // it is this value
				panic(cut)
			}
			err = errors.New("the answer broke off")
		}
	}()
	c.o.Proxy.ServeHTTP(a, req)
	return a, nil
}

// build makes a request as the proxy's listener would have, signed.
func (c *Console) build(ctx context.Context, who Credential, from netip.Addr, r *request) (*http.Request, error) {
	u := &url.URL{Scheme: "http", Host: host, Path: r.path, RawPath: escape(r.path, true), RawQuery: encodeQuery(r.query)}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("a name cannot be asked for: %w", err)
	}
	if r.body == nil {
		req.Body = http.NoBody
	}
	req.RequestURI = req.URL.RequestURI()
	req.RemoteAddr = netip.AddrPortFrom(from, 0).String()
	if r.header != nil {
		req.Header = r.header
	}
	req.Header.Set("User-Agent", "bucketseal-console")
	sum := sha256.Sum256(r.body)
	payload := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Content-Sha256", payload)
	c.signer.Sign(req, sigv4.S3, c.o.Region, who.AccessKey, who.SecretKey, payload, time.Now())
	return req, nil
}

// escape escapes as S3's signatures do.
func escape(s string, path bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0, path && c == '/':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// encodeQuery sorts, and escapes a space as %20.
func encodeQuery(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

// reply is an answer that is read whole.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *reply) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxAnswer {
		return 0, errors.New("the answer is too long for a page")
	}
	return a.body.Write(p)
}

// failure returns what is wrong, nil for a success.
func (a *reply) failure() error {
	if a.status >= http.StatusOK && a.status < http.StatusMultipleChoices || a.status == 0 {
		return nil
	}
	f := &refusal{status: a.status}
	var said struct{ Code, Message string }
	if json.Unmarshal(a.body.Bytes(), &said) != nil {
		_ = xml.Unmarshal(a.body.Bytes(), &said)
	}
	f.code, f.message = said.Code, said.Message
	return f
}

// stale says whether the credential is not accepted any more.
func (a *reply) stale() bool {
	said := new(refusal)
	if !errors.As(a.failure(), &said) {
		return false
	}
	switch said.code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId", "ExpiredToken":
		return true
	}
	return false
}

// askXML asks, and decodes the answer of success. *refusal, errNoSession.
func (c *Console) askXML(v *visit, r *request, into any) error {
	a, err := c.ask(v, r)
	if err == nil {
		err = a.failure()
	}
	if err != nil || into == nil {
		return err
	}
	return xml.Unmarshal(a.body.Bytes(), into)
}

// through passes an object on to the browser while it is read.
type through struct {
	http.ResponseWriter
	name    string
	refused *reply // nil for a success
	begun   bool
}

// passed are the headers of an object that the browser gets.
func passed() []string {
	return []string{"Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified"}
}

// newThrough returns what passes an object on under a file's name.
func newThrough(w http.ResponseWriter, name string) *through {
	return &through{ResponseWriter: detached{w, make(http.Header)}, name: name}
}

// detached has headers of its own.
type detached struct {
	http.ResponseWriter
	header http.Header
}

// Header implements http.ResponseWriter.
func (d detached) Header() http.Header { return d.header }

// Unwrap lets http.ResponseController reach the connection.
func (t *through) Unwrap() http.ResponseWriter { return t.ResponseWriter.(detached).ResponseWriter }

// WriteHeader begins the answer.
func (t *through) WriteHeader(status int) {
	if t.begun || t.refused != nil || status < http.StatusOK {
		return
	}
	if status != http.StatusOK && status != http.StatusPartialContent {
		t.refused = &reply{status: status}
		return
	}
	t.begun = true
	w := t.Unwrap()
	for _, name := range passed() {
		if values := t.Header().Values(name); len(values) > 0 {
			w.Header()[name] = values
		}
	}
	// Whatever it is, it is saved, and never shown as a page of this origin.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+escape(t.name, false))
	w.Header().Set("Content-Security-Policy", "sandbox; "+policy)
	w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (t *through) Write(p []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	if t.refused != nil {
		return t.refused.Write(p)
	}
	return t.Unwrap().Write(p)
}

// discard reads what is left of a body, up to a bound, so that its client gets the answer.
func discard(r io.Reader) { _, _ = io.CopyN(io.Discard, r, 1<<20) }
