package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// noteHeader holds a note's content. It travels in the query string, where MinIO
// takes up to 32 KiB, and comes back as a header and in listings.
const noteHeader = "X-Amz-Meta-Sealed"

// Note is a small system object whose content is in its metadata, so that a
// listing shows it.
type Note struct {
	// Name is the object's name in the system bucket.
	Name string
	// Value is the content, in letters that need no escaping.
	Value string
}

// PutNote stores a note that must not exist yet: ErrConflict. ErrUnreachable.
func (s *Service) PutNote(ctx context.Context, name, value string) error {
	r := s.request(http.MethodPut, name)
	r.Query = url.Values{noteHeader: {value}}
	r.Header.Set("If-None-Match", "*")
	resp, err := s.client.Do(ctx, r)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusPreconditionFailed {
		Discard(resp)
		return fmt.Errorf("write note: %w", ErrConflict)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("write note: %w (%w)", ErrUnreachable, ReadError(resp))
	}
	Discard(resp)
	return nil
}

// GetNote reads a note. ErrNotFound, ErrUnreachable.
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
		return "", fmt.Errorf("read note: %w", ErrNotFound)
	default:
		return "", fmt.Errorf("read note: %w (%w)", ErrUnreachable, ReadError(resp))
	}
}

// ListNotes returns up to 1,000 notes whose names begin with prefix and come
// after the name after, in order, and whether there are more.
func (s *Service) ListNotes(ctx context.Context, prefix, after string) (notes []Note, more bool, err error) {
	query := url.Values{"list-type": {"2"}, "metadata": {"true"}, "prefix": {prefix}, "start-after": {after}}
	page, err := s.client.List(ctx, s.request(http.MethodGet, ""), query)
	if err != nil {
		return nil, false, fmt.Errorf("list notes: %w", err)
	}
	for _, e := range page.Entries {
		name, err := url.QueryUnescape(e.Key)
		if err != nil {
			continue // no name of ours
		}
		for _, m := range e.Metadata {
			if m.Name == noteHeader {
				notes = append(notes, Note{Name: name, Value: m.Value})
			}
		}
	}
	return notes, page.Truncated, nil
}

func (s *Service) request(method, name string) *Request {
	return &Request{Method: method, Bucket: s.bucket, Key: name, Header: make(http.Header), Credential: &s.cred}
}
