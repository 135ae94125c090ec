package integration

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// tenant is what one tenant has: a bucket whose rule names a KMS key of the tenant's own.
type tenant struct {
	bucket, kmsKey string
	// data are the objects by their keys, older a noncurrent version of one of them.
	data         map[string][]byte
	older        []byte
	olderVersion string
	running      *mp
}

const goneCode = "KMS.NotFoundException"

// newTenant writes objects of every form into a bucket of a tenant's.
func newTenant(t *testing.T, s *remoteStack, name string) *tenant {
	t.Helper()
	c := s.clients[0]
	n := &tenant{bucket: bucketName(t) + "-" + name, kmsKey: name, data: make(map[string][]byte), older: []byte("older")}
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "create", name)
	c.do(t, request{method: http.MethodPut, bucket: n.bucket}).wantStatus(t, http.StatusOK)
	c.do(t, request{
		method: http.MethodPut, bucket: n.bucket, query: "versioning=",
		body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
	}).wantStatus(t, http.StatusOK)
	c.putEncryption(t, n.bucket, encryptionRule("aws:kms", name)).wantStatus(t, http.StatusOK)
	n.olderVersion = c.put(t, n.bucket, "small", n.older, nil).wantStatus(t, http.StatusOK).header.Get("X-Amz-Version-Id")
	n.data["small"], n.data["empty"], n.data["streamed"] = testData(5000, 1), nil, testData(9<<20, 2)
	for _, key := range []string{"small", "empty", "streamed"} {
		c.put(t, n.bucket, key, n.data[key], nil).wantStatus(t, http.StatusOK)
	}
	u := c.createUpload(t, n.bucket, "parts", nil)
	parts := [][]byte{partData(minPart+1, 3), partData(77, 4)}
	for i, part := range parts {
		u.put(t, i+1, part)
	}
	u.complete(t)
	n.data["parts"] = bytes.Join(parts, nil)
	n.running = c.createUpload(t, n.bucket, "running", nil)
	n.running.put(t, 1, parts[0])
	return n
}

// lists is what all listings of the bucket say.
func (n *tenant) lists(t *testing.T, c *client) string {
	t.Helper()
	var all strings.Builder
	for _, query := range []string{"", "list-type=2", "list-type=2&metadata=true", "versions=", "uploads="} {
		all.Write(c.do(t, request{method: http.MethodGet, bucket: n.bucket, query: query}).wantStatus(t, http.StatusOK).body)
	}
	return all.String()
}

func (n *tenant) wantRead(t *testing.T, c *client) {
	t.Helper()
	for key, data := range n.data {
		c.get(t, n.bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
	c.do(t, request{method: http.MethodGet, bucket: n.bucket, key: "small", query: "versionId=" + n.olderVersion}).wantStatus(t, http.StatusOK).wantBody(t, n.older)
}

// wantGone asks for everything that reads an object, and for writes under the key.
func (n *tenant) wantGone(t *testing.T, c *client, other string) {
	t.Helper()
	for key := range n.data {
		a := c.get(t, n.bucket, key, nil).wantError(t, http.StatusGone, goneCode, "")
		if !strings.Contains(a.message, "does not exist any more") {
			t.Errorf("GET %s: %s", key, a.message)
		}
		c.head(t, n.bucket, key, nil).wantStatus(t, http.StatusGone)
		c.put(t, other, "stolen", nil, map[string]string{"X-Amz-Copy-Source": "/" + n.bucket + "/" + key}).wantError(t, http.StatusGone, goneCode, "")
	}
	for _, r := range []request{
		{method: http.MethodGet, key: "small", query: "versionId=" + n.olderVersion},
		{method: http.MethodGet, key: "streamed", header: map[string]string{"Range": "bytes=100-200"}},
		{method: http.MethodGet, key: "parts", query: "partNumber=2"},
		{method: http.MethodGet, key: "parts", query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize"}},
		{method: http.MethodPut, key: "small", header: map[string]string{"X-Amz-Copy-Source": "/" + n.bucket + "/small", "X-Amz-Metadata-Directive": "REPLACE"}},
	} {
		r.bucket = n.bucket
		c.do(t, r).wantError(t, http.StatusGone, goneCode, "")
	}
	const noKey = "kms:KeyNotFound"
	c.put(t, n.bucket, "new", []byte("new"), nil).wantError(t, http.StatusNotFound, noKey, "")
	c.put(t, n.bucket, "large", testData(9<<20, 5), nil).wantError(t, http.StatusNotFound, noKey, "")
	c.do(t, request{method: http.MethodPost, bucket: n.bucket, key: "upload", query: "uploads="}).wantError(t, http.StatusNotFound, noKey, "")
	running := n.running.via(c)
	c.do(t, running.partRequest(2, []byte("part"))).wantError(t, http.StatusNotFound, noKey, "")
	c.do(t, running.completeRequest(1)).wantError(t, http.StatusNotFound, noKey, "")
}

// A tenant whose objects lie under a KMS key of its own is erased by removing that key.
func TestATenantIsErasedWithItsKMSKey(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	acme, other := newTenant(t, s, "acme"), newTenant(t, s, "other")
	c := s.clients[0]
	c.put(t, other.bucket, "small", nil, map[string]string{"X-Amz-Copy-Source": "/" + acme.bucket + "/small"}).wantStatus(t, http.StatusOK)
	other.data["small"] = acme.data["small"] // a copy lies under the key of its own bucket
	lists := []string{acme.lists(t, c), other.lists(t, c)}
	for _, n := range []*tenant{acme, other} {
		n.wantRead(t, s.clients[1]) // both proxies remember DEKs
	}
	log := s.proxies[0].logSize()
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "rm", "--force", "acme")
	began := time.Now()
	for i, c := range s.clients {
		waitFor(t, 10*time.Second, "the key to be gone", func() bool { return c.get(t, acme.bucket, "small", nil).status == http.StatusGone })
		t.Logf("proxy %d opens nothing after %v", i, time.Since(began).Round(100*time.Millisecond))
	}
	for _, c := range s.clients {
		waitFor(t, 10*time.Second, "all DEKs to be forgotten", func() bool {
			return c.head(t, acme.bucket, "parts", nil).status == http.StatusGone && c.head(t, acme.bucket, "streamed", nil).status == http.StatusGone &&
				c.do(t, acme.running.via(c).partRequest(2, []byte("part"))).status == http.StatusNotFound
		})
	}
	late := newClient(s.proxy(t).endpoint(), rootUser, rootPassword) // one that has seen nothing
	for i, c := range []*client{s.clients[0], s.clients[1], late} {
		if acme.lists(t, c) != lists[0] || other.lists(t, c) != lists[1] {
			t.Errorf("proxy %d lists another:\n%s\n%s", i, acme.lists(t, c), lists[0])
		}
		acme.wantGone(t, c, other.bucket)
		other.wantRead(t, c)
	}

	// The proof: who removed the key, and what was asked for since.
	if text := s.keys.logSince(0); !strings.Contains(text, "deleted key 'acme'") || !strings.Contains(text, s.keys.admin.id) {
		t.Errorf("the key server's audit log does not say who deleted the key:\n%s", s.keys.logTail(0))
	}
	if text := s.proxies[0].logSince(log); !strings.Contains(text, "code="+goneCode) || !strings.Contains(text, "bucket="+acme.bucket) || !strings.Contains(text, "caller="+rootUser) {
		t.Errorf("the proxy's log does not say who asked for what is gone:\n%s", s.proxies[0].logTail(log))
	}
	files, err := os.ReadDir(s.keys.dir + "/keys")
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "acme") {
			t.Errorf("%s is still in the key store", f.Name())
		}
	}
	if err != nil || len(files) == 0 {
		t.Errorf("key files: %d, %v", len(files), err)
	}

	// A key of that name brings nothing back, and is not taken.
	mustSeal(t, s.keys.as(s.keys.admin), "", "key", "create", "acme")
	waitFor(t, 10*time.Second, "the new key to be seen", func() bool { return c.get(t, acme.bucket, "small", nil).status != http.StatusGone })
	c.get(t, acme.bucket, "small", nil).wantError(t, http.StatusBadRequest, "KMS.KMSInvalidStateException", "")

	// What is left can be deleted, and the bucket with it.
	c.do(t, acme.running.via(c).request(http.MethodDelete)).wantStatus(t, http.StatusNoContent)
	acme.deleteAll(t, c)
	c.do(t, request{method: http.MethodDelete, bucket: acme.bucket}).wantStatus(t, http.StatusNoContent)
	other.wantRead(t, c)
}

// deleteAll deletes every version, the first ones one by one, the last ones together.
func (n *tenant) deleteAll(t *testing.T, c *client) {
	t.Helper()
	c.do(t, request{method: http.MethodDelete, bucket: n.bucket, key: "small", query: "versionId=" + n.olderVersion}).wantStatus(t, http.StatusNoContent)
	var all strings.Builder
	all.WriteString("<Delete>")
	var key string
	for line := range strings.Lines(versionsOf(t, c, n.bucket)) {
		for _, field := range strings.Fields(line) {
			if name, ok := strings.CutPrefix(field, "Key="); ok {
				key = name
			}
			if id, ok := strings.CutPrefix(field, "VersionId="); ok {
				all.WriteString("<Object><Key>" + key + "</Key><VersionId>" + id + "</VersionId></Object>")
			}
		}
	}
	all.WriteString("</Delete>")
	body := []byte(all.String())
	a := c.do(t, request{method: http.MethodPost, bucket: n.bucket, query: "delete=", body: body, header: map[string]string{"Content-Md5": contentMD5(body)}}).wantStatus(t, http.StatusOK)
	if bytes.Contains(a.body, []byte("<Error>")) {
		t.Errorf("delete: %s", a.body)
	}
}
