package server

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PKCS#5's default PRF is HMAC-SHA-1
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
)

var (
	errPassword  = errors.New("the password does not open the key; check tls.password")
	errEncrypted = errors.New("the key is encrypted; set tls.password")
	errScheme    = errors.New("the key is encrypted in a way that is not supported; convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc")
)

// maxIterations bounds the work that a key file can ask for.
const maxIterations = 2_000_000

// openKey returns a private key in PEM without its encryption: that of PKCS#8
// (RFC 8018, PBES2) or the older one of PEM itself (RFC 1423).
func openKey(text []byte, password string) ([]byte, error) {
	block := privateKey(text)
	switch {
	case block == nil:
		return text, nil
	case block.Type == "ENCRYPTED PRIVATE KEY":
		if password == "" {
			return nil, errEncrypted
		}
		der, err := decryptPKCS8(block.Bytes, password)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	case x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // weak, but what older openssl writes
		if password == "" {
			return nil, errEncrypted
		}
		der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // as above
		if err != nil {
			return nil, errPassword
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
	return text, nil
}

func privateKey(text []byte) *pem.Block {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
			return block
		}
	}
}

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2 struct {
	KDF    pkix.AlgorithmIdentifier
	Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// decryptPKCS8 opens an EncryptedPrivateKeyInfo of PBES2 with PBKDF2 and
// AES-CBC, which is what openssl writes since version 1.1.
func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var (
		key    encryptedKey
		scheme pbes2
		kdf    pbkdf2Params
		iv     []byte
	)
	if rest, err := asn1.Unmarshal(der, &key); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: not PKCS#8", errScheme)
	}
	if !key.Algorithm.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}) {
		return nil, fmt.Errorf("%w: not PBES2", errScheme)
	}
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, fmt.Errorf("%w: not PBES2", errScheme)
	}
	if !scheme.KDF.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}) {
		return nil, fmt.Errorf("%w: not PBKDF2", errScheme)
	}
	if _, err := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &kdf); err != nil || kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, fmt.Errorf("%w: not PBKDF2", errScheme)
	}
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil || len(iv) != aes.BlockSize {
		return nil, fmt.Errorf("%w: not AES-CBC", errScheme)
	}
	size := map[string]int{"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}[scheme.Cipher.Algorithm.String()]
	prf := map[string]func() hash.Hash{
		"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New, "1.2.840.113549.2.11": sha512.New,
	}[kdf.PRF.Algorithm.String()]
	if size == 0 || prf == nil || len(key.Data) == 0 || len(key.Data)%aes.BlockSize != 0 {
		return nil, errScheme
	}
	secret, err := pbkdf2.Key(prf, password, kdf.Salt, kdf.Iterations, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errScheme, err)
	}
	defer clear(secret)
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errScheme, err)
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > aes.BlockSize {
		return nil, errPassword
	}
	plain = plain[:len(plain)-padding]
	if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
		return nil, errPassword
	}
	return plain, nil
}
