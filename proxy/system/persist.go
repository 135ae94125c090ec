package system

import (
	"context"
	"errors"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// persistFor is how long a write that fails is repeated. It is small, and a client
// would have to send a whole part or object again; a silent upstream is not waited
// for twice.
const persistFor = 5 * time.Second

// PersistNote is PutNote that repeats what fails. A repeated write may find what the
// first one stored: ErrConflict.
func (s *Store) PersistNote(ctx context.Context, kind, name string, data, body []byte) error {
	end := time.Now().Add(persistFor)
	for wait := 100 * time.Millisecond; ; wait *= 3 {
		err := s.PutNote(ctx, kind, name, data, body)
		if !errors.Is(err, storage.ErrUnreachable) || time.Now().Add(wait).After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
