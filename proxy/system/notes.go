package system

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// PutNote seals data as the note name, which must not exist: ErrConflict.
// A note is a small object whose content is in its metadata, so that a listing
// shows it; body is what a listing does not need, and may be nil.
func (s *Store) PutNote(ctx context.Context, kind, name string, data, body []byte) error {
	sealing := s.now()
	n, err := s.sealNote(ctx, kind, name, data, body)
	if err != nil {
		return err
	}
	return s.stored(ctx, kind, name, sealing, n.version, s.o.Service.PutNote(ctx, name, n.value, n.body))
}

// ReplaceNote is PutNote for a note that may exist. In the place of a body that is nil are
// random bytes, which give every such write an ETag of its own (see Reseal).
func (s *Store) ReplaceNote(ctx context.Context, kind, name string, data, body []byte) error {
	sealing := s.now()
	n, err := s.sealNote(ctx, kind, name, data, body)
	if err != nil {
		return err
	}
	if n.body == nil {
		n.body = filler()
	}
	return s.stored(ctx, kind, name, sealing, n.version, s.o.Service.ReplaceNote(ctx, name, n.value, n.body))
}

func encodeNote(sealed []byte) string { return base64.RawURLEncoding.EncodeToString(sealed) }

// bodySuffix ends the kind of a note's body, so that it cannot stand for the
// note itself.
const bodySuffix = "-body"

// GetBody reads and opens a note's body. Errors are as those of GetNote.
func (s *Store) GetBody(ctx context.Context, kind, name string) ([]byte, error) {
	sealed, err := s.o.Service.GetNoteBody(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, kind+bodySuffix, name, sealed)
}

// Delete removes every version of every object whose name begins with prefix,
// but those that keep names; keep may be nil. It returns how many.
func (s *Store) Delete(ctx context.Context, prefix string, keep func(name string) bool) (int, error) {
	return s.o.Service.DeleteNotes(ctx, prefix, keep)
}

// GetNote reads and opens a note. ErrNotFound, storage.ErrUnreachable,
// ErrTampered, or the key service's errors.
func (s *Store) GetNote(ctx context.Context, kind, name string) ([]byte, error) {
	value, err := s.o.Service.GetNote(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.OpenNote(ctx, kind, Note{Name: name, Value: value})
}

// GetNoteIfNew is GetNote for a note that may be known already: it also returns
// the sealed value, and ErrNotModified if that is known.
func (s *Store) GetNoteIfNew(ctx context.Context, kind, name, known string) (data []byte, value string, err error) {
	if value, err = s.o.Service.GetNote(ctx, name); err != nil {
		return nil, "", err
	}
	if value == known && known != "" {
		return nil, "", ErrNotModified
	}
	data, err = s.OpenNote(ctx, kind, Note{Name: name, Value: value})
	return data, value, err
}

// OpenNote opens a note that was listed.
func (s *Store) OpenNote(ctx context.Context, kind string, n Note) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(n.Value)
	if err != nil {
		return nil, fmt.Errorf("note %q: %w", n.Name, ErrTampered)
	}
	return s.open(ctx, kind, n.Name, sealed)
}

// ListNotes returns up to 1,000 notes whose names begin with prefix and follow
// after, in order, and whether there are more.
func (s *Store) ListNotes(ctx context.Context, prefix, after string) (notes []Note, more bool, err error) {
	return s.o.Service.ListNotes(ctx, prefix, after)
}

// seal returns data sealed as a system object, and under which version of the KMS key.
func (s *Store) seal(ctx context.Context, kind, name string, data []byte) (sealed []byte, version uint32, err error) {
	dek, err := s.o.KMS.GenerateDEK(ctx, s.o.Key, s.context(kind, name))
	if err != nil {
		return nil, 0, fmt.Errorf("seal system object %q: %w", name, err)
	}
	secret := sse.Secret(dek.Plaintext)
	clear(dek.Plaintext[:])
	defer secret.Zero()
	sealed = sse.SealSystem(sse.SystemObject{
		Deployment: s.o.Deployment, Kind: kind, Name: name,
		KMSKey: s.o.Key, KMSKeyVersion: dek.KeyVersion, SealedDEK: dek.Ciphertext,
	}, &secret, data)
	return sealed, max(dek.KeyVersion, 1), nil
}

func (s *Store) open(ctx context.Context, kind, name string, sealed []byte) ([]byte, error) {
	object, err := sse.SystemKey(sealed)
	if err != nil || object.KMSKey != s.o.Key {
		return nil, fmt.Errorf("read system object %q: %w", name, ErrTampered)
	}
	dek, err := s.o.KMS.DecryptDEK(ctx, object.KMSKey, object.SealedDEK, s.context(kind, name))
	if errors.Is(err, kms.ErrDecrypt) {
		return nil, fmt.Errorf("read system object %q: %w", name, ErrForeign)
	}
	if err != nil {
		return nil, fmt.Errorf("read system object %q: %w", name, err)
	}
	secret := sse.Secret(dek)
	clear(dek[:])
	defer secret.Zero()
	object.Deployment, object.Kind, object.Name = s.o.Deployment, kind, name
	data, err := sse.OpenSystem(object, &secret, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrTampered, err)
	}
	return data, nil
}
