package integration

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// signV2 signs a text with signature version 2.
func (c *client) signV2(text string) string {
	h := hmac.New(sha1.New, []byte(c.secret))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// oldRequest is a request of signature version 2, with every part open to be wrong.
type oldRequest struct {
	method, target string // as they are sent
	signed         string // what is signed from the x-amz-* headers on; target if empty
	header         map[string]string
	body           string
	secret         string        // the client's if empty
	access         string        // the client's if empty
	ago            time.Duration // how long ago it was signed
	authorization  string        // in place of the right one
	date           string        // in place of the right one; "-" for none
	expires        string        // presigned with this if not empty
}

// old sends a request of signature version 2.
func (c *client) old(t *testing.T, o oldRequest) answer {
	t.Helper()
	signer := *c
	if o.secret != "" {
		signer.secret = o.secret
	}
	if o.access != "" {
		signer.access = o.access
	}
	if o.signed == "" {
		o.signed = o.target
	}
	target, date := o.target, time.Now().UTC().Add(-o.ago).Format(http.TimeFormat)
	if o.expires != "" {
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + url.Values{
			"AWSAccessKeyId": {signer.access}, "Expires": {o.expires}, "Signature": {signer.signV2(o.method + "\n\n\n" + o.expires + "\n" + o.signed)},
		}.Encode()
	}
	req, err := http.NewRequest(o.method, c.endpoint+target, strings.NewReader(o.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range o.header {
		req.Header.Set(name, value)
	}
	if o.expires == "" {
		req.Header.Set("Authorization", "AWS "+signer.access+":"+signer.signV2(o.method+"\n\n\n"+date+"\n"+o.signed))
		req.Header.Set("Date", date)
	}
	if o.authorization != "" {
		req.Header.Set("Authorization", o.authorization)
	}
	switch o.date {
	case "":
	case "-":
		req.Header.Del("Date")
	default:
		req.Header.Set("Date", o.date)
	}
	a, err := c.roundTrip(req, o.method+" "+target)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// oldStack is a stack whose proxy takes signatures of version 2.
func oldStack(t *testing.T) *stack {
	t.Helper()
	file := writeFile(t, t.TempDir(), "v2.yml", []byte("signature_v2: true\n"))
	return newStack(t, stackOptions{args: []string{"--config", file}})
}

func TestSignaturesOfVersion2(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := oldStack(t)
	c, ref := s.client(), referenceClient(t)
	bucket := bucketName(t)
	at := "/" + bucket + "/a%20b"
	data := string(testData(packageSize+9, 40))
	later := strconv.FormatInt(time.Now().Unix()+60, 10)

	t.Run("as on MinIO", func(t *testing.T) {
		for _, r := range []struct {
			name   string
			r      oldRequest
			status int
		}{
			{"create bucket", oldRequest{method: "PUT", target: "/" + bucket}, 200},
			{"put", oldRequest{method: "PUT", target: at, body: data, header: map[string]string{"X-Amz-Meta-Color": "blue"}, signed: "x-amz-meta-color:blue\n" + at}, 200},
			{"get", oldRequest{method: "GET", target: at}, 200},
			{"head", oldRequest{method: "HEAD", target: at}, 200},
			{"range", oldRequest{method: "GET", target: at, header: map[string]string{"Range": "bytes=3-9"}}, 206},
			{"list", oldRequest{method: "GET", target: "/" + bucket + "?list-type=2&prefix=a", signed: "/" + bucket}, 200},
			{"sub-resource", oldRequest{method: "GET", target: "/" + bucket + "?location"}, 200},
			{"response header", oldRequest{method: "GET", target: at + "?response-content-type=text%2Fodd", signed: at + "?response-content-type=text/odd"}, 200},
			{"presigned get", oldRequest{method: "GET", target: at, expires: later}, 200},
			{"presigned put", oldRequest{method: "PUT", target: at + "c", body: data, expires: later}, 200},
			{"presigned sub-resource", oldRequest{method: "GET", target: at + "?versionId=null", expires: later}, 200},

			{"wrong secret", oldRequest{method: "GET", target: at, secret: "no"}, 403},
			{"unknown key", oldRequest{method: "GET", target: at, access: "nobody"}, 403},
			{"another key", oldRequest{method: "GET", target: at, signed: at + "c"}, 403},
			{"unsigned header", oldRequest{method: "PUT", target: at, body: data, header: map[string]string{"X-Amz-Meta-Color": "red"}}, 403},
			{"unsigned sub-resource", oldRequest{method: "GET", target: at + "?tagging", signed: at}, 403},
			{"old", oldRequest{method: "GET", target: at, ago: time.Hour}, 403},
			{"no date", oldRequest{method: "GET", target: at, date: "-"}, 400},
			{"odd date", oldRequest{method: "GET", target: at, date: "today"}, 400},
			{"no credential", oldRequest{method: "GET", target: at, authorization: "AWS"}, 400},
			{"no colon", oldRequest{method: "GET", target: at, authorization: "AWS x"}, 400},
			{"two colons", oldRequest{method: "GET", target: at, authorization: "AWS a:b:c"}, 400},
			{"empty", oldRequest{method: "GET", target: at, authorization: "AWS :"}, 403},
			{"presigned, wrong secret", oldRequest{method: "GET", target: at, secret: "no", expires: later}, 403},
			{"presigned, over", oldRequest{method: "GET", target: at, expires: "1"}, 403},
			{"presigned, odd end", oldRequest{method: "GET", target: at, expires: "soon"}, 400},
			{"presigned, unsigned header", oldRequest{method: "PUT", target: at, expires: later, header: map[string]string{"X-Amz-Acl": "private"}}, 403},
		} {
			got, want := c.old(t, r.r), ref.old(t, r.r)
			if want.status != r.status {
				t.Errorf("%s: a MinIO answers %d, the test means %d", r.name, want.status, r.status)
			}
			wantAsReference(t, got, want)
			if r.status == 200 && r.r.method == "GET" && strings.HasSuffix(r.name, "get") && string(got.body) != data {
				t.Errorf("%s: another body", r.name)
			}
		}
	})
	wantSealed(t, s, bucket, "a b", []byte(data))
	wantSealed(t, s, bucket, "a bc", []byte(data))

	t.Run("stricter than MinIO", func(t *testing.T) {
		wrong := "The request signature we calculated does not match the signature you provided. Check your key and signing method."
		for _, target := range []string{at + "?x-amz-acl=public-read", at + "?x-amz-meta-color=red"} {
			c.old(t, oldRequest{method: "PUT", target: target, signed: at, body: "x", expires: later}).wantError(t, 403, "SignatureDoesNotMatch", wrong)
		}
		c.old(t, oldRequest{method: "PUT", target: "/" + bucket + "?replication", signed: "/" + bucket}).wantError(t, 403, "SignatureDoesNotMatch", wrong)
		c.get(t, bucket, "a b", nil).wantStatus(t, 200).wantBody(t, []byte(data))
	})

	t.Run("off", func(t *testing.T) {
		c := sharedStack(t).client()
		for _, r := range []oldRequest{{method: "GET", target: at}, {method: "GET", target: at, expires: later}} {
			c.old(t, r).wantError(t, 400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
		}
	})
	t.Run("clients", func(t *testing.T) { version2Clients(t, s, bucket, []byte(data)) })
}

// version2Clients are real ones, as they sign with version 2.
func version2Clients(t *testing.T, s *stack, bucket string, data []byte) {
	c := s.client()
	t.Run("boto3", func(t *testing.T) {
		python(t, c.endpoint, `
import sys, urllib.request, boto3
from botocore.config import Config
bucket, data = sys.argv[1], open(sys.argv[2], "rb").read()
presigner = boto3.client("s3")  # version 2, unless told otherwise
def send(method, url, body=None, header={}):
    return urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=header)).read()
url = presigner.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
assert "AWSAccessKeyId" in url, url
assert send("GET", url) == data
url = presigner.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b", "ResponseContentType": "text/odd; a=b"})
assert send("GET", url) == data
url = presigner.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "presigned", "Metadata": {"color": "blue"}})
send("PUT", url, data, {"x-amz-meta-color": "blue", "Content-Type": ""})
s3 = boto3.client("s3", config=Config(signature_version="s3"))
head = s3.head_object(Bucket=bucket, Key="presigned")
assert head["Metadata"] == {"color": "blue"}, head
s3.put_object(Bucket=bucket, Key="sse", Body=data, ServerSideEncryption="aws:kms", Metadata={"a": "b"})
assert s3.get_object(Bucket=bucket, Key="sse")["Body"].read() == data
s3.put_object_tagging(Bucket=bucket, Key="sse", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
assert s3.get_object_tagging(Bucket=bucket, Key="sse")["TagSet"] == [{"Key": "k", "Value": "v"}]
s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b"})
up = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=up, PartNumber=1, Body=data)
s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
assert s3.get_object(Bucket=bucket, Key="parts", Range="bytes=5-9")["Body"].read() == data[5:10]
assert {o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]} >= {"copy", "parts", "sse"}
s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}]})
import urllib3
form = presigner.generate_presigned_post(bucket, "form", Fields={"x-amz-meta-a": "b"}, Conditions=[{"x-amz-meta-a": "b"}, ["content-length-range", 1, len(data)]])
assert "AWSAccessKeyId" in form["fields"], form
post = lambda **change: urllib3.PoolManager().request("POST", form["url"], fields={**form["fields"], **change, "file": ("name", data)})
assert post().status == 204, post().data
assert s3.get_object(Bucket=bucket, Key="form")["Metadata"] == {"a": "b"}
for change in {"signature": "AAAA"}, {"key": "other"}, {"AWSAccessKeyId": "nobody"}, {"x-amz-meta-a": "c"}:
    assert post(**change).status == 403, change
assert post(**{"x-amz-signature": "0"}).status == 400
`, bucket, writeFile(t, t.TempDir(), "data", data))
	})
	t.Run("s3cmd", func(t *testing.T) {
		program, dir := installed(t, "s3cmd"), t.TempDir()
		file, host := writeFile(t, dir, "file", data), strings.TrimPrefix(c.endpoint, "http://")
		s3cmd := func(args ...string) {
			t.Helper()
			all := append([]string{
				"--config", "/dev/null", "--access_key", rootUser, "--secret_key", rootPassword, "--host", host, "--host-bucket", host,
				"--no-ssl", "--signature-v2", "--no-progress",
			}, args...)
			if _, both, err := run(t, baseEnv("HOME="+realHome(), "PYENV_ROOT="), dir, program, all...); err != nil {
				t.Fatalf("s3cmd %v: %v\n%s", args, err, both)
			}
		}
		s3cmd("put", "--add-header", "x-amz-meta-a:b", file, "s3://"+bucket+"/ü s3cmd")
		s3cmd("get", "s3://"+bucket+"/ü s3cmd", dir+"/back")
		wantFile(t, dir+"/back", data)
		s3cmd("ls", "s3://"+bucket)
		s3cmd("cp", "s3://"+bucket+"/ü s3cmd", "s3://"+bucket+"/copied")
		s3cmd("del", "s3://"+bucket+"/copied")
	})
	t.Run("mc", func(t *testing.T) {
		m := newMC(t, s)
		m.must(t, "alias", "set", "old", c.endpoint, rootUser, rootPassword, "--api", "S3v2")
		file := writeFile(t, t.TempDir(), "file", data)
		m.must(t, "cp", file, "old/"+bucket+"/mc")
		if got := m.must(t, "cat", "old/"+bucket+"/mc"); got != string(data) {
			t.Errorf("mc cat: %d bytes", len(got))
		}
		m.must(t, "stat", "old/"+bucket+"/mc")
		m.must(t, "rm", "old/"+bucket+"/mc")
	})
}
