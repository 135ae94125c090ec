package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// What a command printed may be the only copy of a secret.
func TestLostOutputIsAFailure(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"identity", "new"},
		{"identity", "new", "--json"},
		{"version"},
		{"--help"},
		{"key", "ls", "--data-dir", t.TempDir()},
	} {
		if args[0] == "key" {
			ok(t, nil, "", "key", "create", "--init", "k", "--data-dir", args[len(args)-1])
		}
		var stderr bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), fullDisk{}, &stderr, nil); code != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v to a full disk: exit code %d, %q", args, code, stderr.String())
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if code := run(t.Context(), []string{"identity", "new"}, strings.NewReader(""), full, &bytes.Buffer{}, nil); code != 1 {
		t.Errorf("to /dev/full: exit code %d", code)
	}
}

func TestGeneratedSecretThatNobodySeesIsNotAdded(t *testing.T) {
	t.Parallel()
	upstream, dir := fakeMinIO(t), t.TempDir()
	ok(t, nil, "", "key", "create", "--init", "k", "--data-dir", dir)
	flags := []string{"--upstream", upstream, "--data-dir", dir}
	var stderr bytes.Buffer
	code := run(t.Context(), append([]string{"credential", "add", "alice", "--generate"}, flags...), strings.NewReader(""), fullDisk{}, &stderr, rootEnv())
	if code != 1 || !strings.Contains(stderr.String(), "nothing was added") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
	if list := ok(t, rootEnv(), "", append([]string{"credential", "ls"}, flags...)...); strings.Contains(list, "alice") {
		t.Errorf("added all the same: %s", list)
	}
}

// A lost private key is a lost identity.
func TestIdentityStaysWholeIfOneFileCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "private.key"), filepath.Join(dir, "public.crt")
	ok(t, nil, "", "identity", "new", "--key", key, "--cert", cert)
	before, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string) {
		t.Helper()
		if now, err := os.ReadFile(key); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: the old key is gone: %v", what, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".new-") {
				t.Errorf("%s: %s is left", what, e.Name())
			}
		}
	}
	fails(t, 1, "use --force", nil, "", "identity", "new", "--key", key, "--cert", filepath.Join(dir, "other.crt"))
	same("without --force")
	if _, err := os.Stat(filepath.Join(dir, "other.crt")); err == nil {
		t.Error("the certificate was written without its key")
	}
	fails(t, 1, "", nil, "", "identity", "new", "--force", "--key", key, "--cert", filepath.Join(dir, "missing", "public.crt"))
	same("into a folder that is missing")
	folder := filepath.Join(dir, "folder.crt")
	if err := os.MkdirAll(filepath.Join(folder, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	fails(t, 1, "", nil, "", "identity", "new", "--force", "--key", key, "--cert", folder)
	same("over a folder")
	ok(t, nil, "", "identity", "new", "--force", "--key", key, "--cert", cert)
	if now, err := os.ReadFile(key); err != nil || bytes.Equal(now, before) {
		t.Errorf("with --force the key stays: %v", err)
	}
}
