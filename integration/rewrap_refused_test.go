package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A re-wrap to a key that is not there, or that the operator may not use, says so and changes
// nothing; a bucket that is deleted meanwhile does not keep it from the others.
func TestRewrapThatCannotBeDone(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	s.mustKey(t, "create", "leaving", "next")
	first, second := bucketName(t)+"-1", bucketName(t)+"-2"
	const n = 60
	for _, bucket := range []string{first, second} {
		c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
		for i := range n {
			c.put(t, bucket, fmt.Sprint(i), fmt.Append(nil, "data of ", i), kmsWith("leaving")).wantStatus(t, http.StatusOK)
		}
	}
	wantUntouched := func(what string) {
		t.Helper()
		wantUsage(t, s, "leaving", 2*n, 0)
		if a := c.get(t, first, "1", nil); a.status != http.StatusOK || string(a.body) != "data of 1" {
			t.Errorf("%s: GET %d %s", what, a.status, a.code)
		}
	}
	if out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", "no-such-key"); exitCode(err) != 1 || !strings.Contains(err.Error(), `"no-such-key"`) {
		t.Errorf("to a key that is not there: %v %s", err, out)
	}
	wantUntouched("a key that is not there")
	for _, reserved := range []string{"bucketseal-system", "bucketseal-system-ready"} {
		if out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", reserved); exitCode(err) != 1 {
			t.Errorf("to %s: %v %s", reserved, err, out)
		}
	}
	wantUntouched("a key of the proxy's own")

	// The first bucket goes while its objects are re-wrapped.
	done := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = s.command(t, "key", "rewrap", "--key", "leaving", "--to", "next", "--rate", "40")
		done <- err
	}()
	time.Sleep(time.Second)
	for i := range n {
		c.do(t, request{method: http.MethodDelete, bucket: first, key: fmt.Sprint(i)}).wantStatus(t, http.StatusNoContent)
	}
	c.do(t, request{method: http.MethodDelete, bucket: first}).wantStatus(t, http.StatusNoContent)
	if err := <-done; err != nil || !strings.Contains(out, "failed 0") {
		t.Errorf("a bucket that is deleted meanwhile: %v %s", err, out)
	}
	wantUsage(t, s, "leaving", 0, 0)
	s.mustKey(t, "rm", "--force", "leaving")
	for i := range n {
		c.get(t, second, fmt.Sprint(i), nil).wantStatus(t, http.StatusOK).wantBody(t, fmt.Append(nil, "data of ", i))
	}
	// A bucket of the same name knows nothing of the former one's objects.
	c.do(t, request{method: http.MethodPut, bucket: first}).wantStatus(t, http.StatusOK)
	c.put(t, first, "1", []byte("anew"), kmsWith("next")).wantStatus(t, http.StatusOK)
	c.get(t, first, "1", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("anew"))
}

// narrowPolicy is a proxy's that may not make keys of one name's DEKs.
const narrowPolicy = `  proxies:
    bucketseal: true
    allow:
    - /v1/key/create/*
    - /v1/key/describe/*
    - /v1/key/generate/*
    - /v1/key/decrypt/*
    - /v1/ready
    deny:
    - /v1/key/generate/forbidden
    identities:
    - ${PROXY}
`

// An operator whose identity may not use the target key at the key server is told so, for each
// object, and nothing changes.
func TestRewrapToAKeyThatTheOperatorMayNotUse(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	k, minio, proxy := startKeysAndMinIO(t, narrowPolicy)
	dir := minio.dir
	yaml := k.remoteYAML(t, dir, proxy, "")
	seal, err := startSealWith(dir, minio.endpoint(), yaml)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	seal.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", seal.isReady)
	mustSeal(t, k.as(k.admin), "", "key", "create", "leaving", "forbidden")
	c := newClient(seal.endpoint(), rootUser, rootPassword)
	bucket := newBucket(t, c)
	for _, key := range []string{"a", "b"} {
		c.put(t, bucket, key, []byte(key), kmsWith("leaving")).wantStatus(t, http.StatusOK)
	}
	env := []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword}
	rewrap := []string{"key", "rewrap", "--key", "leaving", "--to", "forbidden", "--config", yaml, "--upstream", minio.endpoint()}
	refusedSeal(t, "2 objects were not sealed anew", env, "", rewrap...)
	refusedSeal(t, "insufficient permissions", env, "", rewrap...)
	for _, key := range []string{"a", "b"} {
		c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, []byte(key)).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:leaving"})
	}
}

// A version whose file somebody removed from the key store: nothing is passed off as data, new
// writes are refused, and the backup of the keys brings it back.
func TestAVersionThatIsRemovedByHand(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "v1", []byte("of version 1"), kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	s.mustKey(t, "rotate", defaultKey)
	c.put(t, bucket, "v2", []byte("of version 2"), kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	s.mustKey(t, "rotate", defaultKey)
	c.put(t, bucket, "v3", []byte("of version 3"), kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	identity, recipient := newAgeIdentity(t)
	backup := filepath.Join(t.TempDir(), "keys.age")
	s.mustKey(t, "backup", "--recipient", recipient, "--output", backup)
	read := func(key string) answer { return c.get(t, bucket, key, nil) }

	for _, pattern := range []string{defaultKey + "@*.v2.key", defaultKey + ".key"} {
		files, err := filepath.Glob(filepath.Join(s.seal.dataDir, "keys", pattern))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %q, %v", pattern, files, err)
		}
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
		// A server that holds the key reads it anew when its record changes.
		now, record := time.Now(), filepath.Join(s.seal.dataDir, "keys", defaultKey+".key")
		if err := os.Chtimes(record, now, now); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		waitFor(t, time.Minute, "the loss to be noticed", func() bool { return read("v2").status != http.StatusOK })
		for _, key := range []string{"v1", "v2", "v3"} {
			if a := read(key); a.status != http.StatusOK && a.status != http.StatusInternalServerError && a.status != http.StatusGone || a.status == http.StatusOK && string(a.body) != "of version "+key[1:] {
				t.Errorf("%s is gone: GET %s: %d %s %s", pattern, key, a.status, a.code, a.message)
			} else {
				t.Logf("%s is gone: GET %s: %d %s %s", pattern, key, a.status, a.code, a.message)
			}
		}
		if a := c.put(t, bucket, "new", []byte("new"), kmsWith(defaultKey)); a.status == http.StatusOK {
			t.Errorf("%s is gone, and the key seals", pattern)
		}
		if out, err := s.key(t, "info", defaultKey); err == nil {
			t.Errorf("%s is gone: key info: %s", pattern, out)
		}
		if out := s.mustKey(t, "restore", backup, "--identity", identity); !strings.Contains(out, "1 keys restored") {
			t.Errorf("restore: %s", out)
		}
		for _, key := range []string{"v1", "v2", "v3"} {
			waitFor(t, 15*time.Second, "the key to be back", func() bool { return read(key).status == http.StatusOK })
			if a := read(key); string(a.body) != "of version "+key[1:] {
				t.Errorf("restored: GET %s: %s", key, a.body)
			}
		}
		c.put(t, bucket, "new", []byte("new"), kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	}
}
