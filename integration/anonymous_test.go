package integration

import (
	"maps"
	"net/http"
	"testing"
)

// allowEveryone lets MinIO answer anonymous callers.
func allowEveryone(t *testing.T, c *client, bucket string) {
	t.Helper()
	policy := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject","s3:PutObject"],"Resource":["arn:aws:s3:::` + bucket + `/*"]},
		{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::` + bucket + `"]}]}`
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "policy=", body: []byte(policy)}).wantStatus(t, http.StatusNoContent)
}

func TestAnonymousCallersNeedBothMinIOsPolicyAndOurs(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--allow-anonymous", "open-*", "--allow-anonymous", "also-open"}})
	c := s.client()
	data := testData(70_000, 50)
	for _, tc := range []struct {
		bucket         string
		policy, listed bool
	}{
		{"open-with-policy", true, true},
		{"also-open", true, true},
		{"open-without-policy", false, true},
		{"closed-with-policy", true, false},
		{"x-open-with-policy", true, false},
	} {
		t.Run(tc.bucket, func(t *testing.T) {
			c.do(t, request{method: http.MethodPut, bucket: tc.bucket}).wantStatus(t, http.StatusOK)
			c.put(t, tc.bucket, "k", data, nil).wantStatus(t, http.StatusOK)
			if tc.policy {
				allowEveryone(t, c, tc.bucket)
			}
			nobody := c.anonymous()
			got := nobody.get(t, tc.bucket, "k", nil)
			head := nobody.head(t, tc.bucket, "k", nil)
			put := nobody.put(t, tc.bucket, "new", data, nil)
			if tc.policy && tc.listed {
				got.wantStatus(t, http.StatusOK).wantBody(t, data)
				head.wantStatus(t, http.StatusOK)
				put.wantStatus(t, http.StatusOK)
				nobody.get(t, tc.bucket, "none", nil).wantError(t, http.StatusNotFound, "NoSuchKey", "")
				wantSealed(t, s, tc.bucket, "new", data)
				return
			}
			got.wantError(t, http.StatusForbidden, "AccessDenied", "Access Denied.")
			head.wantStatus(t, http.StatusForbidden)
			put.wantError(t, http.StatusForbidden, "AccessDenied", "Access Denied.")
			wantNothingStored(t, s, tc.bucket, "new")
		})
	}
}

func TestAnonymousRequestsAreNotSignedForUpstream(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	allowEveryone(t, c, bucket)
	nobody := c.anonymous()
	mark := s.liar.mark()
	nobody.get(t, bucket, "k", nil).wantError(t, http.StatusForbidden, "AccessDenied", "Access Denied.")
	nobody.do(t, request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
	nobody.do(t, request{method: http.MethodDelete, bucket: bucket, key: "k"}).wantError(t, http.StatusForbidden, "AccessDenied", "Access Denied.")
	for _, r := range s.liar.since(mark, "/"+bucket) {
		if r.header.Get("Authorization") != "" {
			t.Errorf("an anonymous request went upstream with a signature: %v", r)
		}
	}
	c.head(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
}

// Whoever writes without a signature gets the bucket's rule, or one of the defaults:
// a key that is named is refused, whether it is there or not.
func TestAnonymousWritersNameNoKey(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--allow-anonymous", "open-*"}})
	c := s.client()
	const bucket = "open-names-no-key"
	c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	allowEveryone(t, c, bucket)
	data := testData(70_000, 51)
	c.put(t, bucket, "source", data, nil).wantStatus(t, http.StatusOK)
	nobody := c.anonymous()
	withContext := map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Context": "eyJhIjoiYiJ9"}
	for name, header := range map[string]map[string]string{
		"the default key": kmsWith(defaultKey), "an unknown key": kmsWith("no-such-key"), "a context": withContext,
	} {
		copied := map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/source"}
		maps.Copy(copied, header)
		form := postForm{fields: [][2]string{{"key", "new"}}, file: data}
		for field, value := range header {
			form.fields = append(form.fields, [2]string{field, value})
		}
		for how, r := range map[string]request{
			"PUT":    {method: http.MethodPut, bucket: bucket, key: "new", body: data, header: header},
			"upload": {method: http.MethodPost, bucket: bucket, key: "new", query: "uploads=", header: header},
			"copy":   {method: http.MethodPut, bucket: bucket, key: "new", header: copied},
			"form":   form.request(nobody, bucket),
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				if a := nobody.do(t, r); how == "form" { // as MinIO says to whom it wants signed
					a.wantError(t, http.StatusBadRequest, "AuthorizationQueryParametersError", "")
				} else {
					a.wantError(t, http.StatusForbidden, "AccessDenied", "Access Denied.")
				}
			})
		}
	}
	wantNothingStored(t, s, bucket, "new")
	// By rule, and by default.
	nobody.put(t, bucket, "default", data, map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"}).wantStatus(t, http.StatusOK)
	nobody.get(t, bucket, "default", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	rule := `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>` +
		`<KMSMasterKeyID>` + defaultKey + `</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(rule)}).wantStatus(t, http.StatusOK)
	nobody.put(t, bucket, "ruled", data, nil).wantStatus(t, http.StatusOK)
	nobody.get(t, bucket, "ruled", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	wantSealed(t, s, bucket, "ruled", data)
}
