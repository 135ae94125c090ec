package kms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// LocalOptions configure a Local.
type LocalOptions struct {
	// Store keeps the keys. Required. Local does not close it.
	Store Store
	// Cache says how long keys may be used without the store.
	Cache CacheOptions
	// CreatedBy is noted in keys that are made; it may be empty.
	CreatedBy string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Local is the key service in this process. It is safe for concurrent use.
type Local struct {
	store     Store
	cache     *keyCache
	createdBy string
	now       func() time.Time

	stop context.CancelFunc
	wait sync.WaitGroup
}

// maxPlaintext bounds what Encrypt takes, in bytes: KES's limit for a request.
const maxPlaintext = 1_000_000

// NewLocal returns a service over a store. Close ends its background pass.
func NewLocal(o LocalOptions) (*Local, error) {
	if o.Store == nil {
		return nil, errors.New("kms: no store")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Local{store: o.Store, cache: newKeyCache(o.Store, o.Cache, o.Now), createdBy: o.CreatedBy, now: o.Now}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.wait.Go(func() { l.background(ctx) })
	return l, nil
}

// background evicts keys and, where it matters, finds out whether the store
// answers before a request does.
func (l *Local) background(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.cache.opts.Offline > 0 {
			probe, cancel := context.WithTimeout(ctx, sweepInterval/2)
			_, _ = l.Status(probe) // noted by the cache
			cancel()
		}
		l.cache.sweep()
	}
}

// Close ends the background pass. The store stays open.
func (l *Local) Close() {
	l.stop()
	l.wait.Wait()
}

// CreateKey implements Service.
func (l *Local) CreateKey(ctx context.Context, name string) error {
	return l.create(ctx, name, NewKey(l.now(), l.createdBy))
}

// ImportKey implements Service.
func (l *Local) ImportKey(ctx context.Context, name string, key [DEKSize]byte, algorithm Algorithm) error {
	if algorithm != AES256 && algorithm != ChaCha20 {
		return ErrNotSupported
	}
	return l.create(ctx, name, ImportedKey(key, algorithm, l.now(), l.createdBy))
}

func (l *Local) create(ctx context.Context, name string, key *Key) error {
	defer key.Zero()
	if err := ValidateKeyName(name); err != nil {
		return err
	}
	record := key.MarshalRecord()
	defer clear(record)
	l.cache.forget(name)
	err := l.store.Create(ctx, name, record)
	l.cache.note(err)
	l.cache.forget(name) // what was read meanwhile
	if err != nil {
		return fmt.Errorf("create key %q: %w", name, err)
	}
	return nil
}

// DeleteKey implements Service.
func (l *Local) DeleteKey(ctx context.Context, name string) error {
	if err := ValidateKeyName(name); err != nil {
		return err
	}
	err := l.store.Delete(ctx, name)
	l.cache.note(err)
	l.cache.forget(name)
	if err != nil {
		return fmt.Errorf("delete key %q: %w", name, err)
	}
	return nil
}

// DescribeKey implements Service.
func (l *Local) DescribeKey(ctx context.Context, name string) (KeyInfo, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return KeyInfo{}, err
	}
	return KeyInfo{Name: name, Algorithm: key.Algorithm, Version: 1, CreatedAt: key.CreatedAt, CreatedBy: key.CreatedBy}, nil
}

// ListKeys implements Service.
func (l *Local) ListKeys(ctx context.Context, prefix string) ([]string, error) {
	names, err := l.store.List(ctx, prefix)
	l.cache.note(err)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return names, nil
}

// GenerateDEK implements Service.
func (l *Local) GenerateDEK(ctx context.Context, name string, encContext []byte) (DEK, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return DEK{}, err
	}
	dek := DEK{Plaintext: randomDEK(), KeyName: name, KeyVersion: 1}
	if dek.Ciphertext, err = key.Encrypt(dek.Plaintext[:], encContext); err != nil {
		return DEK{}, err
	}
	return dek, nil
}

// DecryptDEK implements Service.
func (l *Local) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([DEKSize]byte, error) {
	plain, err := l.Decrypt(ctx, name, ciphertext, encContext)
	if err != nil {
		return [DEKSize]byte{}, err
	}
	defer clear(plain)
	if len(plain) != DEKSize {
		return [DEKSize]byte{}, fmt.Errorf("%d bytes are no DEK: %w", len(plain), ErrDecrypt)
	}
	dek := [DEKSize]byte(plain)
	if dek == ([DEKSize]byte{}) {
		return dek, fmt.Errorf("a DEK of zeros: %w", ErrDecrypt)
	}
	return dek, nil
}

// Encrypt implements Service.
func (l *Local) Encrypt(ctx context.Context, name string, plaintext, encContext []byte) ([]byte, error) {
	if len(plaintext) > maxPlaintext {
		return nil, fmt.Errorf("plaintext of %d bytes: %w", len(plaintext), ErrNotSupported)
	}
	key, err := l.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return key.Encrypt(plaintext, encContext)
}

// Decrypt implements Service.
func (l *Local) Decrypt(ctx context.Context, name string, ciphertext, encContext []byte) ([]byte, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return key.Decrypt(ciphertext, encContext)
}

// HMAC implements Service.
func (l *Local) HMAC(ctx context.Context, name string, message []byte) ([]byte, error) {
	key, err := l.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return key.HMAC(message)
}

// Status implements Service.
func (l *Local) Status(ctx context.Context) (State, error) {
	state, err := l.store.Status(ctx)
	l.cache.note(err)
	return state, err
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
