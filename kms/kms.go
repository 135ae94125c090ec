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

// Service is the key service as its users in this program see it. All methods
// are safe for concurrent use.
//
// The encryption context is passed as the bytes that are authenticated; use
// Context.Canonical to make them. A nil or empty slice is the empty context.
type Service interface {
	// CreateKey creates a random KMS key. ErrKeyExists, ErrInvalidKeyName,
	// ErrNotPermitted, ErrUnavailable.
	CreateKey(ctx context.Context, name string) error
	// DeleteKey removes a KMS key; all that was sealed under it is lost.
	// ErrKeyNotFound, ErrNotPermitted, ErrUnavailable.
	DeleteKey(ctx context.Context, name string) error
	// DescribeKey returns what is known of a key. ErrKeyNotFound.
	DescribeKey(ctx context.Context, name string) (KeyInfo, error)
	// ListKeys returns all names that begin with prefix, sorted.
	ListKeys(ctx context.Context, prefix string) ([]string, error)
	// GenerateDEK returns a fresh random DEK sealed under the KMS key name and
	// bound to the context. ErrKeyNotFound, ErrNotPermitted, ErrUnavailable.
	GenerateDEK(ctx context.Context, name string, encContext []byte) (DEK, error)
	// DecryptDEK unseals what GenerateDEK sealed. ErrDecrypt if name, context
	// or ciphertext are not those of a DEK, ErrKeyNotFound, ErrNotPermitted,
	// ErrUnavailable. The caller zeroes the result.
	DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([DEKSize]byte, error)
}
