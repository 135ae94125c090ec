package encryption

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// RulesKind and RulesName are the kind and the name of the index of bucket rules in the
// system bucket.
const (
	RulesKind = "bucket-rules"
	RulesName = "rules/index"
)

// RulesBackend keeps the index of bucket rules in the system bucket.
type RulesBackend struct{ System *system.Store }

// Load implements bucketconfig.Backend.
func (b RulesBackend) Load(ctx context.Context, etag string) (data []byte, newETag string, err error) {
	data, newETag, err = b.System.Get(ctx, RulesKind, RulesName, etag)
	switch {
	case errors.Is(err, system.ErrNotModified):
		return nil, "", bucketconfig.ErrNotModified
	case errors.Is(err, system.ErrNotFound):
		return nil, "", fmt.Errorf("%w (%w)", bucketconfig.ErrNotFound, err)
	}
	return data, newETag, err
}

// Save implements bucketconfig.Backend.
func (b RulesBackend) Save(ctx context.Context, data []byte, etag string) (newETag string, err error) {
	newETag, err = b.System.Put(ctx, RulesKind, RulesName, data, etag)
	if errors.Is(err, system.ErrConflict) {
		return "", bucketconfig.ErrConflict
	}
	return newETag, err
}
