package intake

import (
	"errors"
	"net/http"
)

// Sentinels. What a client sees of them is the handler's affair.
var (
	ErrMalformedXML     = errors.New("malformed XML")
	ErrBodyTooLarge     = errors.New("document is too large")
	ErrBusy             = errors.New("no memory left for a body")
	ErrHeadersTooLarge  = errors.New("headers are too large")
	ErrLoop             = errors.New("the request comes from a bucketseal: this one, or one whose upstream this is")
	ErrClientGone       = errors.New("the client went away")
	ErrNotOffered       = errors.New("operation is not offered")
	ErrReservedMetadata = errors.New("reserved metadata name")
	ErrMalformedQuery   = errors.New("malformed query")
	ErrMalformedPath    = errors.New("malformed path")
	ErrStaleCredential  = errors.New("upstream knows another secret for this access key, or none")
)

// Error is what a client sees of an error.
type Error struct {
	// Status is the HTTP status, Code and Message are the API's.
	Status        int
	Code, Message string
	// Header is extra headers of the answer; may be nil.
	Header http.Header
}

// NewError returns what a client sees of an error, without extra headers.
func NewError(status int, code, message string) *Error {
	return &Error{Status: status, Code: code, Message: message}
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }
