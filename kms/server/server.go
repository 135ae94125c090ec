// Package server serves a kms.Service over the KES wire API: mutual TLS,
// identities, policies, logs and metrics.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/operator/trace"
)

const (
	// DefaultWatchInterval is how often files are looked at for changes.
	DefaultWatchInterval = 5 * time.Second
	// DefaultGrace is how long requests may go on when a server ends.
	DefaultGrace = 5 * time.Second
)

// Options configure a Server.
type Options struct {
	// Config with an address. Required.
	Config *config.Config
	// Service is served. Required; the server does not close it. If it has
	// methods CreateKeyAs and ImportKeyAs, they are told who creates a key.
	Service kms.Service
	// Proxied says that a proxy in this process uses Service too, any of its keys.
	Proxied bool
	// Load reads the configuration anew for Reload, which calls it one at a time; nil:
	// Reload only reads the TLS files of the present one.
	Load func() (*config.Config, error)
	// Watch are files, beside those of the tls section, whose change reloads:
	// the configuration itself.
	Watch []string
	// WatchInterval; 0 is DefaultWatchInterval, less than 0 watches nothing.
	WatchInterval time.Duration
	// Grace; 0 is DefaultGrace.
	Grace time.Duration
	// Connections limits how many are open at once.
	Connections Connections
	// Version and Commit of the program.
	Version, Commit string
	// ErrorLog and AuditLog; nil is standard error and standard output.
	ErrorLog, AuditLog io.Writer
	// Audit gets a line for every request, beside what log.audit says; nil for none.
	Audit Auditor
	// Tracer begins the traces of requests; nil for none.
	Tracer trace.Tracer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Server serves the API. It is safe for concurrent use.
type Server struct {
	opts    Options
	service kms.Service
	started time.Time
	metrics *metrics
	state   atomic.Pointer[state]

	errorHub, auditHub *hub

	noise           *noise
	crowd           *crowd
	places, streams *places
	largeBodies     chan struct{}
	ending          sync.WaitGroup // what goes on without its client

	update sync.Mutex // one change of state at a time
	listed *listedKeys

	closeOnce sync.Once
	closing   chan struct{} // ends log streams
}

// New returns a server. It reads the TLS files and creates the keys that the
// configuration lists; if that fails, there is no server.
func New(ctx context.Context, opts Options) (*Server, error) {
	if opts.Config == nil || opts.Service == nil {
		return nil, errors.New("key server: Config and Service are required")
	}
	if opts.ErrorLog == nil {
		opts.ErrorLog = os.Stderr
	}
	if opts.AuditLog == nil {
		opts.AuditLog = os.Stdout
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.WatchInterval == 0 {
		opts.WatchInterval = DefaultWatchInterval
	}
	if opts.Grace <= 0 {
		opts.Grace = DefaultGrace
	}
	s := &Server{
		opts: opts, service: opts.Service, started: opts.Now(),
		metrics:  newMetrics(opts.Now(), opts.Now),
		errorHub: newHub(), auditHub: newHub(), closing: make(chan struct{}),
		crowd: newCrowd(opts.Connections), listed: newListedKeys(opts.Service),
	}
	s.setLimits()
	if err := s.Update(ctx, opts.Config); err != nil {
		return nil, err
	}
	return s, nil
}

// Update puts a configuration into force for all requests that come: admin,
// tls, policy, api and log. If it cannot be used, everything stays as it was.
// Address, key store and cache belong to who made the server; a change there is
// only logged.
//
// Keys that it lists and the one before did not are created then. That they cannot
// be is logged, and tried again while Serve runs: no key store that fails may keep
// somebody's rights in force. Only the first configuration needs its keys.
func (s *Server) Update(ctx context.Context, c *config.Config) error {
	return s.change(ctx, func() (*config.Config, error) { return c, nil })
}

// change is Update with what load returns, which is called one at a time: else what
// was read first could be put into force last.
func (s *Server) change(ctx context.Context, load func() (*config.Config, error)) error {
	if err := s.swap(ctx, load); err != nil {
		return err
	}
	s.createListed(ctx, listedWait)
	return nil
}

func (s *Server) swap(ctx context.Context, load func() (*config.Config, error)) error {
	s.update.Lock()
	defer s.update.Unlock()
	c, err := load()
	if err != nil {
		return err
	}
	next, err := s.newState(c)
	if err != nil {
		return err
	}
	s.listed.want(c.Keys)
	if s.state.Load() == nil {
		if err := CreateKeys(ctx, s.service, c.Keys); err != nil {
			return err
		}
		s.listed.made(c.Keys...)
		for _, name := range DeadKeys(ctx, s.service, c.Keys) {
			next.errors.Error("a KMS key that the configuration lists does not exist, and its name is taken", "key", name)
		}
	}
	before := s.state.Swap(next)
	for _, w := range c.Warnings {
		next.errors.Warn(w.Text, "file", c.Name, "line", w.Line)
	}
	if before == nil {
		return nil
	}
	next.errors.Info("configuration reloaded", "file", c.Name)
	if needsRestart(before.config, c) {
		next.errors.Warn("changes of address, cache, rotate_after, keystore, tracing and audit files take effect when the server is started again", "file", c.Name)
	}
	return nil
}

// needsRestart says whether something has changed that belongs to who made the server.
func needsRestart(old, c *config.Config) bool {
	return old.Address != c.Address || old.Cache != c.Cache || !slices.Equal(old.RotateAfter, c.RotateAfter) || !reflect.DeepEqual(old.KeyStore, c.KeyStore) ||
		old.Log.AuditFile != c.Log.AuditFile || old.Log.AuditRequired != c.Log.AuditRequired || !old.Tracing.Equal(&c.Tracing)
}

// Reload reads configuration and TLS files again. If they cannot be used,
// everything stays as it was.
func (s *Server) Reload(ctx context.Context) error {
	return s.change(ctx, func() (*config.Config, error) {
		if s.opts.Load == nil {
			return s.state.Load().config, nil
		}
		c, err := s.opts.Load()
		if err != nil {
			return nil, fmt.Errorf("reload: %w", err)
		}
		return c, nil
	})
}

func (s *Server) newState(c *config.Config) (*state, error) {
	for _, name := range c.Keys {
		if err := kms.ValidateKeyName(name); err != nil {
			return nil, fmt.Errorf("%s: keys: %w", c.Name, err)
		}
	}
	st := &state{config: c, routes: configured(c.API), since: s.opts.Now().UTC(), now: s.opts.Now}
	optional := false
	for _, r := range st.routes {
		optional = optional || r.access == open
	}
	t, err := loadTransport(c.TLS, optional, s.opts.Now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	st.tls, st.roots, st.trust = t.config, t.roots, t.trust
	st.assigned, st.proxies = newPolicies(c)
	st.errors, st.audits = s.newLoggers(c.Log)
	return st, nil
}

// setLimits makes what bounds requests and log lines.
func (s *Server) setLimits() {
	s.noise = &noise{window: noiseWindow, write: func(text string) { s.state.Load().errors.Info(text) }}
	s.places = newPlaces(maxPlaces, callerPlaces, strangerPlaces, placeWait)
	s.streams = newPlaces(maxLogStreams, callerLogStreams, 0, 0)
	s.largeBodies = make(chan struct{}, largeBodies)
}

func (s *Server) endStreams() { s.closeOnce.Do(func() { close(s.closing) }) }
