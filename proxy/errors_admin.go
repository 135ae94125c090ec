package proxy

import (
	"net/http"
)

// errAdminRefused is what a caller of a refused admin route sees: mc prints the
// message, so it says why.
func errAdminRefused(r *route) error {
	return &apiError{http.StatusNotImplemented, "NotImplemented", "bucketseal does not pass " + r.op + " on: " + r.why + ".", nil}
}

// errTokenRefused is MinIO's answer to a scraper without a valid token.
var errTokenRefused error = &apiError{http.StatusForbidden, "AccessDenied", "Access Denied. (Authentication failed, check your access credentials)", nil}

// errNotLearned is what a client sees when MinIO has done what it asked and the
// proxy could not note it: the request has to be repeated.
func errNotLearned(err error) error { return &notLearnedError{err} }

type notLearnedError struct{ err error }

// Error is the whole story, for the log.
func (e *notLearnedError) Error() string { return e.err.Error() }

// answer is the reason's own, and what to do.
func (e *notLearnedError) answer() *apiError {
	reason := asAPIError(e.err)
	return &apiError{reason.status, reason.code, "MinIO has done it, but the encryption gateway could not take note of it: " + reason.message + " Repeat the request.", nil}
}

// errGroupMembers is MinIO's answer to members of a group that it cannot read.
var errGroupMembers error = &apiError{http.StatusBadRequest, "InvalidRequest", "Invalid Request", nil}
