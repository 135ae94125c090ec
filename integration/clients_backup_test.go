package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// installed returns the path of a program, or skips the test.
func installed(t *testing.T, name string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skip(name + " is not installed")
	}
	return program
}

func TestRcloneCopiesAndChecks(t *testing.T) {
	t.Parallel()
	program := installed(t, "rclone")
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	from, back := t.TempDir(), t.TempDir()
	files := tree(t, from)
	for _, sse := range []string{"", "AES256", "aws:kms"} {
		env := baseEnv("RCLONE_CONFIG="+filepath.Join(t.TempDir(), "none"), "RCLONE_CONFIG_SEAL_TYPE=s3", "RCLONE_CONFIG_SEAL_PROVIDER=Minio",
			"RCLONE_CONFIG_SEAL_ENDPOINT="+c.endpoint, "RCLONE_CONFIG_SEAL_ACCESS_KEY_ID="+rootUser, "RCLONE_CONFIG_SEAL_SECRET_ACCESS_KEY="+rootPassword,
			"RCLONE_CONFIG_SEAL_REGION="+region, "RCLONE_S3_UPLOAD_CUTOFF=200M", "RCLONE_CONFIG_SEAL_SERVER_SIDE_ENCRYPTION="+sse)
		rclone := func(args ...string) string {
			t.Helper()
			out, all, err := run(t, env, from, program, args...)
			if err != nil {
				t.Fatalf("rclone %v: %v\n%s", args, err, all)
			}
			return out + all
		}
		target := "seal:" + bucket + "/" + strings.ReplaceAll(sse, ":", "-") + "x"
		rclone("copy", from, target)
		rclone("check", "--download", from, target)
		if out := rclone("check", from, target); sse != "aws:kms" && !strings.Contains(out, "0 differences") {
			t.Errorf("rclone check: %s", out)
		}
		rclone("copy", target, back)
		wantTree(t, back, files)
		// Modification times are metadata: setting one is a copy of an object onto itself.
		rclone("touch", "--timestamp", "2001-02-03T04:05:06", target+"/d0/ü file 0", "--no-create")
		rclone("touch", "--timestamp", "2001-02-03T04:05:06", target+"/d2/ü file 15", "--no-create")
		rclone("check", "--download", from, target)
		if out := rclone("lsl", target); !strings.Contains(out, "2001-02-03 04:05:06") {
			t.Errorf("rclone lsl shows no touched time: %s", out)
		}
		rclone("copyto", target+"/d1/ü file 65535", target+"/server side copy")
		rclone("moveto", target+"/server side copy", target+"/moved")
		if out := rclone("cat", target+"/moved"); !strings.HasPrefix(out, string(files["d1/ü file 65535"])) {
			t.Errorf("what was copied and moved has %d bytes", len(out))
		}
		rclone("delete", target)
	}
}

func TestResticBacksUpChecksAndRestores(t *testing.T) {
	t.Parallel()
	program := installed(t, "restic")
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	from, back := t.TempDir(), t.TempDir()
	files := tree(t, from)
	env := baseEnv("RESTIC_REPOSITORY=s3:"+c.endpoint+"/"+bucket, "RESTIC_PASSWORD=password", "AWS_ACCESS_KEY_ID="+rootUser,
		"AWS_SECRET_ACCESS_KEY="+rootPassword, "RESTIC_CACHE_DIR="+t.TempDir())
	for _, args := range [][]string{
		{"init"},
		{"backup", "."},
		{"check", "--read-data"},
		{"backup", "."},
		{"forget", "--keep-last", "1", "--prune"},
		{"check", "--read-data"},
		{"restore", "latest", "--target", back},
	} {
		if _, all, err := run(t, env, from, program, args...); err != nil {
			t.Fatalf("restic %v: %v\n%s", args, err, all)
		}
	}
	restored := back
	if matches, _ := filepath.Glob(filepath.Join(back, "*")); len(matches) == 1 {
		restored = filepath.Join(back, from)
	}
	wantTree(t, restored, files)
}

func TestS3cmdSyncs(t *testing.T) {
	t.Parallel()
	program := installed(t, "s3cmd")
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	from, back := t.TempDir(), t.TempDir()
	files := tree(t, from)
	host := strings.TrimPrefix(c.endpoint, "http://")
	s3cmd := func(args ...string) string {
		t.Helper()
		all := append([]string{
			"--config", "/dev/null", "--access_key", rootUser, "--secret_key", rootPassword, "--host", host, "--host-bucket", host,
			"--no-ssl", "--disable-multipart", "--region", region, "--no-progress",
		}, args...)
		out, both, err := run(t, baseEnv("HOME="+realHome(), "PYENV_ROOT="), from, program, all...)
		if err != nil {
			t.Fatalf("s3cmd %v: %v\n%s", args, err, both)
		}
		return out
	}
	target := "s3://" + bucket + "/tree/"
	s3cmd("sync", "./", target)
	s3cmd("sync", target, back+"/")
	wantTree(t, back, files)
	// s3cmd compares MD5s: nothing is sent or fetched twice.
	if out := s3cmd("sync", "./", target) + s3cmd("sync", target, back+"/"); strings.Contains(out, "upload:") || strings.Contains(out, "download:") {
		t.Errorf("second sync: %s", out)
	}
	s3cmd("put", "--server-side-encryption", "d0/ü file 0", target+"sse")
	if out := s3cmd("info", target+"sse"); !strings.Contains(out, "AES256") {
		t.Errorf("s3cmd info: %s", out)
	}
	s3cmd("cp", target+"sse", target+"copy")
	s3cmd("del", "--recursive", "--force", target)
}
