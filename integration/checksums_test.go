package integration

import (
	"bytes"
	"crypto/md5"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"
)

// youngChecksums are those that MinIO does not know.
func youngChecksums() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{
		"SHA512":   sha512.New,
		"MD5":      md5.New,
		"XXHASH64": func() hash.Hash { return xxhash.New() },
		"XXHASH3":  func() hash.Hash { return xxh3.New() },
		"XXHASH128": func() hash.Hash {
			return xxh128{xxh3.New()}
		},
	}
}

type xxh128 struct{ *xxh3.Hasher }

func (h xxh128) Sum(b []byte) []byte {
	sum := h.Sum128().Bytes()
	return append(b, sum[:]...)
}

// Every checksum that SDKs know is verified, kept and told: in headers, trailers
// and forms, computed when asked for, of copies and of parts.
func TestYoungChecksumsAreVerifiedAndTold(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for name, newHash := range youngChecksums() {
		header := "X-Amz-Checksum-" + name
		for _, m := range sseModes()[:2] {
			for _, size := range []int{0, 70_000, 9<<20 + 1} { // the last one is streamed
				if size > 1<<20 && name != "XXHASH3" {
					continue
				}
				data := testData(size, 31)
				sum, key := checksumOf(newHash, data), name+m.name+fmt.Sprint(size)
				want := map[string]string{header: sum, "X-Amz-Checksum-Type": "FULL_OBJECT"}
				told := func(how, key string) {
					t.Helper()
					enabled := map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}
					c.head(t, bucket, key, enabled).wantStatus(t, http.StatusOK).wantHeader(t, want)
					c.get(t, bucket, key, enabled).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, want)
					a := c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "Checksum"}})
					if element := "<Checksum" + name + ">" + sum + "</Checksum" + name + ">"; !strings.Contains(string(a.body), element) {
						t.Errorf("%s %s: attributes without %s: %s", name, how, element, a.body)
					}
					if m.md5 {
						a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: query("list-type", "2", "prefix", key)})
						if element := "<ChecksumAlgorithm>" + name + "</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"; !strings.Contains(string(a.body), element) {
							t.Errorf("%s %s: listing without %s: %s", name, how, element, a.body)
						}
					}
				}
				wrong := checksumOf(newHash, append(data, 1))
				if a := c.put(t, bucket, "wrong", data, with(m.put, header, wrong)); a.status != http.StatusBadRequest {
					t.Errorf("%s: a wrong checksum: %d %s", name, a.status, a.code)
				}
				c.head(t, bucket, "wrong", nil).wantStatus(t, http.StatusNotFound)
				c.put(t, bucket, key, data, with(m.put, header, sum)).wantStatus(t, http.StatusOK).wantHeader(t, want)
				told("in a header", key)
				c.put(t, bucket, key, data, with(m.put, "X-Amz-Sdk-Checksum-Algorithm", name)).wantStatus(t, http.StatusOK).wantHeader(t, want)
				told("asked for", key)
				trailer := chunkedBody{data: data, chunk: packageSize, trailerName: strings.ToLower(header), trailerValue: sum}
				for _, kind := range []string{streamingSignedTrailer, streamingUnsignedTrailer} {
					a, err := c.putChunked(bucket, key, kind, trailer, m.put)
					if err != nil {
						t.Fatal(err)
					}
					a.wantStatus(t, http.StatusOK).wantHeader(t, want)
				}
				told("in a trailer", key)
				c.put(t, bucket, key+"-copy", nil, with(m.put, "X-Amz-Copy-Source", "/"+bucket+"/"+key)).wantStatus(t, http.StatusOK)
				told("of a copy", key+"-copy")
				c.put(t, bucket, "plain", data, with(m.put)).wantStatus(t, http.StatusOK)
				c.put(t, bucket, key+"-copy", nil, with(m.put, "X-Amz-Copy-Source", "/"+bucket+"/plain", "X-Amz-Checksum-Algorithm", name)).wantStatus(t, http.StatusOK)
				told("asked of a copy", key+"-copy")
			}
		}
		youngParts(t, c, bucket, name, newHash)
	}
}

// youngParts uploads an object of parts, whose checksum is one of theirs.
func youngParts(t *testing.T, c *client, bucket, name string, newHash func() hash.Hash) {
	t.Helper()
	header, key := "X-Amz-Checksum-"+name, "parts-"+name
	parts := [][]byte{partData(minPart, 1), partData(1000, 2)}
	composite := newHash()
	var sums []string
	for _, data := range parts {
		h := newHash()
		h.Write(data)
		composite.Write(h.Sum(nil))
		sums = append(sums, base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	want := base64.StdEncoding.EncodeToString(composite.Sum(nil)) + "-2"
	c.do(t, request{
		method: http.MethodPost, bucket: bucket, key: key, query: "uploads=",
		header: map[string]string{"X-Amz-Checksum-Algorithm": name, "X-Amz-Checksum-Type": "FULL_OBJECT"},
	}).wantStatus(t, http.StatusBadRequest) // it does not follow from those of parts
	a := c.do(t, request{method: http.MethodPost, bucket: bucket, key: key, query: "uploads=", header: map[string]string{"X-Amz-Checksum-Algorithm": name}})
	a.wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Checksum-Algorithm": name, "X-Amz-Checksum-Type": "COMPOSITE"})
	u := uploadOf(t, c, bucket, key, a)
	var list strings.Builder
	for i, data := range parts {
		r := u.partRequest(i+1, data)
		r.header = map[string]string{header: sums[i]}
		etag := c.do(t, r).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{header: sums[i]}).header.Get("Etag")
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><Checksum%s>%s</Checksum%s></Part>", i+1, etag, name, sums[i], name)
	}
	shown := c.do(t, u.request(http.MethodGet)).wantStatus(t, http.StatusOK)
	for _, sum := range sums {
		if element := "<Checksum" + name + ">" + sum; !bytes.Contains(shown.body, []byte(element)) {
			t.Errorf("ListParts without %s: %s", element, shown.body)
		}
	}
	complete := u.request(http.MethodPost)
	complete.body = []byte("<CompleteMultipartUpload>" + strings.Replace(list.String(), sums[1], sums[0], 1) + "</CompleteMultipartUpload>")
	c.do(t, complete).wantError(t, http.StatusBadRequest, "InvalidPart", "")
	complete.body = []byte("<CompleteMultipartUpload>" + list.String() + "</CompleteMultipartUpload>")
	complete.header = map[string]string{header: want}
	if a := c.do(t, complete).wantStatus(t, http.StatusOK); !bytes.Contains(a.body, []byte("<Checksum"+name+">"+want)) {
		t.Errorf("Complete answers without %s: %s", want, a.body)
	}
	enabled := map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}
	c.head(t, bucket, key, enabled).wantHeader(t, map[string]string{header: want, "X-Amz-Checksum-Type": "COMPOSITE"})
	attributes := c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ObjectParts"}})
	if !bytes.Contains(attributes.body, []byte("<Checksum"+name+">"+sums[1])) {
		t.Errorf("attributes without the parts' checksums: %s", attributes.body)
	}
}

// SDKs of this year use them by themselves when they are told to.
func TestBoto3UsesYoungChecksums(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import boto3; from botocore.httpchecksum import _CHECKSUM_CLS as c; assert 'sha512' in c").Run() != nil {
		t.Skip("python3 has no boto3 that knows SHA512")
	}
	const script = `
import sys, boto3, os
from botocore.httpchecksum import _CHECKSUM_CLS
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
for name in ["SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"]:
    if name.lower() not in _CHECKSUM_CLS: continue
    body = os.urandom(100000)
    s3.put_object(Bucket=sys.argv[2], Key=name, Body=body, ChecksumAlgorithm=name)
    a = s3.get_object(Bucket=sys.argv[2], Key=name, ChecksumMode="ENABLED")
    assert a["Checksum" + name], a
    assert a["Body"].read() == body
    print(name)
`
	cmd := exec.Command(python, "-c", script, s.seal.endpoint(), bucket)
	cmd.Env = baseEnv("AWS_ACCESS_KEY_ID="+rootUser, "AWS_SECRET_ACCESS_KEY="+rootPassword, "BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE=true", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SHA512") {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}
