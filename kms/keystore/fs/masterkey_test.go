package fs

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestMasterKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "master.key")
	var wait sync.WaitGroup
	keys := make([]MasterKey, 8)
	for i := range keys {
		wait.Go(func() {
			var err error
			if keys[i], err = LoadOrCreateMasterKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, k := range keys {
		if k != keys[0] || k == (MasterKey{}) {
			t.Fatal("rivals got different keys, or none")
		}
	}
	again, err := LoadMasterKey(path)
	if err != nil || again != keys[0] {
		t.Errorf("LoadMasterKey: another key, or %v", err)
	}
	info, err := os.Stat(path)
	noErr(t, "Stat", err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	noErr(t, "ReadDir", err)
	if len(entries) != 1 {
		t.Errorf("%d files beside the key", len(entries)-1)
	}
}

func TestMasterKeyThatOthersMayReadIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	_, err := LoadOrCreateMasterKey(path)
	noErr(t, "LoadOrCreateMasterKey", err)
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o620, 0o666} {
		noErr(t, "Chmod", os.Chmod(path, mode))
		for what, load := range map[string]func(string) (MasterKey, error){"Load": LoadMasterKey, "LoadOrCreate": LoadOrCreateMasterKey} {
			key, err := load(path)
			if err == nil || key != (MasterKey{}) || !strings.Contains(err.Error(), "chmod 600 "+path) {
				t.Errorf("%s with mode %v: %v", what, mode, err)
			}
		}
	}
	noErr(t, "Chmod", os.Chmod(path, 0o400))
	_, err = LoadMasterKey(path)
	noErr(t, "LoadMasterKey with mode 0400", err)
}

func TestMissingMasterKeyIsNotMadeByLoad(t *testing.T) {
	t.Parallel()
	_, err := LoadMasterKey(filepath.Join(t.TempDir(), "master.key"))
	wantErr(t, "LoadMasterKey", err, fs.ErrNotExist)
}

func TestBrokenMasterKeyFileIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	for _, content := range []string{"", "\n", "hunter2", strings.Repeat("A", 10000)} {
		noErr(t, "WriteFile", os.WriteFile(path, []byte(content), 0o600))
		_, err := LoadOrCreateMasterKey(path)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("master key file %.10q: %v", content, err)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("the file %.10q was overwritten", content)
		}
	}
}

func TestMasterKeyIsBase64OrHex(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{0xAB}, 32)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		" " + hex.EncodeToString(raw) + "\n",
	} {
		if key, err := ParseMasterKey(text); err != nil || key != MasterKey(raw) {
			t.Errorf("ParseMasterKey(%q): %v", text, err)
		}
	}
	for _, text := range []string{
		"", "x", hex.EncodeToString(raw[:31]), hex.EncodeToString(raw) + "00", base64.StdEncoding.EncodeToString(raw[:31]),
		base64.StdEncoding.EncodeToString(append(raw, 1)), base64.RawStdEncoding.EncodeToString(raw), strings.Repeat("z", 64), string(raw),
	} {
		key, err := ParseMasterKey(text)
		if err == nil || key != (MasterKey{}) {
			t.Errorf("ParseMasterKey(%q) succeeded", text)
		}
		if err != nil && len(text) > 1 && strings.Contains(err.Error(), text) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
	if _, err := ParseMasterKey(strings.Repeat("0", 64)); err == nil {
		t.Error("a master key of zeros was accepted")
	}
}

func TestMasterKeyIsNeverPrinted(t *testing.T) {
	t.Parallel()
	type options struct{ O Options }
	for _, value := range []any{testMaster, &testMaster, Options{MasterKey: testMaster}, options{Options{MasterKey: testMaster}}} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		for _, p := range []string{
			fmt.Sprintf("%v", value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value), fmt.Sprintf("%x", value), fmt.Sprintf("%d", value), string(text),
		} {
			low := strings.ToLower(p)
			if strings.Contains(low, "171") || strings.Contains(low, "abab") || strings.Contains(low, "0xab") || strings.Contains(p, "q6ur") {
				t.Errorf("prints its secret: %s", p)
			}
			if !strings.Contains(p, redacted) {
				t.Errorf("prints as %s", p)
			}
		}
	}
}

func TestUnwritableFolderIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	noErr(t, "WriteFile", os.WriteFile(file, nil, 0o600))
	if _, err := LoadOrCreateMasterKey(filepath.Join(file, "master.key")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a master key below a file: %v", err)
	}
}
