package awssecrets

import (
	"context"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
)

// Codes of Secrets Manager that the store decides by.
const (
	codeNotFound       = "ResourceNotFoundException"
	codeExists         = "ResourceExistsException"
	codeInvalidRequest = "InvalidRequestException"
)

// sentinels is what Secrets Manager's codes mean for a key. Every other code
// is a refusal (see awsapi.Translate) or says nothing about the key.
func sentinels() map[string]error {
	return map[string]error{
		codeNotFound: kms.ErrKeyNotFound,
		codeExists:   kms.ErrKeyExists,
		// Secrets Manager could not use the KMS key of the secret for us:
		// without kms:Decrypt or kms:GenerateDataKey, or a disabled key.
		"DecryptionFailure": kms.ErrUnavailable,
		"EncryptionFailure": kms.ErrUnavailable,
		codeInvalidRequest:  kms.ErrUnavailable,
	}
}

func (s *Store) mapError(ctx context.Context, what string, err error) error {
	return awsapi.Translate(ctx, what, err, sentinels())
}

// isScheduled says whether a call was refused because the secret is scheduled
// for deletion. AWS has no code of its own for it.
func isScheduled(err error) bool {
	if err == nil || awsapi.Code(err) != codeInvalidRequest {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "deletion") || strings.Contains(text, "marked deleted") || strings.Contains(text, "was deleted")
}

// mentionsKMS tells a refusal by AWS KMS, which Secrets Manager passes on, from
// one of its own: "Access to KMS is not allowed", or the action's name. Names of
// secrets have no colon.
func mentionsKMS(err error) bool {
	return strings.Contains(err.Error(), "Access to KMS") || strings.Contains(err.Error(), "kms:")
}
