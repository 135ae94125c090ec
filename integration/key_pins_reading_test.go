package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A proxy that knows no pins yet, over data of before, reads under a key that the key
// server lets it only read under, and remembers that one too.
func TestUpgradedProxyReadsUnderAKeyThatMayOnlyBeRead(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	bucket, data := newBucket(t, s.clients[0]), testData(5000, 1)
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "create", "former")
	s.clients[0].put(t, bucket, "old", data, kmsWith("former")).wantStatus(t, http.StatusOK)
	for _, p := range s.proxies {
		p.kill()
	}
	direct := newClient(s.minio.endpoint(), rootUser, rootPassword)
	const pin = "keys/former"
	direct.do(t, request{method: http.MethodDelete, bucket: "bucketseal-system", key: pin}).wantStatus(t, http.StatusNoContent)
	direct.head(t, "bucketseal-system", pin, nil).wantStatus(t, http.StatusNotFound)
	s.keys.kill()
	config := strings.Replace(string(readFile(t, s.keys.config())), "    bucketseal: true\n", "    bucketseal: true\n    deny:\n    - /v1/key/generate/former\n", 1)
	writeFile(t, s.keys.dir, "kes.yml", []byte(config))
	s.keys.start(t)

	upgraded := func() *client { return newClient(s.proxy(t).endpoint(), rootUser, rootPassword) }
	for range 2 {
		c := upgraded()
		c.get(t, bucket, "old", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		c.put(t, bucket, "new", data, kmsWith("former")).wantError(t, http.StatusForbidden, "kms:NotAuthorized", "")
		direct.head(t, "bucketseal-system", pin, nil).wantStatus(t, http.StatusOK)
	}
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "rm", "--force", "former")
	mustSeal(t, s.keys.as(s.keys.admin), base64.StdEncoding.EncodeToString(testData(32, 9))+"\n", "key", "import", "former")
	const code = "KMS.KMSInvalidStateException"
	c := upgraded()
	c.get(t, bucket, "old", nil).wantError(t, http.StatusBadRequest, code, "")
	newClient(c.endpoint, "", "").get(t, bucket, "old", nil).wantError(t, http.StatusForbidden, "AccessDenied", "")
}

// A proxy that was just started seals nothing under another bucketseal-system than the
// one that sealed what is at MinIO.
func TestSwappedSystemKeyIsRefusedAfterAStart(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	bucket, data := newBucket(t, s.clients[0]), testData(5000, 1)
	s.clients[0].put(t, bucket, "old", data, nil).wantStatus(t, http.StatusOK)
	for _, p := range s.proxies {
		p.kill()
	}
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "create", "unused")
	for i, name := range []string{"bucketseal-system", defaultKey} {
		mustSeal(t, s.keys.as(s.keys.admin), "", "key", "rm", "--force", "--accept-loss", name)
		mustSeal(t, s.keys.as(s.keys.admin), base64.StdEncoding.EncodeToString(testData(32, uint64(i)))+"\n", "key", "import", name)
	}
	p, err := startSealWith(t.TempDir(), s.minio.endpoint(), s.yaml)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.dumpOnFailure(t)
	c := newClient(p.endpoint(), rootUser, rootPassword)
	c.put(t, bucket, "new", data, kmsWith("unused")).wantError(t, http.StatusBadRequest, "KMS.KMSInvalidStateException", "")
	for name, a := range map[string]answer{
		"a read": c.get(t, bucket, "old", nil), "a write": c.put(t, bucket, "new", data, nil),
		"a write under the replaced key": c.put(t, bucket, "new", data, kmsWith(defaultKey)),
	} {
		if a.status < 400 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	direct := newClient(s.minio.endpoint(), rootUser, rootPassword)
	direct.head(t, bucket, "new", nil).wantStatus(t, http.StatusNotFound)
	direct.head(t, "bucketseal-system", "keys/unused", nil).wantStatus(t, http.StatusNotFound)
	for _, name := range []string{"bucketseal-system", defaultKey} {
		if log := p.logSince(0); !strings.Contains(log, "ALARM: what tells that a KMS key is the former one does not open") || !strings.Contains(log, " key="+name) {
			t.Errorf("no alarm about %s", name)
		}
	}
}

var succeeded = regexp.MustCompile(`(?m)^kes_http_request_success\{code="200"\} (\d+)`)

// requests is how many requests a key server has answered.
func (k *kmsServer) requests(t *testing.T) int {
	t.Helper()
	body := k.clientOf(t, k.admin).do(t, http.MethodGet, "/v1/metrics", nil).body
	found := succeeded.FindStringSubmatch(body)
	if found == nil {
		t.Fatalf("no requests are counted: %s", body)
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// Pins cost a key server of ours no request for each DEK.
func TestPinsCostNoRequestForEachKey(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	c := s.clients[0]
	bucket, data := newBucket(t, c), testData(1000, 1)
	c.put(t, bucket, "first", data, kmsWith("")).wantStatus(t, http.StatusOK)
	const objects = 40 // the server is also asked whether it can be used, now and then
	name := func(i int) string { return fmt.Sprint("o", i) }
	before := s.keys.requests(t)
	for i := range objects {
		c.put(t, bucket, name(i), data, kmsWith("")).wantStatus(t, http.StatusOK)
	}
	written := s.keys.requests(t)
	if n := written - before; n < objects || n >= 2*objects {
		t.Errorf("%d requests for %d DEKs that were made", n, objects)
	}
	s.proxies[1].kill()
	c = newClient(s.proxy(t).endpoint(), rootUser, rootPassword) // knows no DEK
	for i := range objects {
		c.get(t, bucket, name(i), nil).wantStatus(t, http.StatusOK)
	}
	if n := s.keys.requests(t) - written; n < objects || n >= 2*objects {
		t.Errorf("%d requests for %d DEKs that were opened, and a start", n, objects)
	} else {
		t.Logf("%d for %d made, %d for %d opened and a start", written-before, objects, n, objects)
	}
}
