package storage

import (
	"slices"

	"github.com/bucketseal/bucketseal/sse"
)

// The names under which an Actor's Told has what a client said. MinIO takes the values of
// its policies' conditions from headers and from query parameters alike, and acts on
// headers only. It looks a condition's key up in a header's canonical form first: those of
// Go's canonical form replace what MinIO sees itself.
const (
	ToldMethod            = "x-amz-server-side-encryption"
	ToldKMSKeyID          = "x-amz-server-side-encryption-aws-kms-key-id"
	ToldCustomerAlgorithm = "x-amz-server-side-encryption-customer-algorithm"
	ToldCopySource        = "x-amz-copy-source"
	ToldDirective         = "x-amz-metadata-directive"
	ToldPayload           = "X-Amz-Content-Sha256"
	ToldTransport         = "Securetransport"
	ToldAuthType          = "Authtype"
	ToldVersion           = "Signatureversion"
	ToldAge               = "Signatureage" // in milliseconds
)

// TellEncryption replaces what told says of encryption by a mode, and by the id of a KMS
// key where the mode is SSE-KMS. sse.ModeNone says nothing.
func TellEncryption(told map[string][]string, mode sse.Mode, kmsKey string) {
	delete(told, ToldMethod)
	delete(told, ToldKMSKeyID)
	delete(told, ToldCustomerAlgorithm)
	switch mode {
	case sse.ModeS3:
		told[ToldMethod] = []string{sse.MethodS3}
	case sse.ModeKMS:
		told[ToldMethod] = []string{sse.MethodKMS}
		told[ToldKMSKeyID] = KeySpellings(kmsKey)
	case sse.ModeC:
		told[ToldCustomerAlgorithm] = []string{sse.MethodS3}
	}
}

// KeySpellings are the ways in which a policy may name the KMS key of an id: by its name,
// as an ARN, and as the id itself. An empty id names no key and has none.
func KeySpellings(id string) []string {
	if id == "" {
		return nil
	}
	name := sse.KeyName(id)
	spellings := []string{name, sse.KeyARNPrefix + name}
	if !slices.Contains(spellings, id) {
		spellings = append(spellings, id)
	}
	return spellings
}
