package integration

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// s3fs mounts a bucket as a file system.
func TestS3fsMountsABucket(t *testing.T) {
	t.Parallel()
	s3fs, err := exec.LookPath("s3fs")
	if err != nil {
		t.Skip("no s3fs")
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	_ = fuse.Close()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "before.txt", []byte("from before"), nil).wantStatus(t, http.StatusOK)
	dir := t.TempDir()
	mount := filepath.Join(dir, "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	password := writeFile(t, dir, "password", []byte(c.access+":"+c.secret))
	if err := os.Chmod(password, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(s3fs, bucket, mount, "-o", "url="+c.endpoint, "-o", "use_path_request_style", "-o", "passwd_file="+password).CombinedOutput()
	if err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("fusermount", "-u", "-z", mount).Run() })
	before := filepath.Join(mount, "before.txt")
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err = os.Stat(before); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("s3fs mounted, and shows no object: %v: %s", err, out)
	}
	if got, err := os.ReadFile(before); err != nil || string(got) != "from before" {
		t.Errorf("read %q, %v", got, err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	written, renamed := filepath.Join(mount, "folder", "written"), filepath.Join(mount, "folder", "renamed")
	if err := os.Mkdir(filepath.Dir(written), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(written, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(written, renamed); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(renamed); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes read back, %v", len(got), err)
	}
	c.get(t, bucket, "folder/renamed", nil).wantStatus(t, http.StatusOK).wantBody(t, data).
		wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"})
	if err := os.Remove(renamed); err != nil {
		t.Fatal(err)
	}
	c.get(t, bucket, "folder/renamed", nil).wantError(t, http.StatusNotFound, "NoSuchKey", "")
}
