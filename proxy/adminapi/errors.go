package adminapi

import (
	"errors"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/batchjobs"
	"github.com/bucketseal/bucketseal/proxy/intake"
)

// Sentinels.
var (
	// ErrAccessDenied says that the caller may not do something, whatever MinIO says.
	ErrAccessDenied = errors.New("the caller may not do this")
	// ErrUpstreamKMS says that MinIO does not answer as one without a KMS.
	ErrUpstreamKMS = errors.New("upstream does not answer as a MinIO without a KMS")
	// ErrAccountAnswer says that MinIO's answer names no account that was asked for.
	ErrAccountAnswer = errors.New("upstream's answer names no account that was asked for")
)

// errorTable maps sentinels to what clients see. Others are those of every API.
var errorTable = []struct {
	err error
	is  *intake.Error
}{
	{ErrAccessDenied, intake.NewError(403, "AccessDenied", "Access Denied.")},
	{ErrUpstreamKMS, intake.NewError(502, "InternalError", "MinIO did not say whether you may do this: it must not have a KMS of its own.")},
	{ErrAccountAnswer, intake.NewError(502, "InternalError", "MinIO's answer cannot be used: the account that it may have made is not known here.")},
	{adminpayload.ErrMalformed, intake.NewError(400, "XMinioAdminConfigBadJSON", "JSON configuration provided is of incorrect format")},
	{adminpayload.ErrNotAuthentic, intake.NewError(400, "XMinioAdminConfigBadJSON", "JSON configuration provided is of incorrect format")},
	{ErrBatchAnswer, intake.NewError(502, "InternalError", "MinIO's answer about batch jobs cannot be used.")},
	{batchjobs.ErrNoJob, intake.NewError(404, "XMinioAdminNoSuchJob", "The specified job does not exist.")},
	{batchjobs.ErrNoBucket, intake.NewError(404, "NoSuchBucket", "The specified bucket does not exist")},
	{batchjobs.ErrTooMany, intake.NewError(503, "SlowDown", "There are as many batch jobs as there may be: cancel old ones.")},
	{batchjobs.ErrMalformed, intake.NewError(400, "XMinioAdminInvalidArgument", "Invalid arguments specified.")},
	{batchjobs.ErrRefused, intake.NewError(501, "NotImplemented", "This kind of batch job is not offered.")},
	{adminpayload.ErrUnsupported, intake.NewError(501, "NotImplemented", "Requests that are sealed as FIPS 140 builds do it are not supported.")},
}

// Describe implements intake.Handler.
func (a *API) Describe(err error) *intake.Error {
	var own *intake.Error
	if errors.As(err, &own) {
		return own
	}
	var problem *batchjobs.Problem
	if errors.As(err, &problem) { // which says by name what is wrong with a job
		for i := range errorTable {
			if is := errorTable[i]; errors.Is(err, is.err) {
				return intake.NewError(is.is.Status, is.is.Code, problem.Text)
			}
		}
	}
	var notLearned *notLearnedError
	if errors.As(err, &notLearned) {
		reason := a.Describe(notLearned.err)
		return intake.NewError(reason.Status, reason.Code, "MinIO has done it, but the encryption gateway could not take note of it: "+reason.Message+" Repeat the request.")
	}
	if refusal(err) == nil {
		for i := range errorTable {
			if errors.Is(err, errorTable[i].err) {
				return errorTable[i].is
			}
		}
	}
	return a.o.Describe(err)
}

// errRefused is what a caller of a refused route sees: mc prints the message, so it says
// why.
func errRefused(op, why string) error {
	return intake.NewError(http.StatusNotImplemented, "NotImplemented", "bucketseal does not pass "+op+" on: "+why+".")
}

// errTokenRefused is MinIO's answer to a scraper without a valid token.
var errTokenRefused error = intake.NewError(http.StatusForbidden, "AccessDenied", "Access Denied. (Authentication failed, check your access credentials)")

// errGroupMembers is MinIO's answer to members of a group that it cannot read.
var errGroupMembers error = intake.NewError(http.StatusBadRequest, "InvalidRequest", "Invalid Request")

// errNotLearned is what a client sees when MinIO has done what it asked and the
// proxy could not note it: the request has to be repeated.
func errNotLearned(err error) error { return &notLearnedError{err} }

type notLearnedError struct{ err error }

// Error is the whole story, for the log.
func (e *notLearnedError) Error() string { return e.err.Error() }
