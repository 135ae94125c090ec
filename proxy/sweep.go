package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	// SweepAge is how old a left-over must be by default: no write lasts longer
	// between its manifest and its end.
	SweepAge = 24 * time.Hour
	// sweepInterval is the pace of the background pass; each proxy adds up to half
	// of it, so that several do not sweep at once.
	sweepInterval = 6 * time.Hour
	// sessionGrace is how long ago a session must have ended: clocks differ.
	sessionGrace = time.Hour
	// maxSkipsLogged bounds the lines of the log that one background pass writes about
	// what it cannot judge; bucketseal object sweep prints them all.
	maxSkipsLogged = 20
)

// SweepOptions say what a sweep does.
type SweepOptions struct {
	// Age is how old what is removed must be, and how long ago an earlier sweep found
	// that nothing needs it.
	Age time.Duration
	// DryRun only reports.
	DryRun bool
	// Removed is called for each thing that is removed, Skipped for what cannot be
	// judged and stays. Both are required.
	Removed func(what, name string)
	Skipped func(what, name string, err error)
}

// Sweep removes from the system bucket what ended uploads, overwritten objects
// and crashed writes left there, and old versions of indexes. It returns how much it
// found that waits for a later sweep: one look is no proof.
func (s *Server) Sweep(ctx context.Context, o SweepOptions) (waiting int, err error) {
	if err := s.setup.ensure(ctx); err != nil {
		return 0, err
	}
	now, err := s.opts.Upstream.Clock(ctx)
	if err != nil {
		return 0, err
	}
	sweeper := manifest.Sweeper{
		System: s.system, Lookups: sweepLookups{s}, Age: o.Age, Now: now, Ours: time.Now(),
		DryRun: o.DryRun, Report: o.Removed, Skip: o.Skipped,
	}
	if waiting, err = sweeper.Run(ctx); err != nil {
		return waiting, err
	}
	ended := now // by the clock that is behind: a session that lives must not lose its note
	if ours := time.Now(); ours.Before(ended) {
		ended = ours
	}
	if err := s.identities.Sweep(ctx, ended.Add(-sessionGrace), o.DryRun, o.Removed); err != nil {
		return waiting, err
	}
	if !o.DryRun {
		if _, err := s.service.SweepCanaries(ctx, time.Now().Add(-sessionGrace)); err != nil {
			return waiting, err
		}
	}
	for _, prefix := range indexes() {
		if err := s.service.PruneVersions(ctx, prefix, now.Add(-o.Age), o.DryRun, o.Removed); err != nil {
			return waiting, err
		}
	}
	return waiting, nil
}

// indexes are the beginnings of the names of system objects that are changed again
// and again, each change leaving a version.
func indexes() []string { return []string{vault.RulesName, "identities/index", "keys/", "sweep/"} }

// sweepInBackground sweeps again and again until ctx ends.
func (s *Server) sweepInBackground(ctx context.Context) {
	for {
		wait := sweepInterval + time.Duration(rand.Int64N(int64(sweepInterval/2))) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		removed, skipped := 0, 0
		waiting, err := s.Sweep(ctx, SweepOptions{
			Age: SweepAge, Removed: func(string, string) { removed++ },
			Skipped: func(what, name string, err error) {
				if skipped++; skipped <= maxSkipsLogged {
					s.log.Warn("the sweep of the system bucket leaves what it cannot judge", "what", what, "name", name, "error", err)
				}
			},
		})
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sweep of the system bucket ended early", "removed", removed, "skipped", skipped, "error", err)
			continue
		}
		s.log.Info("swept the system bucket", "removed", removed, "waiting", waiting, "skipped", skipped)
	}
}

// sweepLookups asks upstream under the service identity.
type sweepLookups struct{ s *Server }

// serviceRequest is a request for an object under the service identity.
func (s *Server) serviceRequest(method string, object sse.Name, query url.Values) *upstream.Request {
	return &upstream.Request{
		Method: method, Bucket: object.Bucket, Key: object.Key, Query: query,
		Header: make(http.Header), Credential: &s.opts.Service,
	}
}

// uncertain marks an answer of upstream's that concerns the one object, so that the
// sweep goes on with others. No answer at all is another matter.
func uncertain(err error) error {
	var answer *storage.Error
	if errors.As(err, &answer) || errors.Is(err, storage.ErrListing) || errors.Is(err, sse.ErrRecord) {
		return fmt.Errorf("%w (%w)", manifest.ErrUncertain, err)
	}
	return err
}

// UploadExists implements manifest.Lookups.
func (l sweepLookups) UploadExists(ctx context.Context, object sse.Name, id string) (bool, error) {
	up := l.s.serviceRequest(http.MethodGet, object, url.Values{"uploadId": {id}, "max-parts": {"1"}})
	_, err := l.s.listUpstreamParts(ctx, up)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, errNoSuchUpload) || isNoSuchBucket(err) {
		return false, nil
	}
	return false, uncertain(err)
}

func isNoSuchBucket(err error) bool {
	var answer *storage.Error
	return errors.As(err, &answer) && answer.Code == "NoSuchBucket"
}

// Manifests implements manifest.Lookups: of all versions that upstream lists, and
// of the current one, which it is asked for by name.
func (l sweepLookups) Manifests(ctx context.Context, object sse.Name) (refs []manifest.Ref, err error) {
	refs, err = l.manifests(ctx, listedName(object.Bucket, object.Key)) // it may lie under a name of before
	for i := range refs {
		refs[i].Name = object
	}
	return refs, err
}

func (l sweepLookups) manifests(ctx context.Context, object sse.Name) ([]manifest.Ref, error) {
	versions, err := l.versions(ctx, object)
	if err != nil {
		return nil, uncertain(err)
	}
	var refs []manifest.Ref
	for _, version := range versions {
		ref, there, err := l.named(ctx, object, version)
		if err == nil && !there {
			err = fmt.Errorf("version %q is listed and does not exist: %w", version, manifest.ErrUncertain)
		}
		if err != nil {
			return nil, uncertain(err)
		}
		refs = append(refs, ref)
	}
	ref, _, err := l.named(ctx, object, "")
	return append(refs, ref), uncertain(err)
}

// versions returns the ids of an object's versions but delete markers, none if
// there is no such bucket. No metadata is asked for: some names of it make a page
// unreadable.
func (l sweepLookups) versions(ctx context.Context, object sse.Name) (ids []string, err error) {
	key, version := "", ""
	for {
		query := url.Values{"versions": {""}, "prefix": {object.Key}}
		if key != "" {
			query.Set("key-marker", key)
			query.Set("version-id-marker", version)
		}
		page, err := l.s.opts.Upstream.List(ctx, l.s.serviceRequest(http.MethodGet, sse.Name{Bucket: object.Bucket}, nil), query)
		if isNoSuchBucket(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		last := ""
		for _, e := range page.Entries {
			if last, err = url.QueryUnescape(e.Key); err != nil {
				return nil, fmt.Errorf("key in a listing: %w (%w)", storage.ErrListing, err)
			}
			if last == object.Key && !e.DeleteMarker {
				ids = append(ids, e.VersionID)
			}
		}
		if !page.Truncated || last != object.Key {
			return ids, nil
		}
		nextKey, err := url.QueryUnescape(page.NextKeyMarker)
		if err != nil || nextKey == "" || nextKey == key && page.NextVersionMarker == version {
			return nil, fmt.Errorf("marker of a listing: %w (%v)", storage.ErrListing, err)
		}
		key, version = nextKey, page.NextVersionMarker
	}
}

// Hidden implements manifest.Lookups. Below a key that exists MinIO lists nothing,
// not even below one of which a delete marker is left, and odd things where a name is
// built as its own folders' are.
func (l sweepLookups) Hidden(ctx context.Context, object sse.Name) (bool, error) {
	key := listedName(object.Bucket, object.Key).Key
	if strings.Contains(key, dirSuffix) || hasEmptySegment(key) {
		return true, nil
	}
	for i := 1; i < len(key)-1; i++ {
		if key[i] != '/' {
			continue
		}
		resp, err := l.s.opts.Upstream.Do(ctx, l.s.serviceRequest(http.MethodHead, sse.Name{Bucket: object.Bucket, Key: key[:i]}, url.Values{}))
		if err != nil {
			return false, err // no answer: it ends the sweep
		}
		upstream.Discard(resp)
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("X-Amz-Delete-Marker") == "true" {
			return true, nil
		}
	}
	return false, nil
}

// named returns the manifest that one version of an object names, "" for the
// current one; the zero Ref if it names none. there says whether there is one.
func (l sweepLookups) named(ctx context.Context, object sse.Name, version string) (ref manifest.Ref, there bool, err error) {
	query := url.Values{}
	if version != "" {
		query.Set("versionId", version)
	}
	resp, err := l.s.opts.Upstream.Do(ctx, l.s.serviceRequest(http.MethodHead, object, query))
	if err != nil {
		return ref, false, err
	}
	defer upstream.Discard(resp)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return ref, false, nil
	default:
		return ref, false, upstream.ReadError(resp)
	}
	rec, err := recordOf(resp)
	if err != nil || rec == nil || rec.Manifest == (sse.ManifestID{}) {
		return ref, true, err
	}
	return manifestRef(object, rec, resp.Header.Get("ETag")), true, nil
}
