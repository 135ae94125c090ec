package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Objects leave a KMS key without a byte of them moving, also those that are locked; then
// the key goes, and all is read.
func TestObjectsLeaveAKMSKey(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	for _, key := range []string{"leaving", "next"} {
		s.mustKey(t, "create", key)
	}
	locked, plain := bucketName(t), newBucket(t, c)
	c.do(t, request{method: http.MethodPut, bucket: locked, header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}}).wantStatus(t, http.StatusOK)
	kms := kmsWith("leaving")
	lock := map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	for k, v := range kms {
		lock[k] = v
	}
	small, parts := []byte("small"), [][]byte{partData(minPart+1, 1), partData(77, 2)}
	lock["Content-Md5"] = contentMD5(small)
	for range 2 { // two versions
		c.put(t, locked, "small", small, lock).wantStatus(t, http.StatusOK)
	}
	delete(lock, "Content-Md5")
	u := c.createUpload(t, locked, "parts", lock)
	for i, p := range parts {
		u.put(t, i+1, p)
	}
	u.complete(t)
	streamed := testData(9<<20, 3)
	c.put(t, plain, "streamed", streamed, kms).wantStatus(t, http.StatusOK)
	c.put(t, plain, "another key's", small, nil).wantStatus(t, http.StatusOK)
	running := c.createUpload(t, plain, "running", kms)
	running.put(t, 1, parts[0])

	listing := func() string {
		return string(c.do(t, request{method: http.MethodGet, bucket: locked, query: "versions="}).wantStatus(t, http.StatusOK).body) +
			string(c.do(t, request{method: http.MethodGet, bucket: plain, query: "list-type=2"}).wantStatus(t, http.StatusOK).body)
	}
	before := listing()
	wantUsage(t, s, "leaving", 4, 1)
	out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", "next")
	if err != nil || !strings.Contains(out, "sealed anew 5 of 6") {
		t.Fatal(err, out)
	}
	wantUsage(t, s, "leaving", 0, 0)
	wantUsage(t, s, "next", 4, 1)
	if out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", "next"); err != nil || !strings.Contains(out, "sealed anew 0 of 6") {
		t.Error("once more:", err, out)
	}
	if after := listing(); after != before {
		t.Errorf("the listings changed:\n%s\n%s", before, after)
	}
	s.mustKey(t, "rm", "--force", "leaving")
	read := func() {
		t.Helper()
		c.get(t, locked, "small", nil).wantStatus(t, http.StatusOK).wantBody(t, small)
		c.get(t, locked, "parts", nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(parts, nil))
		c.get(t, locked, "parts", map[string]string{"Range": "bytes=5242870-5242890"}).wantStatus(t, http.StatusPartialContent).wantBody(t, bytes.Join(parts, nil)[5242870:5242891])
		c.get(t, plain, "streamed", nil).wantStatus(t, http.StatusOK).wantBody(t, streamed)
		c.head(t, plain, "streamed", nil).wantStatus(t, http.StatusOK)
	}
	read()
	s.seal.kill()
	s.restart(t)
	c = s.client()
	read()
	if after := listing(); after != before {
		t.Errorf("the listings changed:\n%s\n%s", before, after)
	}
	running.c = c
	running.put(t, 2, parts[1])
	running.complete(t)
	c.get(t, plain, "running", nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(parts, nil))
}

// wantUsage says how many objects and uploads `key usage --scan` counts under a KMS key.
func wantUsage(t *testing.T, s *stack, key string, objects, uploads int) {
	t.Helper()
	out, err := s.command(t, "key", "usage", key, "--scan", "--json")
	var usage struct {
		Counts []struct{ Objects, Uploads int }
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &usage)
	}
	if err != nil {
		t.Fatal(err, out)
	}
	o, u := 0, 0
	for _, n := range usage.Counts {
		o, u = o+n.Objects, u+n.Uploads
	}
	if o != objects || u != uploads {
		t.Errorf("%d objects and %d uploads lie under %q, want %d and %d", o, u, key, objects, uploads)
	}
}

// A re-wrap that is killed again and again is done in the end, and meanwhile all is read.
func TestRewrapThatIsKilled(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	for _, key := range []string{"leaving", "next"} {
		s.mustKey(t, "create", key)
	}
	bucket := newBucket(t, c)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	const n = 60
	for i := range n {
		c.put(t, bucket, fmt.Sprint(i), fmt.Append(nil, "data of ", i), kmsWith("leaving")).wantStatus(t, http.StatusOK)
	}
	for try := range 6 {
		cmd := exec.Command(program, "key", "rewrap", "--key", "leaving", "--to", "next", "--rate", "40", //nolint:noctx // it is killed
			"--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir)
		cmd.Env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300*time.Millisecond + time.Duration(try)*70*time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c.get(t, bucket, fmt.Sprint(try), nil).wantStatus(t, http.StatusOK)
	}
	if out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", "next"); err != nil {
		t.Fatal(err, out)
	}
	wantUsage(t, s, "leaving", 0, 0)
	s.mustKey(t, "rm", "--force", "leaving")
	for i := range n {
		c.get(t, bucket, fmt.Sprint(i), nil).wantStatus(t, http.StatusOK).wantBody(t, fmt.Append(nil, "data of ", i))
	}
}
