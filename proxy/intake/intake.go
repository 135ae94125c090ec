// Package intake takes requests in, whatever API they are for: it finds out who asks,
// gives them a place and memory, reads their documents, passes on what is only passed on,
// answers, counts and logs. What a request means its Handler knows.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// Options are an Intake's dependencies and settings.
type Options struct {
	// Verifier judges signatures, and Identities knows who signs. Required.
	Verifier   *sigv4.Verifier
	Identities *identity.Store
	// Forwarder passes requests on. Required.
	Forwarder *upstream.Forwarder
	// Trust says which proxies before this one are believed.
	Trust forwarded.Trust
	// Gate limits how many requests are served at once; nil means any number.
	Gate *edge.Gate
	// MaxHeader is the size in bytes of a request's line and headers beyond which it
	// is refused.
	MaxHeader int64
	// UploadMemory bounds the memory for small uploads in bytes, all together. Documents
	// have a quarter of that besides, at least 16 MiB.
	UploadMemory int64
	// UpstreamTLS says that MinIO sees connections by TLS.
	UpstreamTLS bool
	// Own says that an error is about a request of the proxy's own, under its own
	// credential. Required.
	Own func(error) bool
	// Logger gets one line for each failed request and debug lines for others. Required.
	Logger *slog.Logger
	// Metrics registers the metrics; nil means none.
	Metrics prometheus.Registerer
	// Audit gets an account of every request; nil means none.
	Audit Auditor
	// Failure says which kind of failure an error is; nil tells none.
	Failure func(error) Failure
	// Failures are what Failure can tell, PlainObject left out. They are there with 0: an
	// alert sees the first one only so.
	Failures []Failure
	// Tracer has spans of requests; nil means none.
	Tracer trace.Tracer
}

// Intake takes requests in. It is safe for concurrent use.
type Intake struct {
	o         Options
	trust     atomic.Pointer[forwarded.Trust]
	log       *slog.Logger
	buffers   *Buffers // of small uploads, and for copying
	documents *Buffers
	strangers *edge.Budget // bodies that are read of callers who are not known
	metrics   *metrics
	busy      busyLog
	lines     *edge.Lines // of strangers in the log
	held      sync.Pool   // of answers that wait for their account
}

// New returns an intake.
func New(o Options) *Intake {
	in := &Intake{
		o: o, log: o.Logger, buffers: newBuffers(o.UploadMemory), documents: newBuffers(max(o.UploadMemory/4, leastDocuments)),
		strangers: edge.NewBudget(strangersAtOnce, strangersAtOnce), metrics: newMetrics(o.Metrics, o.Failures),
	}
	in.lines = edge.NewLines(in.logLeftOut)
	in.held.New = func() any { return new([heldAnswer]byte) }
	in.AdoptTrust(o.Trust)
	return in
}

// Buffers returns the buffers that answers are copied with.
func (in *Intake) Buffers() *Buffers { return in.buffers }

// Identities returns who may sign.
func (in *Intake) Identities() *identity.Store { return in.o.Identities }

// Verifier returns what judges signatures.
func (in *Intake) Verifier() *sigv4.Verifier { return in.o.Verifier }

// Handler is one API.
type Handler interface {
	// Name sets what the address of a request names, or returns why it names nothing. It is
	// called before anything is decided, so that a refusal says what of.
	Name(r *Request) error
	// Handle answers a request, or returns why not.
	Handle(w *Answer, r *Request) error
	// Describe returns what a client sees of an error.
	Describe(err error) *Error
	// WriteError answers with an error.
	WriteError(w *Answer, r *Request, e *Error)
}

// Serve is the one adapter between net/http and the handlers: it maps their
// errors, logs once and counts once. virtualHost says that the bucket is in the host.
func (in *Intake) Serve(w http.ResponseWriter, r *http.Request, virtualHost bool, h Handler) {
	req := &Request{Request: r, ID: newID(), VirtualHost: virtualHost, Origin: in.trust.Load().Origin(r), began: time.Now(), Answer: w, upstreamTLS: in.o.UpstreamTLS}
	account, through := in.open(req, w)
	out := &Answer{ResponseWriter: through}
	header := w.Header()
	header.Set("X-Amz-Request-Id", req.ID)
	header.Set("Server", "bucketseal")
	header.Set("X-Content-Type-Options", "nosniff")
	in.metrics.begin()
	span := in.trace(req)
	err := in.asStale(req, in.handle(out, req, h))
	answer := &Error{}
	cut := err != nil && out.started
	if err != nil {
		answer = h.Describe(err)
	}
	if err != nil && !cut {
		h.WriteError(out, req, answer)
	}
	out, cut, answer, err = in.settle(account, req, w, h, out, cut, err, answer)
	in.metrics.end(req, out, in.failure(err), span)
	endTrace(span, req, out.status)
	in.logRequest(req, out.status, cut, err, answer)
	if cut { // what the client has so far must not look like a complete answer
		panic(http.ErrAbortHandler)
	}
}

// handle has r handled, and takes back what it was given. It gets a place once it is known
// whose it is; what is refused for its headers, and what waits for a client's document, has
// none.
func (in *Intake) handle(w *Answer, r *Request, h Handler) error {
	unnamed := h.Name(r)
	switch {
	case edge.HeaderSize(r.Request) > in.o.MaxHeader:
		return ErrHeadersTooLarge
	case r.Header.Get(upstream.HopHeader) != "":
		return ErrLoop
	case unnamed != nil:
		return unnamed
	}
	defer func() {
		r.stepOut()
		if r.held != nil {
			in.documents.Give(r.Claim(), r.held, false) // upstream may still read it
		}
	}()
	return h.Handle(w, r)
}

// Verify finds out who signed the request, in its headers or its query.
func (in *Intake) Verify(r *Request) (err error) {
	_, span := trace.Start(r.Context(), "signature")
	defer span.End()
	if r.Auth, err = in.o.Verifier.Verify(r.Request); err != nil {
		span.Fail("refused")
		return fmt.Errorf("verify signature: %w", err)
	}
	return nil
}

// Identify finds out whose a verified signature is.
func (in *Intake) Identify(ctx context.Context, auth *sigv4.Request) (Caller, error) {
	if auth.Kind == sigv4.Anonymous {
		return Caller{}, nil
	}
	return in.CallerWith(ctx, auth.AccessKey, auth.SessionToken)
}

// CallerWith returns the caller whose signature under accessKey was verified, in
// headers, query or a form. The session token must be the one that belongs to
// that access key, or none.
func (in *Intake) CallerWith(ctx context.Context, accessKey, sessionToken string) (Caller, error) {
	ctx, span := trace.Start(ctx, "identity")
	id, err := in.o.Identities.Lookup(ctx, accessKey)
	span.FailWith(err, "unknown")
	span.End()
	if err != nil {
		return Caller{}, err
	}
	if err := id.CheckToken(sessionToken); err != nil {
		return Caller{}, err
	}
	return Caller{AccessKey: accessKey, Identity: id}, nil
}

// KnownUpstream says whether upstream accepts a pair: nil, or what it answered.
func (in *Intake) KnownUpstream(ctx context.Context, accessKey, secretKey string) error {
	return KnownUpstream(ctx, in.o.Forwarder, accessKey, secretKey)
}

// KnownUpstream says whether upstream accepts a pair: nil, or what it answered.
func KnownUpstream(ctx context.Context, forwarder *upstream.Forwarder, accessKey, secretKey string) error {
	actor := storage.Actor{Credential: &storage.Credential{AccessKey: accessKey, SecretKey: secretKey}, Agent: "bucketseal"}
	answer, err := forwarder.Forward(ctx, actor, &upstream.Forward{Method: http.MethodGet})
	if err == nil {
		return answer.Close()
	}
	var refused *storage.Error
	if errors.As(err, &refused) && !Stale(refused.Code) {
		return nil // it is known, and may not list buckets
	}
	return err
}

// Stale says whether an S3 code means that upstream knows another secret, or none, for the
// access key that the proxy signed with.
func Stale(code string) bool {
	return code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "InvalidTokenId"
}

// asStale turns upstream's refusal of the proxy's own signature into
// what the client should read, and tells the operator: the client's signature was
// right by what the proxy knows.
func (in *Intake) asStale(r *Request, err error) error {
	var answer *storage.Error
	if r.Caller.Identity == nil || in.o.Own(err) || !errors.As(err, &answer) || answer.Status != http.StatusForbidden || !Stale(answer.Code) {
		return err
	}
	todo := "set its secret again through the proxy, or run bucketseal credential rm"
	switch r.Caller.Identity.Kind {
	case identity.Configured:
		todo = "correct the secret in the configuration: that of upstream, where the credential has one"
	case identity.Added:
		todo = "run bucketseal credential add with the secret that MinIO has, or credential rm"
	case identity.Temporary:
		todo = "nothing, if the session was revoked: its client must ask for another one"
	}
	in.log.Warn("MinIO does not accept the secret that the proxy knows for an access key: it was changed or removed there",
		"access_key", r.Caller.AccessKey, "signed_as", r.Caller.Identity.AtUpstream().AccessKey, "kind", string(r.Caller.Identity.Kind), "upstream", answer.Code, "todo", todo)
	return fmt.Errorf("%w (%v)", ErrStaleCredential, err) //nolint:errorlint // upstream's code would mislead the client
}

func (in *Intake) logRequest(r *Request, status int, cut bool, err error, answer *Error) {
	level := slog.LevelDebug
	if err != nil {
		level = failureLevel(err, answer, cut)
		stranger := r.Caller.AccessKey == ""
		if stranger && level > slog.LevelDebug && !in.log.Enabled(r.Context(), slog.LevelDebug) && !in.lines.Allow(r.Origin.Addr) {
			return
		}
	}
	if !in.log.Enabled(r.Context(), level) {
		return
	}
	caller, claimed := r.Caller.String(), r.Claimed
	if claimed == "" && r.Caller.AccessKey == "" {
		claimed = sigv4.ClaimedAccessKey(r.Request)
	}
	if claimed != "" && r.Caller.AccessKey == "" {
		caller = "unproven"
	}
	attrs := []slog.Attr{
		slog.String("id", r.ID), slog.String("op", r.Op()), slog.String("method", r.Method),
		slog.String("bucket", r.Bucket), slog.String("key", r.Key), slog.String("caller", caller),
		slog.String("client", r.Origin.Addr.String()), slog.String("peer", r.RemoteAddr), slog.Int("status", status), slog.Duration("took", time.Since(r.began)),
	}
	if caller == "unproven" {
		attrs = append(attrs, slog.String("claims", claimed))
	}
	if err != nil {
		attrs = append(attrs, slog.String("code", answer.Code), slog.String("error", err.Error()))
	}
	in.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// failureLevel keeps the everyday "not found" and "not modified" out of the log,
// and what needs somebody's attention apart from clients' mistakes.
func failureLevel(err error, answer *Error, cut bool) slog.Level {
	switch {
	case errors.Is(err, edge.ErrBusy):
		return slog.LevelDebug
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClientGone), errors.Is(err, sigv4.ErrClientGone):
		return slog.LevelInfo
	case errors.Is(err, kms.ErrKeyNotFound): // what is sealed under a key that is gone is gone
		return slog.LevelWarn
	case cut, answer.Status >= 500 && answer.Status != http.StatusNotImplemented:
		return slog.LevelError
	case answer.Status < 400, answer.Status == http.StatusNotFound, answer.Status == http.StatusPreconditionFailed,
		answer.Status == http.StatusRequestedRangeNotSatisfiable:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}
