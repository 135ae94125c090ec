package proxy

import (
	"context"
	"net/http"
	"net/url"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// writeConditions are a write's If-Match and If-None-Match.
type writeConditions struct{ match, noneMatch string }

func conditionsOf(h http.Header) writeConditions {
	return writeConditions{list(h, "If-Match"), list(h, "If-None-Match")}
}

// none says that there are none, existence that they ask at most whether there is
// an object, which upstream can judge.
func (c writeConditions) none() bool { return c.match == "" && c.noneMatch == "" }

func (c writeConditions) existence() bool {
	return (c.match == "" || c.match == "*") && (c.noneMatch == "" || c.noneMatch == "*")
}

// judge says whether the conditions hold for the object that is there, nil for
// none. errNoSuchKey, errPrecondition.
func (c writeConditions) judge(current *etags) error {
	switch {
	case current == nil && c.match != "":
		return errNoSuchKey
	case current == nil:
		return nil
	case c.match != "" && !etagListed(c.match, current.client), c.noneMatch != "" && etagListed(c.noneMatch, current.client):
		return errPrecondition
	}
	return nil
}

// conditions judges a PUT's If-Match and If-None-Match, once upstream says that the
// caller may write: what is there shows in the answer.
func (u *upload) conditions(ctx context.Context) error {
	if !conditionsOf(u.request.Header).existence() {
		if err := u.server.mayPut(ctx, u.request); err != nil {
			return err
		}
	}
	return u.pin(ctx)
}

// pin judges the conditions of a caller who may write, on the ETag that the client
// knows, and pins them upstream by the stored one. The look-up uses the service
// credential: who may write need not be one who may read.
func (u *upload) pin(ctx context.Context) error {
	asked := conditionsOf(u.request.Header)
	if asked.existence() {
		u.match = asked.match
		return nil
	}
	s := u.server
	current, err := s.etagsOf(ctx, u.request, &s.opts.Service, "")
	if err != nil {
		return err
	}
	if err := asked.judge(current); err != nil {
		return err
	}
	if current != nil {
		u.match = current.upstream
	}
	return nil
}

// readerConditions judges the conditions of a request that upstream cannot judge:
// on a DELETE, and on the destination of a copy. As on AWS they take the right to
// read the object, so upstream is asked as the caller. Best effort: nothing pins
// the object until upstream acts.
func (s *Server) readerConditions(ctx context.Context, r *request, asked writeConditions, version string) error {
	if asked.none() {
		return nil
	}
	current, err := s.etagsOf(ctx, r, r.caller.credential, version)
	if err != nil {
		return err
	}
	return asked.judge(current)
}

// deleteObject serves DeleteObject: forwarded, but for If-Match, which upstream
// ignores.
func (s *Server) deleteObject(w http.ResponseWriter, r *request) error {
	asked := writeConditions{match: list(r.Header, "If-Match")}
	if err := s.readerConditions(r.Context(), r, asked, r.query.Get("versionId")); err != nil {
		return err
	}
	return s.forward(w, r)
}

// etags are the two names of one state of an object.
type etags struct{ client, upstream string }

// etagsOf looks the ETags of one version up as cred, "" for the current one; nil
// if there is no object.
func (s *Server) etagsOf(ctx context.Context, r *request, cred *storage.Credential, version string) (*etags, error) {
	up := r.upstreamRequest(http.MethodHead)
	up.Credential = cred
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
	if err != nil || rec == nil || rec.Mode != sse.ModeS3 && !needsManifest(rec, false) {
		return &etags{client: clientETag(rec, nil, stored), upstream: stored}, err
	}
	if rec.Mode != sse.ModeS3 { // no key is needed for it
		ref := manifestRef(r.name(), rec, stored)
		if _, err := s.manifests.Find(ctx, ref, s.dataOf(r.name(), resp)); err != nil && mayPass(err) {
			return nil, err
		}
		return &etags{client: clientETag(rec, nil, s.ownETag(ref, stored)), upstream: stored}, nil
	}
	o, err := s.openObject(ctx, r.caller.keys(), r.name(), rec, resp, nil, false)
	if err != nil {
		return nil, err
	}
	o.zero()
	return &etags{client: o.etag(), upstream: stored}, nil
}
