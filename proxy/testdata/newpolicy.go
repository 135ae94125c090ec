package encryption

import "context"

// What somebody might add to what decides on encryption: it reads a document under the
// proxy's own credential.

func (s *Settings) readsThePolicy(ctx context.Context, bucket string) ([]byte, error) {
	read := s.o.Policy
	return read(ctx, bucket)
}
