// Package system keeps the proxy's own small objects in the system bucket,
// each sealed under a key of the key service and bound to its name: upstream can
// withhold or roll back what lies there, and neither read, forge nor swap it.
package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// ErrTampered says that a system object is not what this deployment stored
// under that name.
var ErrTampered = errors.New("system object is not authentic")

// ErrForeign says that a system object does not open under this key service's key,
// for this deployment: it was sealed under others, or is damaged. It is ErrTampered
// too.
var ErrForeign = fmt.Errorf("%w: it was sealed under other keys, or for another deployment", ErrTampered)

// contextName is the reserved entry of the encryption context of system DEKs.
const contextName = kms.ReservedContextPrefix + "system"

// Options are a Store's dependencies.
type Options struct {
	// Service is where they lie, and KMS has the key that seals them. Required.
	Service Objects
	KMS     kms.Service
	// Key is the KMS key that seals system objects. Required.
	Key string
	// Deployment names the installation. Required.
	Deployment string
	// Late is told before a write is acknowledged that lies under a version of the KMS key that
	// is not the newest any more; nil for nobody. Its error fails the write.
	Late func(ctx context.Context, kmsKey string, version uint32) error
	// Now returns the time; nil is time.Now.
	Now func() time.Time
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
// and still current it returns ErrNotModified. ErrNotFound,
// storage.ErrUnreachable, ErrTampered, or the key service's errors.
func (s *Store) Get(ctx context.Context, kind, name, etag string) (data []byte, newETag string, err error) {
	sealed, newETag, err := s.o.Service.Get(ctx, name, etag)
	if err != nil {
		return nil, "", err
	}
	if data, err = s.open(ctx, kind, name, sealed); err != nil {
		return nil, "", err
	}
	return data, newETag, nil
}

// Put seals and stores the object if the current one has the given ETag; ""
// means only if there is none. ErrConflict, storage.ErrUnreachable, or
// the key service's errors; after other errors than these and ErrConflict it
// may have been stored.
func (s *Store) Put(ctx context.Context, kind, name string, data []byte, etag string) (newETag string, err error) {
	sealing := s.now()
	sealed, version, err := s.seal(ctx, kind, name, data)
	if err != nil {
		return "", err
	}
	newETag, err = s.o.Service.Put(ctx, name, sealed, etag)
	return newETag, s.stored(ctx, kind, name, sealing, version, err)
}

func (s *Store) context(kind, name string) []byte {
	return kms.Context{
		contextName: s.o.Deployment + "/" + kind + "/" + name, kms.ReservedContextPrefix + "use": "system",
	}.Canonical()
}
