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
	"github.com/bucketseal/bucketseal/proxy/upstream"
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
)

// Sweep removes from the system bucket what ended uploads, overwritten objects
// and crashed writes left there, if it is older than age, and calls report for
// each thing. With dryRun it only reports.
func (s *Server) Sweep(ctx context.Context, age time.Duration, dryRun bool, report func(what, name string)) error {
	if err := s.setup.ensure(ctx); err != nil {
		return err
	}
	now, err := s.opts.Upstream.Clock(ctx)
	if err != nil {
		return err
	}
	sweeper := manifest.Sweeper{
		System: s.system, Lookups: sweepLookups{s}, Before: now.Add(-age), DryRun: dryRun, Report: report,
	}
	if err := sweeper.Run(ctx); err != nil {
		return err
	}
	if !dryRun {
		if _, err := s.service.SweepCanaries(ctx, time.Now().Add(-sessionGrace)); err != nil {
			return err
		}
	}
	return s.identities.Sweep(ctx, now.Add(-sessionGrace), dryRun, report)
}

// sweepInBackground sweeps again and again until ctx ends.
func (s *Server) sweepInBackground(ctx context.Context) {
	for {
		wait := sweepInterval + time.Duration(rand.Int64N(int64(sweepInterval/2))) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		n := 0
		err := s.Sweep(ctx, SweepAge, false, func(string, string) { n++ })
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sweep of the system bucket ended early", "removed", n, "error", err)
			continue
		}
		s.log.Info("swept the system bucket", "removed", n)
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

// UploadExists implements manifest.Lookups.
func (l sweepLookups) UploadExists(ctx context.Context, object sse.Name, id string) (bool, error) {
	up := l.s.serviceRequest(http.MethodGet, object, url.Values{"uploadId": {id}, "max-parts": {"1"}})
	_, err := l.s.listUpstreamParts(ctx, up)
	if err == nil {
		return true, nil
	}
	var answer *upstream.Error
	if errors.Is(err, errNoSuchUpload) || errors.As(err, &answer) && answer.Code == "NoSuchBucket" {
		return false, nil
	}
	return false, err
}

// Manifests implements manifest.Lookups: all versions that upstream lists, and
// the current one, which it is asked for by name.
func (l sweepLookups) Manifests(ctx context.Context, object sse.Name) (refs []manifest.Ref, err error) {
	refs, err = l.manifests(ctx, listedName(object.Bucket, object.Key)) // it may lie under a name of before
	for i := range refs {
		refs[i].Name = object
	}
	return refs, err
}

func (l sweepLookups) manifests(ctx context.Context, object sse.Name) ([]manifest.Ref, error) {
	var refs []manifest.Ref
	current, err := l.current(ctx, object, "")
	if err != nil {
		return nil, err
	}
	refs = append(refs, current...)
	key, version := "", ""
	for {
		query := url.Values{"versions": {""}, "metadata": {"true"}, "prefix": {object.Key}}
		if key != "" {
			query.Set("key-marker", key)
			query.Set("version-id-marker", version)
		}
		page, err := l.s.opts.Upstream.List(ctx, l.s.serviceRequest(http.MethodGet, sse.Name{Bucket: object.Bucket}, nil), query)
		if err != nil {
			var answer *upstream.Error
			if errors.As(err, &answer) && answer.Code == "NoSuchBucket" {
				return refs, nil
			}
			return nil, err
		}
		for _, e := range page.Entries {
			name, err := url.QueryUnescape(e.Key)
			if err != nil || name != object.Key || e.DeleteMarker {
				continue
			}
			found, err := l.current(ctx, object, e.VersionID)
			if err != nil {
				return nil, err
			}
			refs = append(refs, found...)
		}
		last := ""
		if n := len(page.Entries); n > 0 {
			last, _ = url.QueryUnescape(page.Entries[n-1].Key)
		}
		if !page.Truncated || last != object.Key {
			return refs, nil
		}
		if key, err = url.QueryUnescape(page.NextKeyMarker); err != nil {
			return nil, fmt.Errorf("marker of a listing: %w", err)
		}
		version = page.NextVersionMarker
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
			return false, err
		}
		upstream.Discard(resp)
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("X-Amz-Delete-Marker") == "true" {
			return true, nil
		}
	}
	return false, nil
}

// current returns the manifest that one version of an object names, "" for the
// current one.
func (l sweepLookups) current(ctx context.Context, object sse.Name, version string) ([]manifest.Ref, error) {
	query := url.Values{}
	if version != "" {
		query.Set("versionId", version)
	}
	resp, err := l.s.opts.Upstream.Do(ctx, l.s.serviceRequest(http.MethodHead, object, query))
	if err != nil {
		return nil, err
	}
	defer upstream.Discard(resp)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return nil, nil
	default:
		return nil, upstream.ReadError(resp)
	}
	rec, err := recordOf(resp)
	if err != nil || rec == nil || rec.Manifest == (sse.ManifestID{}) {
		return nil, err
	}
	return []manifest.Ref{manifestRef(object, rec, resp.Header.Get("ETag"))}, nil
}
