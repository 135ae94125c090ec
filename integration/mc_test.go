package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMCSession(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	at := "seal/" + bucket
	mc.must(t, "mb", at)
	dir := t.TempDir()
	for _, size := range []int{0, 1, packageSize - 1, packageSize, packageSize + 1, 5 << 20} {
		name := fmt.Sprintf("f%d", size)
		data := testData(size, 90)
		path := writeFile(t, dir, name, data)
		mc.must(t, "cp", path, at+"/")
		if out := mc.must(t, "cat", at+"/"+name); out != string(data) {
			t.Errorf("mc cat %s: %d bytes, want %d", name, len(out), size)
		}
		back := filepath.Join(dir, "back")
		mc.must(t, "cp", at+"/"+name, back)
		wantFile(t, back, data)
		var stat struct {
			Size     int64
			ETag     string
			Metadata map[string]string
		}
		if err := json.Unmarshal([]byte(mc.must(t, "stat", "--json", at+"/"+name)), &stat); err != nil || stat.Size != int64(size) {
			t.Errorf("mc stat: %+v, %v", stat, err)
		}
		if s.seal != nil && stat.ETag != strings.Trim(md5ETag(data), `"`) {
			t.Errorf("mc stat %s: ETag %s is not the MD5 of the content", name, stat.ETag)
		}
		wantSealed(t, s, bucket, name, data)
	}
	ls := mc.must(t, "ls", "--json", at)
	for _, size := range []int{0, packageSize - 1, packageSize + 1, 5 << 20} {
		if !strings.Contains(ls, fmt.Sprintf(`"size":%d,`, size)) || !strings.Contains(ls, fmt.Sprintf(`"key":"f%d"`, size)) {
			t.Errorf("mc ls has no entry of %d bytes:\n%s", size, ls)
		}
	}
	mc.must(t, "rm", "--recursive", "--force", at)
	if ls := mc.must(t, "ls", at); strings.TrimSpace(ls) != "" {
		t.Errorf("after rm: %s", ls)
	}
	mc.must(t, "rb", at)
}

func TestMCEncryptCommands(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	at := "seal/" + bucket
	mc.must(t, "mb", at)
	data := testData(70_000, 91)
	path := writeFile(t, t.TempDir(), "file", data)
	if _, all, err := mc.run(t, "encrypt", "info", at); err == nil || !strings.Contains(all, "The server side encryption configuration was not found") {
		t.Errorf("info without a rule: %v %s", err, all)
	}

	mc.must(t, "encrypt", "set", "sse-s3", at)
	if out := mc.must(t, "encrypt", "info", at); !strings.Contains(out, "Auto encryption 'sse-s3' is enabled") {
		t.Errorf("info: %s", out)
	}
	mc.must(t, "cp", path, at+"/s3")
	if out := mc.must(t, "stat", at+"/s3"); !strings.Contains(out, "SSE-S3") {
		t.Errorf("stat: %s", out)
	}

	mc.must(t, "encrypt", "set", "sse-kms", defaultKey, at)
	if out := mc.must(t, "encrypt", "info", at); !strings.Contains(out, "Auto encryption 'sse-kms' is enabled with KeyID: "+defaultKey) {
		t.Errorf("info: %s", out)
	}
	mc.must(t, "cp", path, at+"/kms")
	if out := mc.must(t, "stat", at+"/kms"); !strings.Contains(out, "SSE-KMS (arn:aws:kms:"+defaultKey+")") {
		t.Errorf("stat: %s", out)
	}
	if _, all, err := mc.run(t, "encrypt", "set", "sse-kms", "no-such-key", at); err == nil {
		t.Errorf("a rule with a missing key: %s", all)
	}

	mc.must(t, "encrypt", "clear", at)
	if _, _, err := mc.run(t, "encrypt", "info", at); err == nil {
		t.Error("info after clear finds a rule")
	}
	for _, name := range []string{"s3", "kms"} {
		if out := mc.must(t, "cat", at+"/"+name); out != string(data) {
			t.Errorf("cat %s: %d bytes", name, len(out))
		}
		wantSealed(t, s, bucket, name, data)
	}
}

func TestMCSeesCiphertextStraightAtMinIO(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	mc.must(t, "mb", "seal/"+bucket)
	data := []byte(strings.Repeat("readable text, line after line\n", 3000))
	mc.must(t, "cp", writeFile(t, t.TempDir(), "file", data), "seal/"+bucket+"/")
	wantNoPlaintext(t, "mc cat raw", []byte(mc.must(t, "cat", "raw/"+bucket+"/file")), data)
	stat := mc.must(t, "stat", "--json", "raw/"+bucket+"/file")
	wantNoPlaintext(t, "mc stat raw", []byte(stat), data)
	if !strings.Contains(stat, "Bucketseal") {
		t.Errorf("no record in %s", stat)
	}
}

func TestMCCopiesALargeFileInOnePiece(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes 256 MiB")
	}
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	at := "seal/" + bucket
	mc.must(t, "mb", at)
	size := int64(256 << 20)
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		size = 1 << 30
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "large")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, newGenerator(size)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	mc.must(t, "cp", "--disable-multipart", path, at+"/big")
	os.Remove(path)
	c := s.client()
	readBack(t, c, bucket, size)

	// Its ETag is one, wherever it is shown.
	etag := c.head(t, bucket, "big", nil).wantStatus(t, http.StatusOK).header.Get("Etag")
	l := c.list(t, bucket, "list-type", "2")
	if len(l.Contents) != 1 || l.Contents[0].ETag != etag || l.Contents[0].Size != size {
		t.Errorf("HEAD says ETag %s, listing %+v", etag, l.Contents)
	}
	c.get(t, bucket, "big", map[string]string{"If-Match": etag, "Range": "bytes=200000000-200000009"}).wantStatus(t, http.StatusPartialContent)
	c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "big"}).wantStatus(t, http.StatusNoContent)
}
