package system

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// Layout says what lies below a prefix of names in the system bucket.
type Layout struct {
	// Prefix begins the names, or is one.
	Prefix string
	// Kind is what they are sealed as. "" is for what is not sealed, and left alone.
	Kind string
	// Note says that they are notes; else they are objects, whose content is their data.
	Note bool
	// Body says that notes may have bodies; Replaced that ReplaceNote writes them.
	Body, Replaced bool
}

// ErrUnknownLayout says that the system bucket has an object of which is not known what it
// is sealed as.
var ErrUnknownLayout = errors.New("it is not known what this system object is")

// LayoutOf returns the layout of the object name. ErrUnknownLayout.
func LayoutOf(all []Layout, name string) (Layout, error) {
	for _, l := range all {
		if strings.HasPrefix(name, l.Prefix) {
			return l, nil
		}
	}
	return Layout{}, fmt.Errorf("%q: %w", name, ErrUnknownLayout)
}

// fillerSize is the length in bytes of what stands in the place of a body.
const fillerSize = 16

// filler returns what a note without a body has as its data, so that its ETag tells it from
// every other note of its name.
func filler() []byte {
	b := make([]byte, fillerSize)
	_, _ = rand.Read(b)
	return b
}

// sealedNote is a note as it is stored.
type sealedNote struct {
	value   string
	body    []byte
	version uint32 // of the KMS key
}

// sealTries bounds how often a note is sealed until both halves lie under one version.
const sealTries = 3

// sealNote seals a note, and its body if it is not nil. The body lies under the version of
// the KMS key under which the note lies, or under a newer one: so the note alone tells what
// is needed to read both.
func (s *Store) sealNote(ctx context.Context, kind, name string, data, body []byte) (sealedNote, error) {
	for try := 1; ; try++ {
		sealed, version, err := s.seal(ctx, kind, name, data)
		if err != nil || body == nil {
			return sealedNote{value: encodeNote(sealed), version: version}, err
		}
		under, bodyVersion, err := s.seal(ctx, kind+bodySuffix, name, body)
		switch {
		case err != nil:
			return sealedNote{}, err
		case bodyVersion >= version:
			return sealedNote{encodeNote(sealed), under, version}, nil
		case try == sealTries:
			return sealedNote{}, fmt.Errorf("seal system object %q: the key service has version %d and does not have it: %w", name, version, kms.ErrUnavailable)
		}
	}
}

// Key returns the KMS key that system objects are sealed under.
func (s *Store) Key() string { return s.o.Key }

// UnderOf returns the KMS key and its version that a note lies under. Nothing is opened for
// it. ErrTampered.
func UnderOf(n Note) (kmsKey string, version uint32, err error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(n.Value)
	if err != nil {
		return "", 0, fmt.Errorf("note %q: %w", n.Name, ErrTampered)
	}
	return under(n.Name, sealed)
}

func under(name string, sealed []byte) (kmsKey string, version uint32, err error) {
	object, err := sse.SystemKey(sealed)
	if err != nil {
		return "", 0, fmt.Errorf("read system object %q: %w", name, ErrTampered)
	}
	return object.KMSKey, max(object.KMSKeyVersion, 1), nil
}

// Under is UnderOf for an object that is no note, which it reads. Errors are also those of
// Get.
func (s *Store) Under(ctx context.Context, name string) (kmsKey string, version uint32, err error) {
	sealed, _, err := s.o.Service.Get(ctx, name, "")
	if err != nil {
		return "", 0, err
	}
	return under(name, sealed)
}

// errOlder says that the key service seals under a version that is not the newest. It may
// pass: servers learn of versions within seconds.
func errOlder(name string, version, least uint32) error {
	return fmt.Errorf("seal system object %q: the key service gives version %d, and has %d: %w", name, version, least, kms.ErrUnavailable)
}

// Reseal seals what was listed as n anew, under the newest version of the KMS key, which must
// be at least the given one, and returns under which. Its content stays. What somebody else
// writes meanwhile is never lost, and what he removes does not come back:
//
//   - The write is made only if the object still has the ETag that it was listed, or read,
//     with. ErrConflict if not: who is told that looks again.
//   - Data of a register, and bodies, differ with every sealing, and so does their ETag. A
//     note without a body that never changes needs only to exist still: any two notes of its
//     name are the same. One that is replaced has random bytes as its data.
//
// Errors are also those of Get, and ErrUnknownLayout for what is not sealed.
func (s *Store) Reseal(ctx context.Context, l Layout, n Note, least uint32) (version uint32, err error) {
	switch {
	case l.Kind == "":
		return 0, fmt.Errorf("%q: %w", n.Name, ErrUnknownLayout)
	case !l.Note:
		return s.resealObject(ctx, l.Kind, n.Name, least)
	}
	data, err := s.OpenNote(ctx, l.Kind, n)
	if err != nil {
		return 0, err
	}
	etag, body := n.ETag, []byte(nil)
	if l.Body && n.Size > 0 {
		if body, etag, err = s.Get(ctx, l.Kind+bodySuffix, n.Name, ""); err != nil {
			return 0, err
		}
		if etag != n.ETag { // the body of another note than the one that was listed
			return 0, fmt.Errorf("seal note %q anew: %w", n.Name, ErrConflict)
		}
		body = append([]byte{}, body...) // an empty body is one too
	}
	sealing := s.now()
	sealed, err := s.sealNote(ctx, l.Kind, n.Name, data, body)
	if err == nil && sealed.version < least {
		err = errOlder(n.Name, sealed.version, least)
	}
	if err != nil {
		return 0, err
	}
	if l.Replaced {
		sealed.body = filler()
	}
	err = s.o.Service.ChangeNote(ctx, n.Name, sealed.value, sealed.body, etag)
	return sealed.version, s.stored(ctx, l.Kind, n.Name, sealing, sealed.version, err)
}

// Opens says whether Reseal could read what was listed as n.
func (s *Store) Opens(ctx context.Context, l Layout, n Note) error {
	if !l.Note {
		_, _, err := s.Get(ctx, l.Kind, n.Name, "")
		return err
	}
	_, err := s.OpenNote(ctx, l.Kind, n)
	if err == nil && l.Body && n.Size > 0 {
		_, err = s.GetBody(ctx, l.Kind, n.Name)
	}
	return err
}

// resealObject is Reseal for what is no note.
func (s *Store) resealObject(ctx context.Context, kind, name string, least uint32) (version uint32, err error) {
	data, etag, err := s.Get(ctx, kind, name, "")
	if err != nil {
		return 0, err
	}
	sealing := s.now()
	sealed, version, err := s.seal(ctx, kind, name, data)
	if err == nil && version < least {
		err = errOlder(name, version, least)
	}
	if err != nil {
		return 0, err
	}
	_, err = s.o.Service.Put(ctx, name, sealed, etag)
	return version, s.stored(ctx, kind, name, sealing, version, err)
}

// Look returns a note or object as a listing shows it now. ErrNotFound, storage.ErrUnreachable.
func (s *Store) Look(ctx context.Context, name string) (Note, error) {
	notes, _, err := s.o.Service.ListNotes(ctx, name, "")
	if err != nil {
		return Note{}, err
	}
	if len(notes) == 0 || notes[0].Name != name {
		return Note{}, fmt.Errorf("look at %q: %w", name, ErrNotFound)
	}
	return notes[0], nil
}
