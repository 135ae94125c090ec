package integration

import (
	"io/fs"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// key runs `bucketseal key ARGS... --data-dir DIR` and returns its output.
func (s *stack) key(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(append([]string{"key"}, args...), "--data-dir", s.seal.dataDir)...)
	cmd.Env = baseEnv()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *stack) mustKey(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.key(t, args...)
	if err != nil {
		t.Fatalf("bucketseal key %v: %v\n%s", args, err, out)
	}
	return out
}

func kmsWith(key string) map[string]string {
	return map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": key}
}

func TestKeyCommandsAndTheRunningServerAgree(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(5000, 80)
	if out := s.mustKey(t, "ls"); !strings.Contains(out, defaultKey) {
		t.Errorf("key ls: %q", out)
	}
	c.put(t, bucket, "k", data, kmsWith("second")).wantError(t, http.StatusNotFound, "kms:KeyNotFound", "key with given key ID does not exist")

	s.mustKey(t, "create", "second")
	if out := s.mustKey(t, "ls"); !strings.Contains(out, "second") {
		t.Errorf("key ls: %q", out)
	}
	if out := s.mustKey(t, "info", "second"); !strings.Contains(out, "second") {
		t.Errorf("key info: %q", out)
	}
	want := map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:second"}
	c.put(t, bucket, "k", data, kmsWith("second")).wantStatus(t, http.StatusOK).wantHeader(t, want)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, want)
	c.putEncryption(t, bucket, encryptionRule("aws:kms", "second")).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "k2", data, nil).wantStatus(t, http.StatusOK).wantHeader(t, want)

	for name, args := range map[string][]string{
		"create twice": {"create", "second"}, "info of nothing": {"info", "none"}, "rm of nothing": {"rm", "--force", "none"},
		"bad name": {"create", "a/b"}, "empty name": {"create", ""}, "dots": {"create", "../x"},
	} {
		if out, err := s.key(t, args...); err == nil {
			t.Errorf("%s: key %v succeeded: %s", name, args, out)
		}
	}

	if out, err := s.key(t, "rm", "second"); err == nil {
		t.Errorf("key rm without --force and without an answer succeeded: %s", out)
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	s.mustKey(t, "rm", "--force", "second")
	waitFor(t, 10*time.Second, "the server to see that the key is gone", func() bool {
		return c.get(t, bucket, "k", nil).status != http.StatusOK
	})
	c.get(t, bucket, "k", nil).wantError(t, http.StatusGone, "KMS.NotFoundException", "")
	c.put(t, bucket, "k2", data, nil).wantError(t, http.StatusNotFound, "kms:KeyNotFound", "key with given key ID does not exist")
	// Who lists does not need the key.
	if l := c.list(t, bucket, "list-type", "2"); len(l.Contents) != 2 || l.Contents[0].Size != int64(len(data)) {
		t.Errorf("listing without the key: %+v", l)
	}
}

func waitFor(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	limit *= patience
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited %v for %s", limit, what)
}

func TestKeyFilesAreNotReadableByOthers(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.mustKey(t, "create", "private")
	files := 0
	err := filepath.WalkDir(s.seal.dataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files, %v", files, err)
	}
}
