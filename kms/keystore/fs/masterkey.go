package fs

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
)

// MasterKey seals the files of a Store. It prints as [redacted].
type MasterKey [32]byte

const redacted = "[redacted]"

// Format hides the key.
func (MasterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON hides the key.
func (MasterKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue hides the key.
func (MasterKey) LogValue() slog.Value { return slog.StringValue(redacted) }

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
	var n int
	var err error
	if len(text) == hex.EncodedLen(len(MasterKey{})) { // longer than base64 of 32 bytes
		n, err = hex.Decode(raw, text)
	} else {
		n, err = base64.StdEncoding.Decode(raw, text)
	}
	if err != nil || n != len(MasterKey{}) {
		return MasterKey{}, errors.New("a master key is 32 bytes in base64 or hex")
	}
	key := MasterKey(raw[:n])
	if key == (MasterKey{}) {
		return key, errors.New("a master key of zeros is none")
	}
	return key, nil
}

// LoadOrCreateMasterKey reads the master key file at path, or makes one with a
// random key, durably, if there is none. Of rival calls one makes the key and
// all return it. A file that others may read is refused.
func LoadOrCreateMasterKey(path string) (MasterKey, error) {
	key, err := LoadMasterKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return MasterKey{}, fmt.Errorf("folder of the master key: %w", err)
	}
	var raw [len(MasterKey{})]byte
	defer clear(raw[:])
	_, _ = rand.Read(raw[:])
	text := append(base64.StdEncoding.AppendEncode(nil, raw[:]), '\n')
	defer clear(text)
	if err := writeNew(path, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return MasterKey{}, fmt.Errorf("write master key: %w", err)
	}
	return LoadMasterKey(path)
}

// LoadMasterKey reads the master key file at path, which only its owner may
// read. It wraps fs.ErrNotExist if there is none.
func LoadMasterKey(path string) (MasterKey, error) {
	text, err := readPrivate(path)
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

// readPrivate asks the open file for its mode: the one at path may be another
// by now.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others may read %s (mode %04o); run: chmod 600 %s", path, mode.Perm(), path)
	}
	const longest = 4096 // hex and white space have room
	text, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}
