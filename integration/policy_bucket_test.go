package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// demand writes a bucket's policy of statements that deny PutObject.
func demand(bucket string, conditions ...string) []byte {
	var statements []string
	for _, c := range conditions {
		s := strings.Replace(statement("Deny", "s3:PutObject", c), `"Effect"`, `"Principal":{"AWS":["*"]},"Effect"`, 1)
		statements = append(statements, strings.Replace(s, "arn:aws:s3:::*", "arn:aws:s3:::"+bucket+"/*", 1))
	}
	return fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":[%s]}`, strings.Join(statements, ","))
}

func putPolicy(t *testing.T, c *client, bucket string, policy []byte) {
	t.Helper()
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "policy=", body: policy}).wantStatus(t, http.StatusNoContent)
}

// The tests of ceph/s3-tests on bucket policies that demand encryption: they bind the
// bucket's owner, too. (At MinIO they bind nobody who signs.)
func TestBucketPoliciesDemandEncryptionOfEverybody(t *testing.T) {
	t.Parallel()
	const method, key = "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	s3, kms := map[string]string{method: "AES256"}, map[string]string{method: "aws:kms", key: defaultKey}
	unknown := map[string]string{method: "AES192"}
	customer := customerKey(82)
	badCustomer := with(customer, "X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES192")
	for name, tt := range map[string]struct {
		conditions     []string
		denied, passes []map[string]string
		want           string
	}{
		"bucket_policy_put_obj_s3_noenc":             {[]string{"Null " + keyMethod + " true"}, []map[string]string{nil, customer}, []map[string]string{s3}, "AES256"},
		"bucket_policy_put_obj_s3_incorrect_algo":    {[]string{"StringNotEquals " + keyMethod + " AES256"}, []map[string]string{unknown}, []map[string]string{s3}, "AES256"},
		"bucket_policy_put_obj_s3_kms":               {[]string{"StringNotEquals " + keyMethod + " AES256", "Null " + keyMethod + " true"}, []map[string]string{nil, kms}, []map[string]string{s3}, "AES256"},
		"bucket_policy_put_obj_kms_noenc":            {[]string{"StringNotEquals " + keyMethod + " aws:kms", "Null " + keyMethod + " true"}, []map[string]string{nil}, []map[string]string{kms}, "aws:kms"},
		"bucket_policy_put_obj_kms_s3":               {[]string{"StringNotEquals " + keyMethod + " aws:kms", "Null " + keyMethod + " true"}, []map[string]string{nil, s3}, []map[string]string{kms}, "aws:kms"},
		"encryption_sse_c_enforced_with_bucket":      {[]string{"Null " + keyCustomer + " true"}, []map[string]string{nil, s3}, []map[string]string{customer}, ""},
		"encryption_sse_c_deny_algo_with_bucket":     {[]string{"StringNotEquals " + keyCustomer + " AES256"}, []map[string]string{badCustomer}, []map[string]string{customer}, ""},
		"one key only":                               {[]string{"StringNotLike " + keyKMSKeyID + " *" + defaultKey}, []map[string]string{nil, s3}, []map[string]string{kms}, "aws:kms"},
		"where another condition does not hold, too": {[]string{"Null " + keyMethod + " false"}, []map[string]string{s3, kms}, []map[string]string{nil, customer}, ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			c := sharedPair(t).seal
			bucket := newBucket(t, c)
			c.put(t, bucket, "source", []byte("data"), nil).wantStatus(t, http.StatusOK)
			began := time.Now()
			putPolicy(t, c, bucket, demand(bucket, tt.conditions...))
			if time.Since(began) < time.Second {
				t.Error("answered before other proxies obey")
			}
			ways := func(header map[string]string) map[string]answer {
				return map[string]answer{
					"put":    c.put(t, bucket, "k", []byte("data"), header),
					"create": c.do(t, request{method: http.MethodPost, bucket: bucket, key: "m", query: "uploads=", header: header}),
					"copy":   c.do(t, request{method: http.MethodPut, bucket: bucket, key: "copy", header: with(header, "X-Amz-Copy-Source", bucket+"/source")}),
				}
			}
			for _, header := range tt.denied {
				for way, a := range ways(header) {
					if a.status != http.StatusForbidden || a.code != "AccessDenied" {
						t.Errorf("%s with %v: %d %s", way, header, a.status, a.code)
					}
				}
			}
			for _, header := range tt.passes {
				for way, a := range ways(header) {
					if a.status != http.StatusOK || tt.want != "" && a.header.Get(method) != tt.want {
						t.Errorf("%s with %v: %d %s, %q", way, header, a.status, a.code, a.header.Get(method))
					}
				}
			}
			c.do(t, request{method: http.MethodDelete, bucket: bucket, query: "policy="}).wantStatus(t, http.StatusNoContent)
			c.put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
		})
	}
}

// A form's fields are judged like headers; an anonymous caller is judged by MinIO,
// which is told what he asks for.
func TestBucketPoliciesDemandEncryptionOfForms(t *testing.T) {
	t.Parallel()
	c := sharedPair(t).seal
	bucket := newBucket(t, c)
	allow := strings.Replace(statement("Allow", "s3:PutObject"), `"Effect"`, `"Principal":{"AWS":["*"]},"Effect"`, 1)
	allow = strings.Replace(allow, "arn:aws:s3:::*", "arn:aws:s3:::"+bucket+"/*", 1)
	policy := strings.Replace(string(demand(bucket, "Null "+keyMethod+" true")), `"Statement":[`, `"Statement":[`+allow+",", 1)
	putPolicy(t, c, bucket, []byte(policy))
	for _, who := range []*client{c, c.anonymous()} {
		for want, fields := range map[int][][2]string{
			http.StatusForbidden: {{"key", "posted"}},
			http.StatusNoContent: {{"key", "posted"}, {"x-amz-server-side-encryption", "AES256"}},
		} {
			f := postForm{fields: fields, file: []byte("file")}
			if who.access == "" && want == http.StatusNoContent {
				continue // anonymous callers encrypt only where the proxy's configuration lets them
			}
			if who.access == "" {
				want = http.StatusBadRequest // as MinIO says to whom it wants signed
			}
			c.anonymous().do(t, f.request(who, bucket)).wantStatus(t, want)
		}
	}
}
