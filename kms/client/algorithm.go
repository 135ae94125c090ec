package client

import (
	"encoding/json"
	"fmt"

	"github.com/bucketseal/bucketseal/kms"
)

// importBody returns the request of an import. It holds the key.
func importBody(key *[kms.DEKSize]byte, algorithm kms.Algorithm) ([]byte, error) {
	body, err := json.Marshal(struct {
		Key    []byte `json:"key"`
		Cipher string `json:"cipher"`
	}{key[:], algorithm.String()})
	if err != nil {
		return nil, fmt.Errorf("import key: %w", err)
	}
	return body, nil
}

// parseAlgorithm takes a missing algorithm for the one that KES began with.
func parseAlgorithm(name string) (kms.Algorithm, error) {
	if name == "" {
		return kms.AES256, nil
	}
	return kms.ParseAlgorithm(name)
}
