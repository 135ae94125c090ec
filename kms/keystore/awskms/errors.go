package awskms

import "github.com/bucketseal/bucketseal/kms"

// codeOtherKey is AWS's answer to a ciphertext of another KMS key.
const codeOtherKey = "IncorrectKeyException"

// sentinels is what AWS KMS's codes mean for a stored key. An AWS KMS key that is
// disabled, about to be deleted or gone is a refusal and no outage: keys must not
// serve on as long as one may last. Every other code is a refusal or says nothing
// about the key (see awsapi.Translate).
func sentinels() map[string]error {
	return map[string]error{
		"InvalidCiphertextException": kms.ErrCorruptKey,
		codeOtherKey:                 kms.ErrCorruptKey,
		"DisabledException":          kms.ErrNotPermitted,
		"KMSInvalidStateException":   kms.ErrNotPermitted,
		"NotFoundException":          kms.ErrNotPermitted,
	}
}
