// Package system keeps the proxy's own small objects in the system bucket,
// each sealed under a key of the key service and bound to its name: upstream can
// withhold or roll back what lies there, and neither read, forge nor swap it.
package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrTampered says that a system object is not what this deployment stored
// under that name.
var ErrTampered = errors.New("system object is not authentic")

// contextName is the reserved entry of the encryption context of system DEKs.
const contextName = kms.ReservedContextPrefix + "system"

// Objects is the system bucket as upstream.Service offers it.
type Objects interface {
	Get(ctx context.Context, name, etag string) (data []byte, newETag string, err error)
	Put(ctx context.Context, name string, data []byte, etag string) (newETag string, err error)
}

// Options are a Store's dependencies; all are required.
type Options struct {
	Service Objects
	KMS     kms.Service
	// Key is the KMS key that seals system objects.
	Key string
	// Deployment names the installation.
	Deployment string
}

// Store reads and writes sealed system objects. It is safe for concurrent use.
type Store struct{ o Options }

// New returns a store; it makes no request.
func New(o Options) (*Store, error) {
	if o.Service == nil || o.KMS == nil || o.Key == "" || o.Deployment == "" {
		return nil, errors.New("system store: incomplete options")
	}
	return &Store{o}, nil
}

// Get reads and opens the object name of the given kind. If etag is not empty
// and still current it returns upstream.ErrNotModified. upstream.ErrNotFound,
// upstream.ErrUnreachable, ErrTampered, or the key service's errors.
func (s *Store) Get(ctx context.Context, kind, name, etag string) (data []byte, newETag string, err error) {
	sealed, newETag, err := s.o.Service.Get(ctx, name, etag)
	if err != nil {
		return nil, "", err
	}
	object, err := sse.SystemKey(sealed)
	if err != nil || object.KMSKey != s.o.Key {
		return nil, "", fmt.Errorf("read system object %q: %w", name, ErrTampered)
	}
	dek, err := s.o.KMS.DecryptDEK(ctx, object.KMSKey, object.SealedDEK, s.context(kind, name))
	if errors.Is(err, kms.ErrDecrypt) {
		return nil, "", fmt.Errorf("read system object %q: %w", name, ErrTampered)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read system object %q: %w", name, err)
	}
	secret := sse.Secret(dek)
	clear(dek[:])
	defer secret.Zero()
	object.Deployment, object.Kind, object.Name = s.o.Deployment, kind, name
	if data, err = sse.OpenSystem(object, &secret, sealed); err != nil {
		return nil, "", fmt.Errorf("%w (%w)", ErrTampered, err)
	}
	return data, newETag, nil
}

// Put seals and stores the object if the current one has the given ETag; ""
// means only if there is none. upstream.ErrConflict, upstream.ErrUnreachable, or
// the key service's errors; after other errors than these and ErrConflict it
// may have been stored.
func (s *Store) Put(ctx context.Context, kind, name string, data []byte, etag string) (newETag string, err error) {
	dek, err := s.o.KMS.GenerateDEK(ctx, s.o.Key, s.context(kind, name))
	if err != nil {
		return "", fmt.Errorf("seal system object %q: %w", name, err)
	}
	secret := sse.Secret(dek.Plaintext)
	clear(dek.Plaintext[:])
	defer secret.Zero()
	sealed := sse.SealSystem(sse.SystemObject{
		Deployment: s.o.Deployment, Kind: kind, Name: name,
		KMSKey: s.o.Key, KMSKeyVersion: dek.KeyVersion, SealedDEK: dek.Ciphertext,
	}, &secret, data)
	return s.o.Service.Put(ctx, name, sealed, etag)
}

func (s *Store) context(kind, name string) []byte {
	return kms.Context{
		contextName: s.o.Deployment + "/" + kind + "/" + name, kms.ReservedContextPrefix + "use": "system",
	}.Canonical()
}
