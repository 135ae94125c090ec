package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/keycmd"
)

// A mistyped path gets no store of its own.
func TestOnlyInitMakesAKeyStore(t *testing.T) {
	t.Parallel()
	typo := filepath.Join(t.TempDir(), "typo")
	fails(t, 1, "--init", nil, "", "key", "create", "k", "--data-dir", typo)
	fails(t, 1, "--init", nil, strings.Repeat("A", 43)+"=\n", "key", "import", "k", "--data-dir", typo)
	if _, err := os.Stat(typo); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
	ok(t, nil, "", "key", "create", "k", "--init", "--data-dir", typo)
	ok(t, nil, "", "key", "create", "l", "--data-dir", typo)
}

// What a deletion left that was cut off is removed by the same command.
func TestRemovingAKeyAgainRemovesWhatIsLeft(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	ok(t, nil, "", "key", "create", "--init", "k", "l", "--data-dir", dir)
	ok(t, nil, "", "key", "rotate", "k", "--data-dir", dir)
	events, err := filepath.Glob(filepath.Join(dir, "keys", "k@*.1.key"))
	if err != nil || len(events) != 1 {
		t.Fatalf("%q, %v", events, err)
	}
	event, err := os.ReadFile(events[0])
	if err != nil {
		t.Fatal(err)
	}
	ok(t, nil, "", "key", "rm", "k", "--force", "--data-dir", dir)
	if err := os.WriteFile(events[0], event, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, "nothing was done", nil, "n\n", "key", "rm", "k", "--data-dir", dir)
	if out := ok(t, nil, "y\n", "key", "rm", "k", "--data-dir", dir); out != "deleted k\n" {
		t.Errorf("%q", out)
	}
	if _, err := os.Stat(events[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the event is left: %v", err)
	}
	fails(t, 1, "key does not exist", nil, "", "key", "rm", "k", "--data-dir", dir)
}

func TestKeysAreCreatedListedShownAndDeleted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	fails(t, 1, "there are no keys", nil, "", "key", "ls", "--data-dir", dir)
	if _, err := os.Stat(dir); err == nil {
		t.Error("a listing made the folder")
	}
	if out := ok(t, nil, "", "key", "create", "--init", "one", "two", "--data-dir", dir); out != "created one\ncreated two\n" {
		t.Errorf("create: %q", out)
	}
	// One name that fails does not keep the others from being created.
	fails(t, 1, `create "one"`, nil, "", "key", "create", "one", "three", "--data-dir", dir)
	if out := ok(t, nil, "", "key", "ls", "--data-dir", dir); out != "one\nthree\ntwo\n" {
		t.Errorf("ls: %q", out)
	}
	if out := ok(t, []string{"BUCKETSEAL_DATA_DIR=" + dir}, "", "key", "ls", "t*", "--json"); out != `["three","two"]`+"\n" {
		t.Errorf("ls with a prefix: %q", out)
	}
	var info struct{ Name, Algorithm string }
	if err := json.Unmarshal([]byte(ok(t, nil, "", "key", "info", "one", "--json", "--data-dir", dir)), &info); err != nil || info.Name != "one" || info.Algorithm == "" {
		t.Errorf("info: %+v, %v", info, err)
	}
	for _, tc := range [][]string{{"info", "none"}, {"rm", "none", "--force"}, {"create", "a/b"}, {"create", ""}, {"create", "../x"}} {
		fails(t, 1, "", nil, "y\n", append(append([]string{"key"}, tc...), "--data-dir", dir)...)
	}
	ok(t, nil, "", "key", "rm", "one", "--force", "--data-dir", dir)
	if out := ok(t, nil, "", "key", "ls", "--data-dir", dir); out != "three\ntwo\n" {
		t.Errorf("after rm: %q", out)
	}
}

func TestDeletingAKeyWantsAYes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, nil, "", "key", "create", "--init", "k", "l", "bucketseal-system", "--data-dir", dir)
	for _, answer := range []string{"", "\n", "n\n", "yess\n"} {
		fails(t, 1, "nothing was done", nil, answer, "key", "rm", "k", "--data-dir", dir)
	}
	ok(t, nil, "y\nYES\n", "key", "rm", "k", "l", "--data-dir", dir)
	fails(t, 1, "--accept-loss", nil, "y\n", "key", "rm", "bucketseal-system", "--data-dir", dir)
	fails(t, 1, "--accept-loss", nil, "y\n", "key", "rm", "bucketseal-system", "--force", "--data-dir", dir)
	if out := ok(t, nil, "", "key", "ls", "--data-dir", dir); out != "bucketseal-system\n" {
		t.Errorf("left: %q", out)
	}
}

func TestALostMasterKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, nil, "", "key", "create", "--init", "k", "--data-dir", dir)
	if err := os.Rename(filepath.Join(dir, "master.key"), filepath.Join(dir, "elsewhere.key")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"create", "l"}, {"ls"}, {"info", "k"}} {
		fails(t, 1, "restore it from a backup", nil, "", append(append([]string{"key"}, args...), "--data-dir", dir)...)
	}
	if _, err := os.Stat(filepath.Join(dir, "master.key")); err == nil {
		t.Error("a new master key was made")
	}
	ok(t, []string{"BUCKETSEAL_MASTER_KEY_FILE=" + filepath.Join(dir, "elsewhere.key")}, "", "key", "info", "k", "--data-dir", dir)
}

func TestTheMasterKeyMayComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"BUCKETSEAL_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "AQ=="}
	env[0] = "BUCKETSEAL_MASTER_KEY=" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	ok(t, env, "", "key", "create", "--init", "k", "--data-dir", dir)
	ok(t, env, "", "key", "info", "k", "--data-dir", dir)
	if _, err := os.Stat(filepath.Join(dir, "master.key")); err == nil {
		t.Error("a master key file was made")
	}
	fails(t, 1, "restore it from a backup", nil, "", "key", "info", "k", "--data-dir", dir)
	other := []string{"BUCKETSEAL_MASTER_KEY=" + base64.StdEncoding.EncodeToString([]byte("another key of exactly 32 bytes!"))}
	fails(t, 1, "another master key", other, "", "key", "info", "k", "--data-dir", dir)
}

func TestKeysAreUsedAndImported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	ok(t, nil, secret+"\n", "key", "import", "--init", "k", "--data-dir", dir)
	file := write(t, filepath.Join(dir, "chacha"), secret)
	ok(t, nil, "", "key", "import", "--init", "c", file, "--cipher", "ChaCha20", "--data-dir", dir)
	for _, bad := range []string{"", "no base64", base64.StdEncoding.EncodeToString([]byte("short")), secret + secret} {
		fails(t, 1, "not 32 bytes in base64", nil, bad, "key", "import", "bad", "--data-dir", dir)
	}
	fails(t, 2, "--cipher", nil, secret, "key", "import", "bad", "--cipher", "rot13", "--data-dir", dir)
	// A key given as an argument is taken for a file, and not repeated.
	fails(t, 1, "standard input", nil, "", "key", "import", "bad", "./no-such-file", "--data-dir", dir)

	for _, name := range []string{"k", "c"} {
		sealed := ok(t, nil, "a secret\n", "key", "encrypt", name, "--context", "ctx", "--data-dir", dir)
		if out := ok(t, nil, sealed, "key", "decrypt", name, "--context", "ctx", "--data-dir", dir); out != "a secret\n" {
			t.Errorf("%s: decrypted %q", name, out)
		}
		fails(t, 1, "not authentic", nil, sealed, "key", "decrypt", name, "--context", "other", "--data-dir", dir)
		var dek struct{ Plaintext, Ciphertext []byte }
		if err := json.Unmarshal([]byte(ok(t, nil, "", "key", "dek", name, "--json", "--data-dir", dir)), &dek); err != nil || len(dek.Plaintext) != 32 {
			t.Fatalf("%s: dek %v, %v", name, dek, err)
		}
		opened := ok(t, nil, base64.StdEncoding.EncodeToString(dek.Ciphertext), "key", "decrypt", name, "--data-dir", dir)
		if !slices.Equal([]byte(opened), dek.Plaintext) {
			t.Errorf("%s: the DEK's ciphertext holds another key", name)
		}
	}
	fails(t, 1, "not base64", nil, "?", "key", "decrypt", "k", "--data-dir", dir)
	fails(t, 1, "longer than", nil, strings.Repeat("x", keycmd.MaxInput+1), "key", "encrypt", "k", "--data-dir", dir)
}
