package keyuse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/trail"
	"github.com/bucketseal/bucketseal/kms"
)

// signerContext is the encryption context of keys that sign audit logs, of a deployment.
func signerContext(deployment string) []byte {
	return kms.Context{
		kms.ReservedContextPrefix + "audit": deployment, kms.ReservedContextPrefix + "use": "audit",
	}.Canonical()
}

// Open opens a key that signs audit logs, as it is sealed under a KMS key. trail.ErrWrongKey,
// or the key service's errors.
func Open(ctx context.Context, service kms.Service, kmsKey, deployment string, sealed []byte) (*audit.Key, error) {
	secret, err := service.DecryptDEK(ctx, kmsKey, sealed, signerContext(deployment))
	defer clear(secret[:])
	switch {
	case errors.Is(err, kms.ErrDecrypt), errors.Is(err, kms.ErrKeyNotFound):
		return nil, fmt.Errorf("%w (%w)", trail.ErrWrongKey, err)
	case err != nil:
		return nil, fmt.Errorf("open the audit log's key: %w", err)
	}
	return audit.NewKey((*[32]byte)(secret[:]), sealed, kmsKey, kms.CiphertextVersion(sealed)), nil
}

// Make makes a new key that signs audit logs.
func Make(ctx context.Context, service kms.Service, kmsKey, deployment string) (*audit.Key, error) {
	dek, err := service.GenerateDEK(ctx, kmsKey, signerContext(deployment))
	if err != nil {
		return nil, fmt.Errorf("make the audit log's key: %w", err)
	}
	defer clear(dek.Plaintext[:])
	return audit.NewKey((*[32]byte)(dek.Plaintext[:]), dek.Ciphertext, kmsKey, dek.KeyVersion), nil
}

// Sign has a log signed as soon as the key service gives a key: the one that the log was
// signed with before, if that still opens, or a new one. It returns when that is done, or
// ctx ends.
func Sign(ctx context.Context, log *audit.Log, service kms.Service, kmsKey, deployment string, before []byte, logger *slog.Logger) {
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		key, err := get(ctx, service, kmsKey, deployment, before)
		if err == nil {
			log.SetKey(key)
			return
		}
		if !said && wait > time.Second {
			said = true
			logger.Warn("the audit log is not signed yet: the key service gives no key", "key", kmsKey, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func get(ctx context.Context, service kms.Service, kmsKey, deployment string, before []byte) (*audit.Key, error) {
	if before != nil {
		key, err := Open(ctx, service, kmsKey, deployment, before)
		if !errors.Is(err, trail.ErrWrongKey) && !errors.Is(err, kms.ErrVersionRetired) && !errors.Is(err, kms.ErrVersionDestroyed) {
			return key, err
		}
	}
	return Make(ctx, service, kmsKey, deployment)
}
