package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/kms"
)

// What a client can do wrong, beside the sentinels of package kms. Clients of
// KES compare the texts byte for byte.
var (
	errNoCertificate    = errors.New("tls: client certificate is required")
	errManyCertificates = errors.New("tls: received more than one client certificate")
	errBadCertificate   = errors.New("tls: the client certificate cannot be read or verified")
	errBody             = errors.New("invalid request body")
	errPolicyNotFound   = errors.New("policy does not exist")
	errIdentityNotFound = errors.New("identity does not exist")
	errCipher           = errors.New("the cipher is not supported: use AES256 or ChaCha20")
	errKeySize          = errors.New("the key has not 32 bytes")
	errNoHMAC           = errors.New("key does not support HMAC")
	errNotReachable     = errors.New("key store is not reachable")
	errStoreUnavailable = errors.New("key store is unavailable")
	errInternal         = errors.New("internal error")
	errNotFound         = errors.New("there is no such API")
	errBusy             = errors.New("too many requests at once")
	errManyStreams      = errors.New("too many clients follow the logs")
)

// statusClientGone is counted and logged for requests whose client went away;
// nobody receives it.
const statusClientGone = 499

// methodError says that a route was called with another method.
type methodError struct{ got, want string }

func (e *methodError) Error() string {
	return fmt.Sprintf("received method '%s' expected '%s'", e.got, e.want)
}

// nameError says that a path ends in something that cannot be the name of a key, of
// a policy or an identity: what it should be.
type nameError struct{ what, name string }

func (e *nameError) Error() string {
	return fmt.Sprintf("%s '%s' is empty, too long or contains invalid characters", e.what, e.name)
}

// patternError says that a path ends in something that is no listing pattern.
type patternError struct{ pattern string }

func (e *patternError) Error() string {
	return fmt.Sprintf("listing pattern '%s' is empty, too long or is invalid", e.pattern)
}

// denied says that an identity may not do what it asked for. The client learns
// only that; the log says why.
type denied struct{ policy, reason string }

func (e *denied) Error() string { return "refused: " + e.reason }

// refusal says whether err turns a caller away for what it is or asks for, before
// anything was done for it.
func refusal(err error) bool {
	var (
		refused *denied
		method  *methodError
	)
	return errors.As(err, &refused) || errors.As(err, &method) || errors.Is(err, errNotFound) ||
		errors.Is(err, errNoCertificate) || errors.Is(err, errManyCertificates) || errors.Is(err, errBadCertificate)
}

// keyError is a failed operation of the key service on a key. verb is create,
// read, list or delete: that is all a client learns of a failing store.
type keyError struct {
	verb string
	err  error
}

func (e *keyError) Error() string { return fmt.Sprintf("%s key: %v", e.verb, e.err) }
func (e *keyError) Unwrap() error { return e.err }

// answer is what a client gets for an error. It is the only place that knows
// statuses. 5xx is for failures of ours only: clients go to another server then.
func answer(err error) (code int, message string) {
	for _, m := range []struct {
		is   error
		code int
	}{
		{errNoCertificate, http.StatusBadRequest},
		{errManyCertificates, http.StatusBadRequest},
		{errBadCertificate, http.StatusBadRequest},
		{errBody, http.StatusBadRequest},
		{errNotFound, http.StatusNotFound},
		{errPolicyNotFound, http.StatusNotFound},
		{errIdentityNotFound, http.StatusNotFound},
		{errCipher, http.StatusNotAcceptable},
		{errKeySize, http.StatusNotAcceptable},
		// Not KES's 409: MinIO takes every status but 404, 403 and 501 for an
		// empty HMAC, and would derive its root credentials from that.
		{errNoHMAC, http.StatusNotImplemented},
		{errNotReachable, http.StatusGatewayTimeout},
		{errStoreUnavailable, http.StatusBadGateway},
		{errInternal, http.StatusInternalServerError},
		{errBusy, http.StatusServiceUnavailable}, // KES's clients ask again, as they do for no other status
		{errManyStreams, http.StatusTooManyRequests},
		{kms.ErrKeyNotFound, http.StatusNotFound},
		{kms.ErrKeyExists, http.StatusBadRequest},
		{kms.ErrInvalidKeyName, http.StatusBadRequest},
		{kms.ErrDecrypt, http.StatusBadRequest},
		{kms.ErrVersionRetired, http.StatusForbidden},
		{kms.ErrVersionDestroyed, http.StatusGone},
		{kms.ErrVersionNotFound, http.StatusNotFound},
		{kms.ErrNewestVersion, http.StatusConflict},
		{kms.ErrUsageUnknown, http.StatusConflict},
		{kms.ErrInvalidContext, http.StatusBadRequest},
		{kms.ErrNotSupported, http.StatusNotImplemented},
	} {
		if errors.Is(err, m.is) {
			return m.code, m.is.Error()
		}
	}
	return answerType(err)
}

// answerType is answer for errors that are known by their type.
func answerType(err error) (code int, message string) {
	var (
		refused *denied
		method  *methodError
		name    *nameError
		pattern *patternError
		key     *keyError
	)
	switch {
	case errors.As(err, &refused):
		return http.StatusForbidden, kms.ErrNotPermitted.Error()
	case errors.As(err, &method):
		return http.StatusMethodNotAllowed, method.Error()
	case errors.As(err, &name):
		return http.StatusBadRequest, name.Error()
	case errors.As(err, &pattern):
		return http.StatusBadRequest, pattern.Error()
	case errors.Is(err, context.Canceled):
		return statusClientGone, "client closed the connection"
	case errors.As(err, &key) && errors.Is(err, kms.ErrNotPermitted):
		// It is this server that its store refuses, and not the client. But that
		// does not pass: with a 5xx clients would set the server aside, and the next
		// one after it. It is KES's text because clients know a refusal by it: MinIO
		// takes a 403 with another one for an empty HMAC.
		return http.StatusForbidden, kms.ErrNotPermitted.Error()
	case errors.As(err, &key):
		return http.StatusBadGateway, fmt.Sprintf("failed to %s key", key.verb)
	}
	return http.StatusInternalServerError, errInternal.Error()
}
