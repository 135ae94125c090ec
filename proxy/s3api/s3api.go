// Package s3api is S3 over HTTP: it knows what a request asks for and how it is answered,
// has package vault do it, and passes on what concerns no object's data. It has neither
// keys nor a credential of the proxy's own.
package s3api

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/form"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/sts"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

// Options are an API's dependencies and settings.
type Options struct {
	// Intake takes requests in, Vault keeps objects, Encryption says how buckets' writes
	// are encrypted, and STS serves the Security Token Service, which has S3's address.
	// Required.
	Intake     *intake.Intake
	Vault      *vault.Vault
	Encryption *encryption.Settings
	STS        *sts.Service
	// Admit refuses requests while the storage cannot be used, Ours while the keys are
	// those of another installation. Required.
	Admit func(ctx context.Context, need storage.Need) error
	Ours  func() error
	// SystemBucket does not exist for clients.
	SystemBucket string
	// SmallObject is the size in bytes up to which an upload is read whole before it is
	// sent on.
	SmallObject int64
	// CustomerKeysOverHTTP says whether SSE-C keys are accepted on connections without
	// TLS; nil means that they are not.
	CustomerKeysOverHTTP func() bool
	// Logger is told what operators should know. Required.
	Logger *slog.Logger
}

// API serves S3. It is safe for concurrent use.
type API struct {
	o          Options
	in         *intake.Intake
	vault      *vault.Vault
	encryption *encryption.Settings
	log        *slog.Logger
	table      *table
	router     http.Handler
}

// New returns the API. The error is one of its table.
func New(o Options) (*API, error) {
	table, err := newTable(Routes())
	if err != nil {
		return nil, err
	}
	if o.CustomerKeysOverHTTP == nil {
		o.CustomerKeysOverHTTP = func() bool { return false }
	}
	s := &API{o: o, in: o.Intake, vault: o.Vault, encryption: o.Encryption, log: o.Logger, table: table}
	s.router = newRouter(func(w http.ResponseWriter, r *http.Request, scope route.Scope, bucket, key string) {
		s.in.Serve(w, r, false, &call{s, scope, bucket, key})
	})
	return s, nil
}

// ServeHTTP answers a request whose path names bucket and key.
func (s *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.router.ServeHTTP(w, r) }

// ServeBucket answers a request whose host names the bucket: its whole path is a key, taken
// as it was sent.
func (s *API) ServeBucket(w http.ResponseWriter, r *http.Request, bucket string) {
	scope, key := route.Object, strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if key == "" {
		scope = route.Bucket
	}
	// A bucket's name goes on as if it stood in a path, where % begins an escape.
	s.in.Serve(w, r, true, &call{s, scope, strings.ReplaceAll(bucket, "%", "%25"), key})
}

// newRouter maps path shapes to scopes. It decodes nothing, cleans nothing and
// redirects nothing: keys reach the handlers byte for byte.
func newRouter(serve func(http.ResponseWriter, *http.Request, route.Scope, string, string)) http.Handler {
	router := mux.NewRouter()
	for _, scope := range []route.Scope{route.Object, route.Bucket, route.Service} {
		router.MatcherFunc(func(r *http.Request, _ *mux.RouteMatch) bool {
			found, _, _, ok := splitPath(r.URL.EscapedPath())
			return ok && found == scope
		}).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, bucket, key, _ := splitPath(r.URL.EscapedPath())
			serve(w, r, scope, bucket, key)
		})
	}
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, route.Object, "", "") // a path that begins with two slashes
	})
	// Not the router's own ServeHTTP: it copies the request twice, for variables that are
	// not used.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var match mux.RouteMatch
		router.Match(r, &match)
		match.Handler.ServeHTTP(w, r)
	})
}

// splitPath returns what an escaped path names, and whether it has a shape of S3's: /,
// /bucket, /bucket/ or /bucket/key.
func splitPath(path string) (scope route.Scope, bucket, key string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || rest == "" {
		return route.Service, "", "", ok
	}
	bucket, key, _ = strings.Cut(rest, "/")
	switch {
	case bucket == "":
		return route.Object, "", "", false
	case key == "":
		return route.Bucket, bucket, "", true
	}
	return route.Object, bucket, key, true
}

// call is a request with what its path names, escaped as it was sent.
type call struct {
	*API
	scope       route.Scope
	bucket, key string
}

// Name implements intake.Handler.
func (c *call) Name(r *intake.Request) error { return setName(r, c.scope, c.bucket, c.key) }

// Handle implements intake.Handler.
func (c *call) Handle(w *intake.Answer, r *intake.Request) error {
	r.Tell = tell
	if c.scope == route.Service && sts.Is(r.Request) {
		if err := c.o.Admit(r.Context(), storage.Reads); err != nil {
			return err
		}
		return c.o.STS.Handle(w, r)
	}
	row, err := c.find(r, c.scope)
	if err != nil {
		return err
	}
	if err := c.admit(r, row); err != nil {
		return err
	}
	if row.Action == route.Forward {
		return c.in.Forward(w, r, upstream.S3)
	}
	return row.Handler(c.API, w, r)
}

// find finds out who asks and for what: the row of a request, route.ErrUnknown,
// errFormToObject, or why its signature does not count.
func (s *API) find(r *intake.Request, scope route.Scope) (*row, error) {
	if err := s.in.Verify(r); err != nil {
		return nil, err
	}
	if err := r.Auth.HoistQuery(r.Request); err != nil {
		return nil, err
	}
	var err error
	if r.Caller, err = s.in.Identify(r.Context(), r.Auth); err != nil {
		return nil, err
	}
	if err := intake.RefuseHeaders(r.Header); err != nil {
		return nil, err
	}
	if r.Query, err = intake.ParseQuery(r.Request); err != nil {
		return nil, err
	}
	found, err := s.table.Find(scope, r.Method, r.Query, r.Header)
	if found != nil {
		r.Route = found.Route()
		return found, err
	}
	if scope == route.Object && r.Method == http.MethodPost && form.Is(r.Header.Get("Content-Type")) {
		err = errFormToObject
		if r.Auth.Kind != sigv4.Anonymous {
			err = sigv4.ErrMultipleAuth // a form is signed inside
		}
	}
	return nil, err
}

// admit says whether a request may go on, and gives it its place.
func (s *API) admit(r *intake.Request, found *row) error {
	if strings.EqualFold(r.Bucket, s.o.SystemBucket) {
		return errReservedBucket(found.Op)
	}
	if found.Action == route.Refuse {
		return fmt.Errorf("%s: %s: %w", found.Op, found.Why, intake.ErrNotOffered)
	}
	if err := s.o.Ours(); err != nil {
		return err
	}
	if err := s.o.Admit(r.Context(), intake.NeedOf(r.Method, found.Frees)); err != nil {
		return err
	}
	if err := checkKey(r, found); err != nil {
		return err
	}
	if found.Unplaced {
		return nil
	}
	return s.in.Enter(r)
}

// Describe implements intake.Handler.
func (c *call) Describe(err error) *intake.Error { return Describe(err) }

// WriteError implements intake.Handler.
func (c *call) WriteError(w *intake.Answer, r *intake.Request, e *intake.Error) {
	if c.scope == route.Service && sts.Is(r.Request) {
		sts.WriteError(w, r, e)
		return
	}
	if w.BeginError(r, e) {
		return
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	element(&b, "Code", e.Code)
	element(&b, "Message", e.Message)
	if r.Key != "" {
		element(&b, "Key", r.Key)
	}
	if r.Bucket != "" {
		element(&b, "BucketName", r.Bucket)
	}
	element(&b, "Resource", r.URL.Path)
	element(&b, "RequestId", r.ID)
	element(&b, "HostId", "")
	b.WriteString("</Error>")
	writeXML(w, e.Status, b.Bytes())
}

// writeXML answers with a whole XML document.
func writeXML(w http.ResponseWriter, status int, body []byte) {
	intake.WriteDocument(w, status, "application/xml", body)
}

func element(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	escapeXML(b, value)
	b.WriteString("</" + name + ">")
}

// escapeXML writes text as S3 servers do: control characters become character
// references, which XML 1.0 forbids and clients of S3 expect.
func escapeXML(b *bytes.Buffer, s string) {
	s = strings.ToValidUTF8(s, "\uFFFD")
	const special = "<>&'\"\t\n\r"
	last := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && strings.IndexByte(special, c) < 0 {
			continue
		}
		b.WriteString(s[last:i])
		last = i + 1
		switch c {
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		case '\'':
			b.WriteString("&#39;")
		case '"':
			b.WriteString("&#34;")
		default:
			b.WriteString("&#x" + strings.ToUpper(strconv.FormatUint(uint64(c), 16)) + ";")
		}
	}
	b.WriteString(s[last:])
}
