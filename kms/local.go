package kms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// MaxPlaintextSize is the longest plaintext that Encrypt takes, in bytes. It is
// KES's limit.
const MaxPlaintextSize = 1_000_000

// defaultProbeInterval is the pace of the background pass; KES's too.
const defaultProbeInterval = 10 * time.Second

// LocalOptions configure a Local.
type LocalOptions struct {
	// Store keeps the keys. Required. Local does not close it.
	Store Store
	// Cache says how long keys may be used without the store.
	Cache CacheOptions
	// CreatedBy is noted in keys that are made, unless the context of the call
	// names somebody (WithCreator). It may be empty.
	CreatedBy string
	// ProbeInterval is how often expired keys are dropped and, if Cache.Offline
	// is set, the store is asked how it is. 0 means 10 seconds.
	ProbeInterval time.Duration
	// Logger is told when the store stops and begins to answer; nil means no log.
	Logger *slog.Logger
	// Waiting is told when a call begins to wait for the store, and what it returns, when that
	// ends; nil for nobody.
	Waiting func(ctx context.Context) (end func(error))
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Local is the key service in this process, over a store. It is safe for
// concurrent use.
//
// Keys are cached (CacheOptions); what is changed through this Local counts at
// once. That a key is missing is remembered for a second. While the store does
// not answer, a key that is not cached is ErrUnavailable.
type Local struct {
	store     Store
	cache     *keyCache
	createdBy string
	now       func() time.Time
	uses      lastUses

	stop context.CancelFunc
	wait sync.WaitGroup
}

var _ Service = (*Local)(nil)

// NewLocal returns a service over a store. Close it when done, before the store.
func NewLocal(o LocalOptions) (*Local, error) {
	if o.Store == nil {
		return nil, errors.New("kms: no key store")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ProbeInterval <= 0 {
		o.ProbeInterval = defaultProbeInterval
	}
	l := &Local{store: o.Store, cache: newKeyCache(o), createdBy: o.CreatedBy, now: o.Now}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.wait.Go(func() { l.background(ctx, o.ProbeInterval) })
	return l, nil
}

// background drops keys that have expired and, where it matters, finds out
// whether the store answers before a request does.
func (l *Local) background(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.cache.opts.Offline > 0 {
			l.probe(ctx, interval)
		}
		l.cache.sweep()
	}
}

func (l *Local) probe(ctx context.Context, limit time.Duration) {
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := l.store.Status(asking)
	if err != nil {
		err = storeError(err)
	}
	if ctx.Err() == nil {
		l.cache.note(err)
	}
}

// Close ends the background pass and reads of the store that are under way, and
// forgets all keys. Calls after it are ErrUnavailable. The store stays open.
func (l *Local) Close() {
	l.stop()
	l.wait.Wait()
	l.cache.shut()
}

type creatorKey struct{}

// WithCreator returns a context under which CreateKey and ImportKey note who
// made the key.
func WithCreator(ctx context.Context, createdBy string) context.Context {
	return context.WithValue(ctx, creatorKey{}, createdBy)
}

func (l *Local) creator(ctx context.Context) string {
	if createdBy, ok := ctx.Value(creatorKey{}).(string); ok {
		return createdBy
	}
	return l.createdBy
}

// CreateKey implements Service.
func (l *Local) CreateKey(ctx context.Context, name string) error {
	return l.create(ctx, name, NewKey(l.now(), l.creator(ctx)))
}

// ImportKey implements Service. ErrNotSupported for what is no algorithm.
func (l *Local) ImportKey(ctx context.Context, name string, key [DEKSize]byte, algorithm Algorithm) error {
	if !algorithm.valid() {
		return fmt.Errorf("%s: %w", algorithm, ErrNotSupported)
	}
	return l.create(ctx, name, ImportedKey(key, algorithm, l.now(), l.creator(ctx)))
}

func (l *Local) create(ctx context.Context, name string, key *Key) error {
	defer key.Zero()
	return l.change(ctx, "create", name, func() error {
		// A key whose first version was destroyed has no record, and exists.
		switch _, err := readRoot(ctx, l.store, name); {
		case err == nil:
			return fmt.Errorf("there is a log of a key of that name; if the key was deleted, delete it once more: %w", ErrKeyExists)
		case !errors.Is(err, ErrKeyNotFound):
			return err
		}
		record := key.MarshalRecord()
		defer clear(record)
		return l.store.Create(ctx, name, record)
	})
}

// DeleteKey implements Service.
func (l *Local) DeleteKey(ctx context.Context, name string) error {
	defer l.uses.forget(name)
	return l.change(ctx, "delete", name, func() error { return l.deleteAll(ctx, name) })
}

// change does something to a key in the store. What is known of the key is
// forgotten afterwards, also if that failed: it may have been done all the same.
func (l *Local) change(ctx context.Context, what, name string, do func() error) error {
	if err := ValidateKeyName(name); err != nil {
		return err
	}
	defer l.cache.forget(name)
	waited := l.cache.waiting(ctx)
	err := l.noted(ctx, do())
	waited(err)
	if err != nil {
		return fmt.Errorf("%s key %q: %w", what, name, err)
	}
	return nil
}

// noted passes on the error of a call to the store, and notes whether the store
// answered, unless the caller did not wait for it.
func (l *Local) noted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		err = storeError(err)
	}
	l.cache.note(err)
	return err
}

// DescribeKey implements Service.
func (l *Local) DescribeKey(ctx context.Context, name string) (KeyInfo, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return KeyInfo{}, err
	}
	return key.Info(name), nil
}

// ListKeys implements Service. What the store lists under names that no key can
// have is left out.
func (l *Local) ListKeys(ctx context.Context, prefix string) ([]string, error) {
	entries, err := l.store.List(ctx, prefix)
	if err = l.noted(ctx, err); err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries { // in order: a key's record comes before the root of its log
		name, ok := KeyOfEntry(entry)
		switch {
		case !ok || len(names) > 0 && names[len(names)-1] == name:
		case entry == name:
			names = append(names, name)
		case entry == rootEntry(name) && !slices.Contains(entries, name):
			// Its first version was destroyed, or its deletion has not come to its end.
			if _, err := l.key(ctx, name); err == nil {
				names = append(names, name)
			} else if !errors.Is(err, ErrKeyNotFound) && !errors.Is(err, ErrCorruptKey) {
				return nil, fmt.Errorf("list keys: %w", err)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// GenerateDEK implements Service.
func (l *Local) GenerateDEK(ctx context.Context, name string, encContext []byte) (DEK, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return DEK{}, err
	}
	dek, err := key.generate(name, encContext)
	if err == nil {
		l.noteUse(ctx, name, key, key.latest(), false)
	}
	return dek, err
}

// DecryptDEK implements Service.
func (l *Local) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([DEKSize]byte, error) {
	plaintext, err := l.Decrypt(ctx, name, ciphertext, encContext)
	if err != nil {
		return [DEKSize]byte{}, err
	}
	defer clear(plaintext)
	if len(plaintext) != DEKSize {
		return [DEKSize]byte{}, fmt.Errorf("%d bytes are no DEK: %w", len(plaintext), ErrDecrypt)
	}
	dek := [DEKSize]byte(plaintext)
	if dek == ([DEKSize]byte{}) {
		return dek, fmt.Errorf("a DEK of zeros: %w", ErrDecrypt)
	}
	return dek, nil
}

// Encrypt implements Service. ErrNotSupported for more than MaxPlaintextSize.
func (l *Local) Encrypt(ctx context.Context, name string, plaintext, encContext []byte) ([]byte, error) {
	if len(plaintext) > MaxPlaintextSize {
		return nil, fmt.Errorf("plaintext of %d bytes: %w", len(plaintext), ErrNotSupported)
	}
	key, err := l.key(ctx, name)
	if err != nil {
		return nil, err
	}
	ciphertext, err := key.Encrypt(plaintext, encContext)
	if err == nil {
		l.noteUse(ctx, name, key, key.latest(), false)
	}
	return ciphertext, err
}

// noteUse writes down which version was used, for the caller and for KeyVersions.
func (l *Local) noteUse(ctx context.Context, name string, key *Key, v *keyVersion, opened bool) {
	noteUsed(ctx, v, key.latest().number)
	use := l.uses.of(name, v.number)
	if opened {
		note(&use.decrypt, l.now())
	} else {
		note(&use.generate, l.now())
	}
}

// Decrypt implements Service.
func (l *Local) Decrypt(ctx context.Context, name string, ciphertext, encContext []byte) ([]byte, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return nil, err
	}
	if CiphertextVersion(ciphertext) > key.latest().number {
		// Another server may have made that version a moment ago.
		if key, err = l.cache.reloaded(ctx, name, key); err != nil {
			return nil, fmt.Errorf("key %q: %w", name, err)
		}
	}
	plaintext, version, err := key.decrypt(ciphertext, encContext)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", name, err)
	}
	l.noteUse(ctx, name, key, version, true)
	return plaintext, nil
}

// HMAC implements Service.
func (l *Local) HMAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return key.HMAC(message)
}

// Status implements Service. It always asks the store.
func (l *Local) Status(ctx context.Context) (State, error) {
	state, err := l.store.Status(ctx)
	if err = l.noted(ctx, err); err != nil {
		return State{}, fmt.Errorf("status of the key store: %w", err)
	}
	return state, nil
}

func (l *Local) key(ctx context.Context, name string) (*Key, error) {
	if err := ValidateKeyName(name); err != nil {
		return nil, err
	}
	key, err := l.cache.get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", name, err)
	}
	return key, nil
}
