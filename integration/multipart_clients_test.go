package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// clientFileSize is the size of the files that real clients move.
func clientFileSize() int64 {
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		return 3 << 30
	}
	return 25<<20 + 12_345
}

// bigFile writes a file of clientFileSize that clients upload in parts.
func bigFile(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "big")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, newGenerator(clientFileSize())); err != nil {
		t.Fatal(err)
	}
	return path
}

func digestOf(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func wantBigFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if digestOf(t, f) != digestOf(t, newGenerator(clientFileSize())) {
		t.Errorf("%s is not what was uploaded", path)
	}
}

// wantBigObject reads the object back as it is stored now.
func wantBigObject(t *testing.T, c *client, bucket, key string, parts string) {
	t.Helper()
	req, err := c.build(request{method: "GET", bucket: bucket, key: key})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ContentLength != clientFileSize() || parts != "" && !strings.HasSuffix(resp.Header.Get("Etag"), "-"+parts+`"`) {
		t.Errorf("%s: %d bytes, ETag %s, want %s parts", key, resp.ContentLength, resp.Header.Get("Etag"), parts)
	}
	if digestOf(t, resp.Body) != digestOf(t, newGenerator(clientFileSize())) {
		t.Errorf("%s is not what was uploaded", key)
	}
}

// timed says how long something took with clientFileSize bytes, and how much
// memory the proxy had at most.
func timed(t *testing.T, s *stack, what string, f func()) {
	t.Helper()
	measure := s.seal != nil && os.Getenv("BUCKETSEAL_LONG") != ""
	if measure {
		resetPeak(t, s.seal.pid())
	}
	began := time.Now()
	f()
	took := time.Since(began)
	if measure {
		t.Logf("%s: %.1f s, %.0f MiB/s, the proxy's peak RSS %.1f MiB", what, took.Seconds(), float64(clientFileSize()>>20)/took.Seconds(), float64(memoryOf(t, s.seal.pid()).peak)/(1<<20))
	}
}

// remove deletes objects that are not needed any more: in make torture they are
// large.
func (c *client) remove(t *testing.T, bucket string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		c.do(t, request{method: http.MethodDelete, bucket: bucket, key: key}).wantStatus(t, http.StatusNoContent)
	}
}

func TestMCUploadsInParts(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	mc, c, dir := newMC(t, s), s.client(), t.TempDir()
	bucket := newBucket(t, c)
	path := bigFile(t, dir)
	for name, extra := range map[string][]string{"plain": nil, "checksum": {"--checksum", "CRC32C"}, "kms": {"--enc-kms", "seal/" + bucket + "=" + defaultKey}} {
		timed(t, s, "mc cp "+name, func() { mc.must(t, append(append([]string{"cp"}, extra...), path, "seal/"+bucket+"/"+name)...) })
		wantBigObject(t, c, bucket, name, "")
		if name != "plain" {
			c.remove(t, bucket, name)
		}
	}
	timed(t, s, "mc cp, server-side", func() { mc.must(t, "cp", "seal/"+bucket+"/plain", "seal/"+bucket+"/copy") })
	timed(t, s, "mc cp, down", func() { mc.must(t, "cp", "seal/"+bucket+"/copy", filepath.Join(dir, "back")) })
	wantBigFile(t, filepath.Join(dir, "back"))
	c.remove(t, bucket, "plain", "copy")
	pipe := exec.Command("sh", "-c", `exec "$0" --quiet pipe "$1" <"$2"`, mc.program, "seal/"+bucket+"/pipe", path)
	pipe.Env = baseEnv("HOME="+mc.config, "MC_CONFIG_DIR="+mc.config)
	timed(t, s, "mc pipe", func() {
		if out, err := pipe.CombinedOutput(); err != nil {
			t.Fatalf("mc pipe: %v\n%s", err, out)
		}
	})
	wantBigObject(t, c, bucket, "pipe", "")
	c.remove(t, bucket, "pipe")
	// What was broken off is found and removed.
	u := c.createUpload(t, bucket, "broken/off", nil)
	u.put(t, 1, partData(minPart, 3))
	if out := mc.must(t, "ls", "--incomplete", "--recursive", "seal/"+bucket); !strings.Contains(out, "broken/off") {
		t.Errorf("mc ls --incomplete: %s", out)
	}
	mc.must(t, "rm", "--incomplete", "--recursive", "--force", "seal/"+bucket+"/broken/")
	eventually(t, "the upload is gone", func() bool { return len(c.uploads(t, bucket).Upload) == 0 })
}

func TestAWSCLIUploadsInParts(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c, dir := s.client(), t.TempDir()
	bucket := newBucket(t, c)
	path := bigFile(t, dir)
	cp := func(what string, args ...string) {
		t.Helper()
		timed(t, s, what, func() { aws(t, c.endpoint, dir, append([]string{"s3", "cp", "--no-progress"}, args...)...) })
	}
	cp("aws s3 cp --sse aws:kms, SHA256", "--checksum-algorithm", "SHA256", "--sse", "aws:kms", "--sse-kms-key-id", defaultKey, path, "s3://"+bucket+"/kms")
	wantBigObject(t, c, bucket, "kms", "")
	c.remove(t, bucket, "kms")
	cp("aws s3 cp", path, "s3://"+bucket+"/plain")
	wantBigObject(t, c, bucket, "plain", "")
	cp("aws s3 cp, server-side", "s3://"+bucket+"/plain", "s3://"+bucket+"/copy") // UploadPartCopy
	c.remove(t, bucket, "plain")
	cp("aws s3 cp, down", "s3://"+bucket+"/copy", filepath.Join(dir, "back"))
	wantBigFile(t, filepath.Join(dir, "back"))
	aws(t, c.endpoint, dir, "s3", "mv", "--no-progress", "s3://"+bucket+"/copy", "s3://"+bucket+"/moved")
	wantBigObject(t, c, bucket, "moved", "")
	c.remove(t, bucket, "moved")
}

func TestRcloneUploadsInParts(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("rclone")
	if err != nil {
		t.Skip("rclone is not installed")
	}
	s := sharedStack(t)
	c, dir := s.client(), t.TempDir()
	bucket := newBucket(t, c)
	path := bigFile(t, dir)
	env := baseEnv("HOME="+dir, "RCLONE_CONFIG="+filepath.Join(dir, "none"), "RCLONE_CONFIG_SEAL_TYPE=s3", "RCLONE_CONFIG_SEAL_PROVIDER=Minio",
		"RCLONE_CONFIG_SEAL_ACCESS_KEY_ID="+rootUser, "RCLONE_CONFIG_SEAL_SECRET_ACCESS_KEY="+rootPassword, "RCLONE_CONFIG_SEAL_ENDPOINT="+c.endpoint)
	rclone := func(args ...string) string {
		t.Helper()
		out, all, err := run(t, env, dir, program, append([]string{"--s3-upload-cutoff", "5M", "--retries", "1"}, args...)...)
		if err != nil {
			t.Fatalf("rclone %v: %v\n%s", args, err, all)
		}
		return out
	}
	timed(t, s, "rclone copyto", func() { rclone("copyto", path, "seal:"+bucket+"/big") })
	wantBigObject(t, c, bucket, "big", "")
	rclone("copyto", "--s3-copy-cutoff", "10M", "seal:"+bucket+"/big", "seal:"+bucket+"/copy")
	rclone("check", "--download", "seal:"+bucket, "seal:"+bucket)
	timed(t, s, "rclone copyto, down", func() { rclone("copyto", "seal:"+bucket+"/copy", filepath.Join(dir, "back")) })
	wantBigFile(t, filepath.Join(dir, "back"))
	c.remove(t, bucket, "big", "copy")
}

func TestBoto3TransfersInParts(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	bucket := newBucket(t, s.client())
	dir := t.TempDir()
	path := bigFile(t, dir)
	const script = `
import sys, time, filecmp, boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
bucket, path, key_id = sys.argv[1:4]
for i, when in enumerate(("when_supported", "when_required")):
    s3 = boto3.client("s3", config=Config(signature_version="s3v4", request_checksum_calculation=when, response_checksum_validation=when))
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=(6 << 20) + 1, max_concurrency=4)
    for name, extra in (("s3", {}), ("kms", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id}), ("sha", {"ChecksumAlgorithm": "SHA256"}))[: 3 - i]:
        began = time.time()
        s3.upload_file(path, bucket, name, Config=config, ExtraArgs=extra)
        up = time.time()
        s3.download_file(bucket, name, path + ".back", Config=config)
        print("boto3 %s, %s: %.1f s up, %.1f s down" % (name, when, up - began, time.time() - up))
        assert filecmp.cmp(path, path + ".back", shallow=False), name
        a = s3.get_object_attributes(Bucket=bucket, Key=name, ObjectAttributes=["ObjectParts", "ObjectSize", "Checksum"], MaxParts=2)
        parts = a["ObjectParts"]
        assert parts["IsTruncated"] and [p["Size"] for p in parts["Parts"]] == [(6 << 20) + 1] * 2, a
        assert s3.head_object(Bucket=bucket, Key=name, PartNumber=1)["PartsCount"] == parts["TotalPartsCount"], a
        if name != "s3":
            s3.delete_object(Bucket=bucket, Key=name)
    s3.copy({"Bucket": bucket, "Key": "s3"}, bucket, "copy", Config=config)
    s3.download_file(bucket, "copy", path + ".back", Config=config)
    assert filecmp.cmp(path, path + ".back", shallow=False)
    for key in ("s3", "copy"):
        s3.delete_object(Bucket=bucket, Key=key)
print("fine")
`
	timed(t, s, "boto3, all", func() {
		if out := python(t, s.client().endpoint, script, bucket, path, defaultKey); !strings.HasSuffix(out, "fine\n") {
			t.Errorf("output %q", out)
		} else {
			t.Log(out)
		}
	})
}

func TestMinioGoStreamsOfUnknownSize(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	at, err := url.Parse(c.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	lib, err := minio.New(at.Host, &minio.Options{Creds: credentials.NewStaticV4(rootUser, rootPassword, ""), TrailingHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, o := range map[string]minio.PutObjectOptions{
		"serial": {PartSize: minPart}, "parallel": {PartSize: 6 << 20, ConcurrentStreamParts: true, NumThreads: 3}, "md5": {PartSize: minPart, SendContentMd5: true},
		"checksum": {PartSize: minPart, Checksum: minio.ChecksumFullObjectCRC32C},
	} {
		timed(t, s, "minio-go "+name, func() {
			if _, err = lib.PutObject(ctx, bucket, name, onlyReader{newGenerator(clientFileSize())}, -1, o); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if err != nil {
			continue
		}
		object, err := lib.GetObject(ctx, bucket, name, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if digestOf(t, object) != digestOf(t, newGenerator(clientFileSize())) {
			t.Errorf("%s is not what was uploaded", name)
		}
		object.Close()
		if name != "serial" && name != "md5" { // which are copied from
			c.remove(t, bucket, name)
		}
	}
	if _, err := lib.PutObject(ctx, bucket, "empty", onlyReader{strings.NewReader("")}, -1, minio.PutObjectOptions{PartSize: minPart}); err != nil {
		t.Errorf("empty stream: %v", err)
	}
	if _, err := lib.ComposeObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "composed"},
		minio.CopySrcOptions{Bucket: bucket, Object: "serial"}, minio.CopySrcOptions{Bucket: bucket, Object: "md5", MatchRange: true, Start: 5, End: 70_000}); err != nil {
		t.Errorf("compose: %v", err)
	} else if info, err := lib.StatObject(ctx, bucket, "composed", minio.StatObjectOptions{}); err != nil || info.Size != clientFileSize()+70_000-5+1 {
		t.Errorf("composed: %d bytes, %v", info.Size, err)
	}
	c.remove(t, bucket, "serial", "md5", "composed")
}

// Resumption as mc and others do it: ListParts says what is there, and the MD5s of
// the local file which of it is right.
func TestUploadIsResumedFromWhatListPartsSays(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	parts := [][]byte{partData(minPart, 50), partData(minPart, 51), partData(minPart, 52), partData(999, 53)}
	u := c.createUpload(t, bucket, "k", nil)
	u.put(t, 1, parts[0])
	u.put(t, 2, []byte("an older version of the file"))
	s.seal.kill()
	s.restart(t)
	uploads := s.client().uploads(t, bucket, "prefix", "k").Upload
	if len(uploads) != 1 {
		t.Fatalf("uploads: %v", uploads)
	}
	again := &mp{c: s.client(), bucket: bucket, key: "k", id: uploads[0].UploadId, etags: map[int]string{}}
	listed, _, _ := again.parts(t)
	for _, p := range listed {
		if p.ETag == md5ETag(parts[p.PartNumber-1]) && p.Size == int64(len(parts[p.PartNumber-1])) {
			again.etags[p.PartNumber] = p.ETag
		}
	}
	if len(again.etags) != 1 {
		t.Errorf("right parts: %v of %v", again.etags, listed)
	}
	for i, data := range parts {
		if again.etags[i+1] == "" {
			again.put(t, i+1, data)
		}
	}
	wantObject(t, again.c, bucket, "k", again.complete(t), nil, parts...)
}
