// Package proxy is the S3 front: the route table, one file per family of
// operations, and the error table. It is the only package that serves S3.
package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// Server answers S3 requests. It is an http.Handler, safe for concurrent use.
type Server struct {
	opts        Options
	log         *slog.Logger
	verifier    *sigv4.Verifier
	identities  *identity.Store
	table       *routeTable
	admin       *adminTable
	router      http.Handler
	service     *upstream.Service
	rules       *bucketconfig.Rules
	manifests   *manifest.Store
	layouts     layouts
	ledger      *manifest.Ledger
	senders     partSenders
	demands     demands
	system      *system.Store
	setup       *setup
	fitness     *fitness
	readiness   *readiness
	upstreamKMS upstreamKMS
	counted     *countedKeys
	pins        *pins.Keys
	payloads    *adminpayload.Opener
	keys        *keyring.Ring
	vault       *vault.Vault
	buffers     *bufferBudget // of small uploads
	documents   *bufferBudget
	strangers   *edge.Budget // bodies that are read of callers who are not known
	sealing     *edge.Gate   // in front of payloads
	metrics     *metrics
	probes      probes
	busy        busyLog
	lines       *edge.Lines // of strangers in the log
	draining    atomic.Bool // about to end
}

// New checks the options and returns a server that has made no request yet.
func New(o Options) (*Server, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	pinned, err := pins.New(pins.Options{Service: o.KMS, Own: systemKey, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	counted := &countedKeys{Service: pinned}
	if o.CacheKeys != nil {
		counted.Service = o.CacheKeys(pinned)
	}
	o.KMS = counted
	table, err := newRouteTable(routes())
	if err != nil {
		return nil, err
	}
	admin, err := newAdminTable(adminRoutes())
	if err != nil {
		return nil, err
	}
	service, err := o.Upstream.NewService(o.Service, o.SystemBucket)
	if err != nil {
		return nil, err
	}
	store, err := system.New(system.Options{Service: service, KMS: o.KMS, Key: systemKey, Deployment: o.Deployment})
	if err != nil {
		return nil, err
	}
	rules, err := bucketconfig.New(bucketconfig.Options{
		Backend: vault.RulesBackend{System: store}, Buckets: service, Home: o.SystemBucket, Lease: o.Lease, Logger: o.Logger,
		KeepStale: o.AutoEncryption == sse.ModeNone,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: o, log: o.Logger, table: table, admin: admin, service: service, rules: rules,
		manifests: manifest.New(store), ledger: manifest.NewLedger(store), system: store, counted: counted, payloads: adminpayload.New(payloadsAtOnce),
		setup:   newSetup(o.KMS, service, rules, o.Logger),
		buffers: newBufferBudget(o.SmallObjectBudget), documents: newBufferBudget(max(o.SmallObjectBudget/4, leastDocuments)),
		strangers: edge.NewBudget(strangersAtOnce, strangersAtOnce), sealing: edge.NewQueue(payloadsAtOnce, payloadQueue, payloadWait),
		metrics: newMetrics(o.Metrics, pinned.Alarms), pins: pinned,
	}
	if err := keepPins(pinned, store, s.setup.ensure, service, &s.opts); err != nil {
		return nil, err
	}
	s.fitness = newFitness(o.Upstream, service, s.setup.ensure, o.Logger)
	s.fitness.fit = s.findUpstreamKMS
	o.Upstream.OnEncrypted(s.encryptedTwice)
	s.readiness = &readiness{server: s, ignoreKeys: o.ReadyWithoutKeys, log: o.Logger}
	s.lines = edge.NewLines(s.logLeftOut)
	if err := s.setIdentities(store); err != nil {
		return nil, err
	}
	s.keys = keyring.New(keyring.Options{
		KMS: o.KMS, Rights: s.identities, AllowAnonymous: o.AllowAnonymous, DefaultKey: o.DefaultKey, S3Key: o.S3Key,
		FormerS3Keys: o.FormerS3Keys, Reserved: []string{systemKey, systemReadyKey}, ShareDEK: o.ShareDEK,
	})
	s.vault, err = vault.New(vault.Options{
		Storage: o.Upstream.Storage(o.Service), Keys: s.keys, System: store, Manifests: s.manifests, Ledger: s.ledger, Rules: rules,
		Ready: s.setup.ensure, Policy: service.Policy, Clock: o.Upstream.Clock,
		PlainRead: o.PlainRead, AutoEncryption: o.AutoEncryption, SmallObject: o.SmallObject, Logger: o.Logger, OnRestored: s.metrics.restored.Inc,
	})
	if err != nil {
		return nil, err
	}
	s.router = newRouter(s.serve)
	return s, nil
}

// setIdentities makes the server know callers.
func (s *Server) setIdentities(store *system.Store) (err error) {
	s.identities, err = identity.New(identity.Options{
		Objects: store, Ready: s.setup.ensure, Secure: s.opts.Upstream.Secure(), Own: s.opts.Service.AccessKey,
		Settings: s.opts.Identities, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.verifier, err = sigv4.New(sigv4.Options{
		Credentials: s.identities, MaxSkew: s.opts.MaxSkew, Version2: s.opts.SignatureV2, Bucket: domains(s.opts.Domains).bucket,
	})
	return err
}

// AcceptKey pins a KMS key that was replaced on purpose, as it is now, and returns the
// fingerprints of what was pinned before and is now: "" where there is none. The error
// is one of the key service, or of MinIO.
func (s *Server) AcceptKey(ctx context.Context, name string) (before, after string, err error) {
	return s.pins.Accept(ctx, name)
}

// Identities returns who may sign requests.
func (s *Server) Identities() *identity.Store { return s.identities }

// CheckKeys says whether MinIO holds the data of an installation whose keys the key
// service does not have: system.ErrForeign. It makes nothing, and returns nil if that
// cannot be told within a moment.
func (s *Server) CheckKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupPatience)
	defer cancel()
	if err := s.setup.foreign(ctx); errors.Is(err, system.ErrForeign) {
		return err
	}
	return nil
}

// SetUp says whether the system bucket is set up, after a try if it is not.
func (s *Server) SetUp(ctx context.Context) error { return s.setup.ensure(ctx) }

// Start sets the system bucket up in the background, again and again until it
// succeeds or ctx ends, checks the storage, and sweeps the bucket from time to
// time. Requests that need it before it is set up try by themselves.
func (s *Server) Start(ctx context.Context) error {
	go s.setup.run(ctx)
	go s.fitness.run(ctx)
	go s.readiness.run(ctx)
	go s.sweepInBackground(ctx)
	return nil
}

// request is one client request on its way through the proxy.
type request struct {
	*http.Request
	id     string
	origin edge.Origin
	scope  scope
	route  *route
	bucket string
	key    string
	// virtualHost says that the bucket is in the host, not in the path.
	virtualHost bool
	query       url.Values // only what the route accepts
	auth        *sigv4.Request
	caller      caller
	claimed     string // access key that a form names, for the log
	began       time.Time
	// held is a document that takes its memory from the budget; nil for none.
	held []byte
	// answer is what the client is answered with, for deadlines.
	answer http.ResponseWriter
	// upstreamTLS says that MinIO sees a connection by TLS, whatever the client's is.
	upstreamTLS bool
	// leave gives its place back; nil if it has none.
	leave func()
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, r, finish := s.opts.Patience.Apply(w, r)
	defer finish()
	// A bucket in the host comes first: every path is a key of it then.
	if s.serveCORS(w, r) || s.serveVirtualHost(w, r) || s.serveDraining(w, r) || s.serveHealth(w, r) {
		return
	}
	if isAdminPath(r.URL.Path) {
		s.serve(w, r, scopeAdmin, "", "")
		return
	}
	s.router.ServeHTTP(w, r)
}

// serve is the one adapter between net/http and the handlers: it maps their
// errors, logs once and counts once.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, sc scope, bucket, key string) {
	_, virtualHost := domains(s.opts.Domains).bucket(r.Host)
	req := &request{Request: r, id: newRequestID(), virtualHost: virtualHost, origin: s.opts.Trust.Origin(r), scope: sc, began: time.Now(), answer: w, upstreamTLS: s.opts.Upstream.TLS()}
	out := &responseWriter{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Amz-Request-Id", req.id)
	h.Set("Server", "bucketseal")
	h.Set("X-Content-Type-Options", "nosniff")
	s.metrics.active.Inc()
	defer s.metrics.active.Dec()

	err := s.asStaleCredential(req, s.admit(out, req, sc, bucket, key))
	answer := asAPIError(err)
	cut := err != nil && out.started
	switch {
	case err == nil || cut:
	case sc == scopeService && isSTS(r):
		writeSTSError(out, req, answer)
	default:
		writeError(out, req, answer)
	}
	s.metrics.observe(req, out.status)
	s.logRequest(req, out.status, cut, err, answer)
	if cut { // what the client has so far must not look like a complete answer
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) handle(w *responseWriter, r *request, sc scope, bucket, key string) error {
	if r.Header.Get(upstream.HopHeader) != "" {
		return errLoop
	}
	if err := r.setName(sc, bucket, key); err != nil {
		return err
	}
	if sc == scopeService && isSTS(r.Request) {
		if err := s.fitness.admit(r.Context(), http.MethodGet); err != nil {
			return err
		}
		return s.handleSTS(w, r)
	}
	auth, err := s.verifier.Verify(r.Request)
	if err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	r.auth = auth
	if err := auth.HoistQuery(r.Request); err != nil {
		return err
	}
	if r.caller, err = s.identify(r.Context(), auth); err != nil {
		return err
	}
	if err := refuseHeaders(r.Header); err != nil {
		return err
	}
	if r.query, err = requestQuery(r.Request); err != nil {
		return err
	}
	if r.route, err = s.table.find(sc, r.Method, r.query, r.Header); err != nil {
		if errors.Is(err, errFormToObject) && r.auth.Kind != sigv4.Anonymous {
			return sigv4.ErrMultipleAuth // a form is signed inside
		}
		return err
	}
	if strings.EqualFold(r.bucket, s.opts.SystemBucket) {
		return errReservedBucket(r.route.op)
	}
	if r.route.action == refuse {
		return fmt.Errorf("%s: %s: %w", r.route.op, r.route.why, errNotOffered)
	}
	if err := s.setup.admit(); err != nil {
		return err
	}
	if err := s.fitness.admit(r.Context(), r.Method); err != nil {
		return err
	}
	if err := r.checkKey(); err != nil {
		return err
	}
	if !r.route.unplaced {
		if err := s.enter(r); err != nil {
			return err
		}
	}
	if r.route.action == forward {
		return s.forward(w, r)
	}
	return r.route.handler(s, w, r)
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

func (s *Server) logRequest(r *request, status int, cut bool, err error, answer *apiError) {
	level := slog.LevelDebug
	if err != nil {
		level = failureLevel(err, answer, cut)
		stranger := r.caller.accessKey == ""
		if stranger && level > slog.LevelDebug && !s.log.Enabled(r.Context(), slog.LevelDebug) && !s.lines.Allow(r.origin.Addr) {
			return
		}
	}
	caller, claimed := r.caller.String(), r.claimed
	if claimed == "" && r.caller.accessKey == "" {
		claimed = sigv4.ClaimedAccessKey(r.Request)
	}
	if claimed != "" && r.caller.accessKey == "" {
		caller = "unproven"
	}
	attrs := []slog.Attr{
		slog.String("id", r.id), slog.String("op", r.op()), slog.String("method", r.Method),
		slog.String("bucket", r.bucket), slog.String("key", r.key), slog.String("caller", caller),
		slog.String("client", r.origin.Addr.String()), slog.String("peer", r.RemoteAddr), slog.Int("status", status), slog.Duration("took", time.Since(r.began)),
	}
	if caller == "unproven" {
		attrs = append(attrs, slog.String("claims", claimed))
	}
	if err != nil {
		attrs = append(attrs, slog.String("code", answer.code), slog.String("error", err.Error()))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// logLeftOut says that callers without a valid signature had more requests refused
// than the log has lines for.
func (s *Server) logLeftOut(requests int, most netip.Addr) {
	s.log.Warn("refused requests without a valid signature that are not in the log, in the last minute", "requests", requests, "most_from", most.String())
}

// failureLevel keeps the everyday "not found" and "not modified" out of the log,
// and what needs somebody's attention apart from clients' mistakes.
func failureLevel(err error, answer *apiError, cut bool) slog.Level {
	switch {
	case errors.Is(err, edge.ErrBusy):
		return slog.LevelDebug
	case errors.Is(err, context.Canceled), errors.Is(err, errClientGone), errors.Is(err, sigv4.ErrClientGone):
		return slog.LevelInfo
	case errors.Is(err, kms.ErrKeyNotFound): // what is sealed under a key that is gone is gone
		return slog.LevelWarn
	case cut, answer.status >= 500 && answer.status != http.StatusNotImplemented:
		return slog.LevelError
	case answer.status < 400, answer.status == http.StatusNotFound, answer.status == http.StatusPreconditionFailed,
		answer.status == http.StatusRequestedRangeNotSatisfiable:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

func (r *request) op() string {
	if r.route == nil {
		return "unknown"
	}
	return r.route.op
}
