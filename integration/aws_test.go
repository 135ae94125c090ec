package integration

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAWSCLI(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	dir := t.TempDir()
	data := testData(3*packageSize+11, 100)
	path := writeFile(t, dir, "in", data)
	put := func(key string, extra ...string) map[string]any {
		t.Helper()
		args := append([]string{"s3api", "put-object", "--bucket", bucket, "--key", key, "--body", path}, extra...)
		return parse(t, aws(t, c.endpoint, dir, args...))
	}
	if a := put("s3", "--server-side-encryption", "AES256"); a["ServerSideEncryption"] != "AES256" || a["ETag"] != md5ETag(data) {
		t.Errorf("put-object: %v", a)
	}
	if a := put("kms", "--server-side-encryption", "aws:kms", "--ssekms-key-id", defaultKey); a["SSEKMSKeyId"] != "arn:aws:kms:"+defaultKey {
		t.Errorf("put-object: %v", a)
	}
	for _, key := range []string{"s3", "kms"} {
		out := filepath.Join(dir, "out-"+key)
		get := parse(t, aws(t, c.endpoint, dir, "s3api", "get-object", "--bucket", bucket, "--key", key, out))
		wantFile(t, out, data)
		head := parse(t, aws(t, c.endpoint, dir, "s3api", "head-object", "--bucket", bucket, "--key", key))
		for _, name := range []string{"ContentLength", "ETag", "ServerSideEncryption"} {
			if get[name] == nil || get[name] != head[name] {
				t.Errorf("%s: %s of get-object %v, of head-object %v", key, name, get[name], head[name])
			}
		}
		parse(t, aws(t, c.endpoint, dir, "s3api", "get-object", "--bucket", bucket, "--key", key, "--range", "bytes=65530-131080", out))
		wantFile(t, out, data[65530:131081])
		wantSealed(t, s, bucket, key, data)
	}
	rule := `{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"` + defaultKey + `"}}]}`
	aws(t, c.endpoint, dir, "s3api", "put-bucket-encryption", "--bucket", bucket, "--server-side-encryption-configuration", rule)
	if out := aws(t, c.endpoint, dir, "s3api", "get-bucket-encryption", "--bucket", bucket); !strings.Contains(out, defaultKey) {
		t.Errorf("get-bucket-encryption: %s", out)
	}
	aws(t, c.endpoint, dir, "s3", "cp", "--no-progress", path, "s3://"+bucket+"/cp/in")
	aws(t, c.endpoint, dir, "s3", "cp", "--no-progress", "s3://"+bucket+"/cp/in", filepath.Join(dir, "cp"))
	wantFile(t, filepath.Join(dir, "cp"), data)
	if out := aws(t, c.endpoint, dir, "s3", "ls", "s3://"+bucket+"/cp/"); !strings.Contains(out, "196619 in") {
		t.Errorf("s3 ls: %s", out)
	}
	aws(t, c.endpoint, dir, "s3", "rm", "--recursive", "s3://"+bucket)
}

func parse(t *testing.T, out string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return v
}

func TestBoto3(t *testing.T) {
	s := sharedStack(t)
	bucket := newBucket(t, s.client())
	const script = `
import sys, hashlib, urllib.request, boto3
from botocore.config import Config
bucket, key_id = sys.argv[1], sys.argv[2]
data = bytes(range(256)) * 1000
for when in ("when_supported", "when_required"):
    s3 = boto3.client("s3", config=Config(signature_version="s3v4", request_checksum_calculation=when, response_checksum_validation=when))
    for key, extra in (("plain", {"ServerSideEncryption": "AES256"}), ("kms", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id})):
        key = when + "/" + key
        s3.put_object(Bucket=bucket, Key=key, Body=data, Metadata={"a": "b"}, **extra)
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == data
        assert got["Metadata"] == {"a": "b"}, got["Metadata"]
        assert got["ServerSideEncryption"] == extra["ServerSideEncryption"], got
        assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=-7")["Body"].read() == data[-7:]
        head = s3.head_object(Bucket=bucket, Key=key)
        assert head["ContentLength"] == len(data) and head["ETag"] == got["ETag"], head
        if key.endswith("plain"):
            assert head["ETag"] == '"' + hashlib.md5(data).hexdigest() + '"', head
    assert s3.list_objects_v2(Bucket=bucket, Prefix=when)["Contents"][0]["Size"] == len(data)

link = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "link"}, ExpiresIn=60)
assert urllib.request.urlopen(urllib.request.Request(link, data=data, method="PUT")).status == 200
link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "link"}, ExpiresIn=60)
assert urllib.request.urlopen(link).read() == data
s3.upload_fileobj(__import__("io").BytesIO(data), bucket, "file")
try:
    s3.get_object(Bucket=bucket, Key="none")
    raise SystemExit("found what is not there")
except s3.exceptions.NoSuchKey:
    pass
print("fine")
`
	if out := python(t, s.client().endpoint, script, bucket, defaultKey); strings.TrimSpace(out) != "fine" {
		t.Errorf("output %q", out)
	}
}

func TestCurlWithItsOwnSignatures(t *testing.T) {
	program, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	dir := t.TempDir()
	data := testData(packageSize+99, 101)
	path := writeFile(t, dir, "in", data)
	url := c.endpoint + "/" + bucket + "/k"
	// curl sends the payload's hash only when told; without it servers take the
	// hash of nothing.
	curl := func(hash string, args ...string) string {
		t.Helper()
		all := append([]string{
			"-sS", "--fail-with-body", "--aws-sigv4", "aws:amz:" + region + ":s3", "--user", rootUser + ":" + rootPassword,
			"-H", "x-amz-content-sha256: " + hash,
		}, args...)
		out, both, err := run(t, baseEnv(), dir, program, all...)
		if err != nil {
			t.Fatalf("curl %v: %v\n%s", args, err, both)
		}
		return out
	}
	curl("UNSIGNED-PAYLOAD", "-T", path, "-H", "x-amz-server-side-encryption: AES256", url)
	out := filepath.Join(dir, "out")
	curl(emptyHash, "-o", out, url)
	wantFile(t, out, data)
	curl(emptyHash, "-o", out, "-r", "65530-65540", url)
	wantFile(t, out, data[65530:65541])
	if head := curl(emptyHash, "-I", url); !strings.Contains(head, "AES256") || !strings.Contains(head, strings.Trim(md5ETag(data), `"`)) {
		t.Errorf("HEAD: %s", head)
	}
	wantSealed(t, s, bucket, "k", data)
	c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "k"}).wantStatus(t, http.StatusNoContent)
}
