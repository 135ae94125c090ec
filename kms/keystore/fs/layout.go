package fs

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
)

const (
	// suffix ends the names of sealed files.
	suffix = ".key"
	// magic begins their content and tells format and version (docs/keys.md,
	// section 5).
	magic     = "bucketseal key 1\n"
	saltSize  = 32
	nonceSize = 12
	tagSize   = 16
	label     = "bucketseal/1/keystore-file"
)

// sealedLayout keeps each value as magic, salt, AES-256-GCM ciphertext and tag.
// The file's key is HMAC-SHA256(master key, label || salt || name), used once
// with a nonce of zeros; magic and name are associated data, so that files
// cannot take each other's place.
type sealedLayout struct{ master MasterKey }

// file writes capital letters as '=' and the small one, since file systems may
// not tell them apart.
func (*sealedLayout) file(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			b.WriteByte('=')
			b.WriteByte(c + 'a' - 'A')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + suffix
}

func (l *sealedLayout) key(file string) (string, bool) {
	encoded, ok := strings.CutSuffix(file, suffix)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		if c == '=' {
			if i++; i == len(encoded) || encoded[i] < 'a' || encoded[i] > 'z' {
				return "", false
			}
			c = encoded[i] - 'a' + 'A'
		}
		b.WriteByte(c)
	}
	name := b.String()
	return name, kms.ValidateEntryName(name) == nil && l.file(name) == file
}

func (l *sealedLayout) aead(salt []byte, name string) cipher.AEAD {
	mac := hmac.New(sha256.New, l.master[:])
	mac.Write([]byte(label))
	mac.Write(salt) // of fixed length: the fields cannot run into each other
	mac.Write([]byte(name))
	key := mac.Sum(nil)
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a key of another size
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for a block size other than 16
	}
	return aead
}

func (l *sealedLayout) seal(name string, value []byte) []byte {
	out := make([]byte, len(magic)+saltSize, len(magic)+saltSize+len(value)+tagSize)
	copy(out, magic)
	salt := out[len(magic):]
	_, _ = rand.Read(salt)
	var nonce [nonceSize]byte
	return l.aead(salt, name).Seal(out, nonce[:], value, []byte(magic+name))
}

func (l *sealedLayout) open(name string, content []byte) ([]byte, error) {
	if !bytes.HasPrefix(content, []byte(magic)) || len(content) < len(magic)+saltSize+tagSize {
		return nil, fmt.Errorf("not a sealed key: %w", kms.ErrCorruptKey)
	}
	salt, box := content[len(magic):len(magic)+saltSize], content[len(magic)+saltSize:]
	var nonce [nonceSize]byte
	value, err := l.aead(salt, name).Open(nil, nonce[:], box, []byte(magic+name))
	if err != nil {
		return nil, fmt.Errorf("the master key does not fit, or the file was altered or renamed: %w", kms.ErrCorruptKey)
	}
	return value, nil
}

// plainLayout is KES's: file name and key name are the same.
type plainLayout struct{}

func (plainLayout) file(name string) string { return name }

func (plainLayout) key(file string) (string, bool) { return file, kms.ValidateEntryName(file) == nil }

func (plainLayout) seal(_ string, value []byte) []byte { return value }

func (plainLayout) open(_ string, content []byte) ([]byte, error) { return content, nil }
