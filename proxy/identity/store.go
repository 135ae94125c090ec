package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/register"
)

// trust is how long what was read of the system bucket answers.
const trust = 2 * time.Second

// Objects is the system bucket, sealed: system.Store.
type Objects interface {
	Get(ctx context.Context, kind, name, etag string) (data []byte, newETag string, err error)
	Put(ctx context.Context, kind, name string, data []byte, etag string) (newETag string, err error)
	PutNote(ctx context.Context, kind, name string, data, body []byte) error
	GetNoteIfNew(ctx context.Context, kind, name, known string) (data []byte, value string, err error)
	OpenNote(ctx context.Context, kind string, n system.Note) ([]byte, error)
	ListNotes(ctx context.Context, prefix, after string) (notes []system.Note, more bool, err error)
	Delete(ctx context.Context, prefix string, keep func(name string) bool) (int, error)
}

// Settings are what the configuration says. They may be replaced at any time.
type Settings struct {
	// Credentials are the configured access keys and their secrets.
	Credentials map[string]string
	// Upstream are pairs of their own that configured access keys have towards
	// upstream. Without one, the secret of Credentials is upstream's too. Nobody signs
	// with an access key of such a pair, unless it is one of Credentials as well.
	Upstream map[string]Pair
	Access   Access
}

// Options are a Store's dependencies.
type Options struct {
	// Objects keeps what is learned. Required.
	Objects Objects
	// Ready makes the system bucket ready for writing. Required.
	Ready func(context.Context) error
	// Secure says that nobody reads or changes what passes between the proxy and
	// upstream. Without it nothing that upstream says is learned.
	Secure bool
	// Own is the access key with which the proxy itself signs at upstream; "" for
	// none. It is nobody else's: never learned, and a client's only if it is one of
	// the configured credentials too.
	Own string
	// Settings are the first ones.
	Settings Settings
	// Logger gets what goes wrong in the background; nil means none.
	Logger *slog.Logger
	// Now is the clock; nil means the machine's, which also ends what was read while it slept.
	Now func() time.Time
}

// Store knows all identities. It is safe for concurrent use. It is also a
// sigv4.CredentialStore.
type Store struct {
	o        Options
	settings atomic.Pointer[settings]
	index    *indexCache
	sessions *sessions
}

// New returns a store; it makes no request.
func New(o Options) (*Store, error) {
	if o.Objects == nil || o.Ready == nil {
		return nil, errors.New("identities: incomplete options")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	clock := register.SystemClock()
	if o.Now == nil {
		o.Now = time.Now
	} else {
		clock = register.ClockOf(o.Now)
	}
	index, err := newIndexCache(o, clock)
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, index: index, sessions: newSessions(o, clock)}
	s.Configure(o.Settings)
	return s, nil
}

// settings are Settings with an identity for each credential.
type settings struct {
	access     Access
	configured map[string]*Identity
	// upstream are the secrets that upstream knows, by access key there.
	upstream map[string]string
}

// Configure replaces the settings: from its return on they are obeyed.
func (s *Store) Configure(o Settings) {
	next := &settings{access: o.Access, configured: make(map[string]*Identity, len(o.Credentials)), upstream: make(map[string]string)}
	for accessKey, secret := range o.Credentials {
		id := &Identity{AccessKey: accessKey, SecretKey: secret, Kind: Configured}
		if pair, ok := o.Upstream[accessKey]; ok {
			id.upstream = &pair
		}
		next.configured[accessKey] = id
		next.upstream[id.AtUpstream().AccessKey] = id.AtUpstream().SecretKey
	}
	s.settings.Store(next)
}

// configured says whether an access key is the configuration's, here or at upstream.
func (s *Store) configured(accessKey string) bool {
	now := s.settings.Load()
	_, ok := now.configured[accessKey]
	return ok || now.isUpstream(accessKey)
}

// isUpstream says whether requests to upstream are signed with an access key of the
// configuration.
func (s *settings) isUpstream(accessKey string) bool {
	_, ok := s.upstream[accessKey]
	return ok
}

// IsOwn says whether an access key is the one with which the proxy itself signs.
func (s *Store) IsOwn(accessKey string) bool {
	return s.o.Own != "" && accessKey == s.o.Own
}

// IsManaged says whether an access key is the configuration's: the proxy's own or
// a client's, at the proxy or at upstream.
func (s *Store) IsManaged(accessKey string) bool {
	return s.IsOwn(accessKey) || s.configured(accessKey)
}

// isGone says that an access key is nobody's, as opposed to not being known for now.
func isGone(err error) bool { return errors.Is(err, ErrUnknown) || errors.Is(err, ErrExpired) }

// Lookup returns whose access key it is. The result is shared: do not change it.
// Configured identities need no request. ErrUnknown, ErrExpired, ErrUnavailable,
// ErrBusy.
func (s *Store) Lookup(ctx context.Context, accessKey string) (*Identity, error) {
	now := s.settings.Load()
	if id, ok := now.configured[accessKey]; ok {
		return id, nil
	}
	if !validText(accessKey, maxKeyLength) || s.IsOwn(accessKey) || now.isUpstream(accessKey) { // whatever was noted under it
		return nil, ErrUnknown
	}
	known, err := s.index.current(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := known.identities[accessKey]
	if !ok {
		if _, ended := known.revoked[accessKey]; ended {
			return nil, ErrUnknown
		}
		if id, err = s.sessions.get(ctx, accessKey); err != nil {
			return nil, err
		}
	}
	if id.expired(s.o.Now()) {
		return nil, ErrExpired
	}
	return id, nil
}

// UpstreamSecret returns the secret of an access key at upstream, as far as the
// configuration or an operator gave it. ErrUnknown if they gave none, and what Lookup
// returns.
func (s *Store) UpstreamSecret(ctx context.Context, accessKey string) (string, error) {
	now := s.settings.Load()
	if secret, ok := now.upstream[accessKey]; ok {
		return secret, nil
	}
	if _, ok := now.configured[accessKey]; ok {
		return "", fmt.Errorf("%q is not known at upstream: %w", accessKey, ErrUnknown)
	}
	id, err := s.Lookup(ctx, accessKey)
	if err != nil {
		return "", err
	}
	return id.SecretKey, nil
}

// Secret implements sigv4.CredentialStore.
func (s *Store) Secret(ctx context.Context, accessKey string) (string, error) {
	id, err := s.Lookup(ctx, accessKey)
	if err != nil {
		if isGone(err) {
			err = fmt.Errorf("%w (%w)", sigv4.ErrInvalidAccessKeyID, err)
		}
		return "", err
	}
	return id.SecretKey, nil
}

// MayLearn says whether an access key can be learned from a call that passes
// through, before it is made; "" asks for one that is not chosen yet. ErrInsecure,
// ErrProtected, ErrUnavailable.
func (s *Store) MayLearn(ctx context.Context, accessKey string) error {
	if !s.o.Secure {
		return ErrInsecure
	}
	if s.IsManaged(accessKey) {
		return fmt.Errorf("%q: %w", accessKey, ErrProtected)
	}
	known, err := s.index.current(ctx)
	if err != nil {
		return err
	}
	if id := known.identities[accessKey]; id != nil && id.Kind == Added {
		return fmt.Errorf("%q: %w", accessKey, ErrProtected)
	}
	return nil
}

// Learn keeps an identity that MinIO issued or took in a call that has succeeded.
// A long-lived one takes the place of what was learned under its access key; if
// its creator is itself, those who vouched for it so far still do. When
// Learn returns, this proxy knows it, and every other within seconds. ErrInsecure,
// ErrProtected, ErrInvalid, ErrFull, ErrUnavailable; what Lookup returns for the
// creator.
func (s *Store) Learn(ctx context.Context, id Identity) error {
	if id.Kind == Added {
		return fmt.Errorf("%w: %q is not an operator's", ErrInvalid, id.AccessKey)
	}
	if err := s.MayLearn(ctx, id.AccessKey); err != nil {
		return err
	}
	if err := id.check(); err != nil {
		return err
	}
	if id.expired(s.o.Now()) {
		return ErrExpired
	}
	if err := s.inherit(ctx, &id); err != nil {
		return err
	}
	if err := s.o.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if id.Kind != Temporary {
		return s.index.put(ctx, id)
	}
	known, err := s.index.Fresh(ctx)
	if err != nil {
		return err
	}
	_, revoked := known.revoked[id.AccessKey]
	if revoked || known.identities[id.AccessKey] != nil { // upstream chose this access key
		return fmt.Errorf("%w: the session %q has the access key of a known identity", ErrInvalid, id.AccessKey)
	}
	return s.sessions.put(ctx, id)
}

// Extend changes when a learned long-lived identity ends, zero for never, and
// nothing else: least of all whose rights bound it. ErrProtected, ErrUnknown,
// ErrUnavailable.
func (s *Store) Extend(ctx context.Context, accessKey string, expires time.Time) error {
	if err := s.MayLearn(ctx, accessKey); err != nil {
		return err
	}
	return s.index.extend(ctx, accessKey, expires)
}

// inherit notes who asked for an identity.
func (s *Store) inherit(ctx context.Context, id *Identity) error {
	id.serial, id.creators = rand.Text(), nil
	if id.Creator == "" {
		return nil
	}
	from, err := s.Lookup(ctx, id.Creator)
	if err != nil {
		return fmt.Errorf("who asked for %q: %w", id.AccessKey, err)
	}
	if id.Creator == id.AccessKey {
		if from.Kind != id.Kind || id.Kind == Temporary {
			return fmt.Errorf("%w: %q asked for itself", ErrInvalid, id.AccessKey)
		}
		id.Creator, id.creators, id.serial = from.Creator, from.creators, from.serial
		return nil
	}
	if len(from.creators) >= maxCreators {
		return fmt.Errorf("%w: %q has too many identities between it and the first", ErrInvalid, id.AccessKey)
	}
	id.creators = append([]creator{from.asCreator()}, from.creators...)
	return nil
}

// Add keeps an identity for an operator, in place of whatever was learned under
// its access key. ErrProtected if that is configured; else as Learn.
func (s *Store) Add(ctx context.Context, accessKey, secretKey string, expires time.Time) error {
	if s.IsManaged(accessKey) {
		return fmt.Errorf("%q: %w", accessKey, ErrProtected)
	}
	id := Identity{AccessKey: accessKey, SecretKey: secretKey, Kind: Added, Expires: expires, serial: rand.Text()}
	if err := id.check(); err != nil {
		return err
	}
	if err := s.o.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s.index.put(ctx, id)
}

// Forget drops a learned identity that was removed at MinIO, and what the rights
// of others owed to it. Every proxy obeys within seconds. It is no error if there
// is none. ErrProtected, ErrUnavailable.
func (s *Store) Forget(ctx context.Context, accessKey string) error {
	if s.IsManaged(accessKey) {
		return fmt.Errorf("%q: %w", accessKey, ErrProtected)
	}
	return s.forget(ctx, accessKey, false)
}

// Remove is Forget for an operator, to whom nothing but the configuration is
// protected. ErrProtected, ErrUnknown, ErrUnavailable.
func (s *Store) Remove(ctx context.Context, accessKey string) error {
	if s.IsManaged(accessKey) {
		return fmt.Errorf("%q: %w", accessKey, ErrProtected)
	}
	if _, err := s.Lookup(ctx, accessKey); err != nil && !errors.Is(err, ErrExpired) {
		return err
	}
	return s.forget(ctx, accessKey, true)
}

func (s *Store) forget(ctx context.Context, accessKey string, operator bool) error {
	if !validText(accessKey, maxKeyLength) {
		return nil
	}
	found, err := s.index.remove(ctx, accessKey, operator)
	if err != nil || found {
		return err
	}
	one, err := s.sessions.get(ctx, accessKey)
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.index.revoke(ctx, accessKey, one.Expires); err != nil {
		return err
	}
	return s.sessions.remove(ctx, accessKey)
}

// List returns the long-lived identities that are not configured, by access key.
// ErrUnavailable.
func (s *Store) List(ctx context.Context) ([]Identity, error) {
	known, err := s.index.Fresh(ctx)
	if err != nil {
		return nil, err
	}
	return known.list(), nil
}

// Sweep removes sessions that ended before a time, and reports each. ErrUnavailable.
func (s *Store) Sweep(ctx context.Context, before time.Time, dryRun bool, report func(what, name string)) error {
	return s.sessions.sweep(ctx, before, dryRun, report)
}
