// Package kms is the core of the key service: KMS keys, data encryption keys
// (DEKs), encryption contexts and the Service that ties them together.
//
// It is used in process by the proxy, and over the wire by kms/server and
// kms/client. A KMS key never leaves the service; what leaves it are DEKs, as
// plaintext for the caller's use and as ciphertext for storage.
package kms

import (
	"context"
	"errors"
	"time"
)

// DEKSize is the length of a data encryption key in bytes.
const DEKSize = 32

// Sentinel errors. Implementations of Service and of key stores return them
// wrapped with what was being done; callers test with errors.Is.
var (
	// ErrKeyNotFound says that no KMS key of that name exists.
	ErrKeyNotFound = errors.New("key does not exist")
	// ErrKeyExists says that a KMS key of that name exists already.
	ErrKeyExists = errors.New("key already exists")
	// ErrInvalidKeyName says that a name breaks the rules of ValidateKeyName.
	ErrInvalidKeyName = errors.New("key name is empty, too long or contains invalid characters")
	// ErrDecrypt says that a ciphertext is not authentic: another key, another
	// encryption context, or altered bytes.
	ErrDecrypt = errors.New("decryption failed: ciphertext is not authentic")
	// ErrInvalidContext says that an encryption context is not a JSON object of
	// strings, repeats a name, is not valid UTF-8, or uses a reserved name.
	ErrInvalidContext = errors.New("invalid encryption context")
	// ErrNotPermitted says that the key service or its store refused the caller.
	ErrNotPermitted = errors.New("not authorized: insufficient permissions")
	// ErrUnavailable says that the key service or its store cannot be reached,
	// or answered with something that is no answer. It may pass.
	ErrUnavailable = errors.New("key store is not reachable")
	// ErrCorruptKey says that a stored key cannot be parsed or unsealed.
	ErrCorruptKey = errors.New("stored key is malformed")
	// ErrNotSupported says that the key or the service cannot do what was asked.
	ErrNotSupported = errors.New("operation not supported")
	// ErrKeyReplaced says that a KMS key is not the one that was used before. Services
	// do not say it: who remembers keys does.
	ErrKeyReplaced = errors.New("the KMS key is not the one that was used before")
)

// DEK is a data encryption key: Plaintext for use, Ciphertext for storage.
// It prints as [redacted].
type DEK struct {
	// Plaintext is the key itself. Zero it when done.
	Plaintext [DEKSize]byte
	// Ciphertext is Plaintext sealed under the KMS key, as opaque bytes.
	Ciphertext []byte
	// KeyName and KeyVersion name the KMS key that sealed it. Versions count
	// from 1.
	KeyName    string
	KeyVersion uint32
}

// KeyInfo describes a KMS key without its secret.
type KeyInfo struct {
	Name      string
	Algorithm Algorithm
	// Version is the latest version of the key, counted from 1.
	Version   uint32
	CreatedAt time.Time
	CreatedBy string
}

// State says how the key service's store is doing.
type State struct {
	// Latency is the time the store took to answer; 0 if not measured.
	Latency time.Duration
}

// Service is the key service as its users see it: *Local in process, or a
// client of a remote server. All methods are safe for concurrent use.
//
// The encryption context is passed as the bytes that are authenticated; use
// Context.Canonical to make them. A nil or empty slice is the empty context.
// Besides the errors named below every method may return ErrNotPermitted,
// ErrUnavailable, ErrCorruptKey or the context's error.
type Service interface {
	// CreateKey creates a random KMS key. ErrKeyExists, ErrInvalidKeyName.
	CreateKey(ctx context.Context, name string) error
	// ImportKey stores key as the KMS key name. ErrKeyExists, ErrInvalidKeyName.
	ImportKey(ctx context.Context, name string, key [DEKSize]byte, algorithm Algorithm) error
	// DeleteKey removes a KMS key; all that was sealed under it is lost.
	// ErrKeyNotFound. All versions go. If the call fails, the key is as before or nothing
	// opens any more, and it can be repeated until nothing of it is left: ErrKeyNotFound.
	DeleteKey(ctx context.Context, name string) error
	// DescribeKey returns what is known of a key. ErrKeyNotFound.
	DescribeKey(ctx context.Context, name string) (KeyInfo, error)
	// ListKeys returns all names that begin with prefix, sorted, each once.
	ListKeys(ctx context.Context, prefix string) ([]string, error)
	// GenerateDEK returns a fresh random DEK sealed under the KMS key name and
	// bound to the context. ErrKeyNotFound.
	GenerateDEK(ctx context.Context, name string, encContext []byte) (DEK, error)
	// DecryptDEK unseals what GenerateDEK sealed. ErrDecrypt if name, context
	// or ciphertext are not those of one DEK; ErrKeyNotFound, ErrVersionRetired,
	// ErrVersionDestroyed. The caller zeroes the result.
	DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([DEKSize]byte, error)
	// Encrypt seals a short plaintext (up to 1 MB). ErrKeyNotFound.
	Encrypt(ctx context.Context, name string, plaintext, encContext []byte) ([]byte, error)
	// Decrypt unseals what Encrypt or GenerateDEK sealed. ErrDecrypt, ErrKeyNotFound,
	// ErrVersionRetired, ErrVersionDestroyed.
	Decrypt(ctx context.Context, name string, ciphertext, encContext []byte) ([]byte, error)
	// HMAC returns the HMAC-SHA256 of message under the key's own HMAC key.
	// ErrKeyNotFound; ErrNotSupported for a key that has none.
	HMAC(ctx context.Context, name string, message []byte) ([]byte, error)
	// Status asks the store how it is. ErrUnavailable.
	Status(ctx context.Context) (State, error)
	Versions
}

// Store is where KMS keys live. Values are opaque to it: what Local stores is
// KES's record of a key, and beside it entries of the key's log and later versions
// (docs/keys.md, section 8). All methods are safe for concurrent use, by several
// processes too. Names passed in satisfy ValidateEntryName; a stored value is never
// empty and never changed, only created and deleted.
//
// Implementations return the sentinels named, wrapped; everything that says
// nothing about the key itself is ErrUnavailable, or ErrNotPermitted where the
// store refused us.
type Store interface {
	// Create stores value under name, durably, only if the name is free:
	// ErrKeyExists. Of rival calls exactly one succeeds.
	Create(ctx context.Context, name string, value []byte) error
	// Get returns the value: ErrKeyNotFound.
	Get(ctx context.Context, name string) ([]byte, error)
	// Delete removes the value: ErrKeyNotFound.
	Delete(ctx context.Context, name string) error
	// List returns all names that begin with prefix, sorted, each once.
	List(ctx context.Context, prefix string) ([]string, error)
	// Status reaches the store and says how long that took: ErrUnavailable.
	Status(ctx context.Context) (State, error)
	// Close frees what the store holds.
	Close() error
}

// Stamper is a Store that can tell in about a microsecond whether a value may
// have changed: while Stamp returns an equal string, Get would return an equal
// value. Local trusts a cached key of such a store for as long as its stamp
// holds, so that a key removed by another process is gone at once: for each call that
// begins after that, and for each request of AsOf that does.
type Stamper interface {
	Stamp(name string) (string, error)
}

// Absenter is a Stamper that can tell yet faster that a store has no value under a name.
// false is no answer.
type Absenter interface {
	Absent(name string) bool
}

// ExpiringStamper is a Stamper whose stamps do not say everything: a value that
// has not changed may still not be had any more, because somebody else opens it.
// Local then obeys CacheOptions.Any and Unused besides the stamp.
type ExpiringStamper interface {
	Stamper
	// StampsExpire says so, and does nothing.
	StampsExpire()
}
