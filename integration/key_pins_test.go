package integration

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// meddlerPolicy gives every right on keys to somebody who is no proxy.
const meddlerPolicy = `  meddlers:
    allow:
    - /v1/key/*
    identities:
    - ${MEDDLER}
`

// wantReplaced checks that nothing is written or read under a replaced key.
func wantReplaced(t *testing.T, c *client, bucket, old string) {
	t.Helper()
	const code = "KMS.KMSInvalidStateException"
	c.put(t, bucket, "new", testData(100, 1), nil).wantError(t, http.StatusBadRequest, code, "")
	c.put(t, bucket, "large", testData(300_000, 1), kmsWith("")).wantError(t, http.StatusBadRequest, code, "")
	c.do(t, request{method: http.MethodPost, bucket: bucket, key: "parts", query: "uploads="}).wantError(t, http.StatusBadRequest, code, "")
	c.put(t, bucket, "copy", nil, map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/" + old}).wantError(t, http.StatusBadRequest, code, "")
	c.get(t, bucket, old, nil).wantError(t, http.StatusBadRequest, code, "")
}

// An identity with every right on the key server's keys cannot put one that it knows in
// the place of one that proxies use.
func TestNobodySwapsAKeyOfProxies(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	c := s.clients[0]
	bucket := newBucket(t, c)
	data := testData(5000, 1)
	c.put(t, bucket, "old", data, nil).wantStatus(t, http.StatusOK)

	const refused = "not authorized: insufficient permissions"
	known := base64.StdEncoding.EncodeToString(make([]byte, 32))
	refusedSeal(t, refused, s.keys.as(s.meddler), "", "key", "rm", "--force", defaultKey)
	refusedSeal(t, refused, s.keys.as(s.meddler), known+"\n", "key", "import", "a-new-key")
	c.put(t, bucket, "new", data, nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "old", nil).wantStatus(t, http.StatusOK).wantBody(t, data)

	// The admin may; and proxies notice.
	offset := s.proxies[0].logSize()
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "rm", "--force", defaultKey)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	mustSeal(t, s.keys.as(s.keys.admin), base64.StdEncoding.EncodeToString(secret)+"\n", "key", "import", defaultKey)
	s.proxies[1].kill()
	fresh, err := startSealWith(t.TempDir(), s.minio.endpoint(), s.yaml) // remembers nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fresh.kill)
	s.clients[1] = newClient(fresh.endpoint(), rootUser, rootPassword)
	time.Sleep(1200 * time.Millisecond) // a shared data key is asked about each second
	if fresh.isReady() {
		t.Error("a proxy whose key was replaced is ready")
	}
	for _, c := range s.clients[1:] {
		wantReplaced(t, c, bucket, "old")
	}
	c.put(t, bucket, "new", data, nil).wantError(t, http.StatusBadRequest, "KMS.KMSInvalidStateException", "")
	if log := s.proxies[0].logSince(offset); strings.Count(log, "ALARM: a KMS key was replaced") != 1 {
		t.Errorf("not one alarm in the log: %s", log)
	}
	var status struct {
		EncryptionError string `json:"encryption-error"`
	}
	a := c.do(t, request{method: http.MethodGet, path: "/minio/kms/v1/key/status", query: query("key-id", defaultKey)})
	if err := json.Unmarshal(a.body, &status); err != nil || status.EncryptionError == "" {
		t.Errorf("status of the key: %d %s", a.status, a.body)
	}

	if out := s.accept(t, defaultKey); !strings.HasPrefix(out, `accepted "`+defaultKey+`": fingerprint `) {
		t.Errorf("key accept: %q", out)
	}
	time.Sleep(1200 * time.Millisecond)
	for _, c := range s.clients {
		c.put(t, bucket, "new", data, nil).wantStatus(t, http.StatusOK)
		c.get(t, bucket, "new", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
}

// A key that is replaced in the folder of an embedded key service is noticed at the
// next request.
func TestSwappedKeyOfTheEmbeddedServiceIsRefused(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	yaml := writeFile(t, dir, "bucketseal.yml", []byte("data_dir: keys\n"))
	start := func() (*sealServer, *client) {
		seal, err := startSealWith(t.TempDir(), minio.endpoint(), yaml)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(seal.kill)
		seal.dumpOnFailure(t)
		return seal, newClient(seal.endpoint(), rootUser, rootPassword)
	}
	seal, c := start()
	waitFor(t, startLimit, "the proxy to be ready", seal.isReady)
	bucket := newBucket(t, c)
	c.put(t, bucket, "old", testData(5000, 1), nil).wantStatus(t, http.StatusOK)
	mustSeal(t, nil, "", "key", "rm", "--force", "--config", yaml, defaultKey)
	mustSeal(t, nil, base64.StdEncoding.EncodeToString(testData(32, 9))+"\n", "key", "import", "--config", yaml, defaultKey)
	wantReplaced(t, c, bucket, "old")
	seal.kill()
	_, c = start()
	wantReplaced(t, c, bucket, "old")
}
