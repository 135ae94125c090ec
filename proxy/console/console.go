// Package console is a web page for operators and users: what is encrypted and how, which
// keys there are, how MinIO and the key store are, and a few acts. Whatever it does to
// objects, buckets and keys it asks of the proxy by requests like any client's, signed with
// the credential of whom has logged in: it has no right of its own.
package console

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

//go:embed templates/*.html assets/style.css
var files embed.FS

// Options are a Console's dependencies and settings.
type Options struct {
	// Proxy answers requests of S3 and of MinIO's own API. Required.
	Proxy http.Handler
	// Region is what requests to it are signed for. Required.
	Region string
	// Facts is what operators may know. Required.
	Facts Facts
	// Stored looks at an object as MinIO has it, with the rights of who asks. Required.
	Stored func(ctx context.Context, who Credential, from netip.Addr, of Object) (*Stored, error)
	// Recent has the last refusals. Required.
	Recent *Recent
	// Origin says from which address a request comes. Required.
	Origin func(*http.Request) netip.Addr
	// Life is how long a session lasts at most. Required.
	Life time.Duration
	// Secure says that the console is reached by TLS: browsers send its cookie so only.
	Secure bool
	// Logger is told who logs in, and who fails. Required.
	Logger *slog.Logger
	// Now is the clock; nil means the machine's.
	Now func() time.Time
}

// Console is an http.Handler, safe for concurrent use.
type Console struct {
	o         Options
	log       *slog.Logger
	now       func() time.Time
	pages     *template.Template
	sessions  *sessions
	failures  *limiter
	signer    signer
	crossSite *http.CrossOriginProtection
	history   history
	uploads   chan struct{} // places
	searches  chan struct{}
	mux       *http.ServeMux
}

// New checks the options and returns a console.
func New(o Options) (*Console, error) {
	if o.Proxy == nil || o.Region == "" || o.Facts == nil || o.Stored == nil || o.Recent == nil || o.Origin == nil || o.Life <= 0 || o.Logger == nil {
		return nil, errors.New("console: incomplete options")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Console{
		o: o, log: o.Logger, now: o.Now, sessions: newSessions(o.Now, o.Life), failures: newLimiter(o.Now),
		crossSite: http.NewCrossOriginProtection(), uploads: make(chan struct{}, uploadsAtOnce), searches: make(chan struct{}, 1),
		mux: http.NewServeMux(),
	}
	var err error
	if c.pages, err = template.New("").Funcs(c.functions()).ParseFS(files, "templates/*.html"); err != nil {
		return nil, err
	}
	c.route()
	return c, nil
}

// route says what is where. Whatever changes something is a POST with a token.
func (c *Console) route() {
	open := func(pattern string, h handler) { c.mux.Handle(pattern, c.handle(h)) }
	open("GET /style.css", c.style)
	open("GET /login", c.loginPage)
	open("POST /login", c.login)
	own := func(pattern string, h handler) { open(pattern, c.known(h)) }
	own("GET /{$}", c.buckets)
	own("GET /bucket", c.bucket)
	own("GET /object", c.object)
	own("GET /download", c.download)
	own("GET /keys", c.keys)
	own("POST /logout", c.logout)
	own("POST /bucket/rule", c.setRule)
	own("POST /bucket/upload", c.upload)
	own("POST /keys/create", c.createKey)
	operators := func(pattern string, h handler) { own(pattern, c.operators(h)) }
	operators("GET /identities", c.identities)
	operators("GET /health", c.health)
	operators("GET /refusals", c.refusals)
	operators("GET /configuration", c.configuration)
	operators("GET /audit", c.audit)
	c.mux.Handle("/", c.handle(func(*visit) error { return errNoPage }))
}

// visit is one request, and its answer.
type visit struct {
	ResponseWriter http.ResponseWriter
	*http.Request
	from    netip.Addr
	session *session // nil before a login
	page    view
}

type handler func(*visit) error

// policy is what a browser may do with the console's pages: show them, with this style sheet,
// and send forms back. There is no script.
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Server", "bucketseal")
	c.mux.ServeHTTP(w, r)
}

// handle is the one adapter between net/http and the pages: it shows their errors.
func (c *Console) handle(do handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{ResponseWriter: w, Request: r, from: c.o.Origin(r)}
		err := c.crossSite.Check(r)
		if err != nil {
			err = errForm
		} else {
			err = do(v)
		}
		if err != nil {
			c.fail(v, err)
		}
	})
}

// known asks for a session, and for its token where something is changed.
func (c *Console) known(do handler) handler {
	return func(v *visit) error {
		s, err := c.session(v)
		if err != nil {
			return err
		}
		v.session = s
		if v.Method == http.MethodPost && v.URL.Path != uploadPath { // whose token comes first in a long body
			if err := v.small(); err != nil {
				return err
			}
			if !s.validToken(v.URL.Path, v.PostFormValue("token")) {
				return errForm
			}
		}
		return do(v)
	}
}

// maxForm bounds a form without a file, in bytes.
const maxForm = 64 << 10

// small reads a form that has no file.
func (v *visit) small() error {
	v.Body = http.MaxBytesReader(v.ResponseWriter, v.Body, maxForm)
	if err := v.ParseForm(); err != nil {
		return errForm
	}
	return nil
}

// operators asks who it is: the configuration names operators, and MinIO may deny it.
func (c *Console) operators(do handler) handler {
	return func(v *visit) error {
		if !c.o.Facts.IsOperator(v.Context(), v.session.who.AccessKey) {
			return errNotOperator
		}
		a, err := c.ask(v, &request{method: http.MethodGet, path: "/minio/admin/v3/info"})
		if err == nil {
			err = a.failure()
		}
		if said := new(refusal); errors.As(err, &said) && said.status == http.StatusForbidden {
			return errNotOperator
		}
		if err != nil {
			return err
		}
		return do(v)
	}
}

// style has the style sheet.
func (c *Console) style(v *visit) error {
	v.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(v.ResponseWriter, v.Request, files, "assets/style.css")
	return nil
}

// Header is that of the answer.
func (v *visit) Header() http.Header { return v.ResponseWriter.Header() }

// show answers with a page.
func (c *Console) show(v *visit, status int, name string, data any) error {
	var b strings.Builder
	v.page.Name, v.page.Data = name, data
	if s := v.session; s != nil {
		v.page.User, v.page.session = s.who.AccessKey, s
		v.page.Operator = c.o.Facts.IsOperator(v.Context(), s.who.AccessKey)
	}
	if err := c.pages.ExecuteTemplate(&b, name+".html", &v.page); err != nil {
		return err
	}
	v.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.ResponseWriter.WriteHeader(status)
	_, _ = v.ResponseWriter.Write([]byte(b.String()))
	return nil
}

// view is what the layout of a page shows.
type view struct {
	Name, Title, User string
	Operator          bool
	Notice            string
	Data              any
	session           *session
}

// Token is that of a form.
func (p *view) Token(action string) string {
	if p.session == nil {
		return ""
	}
	return p.session.token(action)
}
