package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// quickly is how long after something was sealed it is stored under a version of the KMS key that
// no scan takes for one that is used no more: servers learn of a new version within some seconds,
// and a scan waits for them.
const quickly = time.Second

// WithoutLate returns a store of the same objects that tells nobody of late writes: for what
// notes them.
func (s *Store) WithoutLate() *Store {
	o := s.o
	o.Late = nil
	return &Store{o}
}

// confirm is called before a write is acknowledged that was sealed after a time, under a version of
// the KMS key. If that took long, Late is told if the version is not the newest any more. Errors
// are Late's, or the key service's.
func (s *Store) confirm(ctx context.Context, kind, name string, sealing time.Time, version uint32) error {
	now := s.now()
	if wall := now.Round(0).Sub(sealing.Round(0)); s.o.Late == nil || now.Sub(sealing) < quickly && wall < quickly && wall > -quickly {
		return nil
	}
	dek, err := s.o.KMS.GenerateDEK(ctx, s.o.Key, s.context(kind, name))
	clear(dek.Plaintext[:])
	if err == nil && max(dek.KeyVersion, 1) > version {
		err = s.o.Late(ctx, s.o.Key, version)
	}
	if err != nil {
		return fmt.Errorf("after system object %q was stored, under version %d: %w", name, version, err)
	}
	return nil
}

// doubtFor bounds what is done about a write of which nobody knows whether it was done.
const doubtFor = 5 * time.Second

// stored is confirm after a write that ended with err. One that failed and may have been carried out
// all the same is told of, too: whoever waits for it does not end that.
func (s *Store) stored(ctx context.Context, kind, name string, sealing time.Time, version uint32, err error) error {
	switch {
	case err == nil:
		return s.confirm(ctx, kind, name, sealing, version)
	case errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound), !storage.MayBeDone(err):
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doubtFor)
	defer cancel()
	_ = s.confirm(ctx, kind, name, sealing, version)
	return err
}

func (s *Store) now() time.Time {
	if s.o.Now != nil {
		return s.o.Now()
	}
	return time.Now()
}
