package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// updateEncryption asks for an object to be encrypted otherwise.
func (c *client) updateEncryption(t *testing.T, bucket, key, query, document string) answer {
	t.Helper()
	body := []byte(`<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + document + `</ObjectEncryption>`)
	return c.do(t, request{method: http.MethodPut, bucket: bucket, key: key, query: "encryption=" + query, body: body, header: map[string]string{"Content-Md5": contentMD5(body)}})
}

func toKMS(key string, bucketKey bool) string {
	return fmt.Sprintf("<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:key/%s</KMSKeyArn><BucketKeyEnabled>%v</BucketKeyEnabled></SSE-KMS>", key, bucketKey)
}

// wantEncryption says how clients are told that an object is encrypted; key is "" for SSE-S3.
func wantEncryption(t *testing.T, c *client, bucket, object, version, key string) {
	t.Helper()
	want := map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:" + key}
	if key == "" {
		want = map[string]string{"X-Amz-Server-Side-Encryption": "AES256", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": ""}
	}
	query := ""
	if version != "" {
		query = "versionId=" + version
	}
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		c.do(t, request{method: method, bucket: bucket, key: object, query: query}).wantStatus(t, http.StatusOK).wantHeader(t, want)
	}
}

// Two proxies, one of which is asked for the changes: from the answer on, both say how
// objects are encrypted. Locked versions change too, and nothing else of an object does.
func TestEncryptionOfObjectsIsUpdated(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{liar: true})
	second, err := startSeal(s.dir, "", s.minio.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	one, two := s.client(), newClient(second.endpoint(), rootUser, rootPassword)
	s.mustKey(t, "create", "next")
	bucket := bucketName(t)
	one.do(t, request{method: http.MethodPut, bucket: bucket, header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}}).wantStatus(t, http.StatusOK)
	data := testData(70_000, 1)
	lock := map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "Content-Md5": contentMD5(data)}
	var versions []string
	for range 2 {
		versions = append(versions, one.put(t, bucket, "locked", data, lock).wantStatus(t, http.StatusOK).header.Get("X-Amz-Version-Id"))
	}
	u := one.createUpload(t, bucket, "parts", nil)
	u.put(t, 1, partData(minPart, 1))
	u.put(t, 2, data)
	u.complete(t)
	one.put(t, bucket, "other", data, nil).wantStatus(t, http.StatusOK)
	one.put(t, bucket, "bystander", data, nil).wantStatus(t, http.StatusOK)

	listings := func(c *client) string {
		return string(c.do(t, request{method: http.MethodGet, bucket: bucket, query: "versions="}).wantStatus(t, http.StatusOK).body)
	}
	before := listings(two)
	for _, object := range []string{"parts", "other", "bystander"} {
		wantEncryption(t, two, bucket, object, "", "") // it has read them
	}

	// One object, once: what it costs.
	one.updateEncryption(t, bucket, "other", "", toKMS("next", true)).wantStatus(t, http.StatusOK)
	wantEncryption(t, two, bucket, "other", "", "next")
	wantEncryption(t, one, bucket, "other", "", "next")
	two.head(t, bucket, "other", nil).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true"})
	two.get(t, bucket, "other", nil).wantStatus(t, http.StatusOK).wantBody(t, data)

	// Many at once share the wait.
	began := time.Now()
	var group sync.WaitGroup
	for _, o := range []struct{ key, version string }{{"locked", versions[0]}, {"parts", ""}} {
		group.Go(func() {
			query := ""
			if o.version != "" {
				query = "&versionId=" + o.version
			}
			one.updateEncryption(t, bucket, o.key, query, toKMS("next", false)).wantStatus(t, http.StatusOK)
		})
	}
	group.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	wantEncryption(t, two, bucket, "locked", versions[0], "next")
	wantEncryption(t, two, bucket, "locked", versions[1], "")
	wantEncryption(t, two, bucket, "parts", "", "next")
	wantEncryption(t, two, bucket, "bystander", "", "")
	for name, c := range map[string]*client{"one": one, "two": two} {
		if after := listings(c); after != before {
			t.Errorf("%s: the listing changed:\n%s\n%s", name, before, after)
		}
	}

	// Requests: a cold read takes one look-up, a warm one none.
	s.seal.kill()
	s.restart(t)
	one = s.client()
	one.get(t, bucket, "bystander", nil).wantStatus(t, http.StatusOK)
	requests := func(key string) (objects, wraps int) {
		mark := s.liar.mark()
		one.get(t, bucket, key, nil).wantStatus(t, http.StatusOK)
		for _, r := range s.liar.since(mark, "/") {
			switch {
			case strings.HasPrefix(r.path, "/"+bucket):
				objects++
			case strings.Contains(r.path+"?"+r.query, "wrap"):
				wraps++
			}
		}
		return objects, wraps
	}
	for _, want := range []struct {
		key   string
		wraps int
	}{{"bystander", 0}, {"other", 1}, {"other", 0}, {"bystander", 0}} {
		if objects, wraps := requests(want.key); objects != 1 || wraps != want.wraps {
			t.Errorf("GET of %s: %d requests of the object, %d of wraps, want %d", want.key, objects, wraps, want.wraps)
		}
	}

	// boto3, and back to SSE-S3.
	t.Run("boto3", func(t *testing.T) {
		updateByBoto3(t, s, bucket, "other")
		wantEncryption(t, two, bucket, "other", "", defaultKey)
	})
	one.updateEncryption(t, bucket, "other", "", "<SSE-S3/>").wantStatus(t, http.StatusOK)
	wantEncryption(t, two, bucket, "other", "", "")
	two.get(t, bucket, "other", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	refusedUpdates(t, one, bucket)
}

// updateByBoto3 has an SDK change the encryption of an object.
func updateByBoto3(t *testing.T, s *stack, bucket, key string) {
	t.Helper()
	out := python(t, s.seal.endpoint(), fmt.Sprintf(`
import sys, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
if not hasattr(s3, "update_object_encryption"):
    print("too old")
    sys.exit(0)
arn = "arn:aws:kms:us-east-1:123456789012:key/%s"
s3.update_object_encryption(Bucket="%s", Key="%s", ObjectEncryption={"SSEKMS": {"KMSKeyArn": arn}})
seen = s3.head_object(Bucket="%s", Key="%s")
assert seen["ServerSideEncryption"] == "aws:kms" and seen["SSEKMSKeyId"].endswith("%s"), seen
`, defaultKey, bucket, key, bucket, key, defaultKey), s.seal.endpoint())
	if strings.Contains(out, "too old") {
		t.Skip("this boto3 knows no update_object_encryption")
	}
}

// refusedUpdates are AWS's refusals.
func refusedUpdates(t *testing.T, c *client, locked string) {
	t.Helper()
	bucket := newBucket(t, c)
	c.put(t, bucket, "o", []byte("x"), nil).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodDelete, bucket: locked, key: "other"}).wantStatus(t, http.StatusNoContent)
	for _, tt := range []struct {
		bucket, key, query, document string
		status                       int
		code                         string
	}{
		{bucket, "o", "", "<SSE-C/>", 400, "InvalidRequest"},
		{bucket, "o", "", "", 400, "InvalidRequest"},
		{bucket, "o", "", "<SSE-KMS></SSE-KMS>", 400, "InvalidRequest"},
		{bucket, "o", "", toKMS("no-such-key", false), 404, "kms:KeyNotFound"},
		{bucket, "nothing", "", toKMS("next", false), 404, "NoSuchKey"},
		{locked, "other", "", toKMS("next", false), 404, "NoSuchKey"}, // a delete marker
		{locked, "locked", "&versionId=00000000-0000-4000-8000-000000000000", toKMS("next", false), 404, "NoSuchVersion"},
		{"no-such-bucket-here", "o", "", toKMS("next", false), 404, "NoSuchBucket"},
	} {
		a := c.updateEncryption(t, tt.bucket, tt.key, tt.query, tt.document)
		if a.status != tt.status || !bytes.Contains(a.body, []byte("<Code>"+tt.code+"</Code>")) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.key, tt.document, a.status, a.body, tt.status, tt.code)
		}
	}
}

// After a re-wrap to another KMS key all proxies name that one, and clients' programs do; so
// they do after one that was killed, and done again.
func TestRewrapShowsTheNewKey(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	second, err := startSeal(s.dir, "", s.minio.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	one, two := s.client(), newClient(second.endpoint(), rootUser, rootPassword)
	for _, key := range []string{"leaving", "next"} {
		s.mustKey(t, "create", key)
	}
	bucket := newBucket(t, one)
	const n = 30
	for i := range n {
		one.put(t, bucket, fmt.Sprint(i), []byte("data"), kmsWith("leaving")).wantStatus(t, http.StatusOK)
	}
	wantEncryption(t, two, bucket, "7", "", "leaving")
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "key", "rewrap", "--key", "leaving", "--to", "next", "--rate", "20", //nolint:noctx // it is killed
		"--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir)
	cmd.Env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(900 * time.Millisecond)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for i := range n { // each says one of the two
		for _, c := range []*client{one, two} {
			c.get(t, bucket, fmt.Sprint(i), nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("data"))
		}
	}
	if out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", "next"); err != nil {
		t.Fatal(err, out)
	}
	for i := range n {
		for _, c := range []*client{one, two} {
			wantEncryption(t, c, bucket, fmt.Sprint(i), "", "next")
		}
	}
	t.Run("mc", func(t *testing.T) {
		mc := newMC(t, s)
		mc.says(t, "SSE-KMS (arn:aws:kms:next)", "stat", "seal/"+bucket+"/7")
	})
	listed := two.do(t, request{method: http.MethodGet, bucket: bucket, query: "list-type=2&metadata=true"}).wantStatus(t, http.StatusOK).body
	if bytes.Contains(listed, []byte("leaving")) || bytes.Count(listed, []byte("arn:aws:kms:next")) != n {
		t.Errorf("listed:\n%s", listed)
	}
}
