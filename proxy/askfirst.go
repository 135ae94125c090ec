package proxy

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// What upstream told the service credential may show only to callers whom upstream
// would have told it. So upstream is asked first, as the caller, for something of
// the same right that cannot be done: it judges rights before all else.

const (
	// noETag is one that no object at MinIO has: its own are 32 digits.
	noETag = `"bucketseal-asks-whether-the-caller-may-write"`
	// noMD5 is of no body that is sent: should the condition be ignored, nothing is
	// stored all the same.
	noMD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
)

// mayPut asks upstream, as the caller, for a write of nothing that cannot succeed.
// It returns upstream's refusal, nil if only what is impossible kept it from it.
func (s *Server) mayPut(ctx context.Context, r *request) error {
	up := r.upstreamRequest(http.MethodPut)
	up.Header = r.writeHeaders()
	up.Header.Set("If-Match", noETag)
	up.Header.Set("Content-Md5", noMD5)
	return s.ask(ctx, up, "PreconditionFailed", "NoSuchKey", "BadDigest")
}

// ask sends what upstream cannot do. Errors with the codes that say so are nil, and
// so is its 204 to the end of an upload that does not exist.
func (s *Server) ask(ctx context.Context, up *upstream.Request, impossible ...string) error {
	resp, err := s.opts.Upstream.Do(ctx, up)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNoContent && up.Method == http.MethodDelete:
		upstream.Discard(resp)
		return nil
	case resp.StatusCode < http.StatusBadRequest:
		upstream.Discard(resp)
		return fmt.Errorf("upstream did what cannot be done, with status %d: %w", resp.StatusCode, errUpstreamLied)
	}
	answer := upstream.ReadError(resp)
	if slices.Contains(impossible, answer.Code) {
		return nil
	}
	return answer
}

// refusal returns the answer to a write that a rule, a key or the access to it
// forbids: upstream's own refusal, if the caller may not write there at all.
func (s *Server) refusal(ctx context.Context, r *request, err error) error {
	if denied := s.mayPut(ctx, r); denied != nil {
		return denied
	}
	return err
}
