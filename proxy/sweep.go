package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// sessionGrace is how long ago a session must have ended: clocks differ.
const sessionGrace = time.Hour

// sweepOthers implements vault.SweepOthers: sessions that ended, canaries, and old
// versions of indexes.
func (s *Server) sweepOthers(ctx context.Context, o *vault.SweepOptions, now time.Time) error {
	ended := now // by the clock that is behind: a session that lives must not lose its note
	if ours := time.Now(); ours.Before(ended) {
		ended = ours
	}
	if err := s.identities.Sweep(ctx, ended.Add(-sessionGrace), o.DryRun, o.Removed); err != nil {
		return err
	}
	if !o.DryRun {
		if _, err := s.service.SweepCanaries(ctx, time.Now().Add(-sessionGrace)); err != nil {
			return err
		}
	}
	for _, prefix := range indexes() {
		if err := s.service.PruneVersions(ctx, prefix, now.Add(-o.Age), o.DryRun, o.Removed); err != nil {
			return err
		}
	}
	return nil
}

// indexes are the beginnings of the names of system objects that are changed again
// and again, each change leaving a version.
func indexes() []string { return []string{vault.RulesName, "identities/index", "keys/", "sweep/"} }

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
	err := l.s.listUpstreamParts(ctx, up)
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
