package integration

import (
	"bytes"
	"context"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

// TestRecordCorpus has real clients work through the proxy, and writes what they, MinIO and a
// key server said as seeds for fuzzing (make fuzz-corpus). BUCKETSEAL_CORPUS is the module's
// folder. Only the tests' own credentials are used.
func TestRecordCorpus(t *testing.T) {
	root := os.Getenv("BUCKETSEAL_CORPUS")
	if root == "" {
		t.Skip("writes into the source; make fuzz-corpus runs it")
	}
	needsSeal(t)
	c := &corpus{root: root, seeds: make(map[string]map[string][]string)}
	if host, err := os.Hostname(); err == nil && len(host) > 4 {
		c.scrub = append(c.scrub, host)
	}
	s, front, back := newOverheard(t)
	m := newMC(t, s)
	c.heads(recordMC(t, m))
	recordSDKs(t, s)
	recordBackups(t, s)
	recordOwn(t, s)
	for _, x := range front.exchanges() {
		c.ofClients(&x)
	}
	for _, x := range back.exchanges() {
		c.ofMinIO(&x)
	}
	c.ofDisk(t, filepath.Join(s.minio.dir, "data"))
	c.ofKeyServer(t)
	c.write(t)
}

// newOverheard is a stack of which both hops are overheard.
func newOverheard(t *testing.T) (s *stack, front, back *tee) {
	t.Helper()
	s = &stack{dir: t.TempDir()}
	t.Cleanup(func() { _ = s.stop() })
	var err error
	if s.minio, err = startMinIO(s.dir, "", false); err != nil {
		t.Fatal(err)
	}
	back = newTee(t, s.minio.addr)
	file := writeFile(t, s.dir, "corpus.yml", []byte("customer_keys_over_http: true\nsmall_object: {size: 64KiB}\nsignature_v2: true\n"))
	if s.seal, err = startSeal(s.dir, "", "http://"+back.addr, "--config", file); err != nil {
		t.Fatal(err)
	}
	s.seal.dumpOnFailure(t)
	front = newTee(t, s.seal.addr)
	s.seal.addr = front.addr
	return s, front, back
}

// recordMC works with mc, and returns what mc says of objects.
func recordMC(t *testing.T, m *mcRunner) (stat string) {
	dir := t.TempDir()
	small, large := writeFile(t, dir, "small", testData(1000, 1)), writeFile(t, dir, "large", testData(6<<20, 2))
	for _, args := range [][]string{
		{"mb", "seal/mcbucket"},
		{"cp", small, "seal/mcbucket/a/small file+ü"},
		{"cp", "--attr", "Cache-Control=no-cache;key1=value1", "--tags", "a=b&c=d", small, "seal/mcbucket/tagged"},
		{"cp", large, "seal/mcbucket/large"},
		{"cp", "--enc-kms", "seal/mcbucket/=" + defaultKey, small, "seal/mcbucket/kms"},
		{"cp", "seal/mcbucket/tagged", "seal/mcbucket/copied"},
		{"mv", "seal/mcbucket/copied", "seal/mcbucket/moved"},
		{"version", "enable", "seal/mcbucket"},
		{"ls", "--recursive", "--versions", "seal/mcbucket"},
		{"stat", "seal/mcbucket/tagged"},
		{"cat", "seal/mcbucket/large"},
		{"encrypt", "set", "sse-kms", defaultKey, "seal/mcbucket"},
		{"encrypt", "info", "seal/mcbucket"},
		{"anonymous", "set", "download", "seal/mcbucket"},
		{"tag", "set", "seal/mcbucket/moved", "x=y"},
		{"tag", "list", "seal/mcbucket/moved"},
		{"share", "download", "seal/mcbucket/moved"},
		{"find", "seal/mcbucket"},
		{"du", "seal/mcbucket"},
		{"admin", "user", "add", "seal", "somebody", "somebodys-secret"},
		{"admin", "user", "list", "seal"},
		{"admin", "policy", "attach", "seal", "readonly", "--user", "somebody"},
		{"admin", "kms", "key", "create", "seal", "another"},
		{"admin", "kms", "key", "list", "seal"},
		{"admin", "info", "seal"},
		{"rm", "--recursive", "--force", "seal/mcbucket/a"},
		{"mb", "--with-lock", "seal/locked"},
		{"ilm", "rule", "add", "--expire-days", "9", "seal/mcbucket"},
	} {
		if _, all, err := m.run(t, args...); err != nil {
			t.Logf("mc %s: %v: %.300s", strings.Join(args, " "), err, all) // a refusal is traffic, too
		}
	}
	stat, _, _ = m.run(t, "--json", "stat", "--recursive", "raw/mcbucket")
	return stat
}

const recordBoto = `
import boto3, sys
from botocore.config import Config
data = b"x" * 1000
for when in ("when_required", "when_supported"):
    s3 = boto3.client("s3", config=Config(request_checksum_calculation=when, response_checksum_validation=when))
    b = "boto-" + when.replace("_", "-")
    s3.create_bucket(Bucket=b)
    s3.put_object(Bucket=b, Key="k", Body=data, Metadata={"a": "b"}, ContentType="text/x", Tagging="a=b")
    s3.put_object(Bucket=b, Key="c", Body=data, SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)
    s3.put_object(Bucket=b, Key="m", Body=data, ServerSideEncryption="aws:kms", SSEKMSKeyId=sys.argv[1], SSEKMSEncryptionContext="eyJhIjoiYiJ9")
    for a in ("CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"):
        try: s3.put_object(Bucket=b, Key="sum" + a, Body=data, ChecksumAlgorithm=a)
        except Exception as e: print(e)
    s3.get_object(Bucket=b, Key="k", Range="bytes=5-20")
    s3.get_object(Bucket=b, Key="k", Range="bytes=-20", IfMatch=s3.head_object(Bucket=b, Key="k")["ETag"])
    s3.copy_object(Bucket=b, Key="copy of k", CopySource={"Bucket": b, "Key": "k"}, MetadataDirective="REPLACE", Metadata={"z": "y"})
    u = s3.create_multipart_upload(Bucket=b, Key="parts", ServerSideEncryption="AES256")["UploadId"]
    e1 = s3.upload_part(Bucket=b, Key="parts", UploadId=u, PartNumber=1, Body=b"y" * (5 << 20))["ETag"]
    e2 = s3.upload_part_copy(Bucket=b, Key="parts", UploadId=u, PartNumber=2, CopySource=b + "/k", CopySourceRange="bytes=0-99")["CopyPartResult"]["ETag"]
    s3.list_parts(Bucket=b, Key="parts", UploadId=u); s3.list_multipart_uploads(Bucket=b)
    s3.complete_multipart_upload(Bucket=b, Key="parts", UploadId=u, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": e1}, {"PartNumber": 2, "ETag": e2}]})
    s3.list_objects_v2(Bucket=b, Delimiter="/", MaxKeys=2); s3.list_objects(Bucket=b, Prefix="s"); s3.list_object_versions(Bucket=b)
    s3.get_object_attributes(Bucket=b, Key="k", ObjectAttributes=["ETag", "ObjectSize", "Checksum"])
    s3.put_bucket_encryption(Bucket=b, ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": sys.argv[1]}, "BucketKeyEnabled": True}]})
    s3.get_bucket_encryption(Bucket=b); s3.delete_bucket_encryption(Bucket=b)
    s3.put_bucket_policy(Bucket=b, Policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"],"Condition":{"StringEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}]}' % b)
    import urllib.request
    urllib.request.urlopen(s3.generate_presigned_url("get_object", Params={"Bucket": b, "Key": "k", "ResponseContentType": "text/y"})).read()
    for wrong in (lambda: s3.get_object(Bucket=b, Key="none"), lambda: s3.head_object(Bucket=b, Key="none"), lambda: s3.get_object(Bucket="none-of-it", Key="k"), lambda: s3.put_object(Bucket=b, Key="k", Body=data, IfNoneMatch="*"), lambda: s3.get_object(Bucket=b, Key="k", Range="bytes=9999-")):
        try: wrong()
        except Exception as e: print(e)
    s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k"}, {"Key": "none"}], "Quiet": False})
sts = boto3.client("sts")
sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/x", RoleSessionName="session", DurationSeconds=900)
`

// recordSDKs works with boto3, the AWS CLI and minio-go.
func recordSDKs(t *testing.T, s *stack) {
	endpoint := s.client().endpoint
	python(t, endpoint, recordBoto, defaultKey)
	file := writeFile(t, t.TempDir(), "f", testData(2000, 3))
	aws(t, endpoint, "", "s3", "cp", file, "s3://boto-when-required/aws", "--sse", "aws:kms", "--sse-kms-key-id", defaultKey)
	aws(t, endpoint, "", "s3", "sync", filepath.Dir(file), "s3://boto-when-required/sync")
	aws(t, endpoint, "", "s3", "ls", "--recursive", "s3://boto-when-required")
	c, err := minio.New(strings.TrimPrefix(endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(rootUser, rootPassword, ""), TrailingHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, bucket := context.Background(), "minio-go"
	if err := c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put := func(key string, size int, o minio.PutObjectOptions) {
		if _, err := c.PutObject(ctx, bucket, key, bytes.NewReader(testData(size, 4)), int64(size), o); err != nil {
			t.Error(err)
		}
	}
	put("plain", 100, minio.PutObjectOptions{})
	put("md5", 100, minio.PutObjectOptions{SendContentMd5: true, UserMetadata: map[string]string{"A": "b"}})
	put("s3", 100, minio.PutObjectOptions{ServerSideEncryption: encrypt.NewSSE(), Checksum: minio.ChecksumCRC32C})
	put("parts", 11<<20, minio.PutObjectOptions{PartSize: 5 << 20})
	for range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true, WithMetadata: true}) {
	}
	for range c.ListIncompleteUploads(ctx, bucket, "", true) {
	}
	if err := c.RemoveObject(ctx, bucket, "plain", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
}

// recordBackups works with rclone and restic.
func recordBackups(t *testing.T, s *stack) {
	c, from := s.client(), t.TempDir()
	writeFile(t, from, "ü file", testData(1000, 5))
	writeFile(t, from, "large", testData(6<<20, 6))
	c.do(t, request{method: http.MethodPut, bucket: "rclone"}).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodPut, bucket: "restic"}).wantStatus(t, http.StatusOK)
	env := baseEnv("RCLONE_CONFIG="+filepath.Join(t.TempDir(), "none"), "RCLONE_CONFIG_SEAL_TYPE=s3", "RCLONE_CONFIG_SEAL_PROVIDER=Minio",
		"RCLONE_CONFIG_SEAL_ENDPOINT="+c.endpoint, "RCLONE_CONFIG_SEAL_ACCESS_KEY_ID="+rootUser, "RCLONE_CONFIG_SEAL_SECRET_ACCESS_KEY="+rootPassword,
		"RCLONE_CONFIG_SEAL_REGION="+region)
	for _, args := range [][]string{{"copy", from, "seal:rclone/x"}, {"check", "--download", from, "seal:rclone/x"}, {"lsl", "seal:rclone"}, {"moveto", "seal:rclone/x/large", "seal:rclone/moved"}} {
		if _, all, err := run(t, env, from, installed(t, "rclone"), args...); err != nil {
			t.Fatalf("rclone %v: %v\n%s", args, err, all)
		}
	}
	env = baseEnv("RESTIC_REPOSITORY=s3:"+c.endpoint+"/restic", "RESTIC_PASSWORD=password", "AWS_ACCESS_KEY_ID="+rootUser,
		"AWS_SECRET_ACCESS_KEY="+rootPassword, "RESTIC_CACHE_DIR="+t.TempDir())
	for _, args := range [][]string{{"init"}, {"backup", "."}, {"check", "--read-data"}, {"forget", "--keep-last", "1", "--prune"}} {
		if _, all, err := run(t, env, from, installed(t, "restic"), args...); err != nil {
			t.Fatalf("restic %v: %v\n%s", args, err, all)
		}
	}
}

// recordOwn sends what the others do not: chunks of each kind, small enough for a seed.
func recordOwn(t *testing.T, s *stack) {
	c := s.client()
	c.do(t, request{method: http.MethodPut, bucket: "own"}).wantStatus(t, http.StatusOK)
	data := testData(300, 7)
	for _, kind := range []string{streamingSigned, streamingSignedTrailer, streamingUnsignedTrailer} {
		b := chunkedBody{data: data, chunk: 100}
		if kind != streamingSigned {
			b.trailerName, b.trailerValue = "x-amz-checksum-crc32", crc32Of(data)
		}
		if a, err := c.putChunked("own", "k", kind, b, nil); err != nil || a.status != http.StatusOK {
			t.Errorf("%s: %v %d", kind, err, a.status)
		}
	}
}

// clientOf tells who sent a request, for kinds of seeds.
func clientOf(agent string) string {
	agent, _, _ = strings.Cut(agent, "/")
	return strings.ToLower(strings.Trim(agent, " "))
}

func isXML(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) }

var element = regexp.MustCompile(`<([A-Za-z]+)[\s>/]`)

// kindOf is the name of a document's first element.
func kindOf(text []byte) string {
	if m := element.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// heads takes what mc prints of objects.
func (c *corpus) heads(stat string) {
	for line := range strings.Lines(stat) {
		c.add("proxy/offline/copies FuzzHeads", "mc", line)
	}
}

// ofClients takes a request of a client.
func (c *corpus) ofClients(x *exchanged) {
	h, query := x.Request.Header, x.Request.URL.RawQuery
	values := x.Request.URL.Query()
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	who := clientOf(h.Get("User-Agent"))
	operation := x.Request.Method + strings.Join(names, "&")
	c.add("proxy/s3api FuzzPath", who+x.Request.Method+strings.Join(names, "&"), x.RequestURI)
	c.add("proxy/upstream FuzzEncodePath", who+x.Request.Method, x.Request.URL.Path)
	if strings.HasPrefix(x.RequestURI, "/minio/admin") || strings.HasPrefix(x.RequestURI, "/minio/kms") {
		c.add("proxy/adminapi FuzzAdminPath", x.Request.URL.Path, x.Request.Method, x.RequestURI)
		c.add("proxy/adminpayload FuzzOpenStream", x.Request.URL.Path, x.asked)
	}
	switch authorization := h.Get("Authorization"); {
	case strings.HasPrefix(authorization, "AWS4"):
		c.add("proxy/sigv4 FuzzAuthorizationHeader", who+operation, authorization, h.Get("X-Amz-Date"), query)
	case values.Has("X-Amz-Signature"):
		c.add("proxy/sigv4 FuzzPresignedQuery", who, query)
	}
	if kind := slices.Index([]string{streamingSigned, streamingSignedTrailer, streamingUnsignedTrailer}, h.Get("X-Amz-Content-Sha256")); kind >= 0 {
		size, _ := strconv.Atoi(h.Get("X-Amz-Decoded-Content-Length"))
		c.add("proxy/sigv4 FuzzChunkedBody", who+strconv.Itoa(kind), kind, size, x.asked, 64)
	}
	if v := h.Get("Range"); v != "" {
		c.add("proxy/s3api FuzzParseRange", who, v)
	}
	if v := h.Get("X-Amz-Copy-Source"); v != "" {
		c.add("proxy/s3api FuzzCopySource", who+operation, v)
	}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if v := h.Get(name); v != "" {
			c.add("proxy/conditions FuzzLists", name+who, v, x.Response.Header.Get("Etag"))
		}
	}
	c.encryption(who, h)
	c.documents(who, x, values)
}

// encryption takes the headers of server-side encryption.
func (c *corpus) encryption(who string, h http.Header) {
	set, values := byte(0), []any{byte(0)}
	for i, name := range []string{"", "-Aws-Kms-Key-Id", "-Context", "-Bucket-Key-Enabled", "-Customer-Algorithm", "-Customer-Key", "-Customer-Key-Md5"} {
		v := h.Get("X-Amz-Server-Side-Encryption" + name)
		if v != "" {
			set |= 1 << i
		}
		values = append(values, v)
	}
	if values[0] = set; set != 0 {
		c.add("sse FuzzRequestHeaders", who+strconv.Itoa(int(set)), values...)
	}
}

// documents takes bodies that are read whole.
func (c *corpus) documents(who string, x *exchanged, values url.Values) {
	if isXML(x.asked) {
		c.add("proxy/intake FuzzCheckXML", kindOf(x.asked)+who, x.asked)
	}
	switch {
	case values.Has("encryption") && len(x.asked) > 0:
		c.add("bucketconfig FuzzParseXML", who, x.asked)
	case values.Has("policy") && len(x.asked) > 0:
		c.add("proxy/bucketpolicy FuzzParse", who, x.asked)
	case x.Request.Method == http.MethodPost && values.Has("uploadId"):
		c.add("proxy/s3api FuzzCompletionList", who, string(x.asked))
	case x.Request.URL.Path == "/" && x.Request.Method == http.MethodPost:
		c.add("proxy/s3api FuzzSTSForm", who, x.Request.URL.RawQuery, string(x.asked))
	}
}

// ofMinIO takes an answer of MinIO, and what was stored there with it.
func (c *corpus) ofMinIO(x *exchanged) {
	status, kind := strconv.Itoa(x.Response.StatusCode), kindOf(x.answered)
	for name, values := range x.Request.URL.Query() {
		if strings.EqualFold(name, "x-amz-meta-bucketseal") {
			c.add("sse FuzzParseRecord", x.Request.Method+strconv.Itoa(len(values[0])/64), values[0])
		}
	}
	if strings.HasPrefix(x.Request.URL.Path, "/"+systemBucket+"/") && x.Request.Method == http.MethodPut {
		folder, _, _ := strings.Cut(strings.TrimPrefix(x.Request.URL.Path, "/"+systemBucket+"/"), "/")
		c.add("sse FuzzParseSystem", folder, x.asked)
	}
	c.add("proxy/upstream/wire FuzzAnswer", x.Request.Method+status+kind, x.raw, x.Request.Method == http.MethodHead)
	if v := x.Response.Header.Get("Content-Range"); v != "" {
		c.add("proxy/upstream FuzzParseContentRange", strconv.Itoa(len(v)), v)
	}
	if !isXML(x.answered) {
		return
	}
	c.add("proxy/upstream FuzzMarkup", kind, string(x.answered))
	switch {
	case kind == "ListBucketResult" || kind == "ListVersionsResult" || kind == "xml" && bytes.Contains(x.answered, []byte("<List")):
		c.add("proxy/upstream FuzzParseList", strconv.Itoa(len(x.answered)/256), string(x.answered))
	case x.Response.StatusCode >= 400:
		c.add("proxy/upstream FuzzReadError", status+x.Request.Method, string(x.answered))
	case strings.HasPrefix(kind, "AssumeRole"):
		c.add("proxy/s3api FuzzSTSAnswer", kind, x.answered)
	}
	c.add("proxy/upstream FuzzDocuments", kind+status, string(x.answered))
}

// ofDisk takes what MinIO keeps of objects.
func (c *corpus) ofDisk(t *testing.T, data string) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "xl.meta" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rest, _ := filepath.Rel(data, path)
		bucket, _, _ := strings.Cut(rest, "/")
		c.add("proxy/offline/drive FuzzParseMeta", bucket+strconv.Itoa(len(text)/512), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ofKeyServer takes requests to a key server, and its answers.
func (c *corpus) ofKeyServer(t *testing.T) {
	k := startKMS(t, kesYAML+memStore)
	minio := k.clientOf(t, k.minio)
	ciphertext := ""
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/version", ""},
		{"GET", "/v1/status", ""},
		{"POST", "/v1/key/create/one", ""},
		{"PUT", "/v1/key/create/one", ""},
		{"PUT", "/v1/key/generate/one", `{"context":"eyJidWNrZXQiOiJiIn0="}`},
		{"PUT", "/v1/key/decrypt/one", `{"ciphertext":"CIPHERTEXT","context":"eyJidWNrZXQiOiJiIn0="}`},
		{"PUT", "/v1/key/decrypt/one", `{"ciphertext":"CIPHERTEXT","context":"e30="}`},
		{"PUT", "/v1/key/generate/none", `{}`},
		{"GET", "/v1/key/describe/one", ""},
		{"GET", "/v1/key/list/*", ""},
		{"DELETE", "/v1/key/delete/one", ""},
	} {
		body := strings.ReplaceAll(r.body, "CIPHERTEXT", ciphertext)
		a, err := minio.try(r.method, r.path, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		c.add("kms/server FuzzRequest", r.method+r.path+body, r.method, r.path, []byte(body))
		if a.status >= 400 {
			c.add("kms/client FuzzServerError", r.path+strconv.Itoa(a.status), a.status, []byte(a.body))
			continue
		}
		c.add("kms/client FuzzAnswers", r.path, []byte(a.body))
		var dek struct{ Plaintext, Ciphertext []byte }
		if unmarshal(a, &dek) == nil && len(dek.Ciphertext) > 0 {
			ciphertext = base64Std(dek.Ciphertext)
			c.add("kms FuzzCiphertext", "generated", dek.Ciphertext)
			c.add("kms FuzzCiphertextVersion", hex.EncodeToString(dek.Ciphertext[:1]), dek.Ciphertext)
		}
	}
}
