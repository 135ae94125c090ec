package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

const (
	// keepVersions is how many versions of a system object are kept whatever their age.
	keepVersions = 32
	// maxVersions is how many are kept at most: MinIO refuses to write an object of
	// too many, and slows down long before.
	maxVersions = 1000
)

// PruneVersions removes old versions of the objects whose names begin with prefix:
// all but the newest 32, and of those only what was stored before a time, unless
// there are more than a thousand. The current one always stays. removed is called for
// each; with dryRun it is all that happens. storage.ErrUnreachable, storage.ErrListing.
func (s *Service) PruneVersions(ctx context.Context, prefix string, before time.Time, dryRun bool, removed func(what, name string)) error {
	var from storage.Marker
	name, rank := "", 0
	for {
		parameters := map[string]string{"versions": "", "prefix": prefix}
		from.Set(parameters)
		query := url.Values{}
		for name, value := range parameters {
			query.Set(name, value)
		}
		page, err := s.list(ctx, query)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		for _, e := range page.Entries {
			if e.Key != name {
				name, rank = e.Key, 0
			}
			rank++
			if e.IsLatest == "true" || !prunable(&e, rank, before) {
				continue
			}
			if err := s.pruneVersion(ctx, &e, dryRun, removed); err != nil {
				return err
			}
		}
		next, more, err := page.Behind(from)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		if !more {
			return nil
		}
		from = next
	}
}

func prunable(e *storage.Entry, rank int, before time.Time) bool {
	modified, err := time.Parse(time.RFC3339, e.LastModified)
	return rank > maxVersions || rank > keepVersions && err == nil && modified.Before(before)
}

func (s *Service) pruneVersion(ctx context.Context, e *storage.Entry, dryRun bool, removed func(what, name string)) error {
	name, err := url.QueryUnescape(e.Key)
	if err != nil || e.VersionID == "" || e.VersionID == "null" {
		return nil // none of ours
	}
	removed("version", name+" "+e.VersionID)
	if dryRun {
		return nil
	}
	r := s.request(http.MethodDelete, name)
	r.Query = url.Values{"versionId": {e.VersionID}}
	resp, err := s.client.Do(ctx, r)
	if err != nil {
		return fmt.Errorf("remove version: %w", err)
	}
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusNotFound {
		return fmt.Errorf("remove version: %w (%w)", storage.ErrUnreachable, ReadError(resp))
	}
	Discard(resp)
	return nil
}
