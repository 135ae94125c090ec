package vault

import (
	"context"
	"io"

	"github.com/bucketseal/bucketseal/sse"
)

// MinPartSize is the smallest size in bytes of every part but the last.
const MinPartSize = minPartSize

// Plaintext reads an object whole, for tests of what writes objects.
func (v *Vault) Plaintext(ctx context.Context, c *Caller, read Read) ([]byte, error) {
	s, err := v.look(ctx, c, read)
	if err != nil {
		return nil, err
	}
	defer s.zero()
	plain, err := s.open(ctx, c, sse.Range{Length: s.size})
	if err != nil {
		return nil, err
	}
	defer func() { _ = plain.Close() }()
	return io.ReadAll(plain)
}
