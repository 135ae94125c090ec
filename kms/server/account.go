package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/audit"
)

// errUnaudited says that a request is refused because nobody could write it down.
var errUnaudited = fmt.Errorf("%w: the audit log is required and cannot be written", errBusy)

// Auditor is an audit log with a line for every request. *audit.Log is one.
type Auditor interface {
	audit.Recorder
	// Required says whether Record waits until a line is durable.
	Required() bool
}

// intend writes down that a request was let in, before anything is done for it, if the audit
// log is required. errUnaudited.
func (s *Server) intend(r *request) error {
	if s.opts.Audit == nil || !s.opts.Audit.Required() {
		return nil
	}
	e := r.event(audit.Intent)
	e.Outcome = audit.Allowed
	if err := s.opts.Audit.Record(r.Context(), e); err != nil {
		return errUnaudited
	}
	return nil
}

// account writes down how a request ended.
func (s *Server) account(r *request, code int, elapsed time.Duration, err error) {
	if s.opts.Audit == nil {
		return
	}
	e := r.event(audit.Request)
	e.Status, e.Took, e.Outcome = code, elapsed, audit.OK
	switch {
	case refusal(err), code == 403:
		e.Outcome = audit.Refused
	case err != nil, code >= 400:
		e.Outcome = audit.Failed
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		e.Reason = reason(err)
	}
	s.opts.Audit.Note(e)
}

// event says what is known of a request.
func (r *request) event(kind audit.Kind) *audit.Event {
	e := &audit.Event{Kind: kind, Operation: r.operation(), AccessKey: r.caller.String(), Identity: "kes", Source: r.policy, Address: r.ip, Took: -1}
	if r.route != nil && strings.HasPrefix(r.route.path, "/v1/key/") {
		e.KMSKey = r.name
	}
	if sum := hashContext(r.encContext); sum != "" {
		e.Object = "context_sha256:" + sum
	}
	return e
}

// operation is what the request asks for, as the audit log and traces call it.
func (r *request) operation() string {
	if r.route == nil {
		return "kes:unknown"
	}
	return "kes:" + strings.Trim(strings.TrimPrefix(r.route.path, "/v1/"), "/")
}
