package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// noteHeader holds a note's content. It travels in the query string, where MinIO
// takes up to 32 KiB, and comes back as a header and in listings.
const noteHeader = "X-Amz-Meta-Sealed"

// PutNote stores a note that must not exist yet: system.ErrConflict. body is what does
// not fit a listing; it may be empty. storage.ErrUnreachable.
func (s *Service) PutNote(ctx context.Context, name, value string, body []byte) error {
	r := s.request(http.MethodPut, name)
	r.Header.Set("If-None-Match", "*")
	return s.putNote(ctx, r, value, body)
}

// ReplaceNote stores a note whether or not one is there, whose version stays.
// storage.ErrUnreachable.
func (s *Service) ReplaceNote(ctx context.Context, name, value string, body []byte) error {
	return s.putNote(ctx, s.request(http.MethodPut, name), value, body)
}

// ChangeNote stores a note in the place of one whose ETag is known, whose version stays.
// system.ErrConflict if another one is there, or none; storage.ErrUnreachable.
func (s *Service) ChangeNote(ctx context.Context, name, value string, body []byte, etag string) error {
	r := s.request(http.MethodPut, name)
	r.Header.Set("If-Match", `"`+etag+`"`)
	return s.putNote(ctx, r, value, body)
}

func (s *Service) putNote(ctx context.Context, r *Request, value string, body []byte) error {
	r.Query = url.Values{noteHeader: {value}}
	r.Body, r.Length = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	resp, err := s.client.Do(ctx, r)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusPreconditionFailed {
		Discard(resp)
		return fmt.Errorf("write note: %w", system.ErrConflict)
	}
	if resp.StatusCode != http.StatusOK {
		answer := ReadError(resp)
		if answer.Code == minio.NoSuchKey { // what was to be changed is gone
			return fmt.Errorf("write note: %w (%w)", system.ErrConflict, answer)
		}
		return fmt.Errorf("write note: %w (%w)", storage.ErrUnreachable, answer)
	}
	Discard(resp)
	return nil
}

// GetNoteBody reads a note's body. system.ErrNotFound, storage.ErrUnreachable.
func (s *Service) GetNoteBody(ctx context.Context, name string) ([]byte, error) {
	body, _, err := s.Get(ctx, name, "")
	return body, err
}

// DeleteNotes removes every version of every object whose name begins with
// prefix, and satisfies keep's opposite; keep may be nil. It returns how many.
func (s *Service) DeleteNotes(ctx context.Context, prefix string, keep func(name string) bool) (deleted int, err error) {
	found := make(chan minio.ObjectInfo)
	listed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(found)
		listed <- s.listVersions(ctx, prefix, keep, found, &deleted)
	}()
	for result := range s.core.RemoveObjects(ctx, s.bucket, found, minio.RemoveObjectsOptions{}) {
		if err == nil {
			err = serviceError("delete note", result.Err)
		}
	}
	cancel()
	if e := <-listed; err == nil && e != nil && !errors.Is(e, context.Canceled) {
		err = e
	}
	return deleted, err
}

func (s *Service) listVersions(ctx context.Context, prefix string, keep func(string) bool, found chan<- minio.ObjectInfo, n *int) error {
	for info := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, WithVersions: true, Recursive: true}) {
		if info.Err != nil {
			return serviceError("list notes", info.Err)
		}
		if keep != nil && keep(info.Key) {
			continue
		}
		select {
		case found <- info:
			*n++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// GetNote reads a note. system.ErrNotFound, storage.ErrUnreachable.
func (s *Service) GetNote(ctx context.Context, name string) (string, error) {
	resp, err := s.client.Do(ctx, s.request(http.MethodHead, name))
	if err != nil {
		return "", err
	}
	defer Discard(resp)
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Header.Get(noteHeader), nil
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "", fmt.Errorf("read note: %w", system.ErrNotFound)
	default:
		return "", fmt.Errorf("read note: %w (%w)", storage.ErrUnreachable, ReadError(resp))
	}
}

// ListNotes returns up to 1,000 notes whose names begin with prefix and come
// after the name after, in order, and whether there are more.
func (s *Service) ListNotes(ctx context.Context, prefix, after string) (notes []system.Note, more bool, err error) {
	query := url.Values{"list-type": {"2"}, "metadata": {"true"}, "prefix": {prefix}, "start-after": {after}}
	page, err := s.list(ctx, query)
	if err != nil {
		return nil, false, fmt.Errorf("list notes: %w", err)
	}
	for _, e := range page.Entries {
		name, err := url.QueryUnescape(e.Key)
		if err != nil {
			continue // no name of ours
		}
		if name <= after || !strings.HasPrefix(name, prefix) { // who continues behind the last one would never end
			return nil, false, fmt.Errorf("list notes: %w (%q is listed behind %q)", storage.ErrListing, name, after)
		}
		after = name
		modified, _ := time.Parse(time.RFC3339, e.LastModified)
		note := system.Note{Name: name, Modified: modified, ETag: strings.Trim(e.ETag, `"`), Size: e.Size}
		for _, m := range e.Metadata {
			if m.Name == noteHeader {
				note.Value = m.Value
			}
		}
		notes = append(notes, note)
	}
	if page.Truncated && len(page.Entries) == 0 { // whoever reads on would take it for the end
		return nil, false, fmt.Errorf("list notes: %w (an empty page, and more)", storage.ErrListing)
	}
	return notes, page.Truncated, nil
}

// list lists the system bucket. storage.ErrListing, storage.ErrUnreachable, and the errors of MayWrite.
func (s *Service) list(ctx context.Context, query url.Values) (*storage.Page, error) {
	page, err := s.client.List(ctx, s.request(http.MethodGet, ""), query)
	var answer *storage.Error
	if errors.As(err, &answer) && !errors.Is(err, storage.ErrUnreachable) {
		return nil, asked(answer)
	}
	return page, err
}

func (s *Service) request(method, name string) *Request {
	return &Request{Method: method, Bucket: s.bucket, Key: name, Header: make(http.Header), Credential: &s.cred}
}
