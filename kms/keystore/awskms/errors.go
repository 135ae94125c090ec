package awskms

import "github.com/bucketseal/bucketseal/kms"

// codeOtherKey is AWS's answer to a ciphertext of another KMS key.
const codeOtherKey = "IncorrectKeyException"

// sentinels is what AWS KMS's codes mean for a stored key. Every other code is
// a refusal or says nothing about it (see awsapi.Translate); so does
// NotFoundException, which is about the AWS KMS key.
func sentinels() map[string]error {
	return map[string]error{
		"InvalidCiphertextException": kms.ErrCorruptKey,
		codeOtherKey:                 kms.ErrCorruptKey,
	}
}
