package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skip("no file system can be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestRestoringToAFullDiskGoesOnWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	identity, recipient := newAgeIdentity(t)
	from, backup := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "keys.age")
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint("key-", i))
	}
	mustSeal(t, nil, "", append([]string{"key", "create", "--init", "--data-dir", from}, names...)...)
	mustSeal(t, nil, "", "key", "backup", "-r", recipient, "-o", backup, "--data-dir", from)

	disk := smallDisk(t, 128<<10) // a page for each file, of 40 and what else there is
	ballast := filepath.Join(disk, "ballast")
	saveFile(t, ballast, make([]byte, 64<<10))
	restore := []string{"key", "restore", backup, "-i", identity, "--init", "--data-dir", filepath.Join(disk, "data")}
	refusedSeal(t, "another run goes on", nil, "", restore...)
	list := func() []string {
		return strings.Fields(mustSeal(t, nil, "", "key", "ls", "--data-dir", filepath.Join(disk, "data")))
	}
	if there := len(list()); there == 0 || there >= len(names) {
		t.Errorf("%d of %d keys are there", there, len(names))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if out := mustSeal(t, nil, "", restore...); strings.HasPrefix(out, "0 keys") || len(list()) != len(names) {
		t.Errorf("%d keys after %q", len(list()), out)
	}
}

func TestDecryptingToAFullDiskLeavesNoHalfFile(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(300_000, 1)
	for i := range 20 {
		c.put(t, bucket, fmt.Sprint("k", i), data, nil).wantStatus(t, http.StatusOK)
	}
	disk := smallDisk(t, 2<<20)
	decrypt := []string{"object", "decrypt", "--from", filepath.Join(s.minio.dir, "data"), "--data-dir", s.seal.dataDir, "-o", filepath.Join(disk, "out"), bucket}
	refusedSeal(t, "no space left on device", nil, "", decrypt...)
	whole := 0
	entries, err := os.ReadDir(filepath.Join(disk, "out", bucket))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Size() != int64(len(data)) || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s of %d bytes, %v", e.Name(), info.Size(), err)
		}
		whole++
	}
	if whole == 0 || whole == 20 {
		t.Errorf("%d of 20 files", whole)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=20m"); err != nil {
		t.Fatal(err)
	}
	if out := mustSeal(t, nil, "", append(decrypt, "--skip-existing")...); !strings.Contains(out, fmt.Sprintf("%d decrypted", 20-whole)) || !strings.Contains(out, fmt.Sprintf("%d there already", whole)) {
		t.Errorf("%s, %d were there", out, whole)
	}
}
