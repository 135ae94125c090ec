package integration

import (
	"net/http"
	"strings"
	"testing"
)

func TestRefusedSubResourcesNeverReachUpstream(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(100, 40)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	type route struct{ method, key, query string }
	var routes []route
	for _, q := range []string{
		"renameObject=", "session=", "torrent=", "select=&select-type=2", "lambdaArn=x", "unheardOf=", "append=",
		"encryption=", "restore-all=", "metadataTable=", "X-Minio-Unknown",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead} {
			if q == "encryption=" && method == http.MethodPut { // UpdateObjectEncryption
				continue
			}
			if meaningless := q == "unheardOf=" || q == "restore-all="; !meaningless || method != http.MethodGet && method != http.MethodHead {
				routes = append(routes, route{method, "k", q})
			}
		}
	}
	for _, q := range []string{
		"session=", "unheardOf=", "inventory=", "analytics=", "metrics=", "intelligent-tiering=", "replication-metrics=",
		"replication-reset=", "metadataTable=", "X-Minio-Unknown",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
			if q != "unheardOf=" || method != http.MethodGet {
				routes = append(routes, route{method, "", q})
			}
		}
	}
	for _, method := range []string{"PATCH", "TRACE", "LINK", "MKCOL"} {
		routes = append(routes, route{method, "k", ""}, route{method, "", ""})
	}
	for _, r := range routes {
		mark := s.liar.mark()
		a := c.do(t, request{method: r.method, bucket: bucket, key: r.key, query: r.query, body: bodyFor(r.method)})
		for _, seen := range s.liar.since(mark, "/"+bucket) {
			t.Errorf("%s %s?%s reached MinIO: %v", r.method, r.key, r.query, seen)
		}
		if a.status < 400 {
			t.Errorf("%s %s?%s: status %d, want a refusal", r.method, r.key, r.query, a.status)
		}
		if r.method != http.MethodHead && a.code != "NotImplemented" && a.code != "MethodNotAllowed" {
			t.Errorf("%s %s?%s: %d %s, want NotImplemented", r.method, r.key, r.query, a.status, a.code)
		}
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

// Operations that MinIO has and the proxy cannot offer are refused by name, in every
// mode, and MinIO never hears of them.
func TestRefusedOperationsSaySo(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", testData(100, 41), nil).wantStatus(t, http.StatusOK)
	mark := s.liar.mark()
	for _, r := range []request{
		{method: http.MethodPost, bucket: bucket, key: "k", query: "select=&select-type=2", body: []byte("<SelectObjectContentRequest/>")},
		{method: http.MethodGet, bucket: bucket, key: "k", query: "torrent="},
		{method: http.MethodGet, bucket: bucket, key: "k", query: "lambdaArn=arn%3Aminio%3As3-object-lambda%3A%3Ax%3Awebhook"},
		{method: http.MethodPut, bucket: bucket, query: "replication=", body: []byte("<ReplicationConfiguration/>")},
		{method: http.MethodGet, bucket: bucket, query: "events=s3%3AObjectCreated%3A%2A"},
		{method: http.MethodGet, query: "events=s3%3AObjectCreated%3A%2A"},
		{method: http.MethodPut, bucket: bucket, key: "k2", body: []byte("x"), header: map[string]string{"X-Amz-Meta-Snowball-Auto-Extract": "true"}},
		{method: http.MethodGet, bucket: bucket, key: "k", header: map[string]string{"X-Minio-Extract": "true"}},
		{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x"), header: map[string]string{"X-Amz-Write-Offset-Bytes": "100"}},
	} {
		if a := c.do(t, r); a.status != http.StatusNotImplemented || a.code != "NotImplemented" {
			t.Errorf("%s: %d %s, want 501 NotImplemented", a.what, a.status, a.code)
		}
	}
	certificate := c.do(t, request{method: http.MethodPost, query: "Action=AssumeRoleWithCertificate&Version=2011-06-15"})
	if certificate.status != http.StatusBadRequest || !strings.Contains(string(certificate.body), "InvalidParameterValue") {
		t.Errorf("AssumeRoleWithCertificate: %d %s", certificate.status, certificate.body)
	}
	for _, seen := range s.liar.since(mark, "/") {
		if seen.path == "/" || strings.HasPrefix(seen.path, "/"+bucket) {
			t.Errorf("it reached MinIO: %v", seen)
		}
	}
}

func bodyFor(method string) []byte {
	if method == http.MethodPut || method == http.MethodPost {
		return []byte("some body")
	}
	return nil
}

func TestSystemBucketIsInvisibleAndOutOfReach(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.putEncryption(t, bucket, encryptionRule("AES256", "")).wantStatus(t, http.StatusOK)
	if a := s.raw().head(t, systemBucket, "", nil); a.status != http.StatusOK {
		t.Fatalf("MinIO has no bucket %s: %d", systemBucket, a.status)
	}
	list := string(c.do(t, request{method: http.MethodGet}).wantStatus(t, http.StatusOK).body)
	if strings.Contains(list, systemBucket) || !strings.Contains(list, "<Name>"+bucket+"</Name>") {
		t.Errorf("ListBuckets: %s", list)
	}

	paths := []string{
		"/" + systemBucket, "/" + systemBucket + "/", "/" + systemBucket + "/rules", "/" + systemBucket + "//rules",
		"/%62ucketseal-system/rules", "/bucketseal%2Dsystem/", "/bucketseal-system%2Frules", "//" + systemBucket + "/rules",
		"/./" + systemBucket + "/rules", "/" + bucket + "/../" + systemBucket + "/rules", "/" + bucket + "/%2e%2e/" + systemBucket + "/rules",
		"/" + bucket + "%2F..%2F" + systemBucket + "/rules", "/BUCKETSEAL-SYSTEM/rules", "/bucketseal-system%00/x", "/bucketseal-system%20/x",
	}
	for _, path := range paths {
		for _, r := range []request{
			{method: http.MethodGet, path: path},
			{method: http.MethodHead, path: path},
			{method: http.MethodDelete, path: path},
			{method: http.MethodPut, path: path, body: []byte("x")},
			{method: http.MethodGet, path: path, query: "list-type=2"},
			{method: http.MethodGet, path: path, query: "versions="},
			{method: http.MethodPut, path: path, query: "policy=", body: []byte("{}")},
			{method: http.MethodPost, path: path, query: "delete=", body: []byte("<Delete/>")},
		} {
			mark := s.liar.mark()
			a, err := c.try(r)
			if err == nil && a.status < 300 {
				t.Errorf("%s %s?%s: status %d: %s", r.method, path, r.query, a.status, a.body)
			}
			for _, seen := range s.liar.since(mark, "/"+systemBucket) {
				whole := seen.path == "/"+systemBucket || strings.HasPrefix(seen.path, "/"+systemBucket+"/")
				if whole && seen.method == r.method && seen.query == r.query {
					t.Errorf("%s %s?%s reached the system bucket: %v", r.method, path, r.query, seen)
				}
			}
		}
	}
	copyFrom := request{method: http.MethodPut, bucket: bucket, key: "stolen", header: map[string]string{"X-Amz-Copy-Source": "/" + systemBucket + "/rules"}}
	if a := c.do(t, copyFrom); a.status < 400 {
		t.Errorf("copy out of the system bucket: %d", a.status)
	}
	if a := s.raw().head(t, systemBucket, "", nil); a.status != http.StatusOK {
		t.Errorf("after all this the system bucket is gone: %d", a.status)
	}
	c.bucketEncryption(t, http.MethodGet, bucket).wantStatus(t, http.StatusOK)
}

func TestMinIOsOwnPathsAreNotSignedForAnyone(t *testing.T) {
	s := watchedStack(t)
	for _, path := range []string{
		"/minio/admin/v3/info", "/minio/admin/v3/list-users", "/minio/kms/v1/status", "/minio/v2/metrics/cluster", "/minio/storage/x", "/minio/grid/v1",
	} {
		for _, c := range []*client{s.client(), s.client().anonymous(), s.client().as("nobody", "secret")} {
			mark := s.liar.mark()
			a := c.do(t, request{method: http.MethodGet, path: path})
			if a.status < 400 && c.access != rootUser {
				t.Errorf("%s as %q: status %d", path, c.access, a.status)
			}
			for _, seen := range s.liar.since(mark, "/minio/") {
				if c.access != rootUser && strings.Contains(seen.header.Get("Authorization"), rootUser) {
					t.Errorf("%s as %q was signed as root: %v", path, c.access, seen)
				}
			}
		}
	}
}

func TestForwardedBucketOperationsWork(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.do(t, request{method: http.MethodHead, bucket: bucket}).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodGet, bucket: bucket, query: "location="}).wantStatus(t, http.StatusOK)
	versioning := `<VersioningConfiguration ` + xmlns + `><Status>Enabled</Status></VersioningConfiguration>`
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "versioning=", body: []byte(versioning)}).wantStatus(t, http.StatusOK)
	if a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: "versioning="}); !strings.Contains(string(a.body), "Enabled") {
		t.Errorf("versioning: %d %s", a.status, a.body)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::` + bucket + `/open/*"]}]}`
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "policy=", body: []byte(policy)}).wantStatus(t, http.StatusNoContent)
	if a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: "policy="}); !strings.Contains(string(a.body), "open/*") {
		t.Errorf("policy: %d %s", a.status, a.body)
	}
	c.do(t, request{method: http.MethodDelete, bucket: bucket, query: "policy="}).wantStatus(t, http.StatusNoContent)
	tags := `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`
	c.do(t, request{
		method: http.MethodPut, bucket: bucket, query: "tagging=", body: []byte(tags),
		header: map[string]string{"Content-Md5": contentMD5([]byte(tags))},
	}).wantStatus(t, http.StatusOK)
	if a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: "tagging="}); !strings.Contains(string(a.body), "<Key>a</Key>") {
		t.Errorf("tagging: %d %s", a.status, a.body)
	}
	for _, q := range []string{"acl=", "notification=", "object-lock=", "lifecycle="} {
		ref := referenceClient(t)
		want := ref.do(t, request{method: http.MethodGet, bucket: newBucketOnce(t, ref, bucket), query: q})
		got := c.do(t, request{method: http.MethodGet, bucket: bucket, query: q})
		wantAsReference(t, got, want)
	}
	c.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodDelete, bucket: bucket}).wantError(t, http.StatusConflict, "BucketNotEmpty",
		"The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
	c.do(t, request{method: http.MethodPut, bucket: "No_Such.Name"}).wantStatus(t, http.StatusBadRequest)
}

// newBucketOnce creates a bucket of a given name if it is not there.
func newBucketOnce(t *testing.T, c *client, name string) string {
	t.Helper()
	if a := c.do(t, request{method: http.MethodPut, bucket: name}); a.status != http.StatusOK && a.status != http.StatusConflict {
		t.Fatalf("create %s: %d %s", name, a.status, a.code)
	}
	return name
}
