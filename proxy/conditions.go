package proxy

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// checkRead judges the conditions of a GET or HEAD on what the client knows of
// the object (RFC 9110, section 13.2.2). errPrecondition, errNotModified.
func checkRead(h http.Header, etag string, modified time.Time) error {
	modified = modified.Truncate(time.Second)
	ifMatch, ifNoneMatch := list(h, "If-Match"), list(h, "If-None-Match")
	switch {
	case ifMatch != "":
		if !etagListed(ifMatch, etag) {
			return errPrecondition
		}
	case h.Get("If-Unmodified-Since") != "":
		if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && modified.After(t) {
			return errPrecondition
		}
	}
	switch {
	case ifNoneMatch != "":
		if etagListed(ifNoneMatch, etag) {
			return errNotModified
		}
	case h.Get("If-Modified-Since") != "":
		if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil && !modified.After(t) {
			return errNotModified
		}
	}
	return nil
}

// readConditions judges the conditions of h; an answer that says they do not
// hold says what would.
func readConditions(w http.ResponseWriter, h http.Header, etag string, modified time.Time) error {
	err := checkRead(h, etag, modified)
	if err != nil {
		w.Header().Set("ETag", etag)
		w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	}
	return err
}

// list joins a header that was sent in several lines.
func list(h http.Header, name string) string { return strings.Join(h.Values(name), ",") }

// rangeStillValid says whether a Range header holds: If-Range may tie it to a
// version of the object.
func rangeStillValid(h http.Header, etag string, modified time.Time) bool {
	condition := h.Get("If-Range")
	if condition == "" {
		return true
	}
	if t, err := http.ParseTime(condition); err == nil {
		return modified.Truncate(time.Second).Equal(t)
	}
	return strings.Trim(condition, `"`) == strings.Trim(etag, `"`) // a strong comparison
}

// etagListed says whether a header's list of ETags, or *, names etag.
func etagListed(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.Trim(strings.TrimPrefix(item, "W/"), `"`) == strings.Trim(etag, `"`) {
			return true
		}
	}
	return false
}

// conditions judges a PUT's If-Match and If-None-Match on the ETag the client
// knows, and pins them upstream by the stored one. The look-up uses the service
// credential and reveals nothing but 412 or 404.
func (u *upload) conditions(ctx context.Context) error {
	h := u.request.Header
	ifMatch, ifNoneMatch := h.Get("If-Match"), h.Get("If-None-Match")
	if (ifMatch == "" || ifMatch == "*") && (ifNoneMatch == "" || ifNoneMatch == "*") {
		u.match = ifMatch
		return nil
	}
	current, err := u.server.currentETags(ctx, u.request)
	if err != nil {
		return err
	}
	switch {
	case current == nil && ifMatch != "":
		return &apiError{404, "NoSuchKey", "The specified key does not exist.", nil}
	case current == nil:
		return nil
	case ifMatch != "" && !etagListed(ifMatch, current.client),
		ifNoneMatch != "" && etagListed(ifNoneMatch, current.client):
		return errPrecondition
	}
	u.match = current.upstream
	return nil
}

// etags are the two names of one state of an object.
type etags struct{ client, upstream string }

// currentETags looks an object's ETags up, nil if there is no object.
func (s *Server) currentETags(ctx context.Context, r *request) (*etags, error) {
	return s.etagsOf(ctx, r, "")
}

// etagsOf looks the ETags of one version up, "" for the current one.
func (s *Server) etagsOf(ctx context.Context, r *request, version string) (*etags, error) {
	up := r.upstreamRequest(http.MethodHead)
	up.Credential = &s.opts.Service
	if version != "" {
		up.Query = url.Values{"versionId": {version}}
	}
	resp, err := s.opts.Upstream.Do(ctx, up)
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
	stored := resp.Header.Get("ETag")
	rec, err := recordOf(resp)
	if err != nil || rec == nil || rec.Mode != sse.ModeS3 {
		return &etags{client: clientETag(rec, nil, stored), upstream: stored}, err
	}
	if err := s.mayOpen(ctx, r.caller, r.bucket, rec); err != nil {
		return nil, err
	}
	o, err := s.openObject(ctx, r.name(), rec, stored, nil, false)
	if err != nil {
		return nil, err
	}
	o.zero()
	return &etags{client: o.etag(), upstream: stored}, nil
}
