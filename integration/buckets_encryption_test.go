package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const xmlns = `xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`

func encryptionRule(algorithm, key string) string {
	if key != "" {
		key = "<KMSMasterKeyID>" + key + "</KMSMasterKeyID>"
	}
	return `<ServerSideEncryptionConfiguration ` + xmlns + `><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>` + algorithm +
		`</SSEAlgorithm>` + key + `</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
}

func (c *client) putEncryption(t *testing.T, bucket, xml string) answer {
	t.Helper()
	return c.do(t, request{
		method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(xml),
		header: map[string]string{"Content-Md5": contentMD5([]byte(xml))},
	})
}

func (c *client) bucketEncryption(t *testing.T, method, bucket string) answer {
	t.Helper()
	return c.do(t, request{method: method, bucket: bucket, query: "encryption="})
}

func TestBucketDefaultDecidesHowObjectsAreEncrypted(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(70_000, 13)
	const notFound = "ServerSideEncryptionConfigurationNotFoundError"
	c.bucketEncryption(t, http.MethodGet, bucket).wantError(t, http.StatusNotFound, notFound, "The server side encryption configuration was not found")

	modes := sseModes()
	for i, rule := range []struct{ algorithm, key string }{{"AES256", ""}, {"aws:kms", defaultKey}, {"aws:kms", "arn:aws:kms:" + defaultKey}} {
		xml := encryptionRule(rule.algorithm, rule.key)
		c.putEncryption(t, bucket, xml).wantStatus(t, http.StatusOK)
		got := string(c.bucketEncryption(t, http.MethodGet, bucket).wantStatus(t, http.StatusOK).body)
		for _, part := range []string{"<SSEAlgorithm>" + rule.algorithm + "</SSEAlgorithm>", xmlns} {
			if !strings.Contains(got, part) {
				t.Errorf("rule %v came back as %s", rule, got)
			}
		}
		if rule.key != "" && !strings.Contains(got, "<KMSMasterKeyID>"+rule.key+"</KMSMasterKeyID>") {
			t.Errorf("rule %v came back as %s", rule, got)
		}
		key := fmt.Sprintf("rule-%d", i)
		c.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK).wantHeader(t, modes[min(i, 1)].want)
		c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, modes[min(i, 1)].want)
		wantSealed(t, s, bucket, key, data)

		// What the request asks for wins over the rule.
		c.put(t, bucket, "explicit", data, modes[0].put).wantStatus(t, http.StatusOK).wantHeader(t, modes[0].want)
		c.get(t, bucket, "explicit", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, modes[0].want)
	}

	c.bucketEncryption(t, http.MethodDelete, bucket).wantStatus(t, http.StatusNoContent)
	c.bucketEncryption(t, http.MethodDelete, bucket).wantStatus(t, http.StatusNoContent)
	c.bucketEncryption(t, http.MethodGet, bucket).wantError(t, http.StatusNotFound, notFound, "")
	// Objects from before a rule was changed stay what they are.
	c.get(t, bucket, "rule-1", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, modes[1].want)
}

func TestBucketRuleErrorsAreMinIOs(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	ref := referenceClient(t)
	refBucket := newBucket(t, ref)
	const schema = "The XML you provided was not well-formed or did not validate against our published schema. "
	one := `<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>`
	wrap := func(inner string) string {
		return "<ServerSideEncryptionConfiguration " + xmlns + ">" + inner + "</ServerSideEncryptionConfiguration>"
	}
	for _, tc := range []struct {
		name, xml string
		status    int
		code      string
		message   string
	}{
		{"kms without a key", encryptionRule("aws:kms", ""), 400, "MalformedXML", schema + "(MasterKeyID is missing with aws:kms)"},
		{"AES256 with a key", encryptionRule("AES256", "x"), 400, "MalformedXML", schema + "(MasterKeyID is allowed with aws:kms only)"},
		{"unknown algorithm", encryptionRule("foo", ""), 400, "MalformedXML", schema + "(Unknown SSE algorithm)"},
		{"dsse", encryptionRule("aws:kms:dsse", "x"), 400, "MalformedXML", schema + "(Unknown SSE algorithm)"},
		{"two rules", wrap(one + one), 400, "MalformedXML", schema + "(only one server-side encryption rule is allowed at a time)"},
		{"no rule", wrap(""), 400, "MalformedXML", schema + "(only one server-side encryption rule is allowed at a time)"},
		{"empty body", "", 400, "MalformedXML", schema + "(EOF)"},
		{"cut off", encryptionRule("AES256", "")[:90], 400, "MalformedXML", ""},
		{"not XML", "hello", 400, "MalformedXML", schema + "(EOF)"},
		{"another element", "<Other/>", 400, "MalformedXML", ""},
		{"spaces in the key", encryptionRule("aws:kms", " k "), 400, "MalformedXML", schema + "(MasterKeyID contains unsupported characters)"},
		{"missing key", encryptionRule("aws:kms", "no-such-key"), 404, "kms:KeyNotFound", "key with given key ID does not exist"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := c.putEncryption(t, bucket, tc.xml).wantError(t, tc.status, tc.code, tc.message)
			want := ref.putEncryption(t, refBucket, tc.xml)
			if got.status != want.status || got.code != want.code || got.message != want.message {
				t.Errorf("got %d %s %q, a MinIO %d %s %q", got.status, got.code, got.message, want.status, want.code, want.message)
			}
		})
	}
	c.bucketEncryption(t, http.MethodGet, bucket).wantError(t, http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError", "")
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		c.bucketEncryption(t, method, bucket+"-none").wantError(t, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	c.putEncryption(t, bucket+"-none", encryptionRule("AES256", "")).wantError(t, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
}

func TestBucketRuleNeedsThePermissionMinIOAsksFor(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodDelete} {
		r := request{method: method, bucket: bucket, query: "encryption=", body: []byte(encryptionRule("AES256", ""))}
		c.anonymous().do(t, r).wantError(t, http.StatusForbidden, "AccessDenied", "Access Denied.")
	}
	c.bucketEncryption(t, http.MethodGet, bucket).wantError(t, http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError", "")
}

func TestBucketRuleDiesWithItsBucket(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodDelete, bucket: bucket}).wantStatus(t, http.StatusNoContent)
	c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	c.bucketEncryption(t, http.MethodGet, bucket).wantError(t, http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError", "")
	if a := c.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK); a.header.Get("X-Amz-Server-Side-Encryption") == "aws:kms" {
		t.Error("the rule of the former bucket still applies")
	}
}
