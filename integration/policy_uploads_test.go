package integration

import (
	"net/http"
	"testing"
)

// AWS's "deny unless encrypted" lets an upload's parts pass: only its beginning says
// how it is encrypted. (A MinIO that encrypts by itself refuses them.)
func TestUploadsInPartsUnderPoliciesThatDemandEncryption(t *testing.T) {
	t.Parallel()
	const any3, s3, kms = "must-encrypt", "must-sse-s3", "must-sse-kms"
	deny := func(condition string) string { return allowAll() + "," + statement("Deny", "s3:PutObject", condition) }
	h := hostileUsers(t, map[string]string{
		any3: deny("Null " + keyMethod + " true"),
		s3:   deny("StringNotEquals " + keyMethod + " AES256"),
		kms:  deny("StringNotEquals " + keyKMSKeyID + " arn:aws:kms:" + defaultKey),
	})
	bucket := newBucket(t, h.root)
	modes := map[string]sseMode{}
	for _, m := range sseModes() {
		modes[m.name] = m
	}
	for _, tt := range []struct {
		user, mode string
		allowed    bool
	}{
		{any3, "sse-s3", true},
		{any3, "sse-kms default key", true},
		{s3, "sse-s3", true},
		{s3, "sse-kms default key", false},
		{kms, "sse-kms key and context", true},
		{kms, "sse-s3", false},
	} {
		c, m, key := h.root.as(tt.user, "secret-of-"+tt.user), modes[tt.mode], tt.user+" "+tt.mode
		create := request{method: http.MethodPost, bucket: bucket, key: key, query: "uploads="}
		c.do(t, create).wantError(t, http.StatusForbidden, "AccessDenied", "")
		if create.header = m.put; !tt.allowed {
			c.do(t, create).wantError(t, http.StatusForbidden, "AccessDenied", "")
			continue
		}
		u := c.createUpload(t, bucket, key, m.put)
		u.put(t, 1, partData(minPart, 17))
		u.put(t, 2, partData(101, 18))
		etag := u.complete(t)
		if again := u.complete(t); again != etag {
			t.Errorf("%s: %s, then %s", key, etag, again)
		}
		gone := c.createUpload(t, bucket, key, m.put)
		c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: query("uploadId", gone.id)}).wantStatus(t, http.StatusOK)
		c.do(t, request{method: http.MethodDelete, bucket: bucket, key: key, query: query("uploadId", gone.id)}).wantStatus(t, http.StatusNoContent)
	}
}
