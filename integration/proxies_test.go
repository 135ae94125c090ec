package integration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
)

func TestRuleIsObeyedByEveryProxyOnceAcknowledged(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	second, err := startSeal(s.dir, "", s.minio.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	one, two := s.client(), newClient(second.endpoint(), rootUser, rootPassword)
	bucket := newBucket(t, one)
	data := testData(100, 120)
	for i := range 4 {
		algorithm, key := "AES256", ""
		if i%2 == 1 {
			algorithm, key = "aws:kms", defaultKey
		}
		setter, writer := one, two
		if i >= 2 {
			setter, writer = two, one
		}
		// Both have the rule before in their caches when it changes.
		writer.put(t, bucket, "warm", data, nil).wantStatus(t, http.StatusOK)
		setter.putEncryption(t, bucket, encryptionRule(algorithm, key)).wantStatus(t, http.StatusOK)
		name := fmt.Sprint(i)
		writer.put(t, bucket, name, data, nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": algorithm})
		setter.get(t, bucket, name, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
	two.bucketEncryption(t, http.MethodDelete, bucket).wantStatus(t, http.StatusNoContent)
	one.put(t, bucket, "after", data, nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"})
}

func TestProxyMayStartBeforeItsUpstream(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	at, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	p, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), env, program,
		"server", "--address", at, "--upstream", "http://"+addr, "--data-dir", filepath.Join(dir, "bucketseal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.dumpOnFailure(t)
	if err := p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/live"); err != nil {
		t.Fatal(err)
	}
	c := newClient("http://"+at, rootUser, rootPassword)
	c.do(t, request{method: http.MethodGet, path: "/minio/health/ready"}).wantStatus(t, http.StatusServiceUnavailable)
	if a := c.put(t, "some-bucket", "k", []byte("x"), nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("PUT without an upstream: %d %s", a.status, a.code)
	}

	minio, err := startMinIO(dir, addr, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	if err := p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("x"))
}

func TestAnotherMasterKeyReadsNothing(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(1000, 121)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	// A proxy with keys of its own, of the same names.
	dir := t.TempDir()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	at, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("stranger", filepath.Join(dir, "stranger.log"),
		baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword), program,
		"server", "--address", at, "--upstream", s.minio.endpoint(), "--data-dir", filepath.Join(dir, "bucketseal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/live"); err != nil {
		t.Fatal(err)
	}
	stranger := newClient("http://"+at, rootUser, rootPassword)
	if a := stranger.get(t, bucket, "k", nil); a.status < 400 || a.status == http.StatusNotFound {
		t.Errorf("GET with other keys: %d", a.status)
	}
	// Nor may it write as if there were no rules: it cannot read them.
	if a := stranger.put(t, bucket, "k", []byte("overwritten"), nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("PUT with other keys: %d %s, want 503", a.status, a.code)
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}
