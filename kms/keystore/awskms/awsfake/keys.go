package awsfake

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"strings"
)

// fillRandom cannot fail: crypto/rand ends the process instead.
func fillRandom(b []byte) { _, _ = rand.Read(b) }

// key finds a key by its id or ARN.
func (s *Server) key(id string) (*Key, *refusal) {
	if i := strings.LastIndex(id, ":key/"); strings.HasPrefix(id, "arn:") && i >= 0 {
		id = id[i+len(":key/"):]
	}
	key, ok := s.keys[id]
	if !ok {
		return nil, &refusal{"NotFoundException", "Key '" + id + "' does not exist"}
	}
	return key, nil
}

func (s *Server) usableKey(id string) (*Key, *refusal) {
	key, refused := s.key(id)
	switch {
	case refused != nil:
		return nil, refused
	case key.State == "Disabled":
		return nil, &refusal{"DisabledException", key.ARN + " is disabled."}
	case key.State != "Enabled":
		return nil, &refusal{"KMSInvalidStateException", key.ARN + " is pending deletion."}
	}
	return key, nil
}

func (s *Server) describeKey(in *request) (map[string]any, *refusal) {
	key, refused := s.key(in.KeyId)
	if refused != nil {
		return nil, refused
	}
	return map[string]any{"KeyMetadata": map[string]any{
		"KeyId": key.ARN, "Arn": key.ARN, "KeyState": key.State, "KeyUsage": key.Usage, "KeySpec": key.Spec,
	}}, nil
}

// blob is the fake's ciphertext: the key in the clear, as in AWS's, and an
// AES-GCM sealed value with key and context as associated data.
type blob struct {
	ARN           string
	Nonce, Sealed []byte
}

func (s *Server) aead() cipher.AEAD {
	block, err := aes.NewCipher(s.master[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func associated(arn string, context map[string]string) []byte {
	text, err := json.Marshal([]any{arn, context})
	if err != nil {
		panic(err)
	}
	return text
}

func (s *Server) encrypt(in *request) (map[string]any, *refusal) {
	key, refused := s.usableKey(in.KeyId)
	if refused != nil {
		return nil, refused
	}
	if len(in.Plaintext) == 0 || len(in.Plaintext) > 4096 {
		return nil, &refusal{"ValidationException", "plaintext must have 1 to 4096 bytes"}
	}
	b := blob{ARN: key.ARN, Nonce: make([]byte, 12)}
	fillRandom(b.Nonce)
	b.Sealed = s.aead().Seal(nil, b.Nonce, in.Plaintext, associated(key.ARN, in.EncryptionContext))
	text, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return map[string]any{"CiphertextBlob": text, "KeyId": key.ARN}, nil
}

func (s *Server) decrypt(in *request) (map[string]any, *refusal) {
	var b blob
	if err := json.Unmarshal(in.CiphertextBlob, &b); err != nil {
		return nil, &refusal{"InvalidCiphertextException", ""}
	}
	sealedBy, refused := s.usableKey(b.ARN)
	if refused != nil {
		return nil, refused
	}
	if in.KeyId != "" {
		key, refused := s.usableKey(in.KeyId)
		if refused != nil {
			return nil, refused
		}
		if key != sealedBy {
			return nil, &refusal{"IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."}
		}
	}
	if len(b.Nonce) != 12 {
		return nil, &refusal{"InvalidCiphertextException", ""}
	}
	plain, err := s.aead().Open(nil, b.Nonce, b.Sealed, associated(b.ARN, in.EncryptionContext))
	if err != nil {
		return nil, &refusal{"InvalidCiphertextException", ""}
	}
	return map[string]any{"Plaintext": plain, "KeyId": b.ARN}, nil
}
