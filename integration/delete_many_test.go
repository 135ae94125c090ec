package integration

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// deleteMany is a DeleteObjects.
func deleteMany(bucket, document string) request {
	return request{
		method: http.MethodPost, bucket: bucket, query: "delete=", body: []byte(document),
		header: map[string]string{"Content-Md5": contentMD5([]byte(document))},
	}
}

// objectLines are the lines about single objects of a request: of a kind, by bucket and key.
func (l *auditLog) objectLines(t *testing.T, a answer, kind string) map[string]auditLine {
	t.Helper()
	all := make(map[string]auditLine)
	for _, line := range l.of(t, a) {
		if line.Kind == kind && line.Object != "" {
			all[line.Bucket+"/"+line.Object] = line
		}
	}
	return all
}

// Whoever asks the audit log who deleted an object, or copied it, finds the request that did,
// whatever else that was about.
func TestAuditLinesOfEachObject(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	for name, required := range map[string]bool{"required": true, "not required": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l, _ := newAudited(t, t.TempDir(), fmt.Sprintf("  required: %t\n", required))
			c := s.client()
			bucket := newBucket(t, c)
			for _, key := range []string{"a", "b & c", "d", "kept"} {
				c.put(t, bucket, key, []byte(key), nil).wantStatus(t, http.StatusOK)
			}
			const some = "<Object><Key>a</Key></Object><Object><Key>b &amp; c</Key></Object><Object><Key>d</Key><VersionId>not-a-version</VersionId></Object>"
			for _, document := range []string{"<Delete>" + some + "</Delete>", "<Delete><Quiet>true</Quiet>" + some + "</Delete>"} {
				a := c.do(t, deleteMany(bucket, document)).wantStatus(t, http.StatusOK)
				done := l.objectLines(t, a, "object")
				if got := slices.Sorted(maps.Keys(done)); !slices.Equal(got, []string{bucket + "/a", bucket + "/b & c", bucket + "/d"}) {
					t.Fatalf("lines about %q", got)
				}
				for key, want := range map[string]string{"a": "ok", "b & c": "ok", "d": "failed"} {
					line := done[bucket+"/"+key]
					if line.Outcome != want || (line.Code == "") != (want == "ok") || line.Op != "DeleteObjects" || line.AccessKey != rootUser || line.KMSKey != "" {
						t.Errorf("%s: %+v", key, line)
					}
				}
				if intents := l.objectLines(t, a, "intent"); required && len(intents) != 3 || !required && len(intents) != 0 {
					t.Errorf("before: %+v", intents)
				}
				if last := l.last(t, a, "request"); last.Outcome != "ok" || last.Object != "" {
					t.Errorf("at the end: %+v", last)
				}
			}

			other := newBucket(t, c)
			a := c.put(t, other, "copy", nil, map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/kept"}).wantStatus(t, http.StatusOK)
			if line := l.objectLines(t, a, "object")[bucket+"/kept"]; line.Op != "CopyObject" || line.Outcome != "ok" {
				t.Errorf("the source of a copy: %+v", l.of(t, a))
			}
			a = c.put(t, other, "copy", nil, map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/missing"}).wantError(t, http.StatusNotFound, "NoSuchKey", "")
			if line := l.objectLines(t, a, "object")[bucket+"/missing"]; line.Outcome != "failed" || line.Code != "NoSuchKey" {
				t.Errorf("the source of a copy that is not there: %+v", l.of(t, a))
			}
			a = c.do(t, request{
				method: http.MethodPut, bucket: other, key: "parts", query: "partNumber=1&uploadId=" + startUpload(t, c, other, "parts"),
				header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/kept"},
			}).wantStatus(t, http.StatusOK)
			if line := l.objectLines(t, a, "object")[bucket+"/kept"]; line.Op != "UploadPartCopy" || line.Outcome != "ok" {
				t.Errorf("the source of a part: %+v", l.of(t, a))
			}
			// Who may not read the source has a line about it too.
			newMC(t, s).must(t, "admin", "user", "add", "seal", "copying-user", "copying-user-secret")
			a = c.as("copying-user", "copying-user-secret").put(t, other, "copy", nil, map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/kept"}).
				wantError(t, http.StatusForbidden, "AccessDenied", "")
			if line := l.objectLines(t, a, "object")[bucket+"/kept"]; line.Outcome != "refused" || line.AccessKey != "copying-user" {
				t.Errorf("the source of a copy that is refused: %+v", l.of(t, a))
			}
		})
	}
}

// DeleteObjects deletes what still has the ETag that it names, and nothing else.
func TestConditionsOfDeleteObjects(t *testing.T) {
	t.Parallel()
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	etags := make(map[string]string)
	for _, key := range []string{"same", "changed", "any", "kms"} {
		header := map[string]string(nil)
		if key == "kms" {
			header = map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"}
		}
		etags[key] = c.put(t, bucket, key, []byte(key), header).wantStatus(t, http.StatusOK).header.Get("ETag")
	}
	c.put(t, bucket, "changed", []byte("anew"), nil).wantStatus(t, http.StatusOK)
	object := func(key string) string {
		return "<Object><Key>" + key + "</Key><ETag>" + strings.ReplaceAll(etags[key], `"`, "&quot;") + "</ETag></Object>"
	}
	etags["missing"] = `"d41d8cd98f00b204e9800998ecf8427e"`
	a := c.do(t, deleteMany(bucket, "<Delete>"+object("same")+object("changed")+object("kms")+object("missing")+"<Object><Key>any</Key></Object></Delete>")).wantStatus(t, http.StatusOK)
	for _, want := range []string{"<Key>same</Key>", "<Key>kms</Key>", "<Key>any</Key>", "<Error><Key>changed</Key><Code>PreconditionFailed</Code>", "<Error><Key>missing</Key><Code>NoSuchKey</Code>"} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	for key, want := range map[string]int{"same": 404, "changed": 200, "any": 404, "kms": 404} {
		if got := c.get(t, bucket, key, nil).status; got != want {
			t.Errorf("GET %s: %d, want %d", key, got, want)
		}
	}
	// Nothing is left to ask MinIO for.
	a = c.do(t, deleteMany(bucket, "<Delete>"+object("changed")+"</Delete>")).wantStatus(t, http.StatusOK)
	if !strings.Contains(string(a.body), "<Code>PreconditionFailed</Code>") || strings.Contains(string(a.body), "<Deleted>") {
		t.Errorf("%s", a.body)
	}
	for _, more := range []string{"<Size>4</Size>", "<LastModifiedTime>2026-11-27T00:00:00Z</LastModifiedTime>"} {
		c.do(t, deleteMany(bucket, "<Delete><Object><Key>changed</Key>"+more+"</Object></Delete>")).wantError(t, http.StatusNotImplemented, "NotImplemented", "")
	}
	c.get(t, bucket, "changed", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("anew"))
	// What the ETag is, only those learn who may read the object.
	newMC(t, s).must(t, "admin", "user", "add", "seal", "blind-user", "blind-user-secret")
	a = c.as("blind-user", "blind-user-secret").do(t, deleteMany(bucket, "<Delete>"+object("changed")+"</Delete>")).wantStatus(t, http.StatusOK)
	if !strings.Contains(string(a.body), "<Code>AccessDenied</Code>") {
		t.Errorf("%s", a.body)
	}
}

// boto3 names an ETag with each object.
func TestConditionsOfDeleteObjectsByBoto3(t *testing.T) {
	t.Parallel()
	s := newStack(t, stackOptions{})
	bucket := newBucket(t, s.client())
	python(t, s.seal.endpoint(), `
import sys, boto3
s3 = boto3.client("s3")
b = sys.argv[1]
old = s3.put_object(Bucket=b, Key="k", Body=b"1")["ETag"]
new = s3.put_object(Bucket=b, Key="k", Body=b"2")["ETag"]
r = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k", "ETag": old}]})
assert r["Errors"][0]["Code"] == "PreconditionFailed", r
assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"2"
r = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k", "ETag": new}], "Quiet": True})
assert "Errors" not in r, r
assert "Contents" not in s3.list_objects_v2(Bucket=b)
`, bucket)
}
