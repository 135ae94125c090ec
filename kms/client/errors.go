package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/bucketseal/bucketseal/kms"
)

// Sentinels of the calls beyond kms.Service.
var (
	// ErrPolicyNotFound says that the server has no policy of that name.
	ErrPolicyNotFound = errors.New("policy does not exist")
	// ErrIdentityNotFound says that no policy names that identity.
	ErrIdentityNotFound = errors.New("identity does not exist")
	// ErrUnknownOutcome says that a key may or may not have been created, or deleted: the
	// connection broke after the request had been sent. It comes with
	// kms.ErrUnavailable.
	ErrUnknownOutcome = errors.New("it is not known whether the server has done it")

	errTooLong     = errors.New("the server's answer is too long")
	errNotReadable = errors.New("the server's answer is not what the API says")
)

const maxMessage = 512

// Error is a key server's refusal or failure.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Message is the server's text, printable and cut to 512 bytes.
	Message string

	sentinel error
}

// Error returns the sentinel's text and the server's.
func (e *Error) Error() string {
	if e.Message == e.sentinel.Error() {
		return fmt.Sprintf("%s (status %d)", e.Message, e.Status)
	}
	return fmt.Sprintf("%v (status %d: %s)", e.sentinel, e.Status, e.Message)
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.sentinel }

// exact is what KES's error texts mean. Clients of KES compare them byte for
// byte, so they are part of the API.
func exact() map[string]error {
	return map[string]error{
		"key does not exist":                             kms.ErrKeyNotFound,
		"policy does not exist":                          ErrPolicyNotFound,
		"identity does not exist":                        ErrIdentityNotFound,
		"key already exists":                             kms.ErrKeyExists,
		"decryption failed: ciphertext is not authentic": kms.ErrDecrypt,
		"not authorized: insufficient permissions":       kms.ErrNotPermitted,
		kms.ErrVersionRetired.Error():                    kms.ErrVersionRetired,
		kms.ErrVersionDestroyed.Error():                  kms.ErrVersionDestroyed,
		kms.ErrVersionNotFound.Error():                   kms.ErrVersionNotFound,
		kms.ErrNewestVersion.Error():                     kms.ErrNewestVersion,
		kms.ErrUsageUnknown.Error():                      kms.ErrUsageUnknown,
		"key does not support HMAC":                      kms.ErrNotSupported,
		kms.ErrInvalidContext.Error():                    kms.ErrInvalidContext,
		kms.ErrCorruptKey.Error():                        kms.ErrCorruptKey,
	}
}

// sentinelOf maps status and text to a sentinel: the text first where the
// status fits, then the status.
func sentinelOf(status int, message string) error {
	clientFault := status >= 400 && status < 500
	if s, ok := exact()[message]; ok && (clientFault || errors.Is(s, kms.ErrCorruptKey)) {
		return s
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden,
		status == http.StatusBadRequest && strings.HasPrefix(message, "tls: "):
		return kms.ErrNotPermitted
	case status == http.StatusBadRequest && (strings.HasPrefix(message, "key name '") || strings.HasPrefix(message, "listing pattern '")):
		return kms.ErrInvalidKeyName
	case status == http.StatusBadRequest && strings.Contains(message, kms.ErrInvalidContext.Error()):
		return kms.ErrInvalidContext
	case strings.Contains(message, kms.ErrCorruptKey.Error()):
		return kms.ErrCorruptKey
	case clientFault && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout, status == http.StatusNotImplemented:
		return kms.ErrNotSupported
	}
	return kms.ErrUnavailable
}

// newError reads an error answer: {"message"} as KES sends it, {"error"}, or
// plain text.
func newError(status int, body []byte) *Error {
	var text struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	message := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &text) == nil {
		message = text.Message
		if message == "" {
			message = text.Error
		}
	}
	message = printable(message)
	if message == "" {
		message = http.StatusText(status)
	}
	return &Error{Status: status, Message: message, sentinel: sentinelOf(status, message)}
}

// printable makes a stranger's text fit for a log line.
func printable(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s), "")
}
