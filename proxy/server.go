// Package proxy puts the gateway together: New builds it, and ServeHTTP is the chain of
// handlers that every request passes. S3 itself is package s3api, MinIO's own API
// adminapi, and what both do with objects and keys vault and keyring.
package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/audit/keyuse"
	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/adminapi"
	"github.com/bucketseal/bucketseal/proxy/batchjobs"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/s3api"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/sts"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/takeover"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/usage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/verify"
	"github.com/bucketseal/bucketseal/sse"
)

// Server answers S3 requests, and those for MinIO's own API. It is an http.Handler, safe
// for concurrent use.
type Server struct {
	opts       Options
	log        *slog.Logger
	identities *identity.Store
	service    *upstream.Service
	system     *system.Store
	pins       *pins.Keys
	vault      *vault.Vault
	encryption *encryption.Settings
	keeper     *maintenance.Keeper
	uses       *usage.Uses
	scanner    *usage.Scanner
	taker      *takeover.Taker
	verifier   *verify.Verifier
	setup      *lifecycle.Setup
	fitness    *lifecycle.Fitness
	readiness  *lifecycle.Readiness
	s3         *s3api.API
	admin      *adminapi.API
	batch      *batchjobs.Jobs
	background sync.WaitGroup // what Wait waits for
	probes     probes
	draining   atomic.Bool // about to end
	live       atomic.Pointer[Live]
	adopters   []func(*Live) // of what has settings that can be exchanged
}

// New checks the options and returns a server that has made no request yet.
func New(o Options) (*Server, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	s := &Server{opts: o, log: o.Logger}
	s.live.Store(o.live())
	counted, err := s.openKeys()
	if err != nil {
		return nil, err
	}
	rules, err := s.openSystem()
	if err != nil {
		return nil, err
	}
	verifier, err := s.openIdentities()
	if err != nil {
		return nil, err
	}
	if err := s.openVault(rules); err != nil {
		return nil, err
	}
	s.readiness = lifecycle.NewReadiness(lifecycle.ReadinessOptions{
		Upstream: o.Upstream, Service: s.service, Setup: s.setup, Fitness: s.fitness, Rules: rules, KMS: s.opts.KMS, S3Key: func() string { return s.live.Load().S3Key },
		IgnoreKeys: func() bool { return s.live.Load().ReadyWithoutKeys }, Logger: o.Logger,
	})
	if o.Metrics != nil {
		s.registerState(rules)
	}
	return s, s.openAPIs(verifier, counted)
}

// openKeys puts pins in front of the key service, and what counts its calls.
func (s *Server) openKeys() (counted *adminapi.CountedKeys, err error) {
	if s.opts.Metrics != nil || s.opts.Tracer != nil {
		s.opts.KMS = meterKeys(s.opts.KMS, s.opts.Metrics)
	}
	if s.pins, err = pins.New(pins.Options{Service: s.opts.KMS, Own: lifecycle.SystemKey, Logger: s.log}); err != nil {
		return nil, err
	}
	counted = &adminapi.CountedKeys{Service: s.pins}
	if s.opts.CacheKeys != nil {
		counted.Service = s.opts.CacheKeys(s.pins)
		if c, can := counted.Service.(interface{ Register(prometheus.Registerer) }); can && s.opts.Metrics != nil {
			c.Register(s.opts.Metrics)
		}
	}
	s.uses = usage.NewUses(counted, lifecycle.SystemKey)
	s.nameKeys(s.opts.S3Key)
	s.onAdopt(func(l *Live) { s.nameKeys(l.S3Key) })
	s.opts.KMS = audited(s.uses, s.opts.Audit)
	return counted, nil
}

// nameKeys tells which KMS keys settings name.
func (s *Server) nameKeys(s3Key string) {
	s.uses.Name(lifecycle.SystemReadyKey, s.opts.DefaultKey, s3Key)
}

// audited returns a key service whose uses are written to the audit log, if there is one.
func audited(keys kms.Service, account intake.Auditor) kms.Service {
	if account == nil {
		return keys
	}
	return &keyuse.Service{Service: keys, Recorder: account}
}

// openSystem opens the system bucket and the bucket rules in it, and what makes it.
func (s *Server) openSystem() (*bucketconfig.Rules, error) {
	o := &s.opts
	var err error
	if s.service, err = o.Upstream.NewService(o.Service, o.SystemBucket); err != nil {
		return nil, err
	}
	if s.system, err = system.New(system.Options{Service: s.service, KMS: o.KMS, Key: lifecycle.SystemKey, Deployment: o.Deployment, Late: s.uses.Late}); err != nil {
		return nil, err
	}
	rules, err := bucketconfig.New(bucketconfig.Options{
		Backend: encryption.RulesBackend{System: s.system}, Buckets: s.service, Home: o.SystemBucket, Lease: o.Lease, Logger: o.Logger,
		KeepStale: o.AutoEncryption == sse.ModeNone || !o.Upstream.Storage(o.Service).Capabilities().KeepsCreationDates,
	})
	if err != nil {
		return nil, err
	}
	s.setup = lifecycle.NewSetup(o.KMS, s.service, rules, o.Logger)
	s.fitness = lifecycle.NewFitness(o.Upstream, s.service, s.setup.Ensure, o.Logger)
	theirs := &lifecycle.UpstreamKMS{Service: s.service, Upstream: o.Upstream, Logger: o.Logger}
	s.fitness.Fit = theirs.Find
	o.Upstream.OnEncrypted(theirs.EncryptedTwice)
	o.Upstream.OnRuleKept(theirs.RuleKept)
	return rules, lifecycle.KeepPins(s.pins, s.system, s.setup.Ensure, s.service, o.Deployment)
}

// openIdentities makes the server know callers.
func (s *Server) openIdentities() (verifier *sigv4.Verifier, err error) {
	s.identities, err = identity.New(identity.Options{
		Objects: s.system, Ready: s.setup.Ensure, Secure: s.opts.Upstream.Secure(), Own: s.opts.Service.AccessKey,
		Settings: s.opts.Identities, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	verifier, err = sigv4.New(sigv4.Options{
		Credentials: s.identities, MaxSkew: s.opts.MaxSkew, Version2: s.opts.SignatureV2, Bucket: s.bucketOf,
	})
	if err == nil {
		s.onAdopt(func(l *Live) { verifier.Adopt(sigv4.Live{MaxSkew: l.MaxSkew, Version2: l.SignatureV2}) })
	}
	return verifier, err
}

// openVault makes the object engine, which alone gets the keys of objects and the proxy's
// own view of the storage.
func (s *Server) openVault(rules *bucketconfig.Rules) (err error) {
	o := &s.opts
	restored, replaced := o.counters(s.pins.Alarms)
	if o.Metrics != nil {
		o.Metrics.MustRegister(restored, replaced)
	}
	ledger, wraps := manifest.NewLedger(s.system), manifest.NewWraps(s.system)
	book, err := rekey.New(rekey.Options{System: s.system, Wraps: wraps, Lease: o.Lease, Logger: o.Logger})
	if err != nil {
		return err
	}
	keys := keyring.New(keyring.Options{
		KMS: o.KMS, Rights: s.identities, AllowAnonymous: o.AllowAnonymous, DefaultKey: o.DefaultKey, S3Key: o.S3Key,
		FormerS3Keys: o.FormerS3Keys, Reserved: []string{lifecycle.SystemKey, lifecycle.SystemReadyKey}, ShareDEK: o.ShareDEK, Wraps: wraps, Rekeyed: book, Late: s.uses.Late, Wanted: s.uses.Wanted,
	})
	s.onAdopt(func(l *Live) {
		keys.Adopt(keyring.Live{AllowAnonymous: l.AllowAnonymous, S3Key: l.S3Key, FormerS3Keys: l.FormerS3Keys})
	})
	storage, manifests := o.Upstream.Storage(o.Service), manifest.New(s.system)
	objects, err := sealed.New(sealed.Options{Storage: storage, Keys: keys, Manifests: manifests, Logger: o.Logger, OnRestored: restored.Inc})
	if err != nil {
		return err
	}
	s.encryption, err = encryption.New(encryption.Options{
		Storage: storage, Keys: keys, Rules: rules, Ready: s.setup.Ensure, Policy: s.service.Policy, AutoEncryption: o.AutoEncryption,
		OpaqueETag: o.OpaqueETag, MD5ETag: o.MD5ETag, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	s.vault, err = vault.New(vault.Options{
		Storage: storage, Keys: keys, Objects: objects, Encryption: s.encryption, Manifests: manifests, Ledger: ledger, Rekeyed: book,
		Ready: s.setup.Ensure, PlainRead: o.PlainRead, SmallObject: o.SmallObject, ListingCache: o.ListingCache, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	s.onAdopt(func(l *Live) {
		s.encryption.Adopt(encryption.ETags{Opaque: l.OpaqueETag, MD5: l.MD5ETag})
		s.vault.AdoptPlainRead(l.PlainRead)
	})
	s.keeper, err = maintenance.New(maintenance.Options{
		Storage: storage, Keys: keys, Objects: objects, System: s.system, Manifests: manifests, Ledger: ledger, Wraps: wraps, Rekeyed: book,
		KMS: o.KMS, Buckets: s.service.CreationDates, SystemBucket: o.SystemBucket, Ready: s.setup.Ensure, Clock: o.Upstream.Clock,
		Layout: systemLayout(), SweepOthers: s.sweepOthers, AuditRewrap: o.AuditRewrap, LateWrite: s.lateWrite, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	if err := s.openUsage(); err != nil {
		return err
	}
	s.taker, err = takeover.New(takeover.Options{
		Storage: storage, Keys: keys, Manifests: manifests, Encryption: s.encryption, Ready: s.fitness.Ensure, Buckets: s.service.CreationDates,
		PlainRead: o.PlainRead, SystemBucket: o.SystemBucket,
	})
	if err != nil {
		return err
	}
	s.verifier, err = verify.New(verify.Options{
		Storage: storage, Objects: objects, Ready: s.setup.Ensure, Buckets: s.service.CreationDates, Orphans: s.keeper.Orphans,
		SystemBucket: o.SystemBucket,
	})
	return err
}

// counters are the metrics that are not about requests.
func (o *Options) counters(alarms func() uint64) (restored prometheus.Counter, replaced prometheus.CounterFunc) {
	restored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "bucketseal_s3_restored_total", Help: "Objects seen whose manifest was found by their data, as in a backup that was copied over S3.",
	})
	replaced = prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "bucketseal_kms_key_replaced_total", Help: "Data keys that were refused because their KMS key is not the one that was pinned.",
	}, func() float64 { return float64(alarms()) })
	return restored, replaced
}

// openAPIs makes what answers requests.
func (s *Server) openAPIs(verifier *sigv4.Verifier, counted *adminapi.CountedKeys) (err error) {
	o := &s.opts
	forwarder := o.Upstream.Forwarder()
	in := intake.New(intake.Options{
		Verifier: verifier, Identities: s.identities, Forwarder: forwarder, Trust: o.Trust, Gate: o.Gate, MaxHeader: o.MaxHeader,
		UploadMemory: o.SmallObjectBudget, UpstreamTLS: o.Upstream.TLS(), Own: s3api.Own, Logger: o.Logger, Metrics: o.Metrics,
		Audit:   o.Audit,
		Failure: failureOf, Failures: failures(), Tracer: o.Tracer,
	})
	s.onAdopt(func(l *Live) { in.AdoptTrust(l.Trust) })
	tokens, err := sts.New(in, forwarder)
	if err != nil {
		return err
	}
	s.s3, err = s3api.New(s3api.Options{
		Intake: in, Vault: s.vault, Encryption: s.encryption, STS: tokens, Admit: s.fitness.Admit, Ours: s.setup.Admit, SystemBucket: o.SystemBucket,
		SmallObject: o.SmallObject, CustomerKeysOverHTTP: func() bool { return s.live.Load().CustomerKeysOverHTTP }, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	if s.batch, err = s.openBatch(); err != nil {
		return err
	}
	s.admin, err = adminapi.New(adminapi.Options{
		Intake: in, Forwarder: forwarder, Keys: audited(counted, o.Audit), Counted: counted, DefaultKey: o.DefaultKey, Reserved: lifecycle.SystemKey,
		SystemBucket: o.SystemBucket, Batch: s.batch, Admit: s.fitness.Admit, Describe: s3api.Describe, Logger: o.Logger,
	})
	return err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, r, finish := s.live.Load().Patience.Apply(w, r)
	defer finish()
	if s.serveCORS(w, r) {
		return
	}
	// A bucket in the host comes first: every path is a key of it then.
	if bucket, ok := s.bucketOf(r.Host); ok {
		s.s3.ServeBucket(w, r, bucket)
		return
	}
	switch {
	case s.serveDraining(w, r), s.serveHealth(w, r):
	case adminapi.Serves(r.URL.Path):
		s.admin.ServeHTTP(w, r)
	default:
		s.s3.ServeHTTP(w, r)
	}
}

// AcceptKey pins a KMS key that was replaced on purpose, as it is now, and returns the
// fingerprints of what was pinned before and is now: "" where there is none. The error
// is one of the key service, or of MinIO.
func (s *Server) AcceptKey(ctx context.Context, name string) (before, after string, err error) {
	return s.pins.Accept(ctx, name)
}

// Identities returns who may sign requests.
func (s *Server) Identities() *identity.Store { return s.identities }

// Keeper returns what does the maintenance, for commands that work without requests.
func (s *Server) Keeper() *maintenance.Keeper { return s.keeper }

// Taker returns what takes over objects from before, for commands that work without requests.
func (s *Server) Taker() *takeover.Taker { return s.taker }

// Verifier returns what verifies objects, for commands that work without requests.
func (s *Server) Verifier() *verify.Verifier { return s.verifier }

// Encryption returns the buckets' settings, for commands that work without requests.
func (s *Server) Encryption() *encryption.Settings { return s.encryption }

// KnownUpstream says whether upstream accepts a pair: nil, or what it answered.
func (s *Server) KnownUpstream(ctx context.Context, accessKey, secretKey string) error {
	return intake.KnownUpstream(ctx, s.opts.Upstream.Forwarder(), accessKey, secretKey)
}

// checkPatience is how long CheckKeys takes at most.
const checkPatience = 3 * time.Second

// CheckKeys says whether MinIO holds the data of an installation whose keys the key
// service does not have: system.ErrForeign. It makes nothing, and returns nil if that
// cannot be told within a moment.
func (s *Server) CheckKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := s.setup.Foreign(ctx); errors.Is(err, system.ErrForeign) {
		return err
	}
	return nil
}

// SetUp says whether the system bucket is set up, after a try if it is not.
func (s *Server) SetUp(ctx context.Context) error { return s.setup.Ensure(ctx) }

// Start sets the system bucket up in the background, again and again until it
// succeeds or ctx ends, checks the storage, and sweeps the bucket from time to
// time. Requests that need it before it is set up try by themselves.
func (s *Server) Start(ctx context.Context) error {
	go s.setup.Run(ctx)
	go s.fitness.Run(ctx)
	go s.readiness.Run(ctx)
	go s.keeper.SweepInBackground(ctx)
	s.watchUsage(ctx)
	s.background.Go(func() { s.batch.Run(ctx) })
	return nil
}

// CommitPatience bounds how long the end of a process waits for uploads that MinIO puts
// together, after limits.shutdown; flushAtEnd how long the last uses of keys may take.
const (
	CommitPatience = 10 * time.Minute
	flushAtEnd     = 5 * time.Second
)

// End is called once no request is served any more, before the context of Start and the key
// service end. It waits for MinIO to put uploads together, for CommitPatience at the longest,
// and stores what only this process knows. The log says what is lost.
func (s *Server) End(ctx context.Context) {
	s.waitCommits(ctx)
	ctx, cancel := context.WithTimeout(ctx, flushAtEnd)
	defer cancel()
	if err := s.uses.Flush(ctx); err != nil {
		s.log.Warn("when KMS keys were used in the last minute is lost", "error", err)
	}
}

func (s *Server) waitCommits(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, CommitPatience)
	defer cancel()
	if n := s.vault.Wait(ctx); n > 0 {
		s.log.Warn("uploads that MinIO still puts together are cut off, and may be lost", "uploads", n, "limit", CommitPatience)
	}
}

// Wait returns when the batch jobs of Start have ended, which they do once its context has, or
// with ctx. A job that has not is taken over by another proxy only after a while.
func (s *Server) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		s.background.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
