// Package lifecycle brings the proxy into being and says how it is: it sets the system
// bucket up, tries whether the storage keeps what encrypted objects need, and knows whether
// the proxy can do what clients ask for.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// SystemKey seals what lies in the system bucket. SystemReadyKey exists in the
// key service once the system bucket has been set up: from then on a missing
// index of bucket rules is an error and never an empty one.
const (
	SystemKey      = "bucketseal-system"
	SystemReadyKey = "bucketseal-system-ready"
)

// KeepPins lets pins be kept in the system bucket. The key that seals what is there
// opens the index of bucket rules, which is there since the first start, or is another
// one than then.
func KeepPins(keys *pins.Keys, store *system.Store, ready func(context.Context) error, service *upstream.Service, deployment string) error {
	bare, err := system.New(system.Options{Service: service, KMS: keys.Service, Key: SystemKey, Deployment: deployment})
	if err != nil {
		return err
	}
	keys.Keep(store, ready, func(ctx context.Context) error {
		_, _, err := bare.Get(ctx, encryption.RulesKind, encryption.RulesName, "")
		switch {
		case errors.Is(err, system.ErrNotFound):
			return nil
		case errors.Is(err, system.ErrTampered):
			return fmt.Errorf("%w: %v", kms.ErrKeyReplaced, err) //nolint:errorlint // it is no object of a client that is damaged
		}
		return err
	})
	return nil
}

// Setup brings the system bucket into being, once for all proxies: keys first,
// then bucket and empty index, and last a second key whose existence says that
// it was done. Each step can be repeated, by any number of proxies at once.
type Setup struct {
	kms     kms.Service
	service *upstream.Service
	rules   *bucketconfig.Rules
	log     *slog.Logger

	done   atomic.Bool
	flight singleflight.Group

	// stranger is the error of foreign, as long as that was the last outcome.
	stranger atomic.Pointer[error]

	mu     sync.Mutex
	failed error     // of the last try
	until  time.Time // failed is answered without another try
}

const (
	// setupTimeout bounds one try.
	setupTimeout = 10 * time.Second
	// setupPatience is how long a request waits for one.
	setupPatience = 3 * time.Second
	// setupPause is how long a failure stands for the next requests too.
	setupPause = time.Second
)

// NewSetup returns a setup that has done nothing yet.
func NewSetup(k kms.Service, service *upstream.Service, rules *bucketconfig.Rules, log *slog.Logger) *Setup {
	return &Setup{kms: k, service: service, rules: rules, log: log}
}

// Done says that the system bucket is set up, as far as this process knows.
func (s *Setup) Done() bool { return s.done.Load() }

// Run repeats the setup until it succeeds.
func (s *Setup) Run(ctx context.Context) {
	said := "" // each cause is logged once
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := s.Ensure(ctx)
		if err == nil && said != "" {
			s.log.Info("the system bucket is set up; writes are served", "bucket", s.service.Bucket())
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		if why := Cause(err); why != said {
			said = why
			attrs := []any{"bucket", s.service.Bucket(), "cause", why, "error", err}
			if hint := upstream.OwnCredentialHint(err); hint != "" {
				attrs = append(attrs, "hint", hint)
			}
			s.log.Error("cannot set up the system bucket; writes are refused until it succeeds", attrs...)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Ensure does what is left to do, once for all who wait for it. system.ErrNotReady with
// the reason, promptly.
func (s *Setup) Ensure(ctx context.Context) error {
	if s.done.Load() || ctx.Value(settingUp{}) == s { // a step must not wait for itself
		return nil
	}
	s.mu.Lock()
	failed, until := s.failed, s.until
	s.mu.Unlock()
	if failed != nil && time.Now().Before(until) {
		return failed
	}
	detached := context.WithoutCancel(ctx)
	tried := s.flight.DoChan("", func() (any, error) { return nil, s.try(detached) })
	patience, cancel := context.WithTimeout(ctx, setupPatience)
	defer cancel()
	select {
	case result := <-tried:
		return result.Err
	case <-patience.Done():
		return fmt.Errorf("set up system bucket: %w (%w)", system.ErrNotReady, patience.Err())
	}
}

// settingUp is the key of the Setup in the context of its steps.
type settingUp struct{}

func (s *Setup) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, settingUp{}, s), setupTimeout)
	defer cancel()
	err := s.steps(ctx)
	if err != nil {
		err = fmt.Errorf("set up system bucket: %w (%w)", system.ErrNotReady, err)
	} else {
		s.stranger.Store(nil) // whatever an earlier try took the keys for
		s.done.Store(true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.until = err, time.Now().Add(setupPause)
	return err
}

func (s *Setup) steps(ctx context.Context) error {
	_, err := s.kms.DescribeKey(ctx, SystemReadyKey)
	if err == nil {
		return nil
	}
	if !errors.Is(err, kms.ErrKeyNotFound) {
		return err
	}
	if err := s.Foreign(ctx); err != nil {
		return err
	}
	if err := createKey(ctx, s.kms, SystemKey); err != nil {
		return err
	}
	if err := s.service.CreateBucket(ctx); err != nil {
		return err
	}
	if err := s.rules.Init(ctx); err != nil {
		return err
	}
	return createKey(ctx, s.kms, SystemReadyKey)
}

// Foreign returns system.ErrForeign if the system bucket has bucket rules, and the key
// service no key that could have sealed them: it is that of another installation, or
// a new one in a mistyped place. New keys would open nothing of what is there.
func (s *Setup) Foreign(ctx context.Context) error {
	missing := func() bool {
		_, err := s.kms.DescribeKey(ctx, SystemKey)
		return errors.Is(err, kms.ErrKeyNotFound)
	}
	if !missing() {
		s.stranger.Store(nil)
		return nil
	}
	switch _, _, err := s.service.Get(ctx, encryption.RulesName, ""); {
	case errors.Is(err, system.ErrNotFound):
		s.stranger.Store(nil)
		return nil
	case err != nil:
		return err
	}
	if !missing() { // another proxy has set everything up meanwhile
		s.stranger.Store(nil)
		return nil
	}
	err := fmt.Errorf("the bucket %q at MinIO belongs to an installation whose keys are not here (there is no KMS key %q): give its data directory or key service, or another system_bucket: %w",
		s.service.Bucket(), SystemKey, system.ErrForeign)
	s.stranger.Store(&err)
	return err
}

// Admit refuses requests while the keys are known to be those of another
// installation, with system.ErrNotReady: none of its objects could be read, and missing keys
// would look like keys that were deleted.
func (s *Setup) Admit() error {
	if err := s.stranger.Load(); err != nil {
		return fmt.Errorf("%w: %w", system.ErrNotReady, *err)
	}
	return nil
}

func createKey(ctx context.Context, k kms.Service, name string) error {
	if err := k.CreateKey(ctx, name); err != nil && !errors.Is(err, kms.ErrKeyExists) {
		return fmt.Errorf("create KMS key %q: %w", name, err)
	}
	return nil
}
