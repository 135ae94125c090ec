package awsapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/bucketseal/bucketseal/kms"
)

// denied are the codes with which AWS refuses a caller it knows.
var denied = []string{"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"}

// badCredentials are the codes with which AWS refuses a caller it does not
// know.
var badCredentials = []string{
	"ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId", "InvalidSignatureException",
	"MissingAuthenticationToken", "MissingAuthenticationTokenException", "SignatureDoesNotMatch", "UnrecognizedClientException",
}

// Code returns AWS's error code, or "" for what is no answer of AWS.
func Code(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	code, _, _ := strings.Cut(api.ErrorCode(), ":")
	return code
}

// IsDenied says whether AWS knew the caller and refused it.
func IsDenied(err error) bool { return contains(denied, Code(err)) }

// IsBadCredentials says whether AWS did not accept the credentials.
func IsBadCredentials(err error) bool { return contains(badCredentials, Code(err)) }

// Translate turns an AWS error into one of the key service's: what table says
// for its code, ErrNotPermitted for refusals, the context's error if ctx
// ended, and ErrUnavailable for everything else. AWS's text is kept, its error
// value is not: a timeout inside the SDK is not the caller's.
func Translate(ctx context.Context, what string, err error, table map[string]error) error {
	if err == nil {
		return nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		return fmt.Errorf("%s: %w", what, ctxErr)
	}
	sentinel, known := table[Code(err)]
	switch {
	case known:
	case IsDenied(err), IsBadCredentials(err):
		sentinel = kms.ErrNotPermitted
	default:
		sentinel = kms.ErrUnavailable
	}
	return fmt.Errorf("%s: %w: %v", what, sentinel, err)
}

// Explain words a failure at start: which permission is missing, or which
// setting is wrong. permission is the IAM action and its resource, setting
// the configuration entry that says where the service is.
func Explain(ctx context.Context, section, permission, setting string, err error) error {
	switch {
	case err == nil:
		return nil
	case IsDenied(err):
		return Translate(ctx, fmt.Sprintf("%s: missing permission: allow %s", section, permission), err, nil)
	case IsBadCredentials(err):
		return Translate(ctx, fmt.Sprintf("%s.credentials: AWS does not accept the credentials (wrong, expired, or of another partition)", section), err, nil)
	default:
		return Translate(ctx, fmt.Sprintf("%s: no usable answer; check %s and the network", section, setting), err, nil)
	}
}

func contains(codes []string, code string) bool {
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}
