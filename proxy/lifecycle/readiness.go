package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	// probeInterval is how often it is tried what a read and a write need, and
	// probeAgain how often while something is amiss.
	probeInterval = 5 * time.Second
	probeAgain    = time.Second
)

// ReadinessOptions are what a Readiness asks. All but IgnoreKeys are required.
type ReadinessOptions struct {
	Upstream *upstream.Client
	Service  *upstream.Service
	Setup    *Setup
	Fitness  *Fitness
	Rules    *bucketconfig.Rules
	KMS      kms.Service
	// S3Key returns the KMS key of SSE-S3.
	S3Key func() string
	// IgnoreKeys says that a key service which cannot be used does not count; nil is no.
	IgnoreKeys func() bool
	Logger     *slog.Logger
}

// Readiness knows whether the proxy can do what clients ask for. It tries in the
// background what a read and a write need, and says in the log once what is amiss,
// and once that it is over.
type Readiness struct {
	o   ReadinessOptions
	log *slog.Logger

	// tryLock is held during a probe of everything.
	tryLock sync.Mutex

	mu    sync.Mutex
	state trouble
	// deep is what the last probe of everything found, and probed that there was one.
	deep   trouble
	probed bool
	// since is when what is amiss began; zero if nothing is.
	since time.Time
	// was says that the proxy was ready before.
	was bool
}

// NewReadiness returns what has tried nothing yet.
func NewReadiness(o ReadinessOptions) *Readiness { return &Readiness{o: o, log: o.Logger} }

// trouble is what keeps the proxy from its work; nil fields are no trouble.
type trouble struct{ storage, keys error }

func (t trouble) none() bool { return t.storage == nil && t.keys == nil }

// causes are the reasons in words that tell no stranger's secret: no addresses and
// no answers of others.
func (t trouble) causes() string {
	var all []string
	for _, err := range []error{t.storage, t.keys} {
		if err != nil {
			all = append(all, Cause(err))
		}
	}
	return strings.Join(all, "; ")
}

func (t trouble) error() error { return errors.Join(t.storage, t.keys) }

// causeTable names causes by their sentinels. The first match wins.
var causeTable = []struct {
	err  error
	text string
}{
	{system.ErrOwnCredential, "MinIO refuses the proxy's own credential: upstream.credentials has a wrong access key or secret"},
	{system.ErrOwnRights, "MinIO does not let the proxy's own credential do what it must: a right is missing in its policy"},
	{upstream.ErrUnfit, "the storage does not keep what encrypted objects need"},
	{system.ErrForeign, "the system bucket was written with other keys than these, or under another deployment name"},
	{pins.ErrDamaged, "what tells a KMS key from another in the system bucket is damaged or was tampered with, or was copied without its metadata"},
	{kms.ErrKeyReplaced, "the system bucket was written with other keys than these, or under another deployment name, or a KMS key was replaced"},
	{system.ErrTampered, "the index of bucket rules in the system bucket is damaged or was tampered with"},
	{system.ErrNoBucket, "the system bucket is gone from MinIO"},
	{bucketconfig.ErrNotFound, "the index of bucket rules is gone from the system bucket"},
	{kms.ErrNotPermitted, "the key service refuses the proxy: its policy must allow what the proxy asks for, and say bucketseal: true"},
	{kms.ErrKeyNotFound, "a KMS key that the proxy needs is gone"},
	{kms.ErrCorruptKey, "a KMS key that the proxy needs does not open"},
	{kms.ErrDecrypt, "the key service does not open what it sealed"},
	{kms.ErrUnavailable, "the key service does not answer"},
	{storage.ErrUnreachable, "the upstream does not answer"},
	{bucketconfig.ErrUnavailable, "the bucket rules cannot be read"},
}

// Cause says in words that tell no stranger's secret why the proxy cannot do its work.
func Cause(err error) string {
	for _, row := range causeTable {
		if errors.Is(err, row.err) {
			return row.text
		}
	}
	return "it cannot be told whether MinIO and the key service can be used"
}

// file puts an error where it belongs.
func (t *trouble) file(err error) {
	if err == nil {
		return
	}
	for _, of := range []error{kms.ErrUnavailable, kms.ErrNotPermitted, kms.ErrKeyNotFound, kms.ErrDecrypt, kms.ErrCorruptKey} {
		if errors.Is(err, of) {
			t.keys = err
			return
		}
	}
	t.storage = err
}

// Run probes until ctx ends.
func (r *Readiness) Run(ctx context.Context) {
	for wait := 100 * time.Millisecond; ; {
		if r.everything(ctx); ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		fine, was := r.state.none(), r.was
		r.mu.Unlock()
		switch {
		case fine:
			wait = probeInterval
		case was:
			wait = probeAgain
		default:
			wait = min(2*wait, probeAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// everything tries what a read and a write need.
func (r *Readiness) everything(ctx context.Context) {
	r.tryLock.Lock()
	defer r.tryLock.Unlock()
	if ctx.Err() != nil { // who asked has waited too long for others: that is no trouble of MinIO's
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fitnessTimeout)
	defer cancel()
	found := r.answers(ctx)
	if found.storage == nil {
		found.file(r.o.Setup.Ensure(ctx))
	}
	if found.none() {
		found.file(r.o.Fitness.Ensure(ctx))
	}
	if found.storage == nil {
		_, _, err := r.o.Rules.Effective(ctx, r.o.Service.Bucket()) // which has none: the index is read
		found.file(err)
	}
	if found.storage == nil {
		found.file(r.o.Service.MayWrite(ctx))
	}
	if found.keys == nil && r.o.Setup.Done() {
		found.file(r.useKeys(ctx))
	}
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // the proxy ends
		return
	}
	r.note(found, true)
}

// answers asks MinIO and the key service whether they are there.
func (r *Readiness) answers(ctx context.Context) trouble {
	t := trouble{storage: r.o.Upstream.Alive(ctx)}
	// What may be asked of the key service, its keys show.
	if _, err := r.o.KMS.Status(ctx); err != nil && !errors.Is(err, kms.ErrNotPermitted) {
		t.keys = fmt.Errorf("%w (%w)", kms.ErrUnavailable, err)
	}
	return t
}

// useKeys gets a DEK under each key that every write needs, and opens it again.
func (r *Readiness) useKeys(ctx context.Context) error {
	encContext := kms.Context{kms.ContextUse: "probe"}.Canonical()
	for _, name := range []string{SystemKey, r.o.S3Key()} {
		dek, err := r.o.KMS.GenerateDEK(kms.Uncached(ctx), name, encContext)
		if err == nil {
			clear(dek.Plaintext[:])
			dek.Plaintext, err = r.o.KMS.DecryptDEK(kms.Uncached(ctx), name, dek.Ciphertext, encContext)
			clear(dek.Plaintext[:])
		}
		if err != nil {
			return fmt.Errorf("KMS key %q: %w", name, err)
		}
	}
	return nil
}

// Ask says whether the proxy is ready now: what the last probe of everything found,
// and whether MinIO and the key service still answer.
func (r *Readiness) Ask(ctx context.Context) error {
	r.mu.Lock()
	was := r.was
	r.mu.Unlock()
	if was {
		r.note(r.answers(ctx), false)
	} else {
		r.everything(ctx)
	}
	return r.Now()
}

// Now returns system.ErrNotReady with the causes, or nil.
func (r *Readiness) Now() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.probed {
		return system.ErrNotReady
	}
	if r.counts(r.state) {
		return fmt.Errorf("%w: %s", system.ErrNotReady, r.state.causes())
	}
	return nil
}

// Usable says whether MinIO and the key service do what reads and writes need, as far as
// they were tried; neither does before the first probe.
func (r *Readiness) Usable() (storage, keys bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.probed && r.state.storage == nil, r.probed && r.state.keys == nil
}

// Words says to operators how things are.
func (r *Readiness) Words() string {
	err := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.probed:
		return "not ready: nothing was probed yet"
	case err != nil:
		return "not ready: " + r.state.causes()
	case !r.state.none():
		return "ready without the key service: " + r.state.causes()
	default:
		return "ready"
	}
}

// counts says whether a trouble makes the proxy not ready.
func (r *Readiness) counts(t trouble) bool {
	return t.storage != nil || t.keys != nil && (r.o.IgnoreKeys == nil || !r.o.IgnoreKeys() || !r.was)
}

// note takes up what a probe found, and logs what is new.
func (r *Readiness) note(found trouble, deep bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if deep {
		r.deep, r.probed = found, true
	}
	if found.storage == nil {
		found.storage = r.deep.storage
	}
	if found.keys == nil {
		found.keys = r.deep.keys
	}
	before := r.state
	r.state = found
	switch causes := found.causes(); {
	case found.none() && before.none():
		if !r.was {
			r.log.Info("ready: MinIO and the key service do what reads and writes need")
		}
		r.was = true
	case found.none():
		r.log.Info("ready again: MinIO and the key service do what reads and writes need", "after", time.Since(r.since).Round(time.Millisecond), "was", before.causes())
		r.was, r.since = true, time.Time{}
	case causes != before.causes():
		if before.none() {
			r.since = time.Now()
		}
		if r.counts(found) {
			r.log.Error("not ready: "+causes, "error", found.error())
		} else {
			r.log.Error("ready without the key service, as readiness.key_service says: "+causes, "error", found.error())
		}
	}
}
