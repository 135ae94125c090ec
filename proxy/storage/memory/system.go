package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// noteName is the metadata entry that notes are kept in.
const noteName = "X-Amz-Meta-Sealed"

// System is the system bucket: system.Objects, and what else the proxy asks of it. Every
// request is a call of its own that Faults sees. It is safe for concurrent use.
type System struct {
	s      *Storage
	own    *backend
	bucket string
}

var _ system.Objects = (*System)(nil)

// System returns access to a system bucket, which CreateBucket creates.
func (s *Storage) System(bucket string) *System { return s.Seen("").System(bucket) }

// System returns access to a system bucket, which CreateBucket creates.
func (v *View) System(bucket string) *System {
	return &System{s: v.s, own: &backend{s: v.s, from: v.from, own: true}, bucket: bucket}
}

// Bucket returns the system bucket's name.
func (s *System) Bucket() string { return s.bucket }

// CreateBucket creates the system bucket if it is missing.
func (s *System) CreateBucket(context.Context) error {
	err := s.s.CreateBucket(s.bucket, Versioned)
	var answer *storage.Error
	if errors.As(err, &answer) && answer.Status == 409 {
		return nil
	}
	return err
}

// CreationDates returns when each bucket was created.
func (s *System) CreationDates(ctx context.Context) (map[string]time.Time, error) {
	return s.s.CreationDates(ctx)
}

func (s *System) name(key string) sse.Name { return sse.Name{Bucket: s.bucket, Key: key} }

// Get implements system.Objects.
func (s *System) Get(ctx context.Context, name, etag string) (data []byte, newETag string, err error) {
	o, err := s.own.Get(ctx, &storage.Get{Name: s.name(name)})
	if err != nil {
		return nil, "", objectError("read system object", err)
	}
	defer func() { _ = o.Close() }()
	if newETag = strings.Trim(o.ETag, `"`); newETag == etag {
		return nil, "", system.ErrNotModified
	}
	if data, err = io.ReadAll(o); err != nil {
		return nil, "", fmt.Errorf("read system object: %w (%w)", storage.ErrUnreachable, err)
	}
	return data, newETag, nil
}

// Put implements system.Objects.
func (s *System) Put(ctx context.Context, name string, data []byte, etag string) (newETag string, err error) {
	p := &storage.Put{Name: s.name(name), Conditions: storage.Conditions{IfMatch: etag}, Body: content(data)}
	if etag == "" {
		p.Conditions = storage.Conditions{IfNoneMatch: "*"}
	}
	stored, err := s.own.Put(ctx, p)
	if err != nil {
		return "", objectError("write system object", err)
	}
	return strings.Trim(stored.ETag, `"`), nil
}

func content(data []byte) storage.Body {
	return storage.Body{Reader: bytes.NewReader(data), Length: int64(len(data))}
}

// objectError returns what the storage answered as system.Objects says it.
func objectError(what string, err error) error {
	var answer *storage.Error
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w (%w)", what, storage.ErrUnreachable, err)
	}
	switch {
	case answer.Code == "AccessDenied":
		return fmt.Errorf("%s: %w (%w)", what, system.ErrOwnRights, err)
	case answer.Code == "NoSuchBucket":
		return fmt.Errorf("%s: %w (%w)", what, system.ErrNoBucket, err)
	case answer.Code == "NoSuchKey":
		return fmt.Errorf("%s: %w", what, system.ErrNotFound)
	case answer.Status == 412:
		return fmt.Errorf("%s: %w", what, system.ErrConflict)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// PutNote implements system.Objects.
func (s *System) PutNote(ctx context.Context, name, value string, body []byte) error {
	return s.putNote(ctx, name, value, body, storage.Conditions{IfNoneMatch: "*"})
}

// ReplaceNote implements system.Objects.
func (s *System) ReplaceNote(ctx context.Context, name, value string, body []byte) error {
	return s.putNote(ctx, name, value, body, storage.Conditions{})
}

// ChangeNote implements system.Objects.
func (s *System) ChangeNote(ctx context.Context, name, value string, body []byte, etag string) error {
	err := s.putNote(ctx, name, value, body, storage.Conditions{IfMatch: etag})
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("write note: %w", system.ErrConflict)
	}
	return err
}

func (s *System) putNote(ctx context.Context, name, value string, body []byte, c storage.Conditions) error {
	p := &storage.Put{Name: s.name(name), Conditions: c, Body: content(body)}
	_, err := s.own.put(ctx, p, storage.Metadata{noteName: {value}})
	if errors.Is(err, storage.ErrPrecondition) {
		return fmt.Errorf("write note: %w", system.ErrConflict)
	}
	return noteError("write note", err)
}

// noteError returns an answer that says nothing of the note as one that may pass.
func noteError(what string, err error) error {
	var answer *storage.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("%s: %w (%w)", what, storage.ErrUnreachable, err)
	}
	return err
}

// GetNote implements system.Objects.
func (s *System) GetNote(ctx context.Context, name string) (string, error) {
	info, err := s.own.Head(ctx, &storage.Get{Name: s.name(name)})
	if errors.Is(err, storage.ErrNotFound) {
		return "", fmt.Errorf("read note: %w", system.ErrNotFound)
	}
	if err != nil {
		return "", noteError("read note", err)
	}
	return info.Meta.Get(noteName), nil
}

// GetNoteBody implements system.Objects.
func (s *System) GetNoteBody(ctx context.Context, name string) ([]byte, error) {
	body, _, err := s.Get(ctx, name, "")
	return body, err
}

// ListNotes implements system.Objects.
func (s *System) ListNotes(ctx context.Context, prefix, after string) (notes []system.Note, more bool, err error) {
	page, err := s.own.List(ctx, &storage.List{
		Bucket: s.bucket, Metadata: true, Parameters: map[string]string{"prefix": prefix, "start-after": after},
	})
	if err != nil {
		return nil, false, listError("list notes", err)
	}
	for _, e := range page.Entries {
		name, err := url.QueryUnescape(e.Key)
		if err != nil {
			continue // no name of ours
		}
		if name <= after || !strings.HasPrefix(name, prefix) {
			return nil, false, fmt.Errorf("list notes: %w (%q is listed behind %q)", storage.ErrListing, name, after)
		}
		after = name
		modified, _ := time.Parse(time.RFC3339, e.LastModified)
		note := system.Note{Name: name, Modified: modified, ETag: strings.Trim(e.ETag, `"`), Size: e.Size}
		for _, m := range e.Metadata {
			if m.Name == noteName {
				note.Value = m.Value
			}
		}
		notes = append(notes, note)
	}
	return notes, page.Truncated, nil
}

// listError returns an answer to a listing, or to MayWrite, as what it means.
func listError(what string, err error) error {
	var answer *storage.Error
	if !errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch answer.Code {
	case "AccessDenied":
		return fmt.Errorf("%s: %w (%w)", what, system.ErrOwnRights, err)
	case "NoSuchBucket":
		return fmt.Errorf("%s: %w (%w)", what, system.ErrNoBucket, err)
	}
	return noteError(what, err)
}

// eachVersion calls do for every version and delete marker below a prefix, which rank
// counts by key from the newest, 1.
func (s *System) eachVersion(ctx context.Context, prefix string, do func(e *storage.Entry, name string, rank int) error) error {
	q := map[string]string{"prefix": prefix}
	last, rank := "", 0
	for {
		page, err := s.own.List(ctx, &storage.List{Bucket: s.bucket, Versions: true, Parameters: q})
		if err != nil {
			return listError("list notes", err)
		}
		for i := range page.Entries {
			name, err := url.QueryUnescape(page.Entries[i].Key)
			if err != nil {
				continue
			}
			if rank++; name != last {
				last, rank = name, 1
			}
			if err := do(&page.Entries[i], name, rank); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return nil
		}
		marker, err := url.QueryUnescape(page.NextKeyMarker)
		if err != nil {
			return fmt.Errorf("list versions: marker: %w", storage.ErrListing)
		}
		q = map[string]string{"prefix": prefix, "key-marker": marker, "version-id-marker": page.NextVersionMarker}
	}
}

// DeleteNotes implements system.Objects.
func (s *System) DeleteNotes(ctx context.Context, prefix string, keep func(name string) bool) (deleted int, err error) {
	err = s.eachVersion(ctx, prefix, func(e *storage.Entry, name string, _ int) error {
		if keep != nil && keep(name) {
			return nil
		}
		deleted++
		_, err := s.own.Delete(ctx, &storage.Delete{Name: s.name(name), Version: e.VersionID})
		if err != nil {
			return objectError("delete note", err)
		}
		return nil
	})
	return deleted, err
}

// Hide removes a system object and keeps its versions, which is no error if there is
// none.
func (s *System) Hide(ctx context.Context, name string) error {
	if _, err := s.own.Delete(ctx, &storage.Delete{Name: s.name(name)}); err != nil {
		return objectError("hide system object", err)
	}
	return nil
}

// PruneVersions removes old versions, as upstream.Service does.
func (s *System) PruneVersions(ctx context.Context, prefix string, before time.Time, dryRun bool, removed func(what, name string)) error {
	return s.eachVersion(ctx, prefix, func(e *storage.Entry, name string, rank int) error {
		modified, err := time.Parse(time.RFC3339, e.LastModified)
		old := rank > maxVersions || rank > keepVersions && err == nil && modified.Before(before)
		if !old || e.IsLatest == "true" || e.VersionID == nullVersion {
			return nil
		}
		removed("version", name+" "+e.VersionID)
		if dryRun {
			return nil
		}
		_, err = s.own.Delete(ctx, &storage.Delete{Name: s.name(name), Version: e.VersionID})
		return noteError("remove version", err)
	})
}

// What PruneVersions leaves, as upstream.Service does.
const (
	keepVersions = 32
	maxVersions  = 1000
)

// SweepCanaries removes nothing: Check leaves nothing.
func (s *System) SweepCanaries(context.Context, time.Time) (int, error) { return 0, nil }

// Check says that the storage is fit.
func (s *System) Check(context.Context) error { return nil }

// MayWrite says whether a system object could be written now.
func (s *System) MayWrite(ctx context.Context) error {
	err := s.own.May(ctx, &storage.Question{Right: storage.WriteObject, Name: s.name("probe")})
	if err != nil {
		return listError("write to the system bucket", err)
	}
	return nil
}
