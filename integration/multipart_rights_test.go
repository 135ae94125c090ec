package integration

import (
	"net/http"
	"testing"
)

// Whoever may only write gets the answer to a Complete that was lost, too.
func TestWriteOnlyUploaderMayRepeatComplete(t *testing.T) {
	const name, secret = "writer-user", "writer-secret-0123456789"
	h := newHostile(t, "credentials:\n  - {access_key: "+rootUser+", secret_key: "+rootPassword+"}\n  - {access_key: "+name+", secret_key: "+secret+"}\n")
	mc := newMC(t, h.stack)
	policy := writeFile(t, t.TempDir(), "write-only.json", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::*"]}]}`))
	mc.must(t, "admin", "user", "add", "raw", name, secret)
	mc.must(t, "admin", "policy", "create", "raw", "write-only", policy)
	mc.must(t, "admin", "policy", "attach", "raw", "write-only", "--user", name)
	bucket := newBucket(t, h.root)
	c := h.root.as(name, secret)
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
