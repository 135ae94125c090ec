package client

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default function, RFC 8018 A.2
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

const (
	encryptedPKCS8 = "ENCRYPTED PRIVATE KEY"
	// maxIterations keeps a hostile file from stopping the program.
	maxIterations = 10_000_000
)

var (
	errWrongPassword = errors.New("wrong password, or damaged")
	errEncryption    = errors.New("encrypted in a way that is not supported; use PBES2 with PBKDF2 and AES-CBC (openssl pkcs8 -topk8 -v2 aes-256-cbc)")
)

// The structures of RFC 5208 section 6 and RFC 8018 appendix A.
type (
	encryptedKeyInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2Params struct {
		KDF, Cipher pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// openPKCS8 decrypts an EncryptedPrivateKeyInfo and returns the PKCS #8 key.
func openPKCS8(der, password []byte) ([]byte, error) {
	var info encryptedKeyInfo
	var params pbes2Params
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errWrongPassword
	}
	if !info.Algorithm.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}) {
		return nil, errEncryption
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, errEncryption
	}
	keySize, iv, err := aesCBC(params.Cipher)
	if err != nil {
		return nil, err
	}
	key, err := derive(params.KDF, password, keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("AES: %w", err)
	}
	if len(info.Data) == 0 || len(info.Data)%aes.BlockSize != 0 {
		return nil, errWrongPassword
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	return unpad(plain)
}

func aesCBC(id pkix.AlgorithmIdentifier) (keySize int, iv []byte, err error) {
	aesOID := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1}
	for last, size := range map[int]int{2: 16, 22: 24, 42: 32} {
		if id.Algorithm.Equal(append(aesOID[:len(aesOID):len(aesOID)], last)) {
			keySize = size
		}
	}
	if _, err := asn1.Unmarshal(id.Parameters.FullBytes, &iv); keySize == 0 || err != nil || len(iv) != aes.BlockSize {
		return 0, nil, errEncryption
	}
	return keySize, iv, nil
}

func derive(id pkix.AlgorithmIdentifier, password []byte, size int) ([]byte, error) {
	var params pbkdf2Params
	if !id.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}) {
		return nil, errEncryption
	}
	if _, err := asn1.Unmarshal(id.Parameters.FullBytes, &params); err != nil || params.Iterations < 1 || params.Iterations > maxIterations {
		return nil, errEncryption
	}
	hmacOID := asn1.ObjectIdentifier{1, 2, 840, 113549, 2}
	prf := params.PRF.Algorithm
	for last, h := range map[int]func() hash.Hash{7: sha1.New, 9: sha256.New, 10: sha512.New384, 11: sha512.New} {
		if prf.Equal(append(hmacOID[:len(hmacOID):len(hmacOID)], last)) || (len(prf) == 0 && last == 7) {
			return pbkdf2.Key(h, string(password), params.Salt, params.Iterations, size)
		}
	}
	return nil, errEncryption
}

func unpad(plain []byte) ([]byte, error) {
	n := int(plain[len(plain)-1])
	if n < 1 || n > aes.BlockSize {
		return nil, errWrongPassword
	}
	for _, b := range plain[len(plain)-n:] {
		if int(b) != n {
			return nil, errWrongPassword
		}
	}
	return plain[:len(plain)-n], nil
}
