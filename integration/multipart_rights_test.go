package integration

import (
	"net/http"
	"testing"
)

// hostileUsers starts a stack with a user for each policy, whose name is the
// policy's.
func hostileUsers(t *testing.T, policies map[string]string) *hostile {
	t.Helper()
	config := "credentials:\n  - {access_key: " + rootUser + ", secret_key: " + rootPassword + "}\n"
	for name := range policies {
		config += "  - {access_key: " + name + ", secret_key: secret-of-" + name + "}\n"
	}
	h := newHostile(t, config)
	mc := newMC(t, h.stack)
	for name, policy := range policies {
		path := writeFile(t, t.TempDir(), name+".json", []byte(`{"Version":"2012-10-17","Statement":[`+policy+`]}`))
		mc.must(t, "admin", "user", "add", "raw", name, "secret-of-"+name)
		mc.must(t, "admin", "policy", "create", "raw", name, path)
		mc.must(t, "admin", "policy", "attach", "raw", name, "--user", name)
	}
	return h
}

// Whoever may only write gets the answer to a Complete that was lost, too.
func TestWriteOnlyUploaderMayRepeatComplete(t *testing.T) {
	const name = "writer-user"
	h := hostileUsers(t, map[string]string{name: `{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::*"]}`})
	bucket := newBucket(t, h.root)
	c := h.root.as(name, "secret-of-"+name)
	for _, m := range sseModes()[:3] {
		u := c.createUpload(t, bucket, m.name, m.put)
		u.put(t, 1, partData(100, 17))
		etag := u.complete(t)
		if again := u.complete(t); again != etag {
			t.Errorf("%s: %s, then %s", m.name, etag, again)
		}
		c.get(t, bucket, m.name, nil).wantError(t, http.StatusForbidden, "AccessDenied", "")
		wantObject(t, h.root, bucket, m.name, etag, nil, partData(100, 17))
	}
}

// The ledger knows all uploads; MinIO says who may see and use which.
func TestUploadsAreForThoseWhoMay(t *testing.T) {
	const lists, writes = "lists-uploads", "writes-below-in"
	h := hostileUsers(t, map[string]string{
		lists:  `{"Effect":"Allow","Action":["s3:ListBucketMultipartUploads","s3:ListMultipartUploadParts"],"Resource":["arn:aws:s3:::*"]}`,
		writes: `{"Effect":"Allow","Action":["s3:PutObject","s3:AbortMultipartUpload"],"Resource":["arn:aws:s3:::*/in/*"]}`,
	})
	bucket := newBucket(t, h.root)
	lister, writer := h.root.as(lists, "secret-of-"+lists), h.root.as(writes, "secret-of-"+writes)
	data := partData(100, 17)
	out := h.root.createUpload(t, bucket, "out/k", nil)
	out.put(t, 1, data)
	in := writer.createUpload(t, bucket, "in/k", nil)
	in.put(t, 1, data)

	for _, key := range []string{"out/k", "in/k"} {
		if l := lister.uploads(t, bucket, "prefix", key).Upload; len(l) != 1 || l[0].Key != key {
			t.Errorf("uploads of %s: %v", key, l)
		}
	}
	list := request{method: http.MethodGet, bucket: bucket, query: "uploads="}
	for name, c := range map[string]*client{"writer": writer, "anonymous": h.root.anonymous()} {
		if a := c.do(t, list); a.status != http.StatusForbidden {
			t.Errorf("%s lists uploads: %d", name, a.status)
		}
	}
	if l, _, _ := out.via(lister).parts(t); len(l) != 1 {
		t.Errorf("parts: %v", l)
	}
	for _, u := range []*mp{out.via(writer), out.via(lister), in.via(lister), out.via(h.root.anonymous()), in.via(h.root.anonymous())} {
		for _, r := range []request{u.partRequest(1, []byte("other")), u.completeRequest(), u.request(http.MethodDelete)} {
			u.c.do(t, r).wantError(t, http.StatusForbidden, "AccessDenied", "")
		}
	}
	out.via(writer).c.do(t, out.request(http.MethodGet)).wantError(t, http.StatusForbidden, "AccessDenied", "")
	wantObject(t, h.root, bucket, "in/k", in.complete(t), nil, data)
	wantObject(t, h.root, bucket, "out/k", out.complete(t), nil, data)
}
