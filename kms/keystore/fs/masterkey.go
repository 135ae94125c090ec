package fs

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MasterKey seals the files of a Store. It prints as [redacted].
type MasterKey [32]byte

// String hides the key.
func (MasterKey) String() string { return "[redacted]" }

// GoString hides the key.
func (MasterKey) GoString() string { return "[redacted]" }

// ParseMasterKey reads a master key as base64 or hex of 32 bytes, as an
// environment variable holds it.
func ParseMasterKey(text string) (MasterKey, error) {
	raw := []byte(text)
	defer clear(raw)
	return parseMasterKey(raw)
}

func parseMasterKey(text []byte) (MasterKey, error) {
	text = bytes.TrimSpace(text)
	raw := make([]byte, max(base64.StdEncoding.DecodedLen(len(text)), hex.DecodedLen(len(text))))
	defer clear(raw)
	if len(text) == hex.EncodedLen(len(MasterKey{})) {
		if n, err := hex.Decode(raw, text); err == nil {
			return MasterKey(raw[:n]), nil
		}
	}
	n, err := base64.StdEncoding.Decode(raw, text)
	if err != nil || n != len(MasterKey{}) {
		return MasterKey{}, errors.New("a master key is 32 bytes in base64 or hex")
	}
	return MasterKey(raw[:n]), nil
}

// LoadOrCreateMasterKey reads the master key file at path, or makes one with a
// random key, durably, if there is none. Of rival calls one makes the key and
// all return it. A file that others may read is refused.
func LoadOrCreateMasterKey(path string) (MasterKey, error) {
	key, err := LoadMasterKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return MasterKey{}, fmt.Errorf("folder of the master key: %w", err)
	}
	var raw [len(MasterKey{})]byte
	_, _ = rand.Read(raw[:])
	defer clear(raw[:])
	text := append(base64.StdEncoding.AppendEncode(nil, raw[:]), '\n')
	defer clear(text)
	if err := writeNew(path, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return MasterKey{}, fmt.Errorf("write master key: %w", err)
	}
	return LoadMasterKey(path)
}

// LoadMasterKey reads the master key file at path. It wraps fs.ErrNotExist if
// there is none.
func LoadMasterKey(path string) (MasterKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return MasterKey{}, fmt.Errorf("master key %s may be read by others (mode %04o); run: chmod 600 %s", path, mode, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return MasterKey{}, fmt.Errorf("master key: %w", err)
	}
	defer clear(text)
	key, err := parseMasterKey(text)
	if err != nil {
		return MasterKey{}, fmt.Errorf("master key %s: %w", path, err)
	}
	return key, nil
}
