package bucketconfig

import (
	"strings"
	"unicode/utf8"
)

// Algorithm says how objects of a bucket are encrypted unless the request says otherwise. The values are those of
// SSEAlgorithm in the S3 XML.
type Algorithm string

// The algorithms a rule can name.
const (
	AES256 Algorithm = "AES256"  // SSE-S3
	AWSKMS Algorithm = "aws:kms" // SSE-KMS
)

// keyPrefix may stand before a KMS key name. MinIO puts it there in responses, so clients send it back.
const keyPrefix = "arn:aws:kms:"

// maxKeyID bounds a stored key id, in bytes; AWS allows 2048 characters.
const maxKeyID = 2048

// Rule is the default encryption of one bucket. The zero value is not a valid rule.
type Rule struct {
	Algorithm Algorithm
	// KMSKeyID is the key as the client wrote it, echoed verbatim; empty unless Algorithm is AWSKMS. KeyName gives the
	// name to ask the key service for.
	KMSKeyID string
	// BucketKeyEnabled asks for one data key per bucket instead of one per object.
	BucketKeyEnabled bool
}

// KeyName returns the KMS key's name without the "arn:aws:kms:" prefix. It is empty if the rule names no key: with
// AWSKMS that means the key service's default key.
func (r Rule) KeyName() string {
	return strings.TrimPrefix(r.KMSKeyID, keyPrefix)
}

// InvalidRuleError says what is wrong with a client's configuration. It wraps ErrMalformedXML.
type InvalidRuleError struct {
	// Reason is safe to show to the client, who wrote the document: MinIO puts it in parentheses behind the message of
	// MalformedXML. At most maxReason bytes.
	Reason string
}

// The reasons that S3 clients know from MinIO.
const (
	reasonEOF        = "EOF"
	reasonAlgorithm  = "Unknown SSE algorithm"
	reasonOneRule    = "only one server-side encryption rule is allowed at a time"
	reasonKeyMissing = "MasterKeyID is missing with aws:kms"
	reasonKeyDenied  = "MasterKeyID is allowed with aws:kms only"
	reasonKeyChars   = "MasterKeyID contains unsupported characters"
)

// maxReason keeps a client's own element names from filling the answer.
const maxReason = 256

// Error returns the reason behind a fixed prefix.
func (e *InvalidRuleError) Error() string { return ErrMalformedXML.Error() + ": " + e.Reason }

// Unwrap returns ErrMalformedXML.
func (e *InvalidRuleError) Unwrap() error { return ErrMalformedXML }

func invalid(reason string) error {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	return &InvalidRuleError{Reason: reason}
}

// check returns an *InvalidRuleError unless the rule may be stored. The order of the checks is MinIO's.
func (r Rule) check() error {
	switch r.Algorithm {
	case AES256:
		if r.KMSKeyID != "" {
			return invalid(reasonKeyDenied)
		}
	case AWSKMS:
		if r.KMSKeyID == "" {
			return invalid(reasonKeyMissing)
		}
		if strings.HasPrefix(r.KMSKeyID, " ") || strings.HasSuffix(r.KMSKeyID, " ") {
			return invalid(reasonKeyChars)
		}
		if len(r.KMSKeyID) > maxKeyID || !utf8.ValidString(r.KMSKeyID) {
			return invalid(reasonKeyChars)
		}
	default:
		return invalid(reasonAlgorithm)
	}
	return nil
}
