package integration

import (
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// opaqueStack is a stack with opaque ETags, which end in a hyphen and a number.
func opaqueStack(t *testing.T) *stack {
	t.Helper()
	needsSeal(t)
	file := writeFile(t, t.TempDir(), "opaque.yml", []byte("sse_s3: {etag: opaque}\n"))
	return newStack(t, stackOptions{args: []string{"--config", file}})
}

// looseMinIO is a MinIO that computes no MD5s, and encrypts nothing: of what it encrypts
// it answers ETags of another form.
func looseMinIO(t *testing.T) *client {
	t.Helper()
	program, err := tool("MINIO_BIN", "minio")
	if err != nil {
		t.Fatal(err)
	}
	at, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := startProcess("minio", filepath.Join(dir, "minio.log"), baseEnv("MINIO_ROOT_USER="+rootUser, "MINIO_ROOT_PASSWORD="+rootPassword,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on"),
		program, "server", "--quiet", "--no-compat", "--address", at, filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	c := newClient("http://"+at, rootUser, rootPassword)
	if err := p.waitReady(http.DefaultClient, c.endpoint+"/minio/health/live"); err != nil {
		t.Fatal(err)
	}
	if err := waitServing(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantOneETag wants every answer about an object to show this ETag.
func wantOneETag(t *testing.T, c *client, bucket, key, etag string) {
	t.Helper()
	if got := c.head(t, bucket, key, nil).wantStatus(t, http.StatusOK).header.Get("Etag"); got != etag {
		t.Errorf("%s: HEAD shows %s, not %s", key, got, etag)
	}
	if got := c.get(t, bucket, key, map[string]string{"If-Match": etag}).wantStatus(t, http.StatusOK).header.Get("Etag"); got != etag {
		t.Errorf("%s: GET shows %s, not %s", key, got, etag)
	}
	c.get(t, bucket, key, map[string]string{"If-None-Match": etag}).wantStatus(t, http.StatusNotModified)
	if l := c.list(t, bucket, "prefix", key, "list-type", "2"); len(l.Contents) == 0 || l.Contents[0].ETag != etag {
		t.Errorf("%s is listed as %+v, not with %s", key, l.Contents, etag)
	}
	a := c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ETag"}}).wantStatus(t, http.StatusOK)
	var attributes struct{ ETag string }
	if err := xml.Unmarshal(a.body, &attributes); err != nil || attributes.ETag != strings.Trim(etag, `"`) {
		t.Errorf("%s: the attributes are %s, not %s", key, a.body, etag)
	}
	put := map[string]string{"If-None-Match": etag}
	c.put(t, bucket, key, []byte("other"), put).wantStatus(t, http.StatusPreconditionFailed)
}

// MinIO without strict compatibility answers the same kind of ETags: new with every write,
// and the MD5 where the client sent it. That theirs can be taken for an MD5, ours cannot.
func TestOpaqueETagsBesideMinIOs(t *testing.T) {
	t.Parallel()
	s := opaqueStack(t)
	for name, server := range map[string]struct {
		*client
		form string
	}{"bucketseal": {s.client(), `^"[0-9a-f]{32}-[0-9]+"$`}, "MinIO": {looseMinIO(t), `^"[0-9a-f]{32}(-[0-9]+)?"$`}} {
		c, form := server.client, regexp.MustCompile(server.form)
		bucket := newBucket(t, c)
		etags := map[string]string{}
		for _, size := range []int{1, 100_000, 9 << 20} {
			data, key := testData(size, 4), "put "+strconv.Itoa(size)+" bytes"
			sum := md5.Sum(data)
			etags[key] = c.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK).header.Get("Etag")
			again := c.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK).header.Get("Etag")
			if etags[key] == again || strings.Contains(again, hex.EncodeToString(sum[:])) {
				t.Errorf("%s: %s has %s, then %s", name, key, etags[key], again)
			}
			etags[key] = again
			declared := c.put(t, bucket, "declared", data, map[string]string{"Content-Md5": base64.StdEncoding.EncodeToString(sum[:])}).wantStatus(t, http.StatusOK)
			if got, want := declared.header.Get("Etag"), `"`+hex.EncodeToString(sum[:])+`"`; got != want {
				t.Errorf("%s: declared as %s, answered as %s", name, want, got)
			}
			c.put(t, bucket, "declared", data[1:], map[string]string{"Content-Md5": base64.StdEncoding.EncodeToString(sum[:])}).wantError(t, http.StatusBadRequest, "BadDigest", "")
		}
		upload := &postForm{fields: [][2]string{{"key", "form"}}, file: []byte("data"), fileName: "f"}
		etags["form"] = c.anonymous().do(t, upload.request(c, bucket)).wantStatus(t, http.StatusNoContent).header.Get("Etag")
		u := c.createUpload(t, bucket, "parts", nil)
		for number, data := range [][]byte{partData(5<<20, 1), []byte("end")} {
			if etag := u.put(t, number+1, data); !form.MatchString(etag) {
				t.Errorf("%s: part %d has %s", name, number+1, etag)
			}
		}
		etags["parts"] = u.complete(t)
		a := c.put(t, bucket, "copy", nil, map[string]string{"X-Amz-Copy-Source": bucket + "/form"}).wantStatus(t, http.StatusOK)
		etags["copy"] = completedETag(t, a)
		for key, etag := range etags {
			if !form.MatchString(etag) {
				t.Errorf("%s: %s has %s", name, key, etag)
			}
			wantOneETag(t, c, bucket, key, etag)
		}
	}
}

// The setting is switched to and fro: what is there keeps the ETag that it was
// acknowledged with.
func TestObjectsKeepTheirETagsWhateverIsConfigured(t *testing.T) {
	t.Parallel()
	s := opaqueStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	etags := map[string]string{}
	open := map[string]*mp{}
	for i, settings := range []string{"{etag: opaque}", "{etag: opaque, md5_etag: ['*']}", "{opaque_etag: ['*']}", "{}"} {
		if i > 0 {
			s.seal.kill()
			if err := os.WriteFile(s.seal.args[1], []byte("sse_s3: "+settings+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.restart(t)
			c = s.client()
		}
		for key, u := range open {
			u = u.via(c)
			u.put(t, 2, []byte("end"))
			etags[key] = u.complete(t)
			if strings.Count(etags[key], "-") != 1 {
				t.Errorf("%s: %s", key, etags[key])
			}
			delete(open, key)
		}
		n := strconv.Itoa(i)
		for _, size := range []int{0, 1000, 9 << 20} {
			key := "put " + n + " " + strconv.Itoa(size)
			etags[key] = c.put(t, bucket, key, testData(size, 7), nil).wantStatus(t, http.StatusOK).header.Get("Etag")
			if opaque := strings.HasSuffix(etags[key], `-1"`); opaque != (i%2 == 0 && size > 0) { // the MD5 of nothing is known
				t.Errorf("%s: %s", key, etags[key])
			}
		}
		for key := range etags {
			copied := "copy " + n + " of " + key
			if strings.HasPrefix(key, "copy") || etags[copied] != "" {
				continue
			}
			a := c.put(t, bucket, copied, nil, map[string]string{"X-Amz-Copy-Source": bucket + "/" + strings.ReplaceAll(key, " ", "%20")}).wantStatus(t, http.StatusOK)
			etags[copied] = completedETag(t, a)
		}
		open["parts "+n] = c.createUpload(t, bucket, "parts "+n, nil)
		open["parts "+n].put(t, 1, partData(5<<20, 1))
		for key, etag := range etags {
			wantOneETag(t, c, bucket, key, etag)
		}
	}
}

// No client takes an opaque ETag for an MD5 and fails.
func TestClientsAcceptOpaqueETags(t *testing.T) {
	t.Parallel()
	s := opaqueStack(t)
	c := s.client()
	from := t.TempDir()
	files := tree(t, from)
	big := partData(17<<20, 9)
	files["big"] = big
	writeFile(t, from, "big", big)
	t.Run("mc", func(t *testing.T) {
		mc, bucket, back := newMC(t, s), newBucket(t, c), t.TempDir()
		mc.must(t, "mirror", from, "seal/"+bucket)
		mc.must(t, "cp", "--md5", filepath.Join(from, "big"), "seal/"+bucket+"/big")
		if out := mc.must(t, "diff", from, "seal/"+bucket); strings.TrimSpace(out) != "" {
			t.Errorf("mc diff: %s", out)
		}
		mc.must(t, "mirror", "seal/"+bucket, back)
		wantTree(t, back, files)
	})
	t.Run("aws-cli", func(t *testing.T) {
		bucket, back := newBucket(t, c), t.TempDir()
		aws(t, c.endpoint, from, "s3", "sync", "--no-progress", from, "s3://"+bucket+"/")
		aws(t, c.endpoint, from, "s3", "cp", "--no-progress", "--sse", "AES256", filepath.Join(from, "big"), "s3://"+bucket+"/sse")
		aws(t, c.endpoint, from, "s3", "cp", "--no-progress", "s3://"+bucket+"/big", "s3://"+bucket+"/copy")
		aws(t, c.endpoint, from, "s3", "sync", "--no-progress", "s3://"+bucket+"/", back)
		wantTree(t, back, files)
		if out := aws(t, c.endpoint, from, "s3", "sync", from, "s3://"+bucket+"/"); strings.Contains(out, "upload:") {
			t.Errorf("the second sync sends: %s", out)
		}
	})
	t.Run("boto3", func(t *testing.T) {
		out := python(t, c.endpoint, `
import sys, filecmp, boto3
from boto3.s3.transfer import TransferConfig
s3, (bucket, path) = boto3.client("s3"), sys.argv[1:]
for name, limit in (("whole", 1 << 30), ("parts", 6 << 20)):
    s3.upload_file(path, bucket, name, Config=TransferConfig(multipart_threshold=limit, multipart_chunksize=6 << 20))
    etag = s3.head_object(Bucket=bucket, Key=name)["ETag"]
    assert "-" in etag, etag
    s3.get_object(Bucket=bucket, Key=name, IfMatch=etag)["Body"].read()
    s3.download_file(bucket, name, path + ".back", Config=TransferConfig(multipart_threshold=6 << 20))
    assert filecmp.cmp(path, path + ".back", shallow=False), name
print("fine")
`, newBucket(t, c), writeFile(t, t.TempDir(), "big", big))
		if !strings.HasSuffix(out, "fine\n") {
			t.Errorf("output %q", out)
		}
	})
	t.Run("rclone", func(t *testing.T) { opaqueRclone(t, c, from, files) })
	t.Run("s3cmd", func(t *testing.T) {
		program, bucket, back := installed(t, "s3cmd"), newBucket(t, c), t.TempDir()
		host := strings.TrimPrefix(c.endpoint, "http://")
		for _, args := range [][]string{{"sync", "./", "s3://" + bucket + "/"}, {"sync", "s3://" + bucket + "/", back + "/"}} {
			all := append([]string{
				"--config", "/dev/null", "--access_key", rootUser, "--secret_key", rootPassword, "--host", host, "--host-bucket", host,
				"--no-ssl", "--region", region, "--no-progress",
			}, args...)
			if _, both, err := run(t, baseEnv("HOME="+realHome(), "PYENV_ROOT="), from, program, all...); err != nil || strings.Contains(both, "WARNING") {
				t.Fatalf("s3cmd %v: %v\n%s", args, err, both)
			}
		}
		wantTree(t, back, files)
	})
	t.Run("restic", func(t *testing.T) {
		program, bucket, back := installed(t, "restic"), newBucket(t, c), t.TempDir()
		env := baseEnv("RESTIC_REPOSITORY=s3:"+c.endpoint+"/"+bucket, "RESTIC_PASSWORD=password", "AWS_ACCESS_KEY_ID="+rootUser,
			"AWS_SECRET_ACCESS_KEY="+rootPassword, "RESTIC_CACHE_DIR="+t.TempDir())
		for _, args := range [][]string{{"init"}, {"backup", "."}, {"check", "--read-data"}, {"restore", "latest", "--target", back}} {
			if _, all, err := run(t, env, from, program, args...); err != nil {
				t.Fatalf("restic %v: %v\n%s", args, err, all)
			}
		}
	})
}

// opaqueRclone copies with rclone's checks of ETags on, and compares what it can.
func opaqueRclone(t *testing.T, c *client, from string, files map[string][]byte) {
	t.Helper()
	program, bucket, dir := installed(t, "rclone"), newBucket(t, c), t.TempDir()
	for i, provider := range []string{"Minio", "Other"} { // which differ in what they take an ETag for
		env := baseEnv("HOME="+dir, "RCLONE_CONFIG="+filepath.Join(dir, "none"), "RCLONE_CONFIG_SEAL_TYPE=s3", "RCLONE_CONFIG_SEAL_PROVIDER="+provider,
			"RCLONE_CONFIG_SEAL_ACCESS_KEY_ID="+rootUser, "RCLONE_CONFIG_SEAL_SECRET_ACCESS_KEY="+rootPassword, "RCLONE_CONFIG_SEAL_ENDPOINT="+c.endpoint,
			"RCLONE_CONFIG_SEAL_SERVER_SIDE_ENCRYPTION=AES256")
		rclone := func(args ...string) string {
			t.Helper()
			_, all, err := run(t, env, dir, program, append([]string{"--s3-upload-cutoff", "8M", "--retries", "1", "-v"}, args...)...)
			if err != nil {
				t.Fatalf("%s: rclone %v: %v\n%s", provider, args, err, all)
			}
			return all
		}
		target, back := "seal:"+bucket+"/"+strconv.Itoa(i), filepath.Join(dir, strconv.Itoa(i))
		if out := rclone("copy", from, target); strings.Contains(out, "corrupted") {
			t.Errorf("rclone copy: %s", out)
		}
		rclone("check", from, target)
		rclone("check", "--download", from, target)
		rclone("copy", target, back)
		wantTree(t, back, files)
		if out := rclone("sync", from, target); strings.Contains(out, "Copied (") {
			t.Errorf("the second sync sends: %s", out)
		}
	}
}
