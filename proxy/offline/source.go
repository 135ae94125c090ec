// Package offline reads encrypted objects from copies of the raw buckets, with the keys, and
// without a storage or a proxy that runs: after a disaster that is all that is left.
//
// A Source says what a copy has; drive and copies are the two kinds. What it says is as
// trustworthy as the storage was: nothing is passed off as data that did not authenticate.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/textproto"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// Object is one version of an object as a copy has it.
type Object struct {
	Name sse.Name
	// Latest says that it is the current version.
	Latest bool
	// Marker says that it is a delete marker, which has neither data nor metadata.
	Marker bool
	// Info has ETag, Size, Modified, Version, Meta and Reserved. An ETag that the copy does
	// not keep is "".
	storage.Info
	// Err says why nothing is known of the object but its name; else nil.
	Err error
	// Body opens the encrypted bytes from an offset on. The caller closes it.
	Body func(offset int64) (io.ReadCloser, error)
}

// AddMeta adds a metadata entry under its name in any case. The proxy's own are kept apart,
// where two are an error.
func (o *Object) AddMeta(name, value string) { AddMeta(&o.Info, name, value) }

// AddMeta is Object.AddMeta for what is known of an object.
func AddMeta(info *storage.Info, name, value string) {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if storage.IsReserved(name) {
		info.Reserved = append(info.Reserved, storage.MetaEntry{Name: canonical, Value: value})
		return
	}
	info.Meta.Set(canonical, value)
}

// Source is a copy of raw buckets. It is safe for concurrent use.
type Source interface {
	// Buckets returns the names of all buckets, the system bucket's among them.
	Buckets() ([]string, error)
	// Walk calls visit for every version of the objects whose keys begin with prefix, those
	// of one key from the newest on. It ends with visit's first error.
	Walk(ctx context.Context, bucket, prefix string, visit func(*Object) error) error
	// Get returns the current version of an object: storage.ErrNotFound.
	Get(name sse.Name) (*Object, error)
}

// noteEntry is the metadata entry that holds a note's content (docs/format.md, section 6).
const noteEntry = "X-Amz-Meta-Sealed"

// SystemObjects are the proxies' own objects in a copy of the system bucket.
func SystemObjects(from Source, bucket string) system.Objects {
	return &systemObjects{from: from, bucket: bucket}
}

type systemObjects struct {
	from   Source
	bucket string

	// The notes of the folder that was listed last. A copy is not written to, and a folder has the
	// wraps of a whole bucket: for each object to read it anew would take forever.
	mu     sync.Mutex
	folder string
	notes  []system.Note // sorted by name; nil for none yet
}

// errReadOnly says that a copy is only read.
var errReadOnly = errors.New("a copy of the raw buckets is only read")

// maxSystemObject bounds a system object that is read into memory, in bytes.
const maxSystemObject = 64 << 20

func (s *systemObjects) get(name string) (*Object, error) {
	o, err := s.from.Get(sse.Name{Bucket: s.bucket, Key: name})
	switch {
	case err == nil && o.Err != nil:
		return nil, fmt.Errorf("system object %q: %w (%w)", name, storage.ErrUnreachable, o.Err)
	case err == nil && o.Marker, errors.Is(err, storage.ErrNotFound):
		return nil, fmt.Errorf("%q is not in the copy of %s: %w", name, s.bucket, system.ErrNotFound)
	}
	return o, err
}

// Get implements system.Objects.
func (s *systemObjects) Get(_ context.Context, name, _ string) (data []byte, etag string, err error) {
	o, err := s.get(name)
	if err != nil {
		return nil, "", err
	}
	if o.Size > maxSystemObject {
		return nil, "", fmt.Errorf("system object %q of %d bytes: %w", name, o.Size, system.ErrTampered)
	}
	body, err := o.Body(0)
	if err != nil {
		return nil, "", readError(err)
	}
	defer body.Close()
	data = make([]byte, o.Size)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, "", readError(err)
	}
	return data, o.ETag, nil
}

// GetNoteBody implements system.Objects.
func (s *systemObjects) GetNoteBody(ctx context.Context, name string) ([]byte, error) {
	data, _, err := s.Get(ctx, name, "")
	return data, err
}

// GetNote implements system.Objects.
func (s *systemObjects) GetNote(_ context.Context, name string) (string, error) {
	o, err := s.get(name)
	if err != nil {
		return "", err
	}
	return o.Meta.Get(noteEntry), nil
}

// ListNotes implements system.Objects. It returns all at once.
func (s *systemObjects) ListNotes(ctx context.Context, prefix, after string) (notes []system.Note, more bool, err error) {
	folder, _ := path.Split(prefix)
	if _, live := s.from.(*Live); live || folder == "" {
		notes, err = s.walk(ctx, prefix)
	} else {
		notes, err = s.of(ctx, folder)
	}
	if err != nil {
		return nil, false, err
	}
	first, _ := slices.BinarySearchFunc(notes, max(prefix, after), func(n system.Note, name string) int { return strings.Compare(n.Name, name) })
	end := first
	for end < len(notes) && strings.HasPrefix(notes[end].Name, prefix) {
		end++
	}
	if notes = notes[first:end:end]; len(notes) > 0 && notes[0].Name == after {
		notes = notes[1:]
	}
	return notes, false, nil
}

// of returns the notes of a folder, or of one that it lies in. It keeps those of the last one.
func (s *systemObjects) of(ctx context.Context, folder string) ([]system.Note, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notes != nil && strings.HasPrefix(folder, s.folder) {
		return s.notes, nil
	}
	notes, err := s.walk(ctx, folder)
	if err != nil {
		return nil, err
	}
	s.folder, s.notes = folder, notes
	return notes, nil
}

// walk reads the notes whose names begin with prefix, sorted by name.
func (s *systemObjects) walk(ctx context.Context, prefix string) ([]system.Note, error) {
	notes := []system.Note{}
	err := s.from.Walk(ctx, s.bucket, prefix, func(o *Object) error {
		if o.Latest && !o.Marker && o.Err == nil {
			notes = append(notes, system.Note{Name: o.Name.Key, Value: o.Meta.Get(noteEntry), Modified: o.Modified})
		}
		return nil
	})
	slices.SortFunc(notes, func(a, b system.Note) int { return strings.Compare(a.Name, b.Name) })
	return notes, err
}

// Put implements system.Objects, and does nothing.
func (*systemObjects) Put(context.Context, string, []byte, string) (string, error) {
	return "", errReadOnly
}

// PutNote implements system.Objects, and does nothing.
func (*systemObjects) PutNote(context.Context, string, string, []byte) error { return errReadOnly }

// ReplaceNote implements system.Objects, and does nothing.
func (*systemObjects) ReplaceNote(context.Context, string, string, []byte) error { return errReadOnly }

// ChangeNote implements system.Objects, and does nothing.
func (*systemObjects) ChangeNote(context.Context, string, string, []byte, string) error {
	return errReadOnly
}

// DeleteNotes implements system.Objects, and does nothing.
func (*systemObjects) DeleteNotes(context.Context, string, func(string) bool) (int, error) {
	return 0, errReadOnly
}

// readError is for errors of reading a copy: what is cut off is sse.ErrTruncated, what the
// disk does not give storage.ErrUnreachable.
func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("read the copy: %w", sse.ErrTruncated)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the copy: data is missing: %w (%w)", sse.ErrTruncated, err)
	}
	return fmt.Errorf("read the copy: %w (%w)", storage.ErrUnreachable, err)
}
