package build

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// recheckKeys is how soon a proxy notices what was done to a KMS key at its key server.
const recheckKeys = 4 * time.Second

// remoteKeys is a key server as the proxy's key service. It says in errors what
// a proxy needs there: the server tells a client only that it was refused.
type remoteKeys struct{ kms.Service }

// CreateKey implements kms.Service. That a key exists is kms.ErrKeyExists also
// for an identity that may not create any: somebody has made it for the proxy.
func (r remoteKeys) CreateKey(ctx context.Context, name string) error {
	err := r.Service.CreateKey(ctx, name)
	if errors.Is(err, kms.ErrNotPermitted) {
		if _, missing := r.DescribeKey(ctx, name); missing == nil {
			return fmt.Errorf("%q: %w", name, kms.ErrKeyExists)
		}
	}
	return err
}

// GenerateDEK implements kms.Service.
func (r remoteKeys) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	dek, err := r.Service.GenerateDEK(ctx, name, encContext)
	return dek, explainRefusal(err, encContext)
}

// DecryptDEK implements kms.Service.
func (r remoteKeys) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	dek, err := r.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	return dek, explainRefusal(err, encContext)
}

func explainRefusal(err error, encContext []byte) error {
	if !errors.Is(err, kms.ErrNotPermitted) || !kms.ContainsReserved(encContext) {
		return err
	}
	return fmt.Errorf("%w; the policy of the proxy's identity at the key server must allow this path and say bucketseal: true", err)
}
