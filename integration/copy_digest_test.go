package integration

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
)

// moved sums up what went through the proxy of a bucket's objects.
func moved(requests []*upstreamRequest) (gets int, received, sent int64) {
	for _, r := range requests {
		if r.method == http.MethodGet && r.query != "policy=" { // which the proxy reads now and then
			gets++
			received += r.received
		}
		sent += r.sent
	}
	return gets, received, sent
}

func TestCopiesReadDataOnlyForDigestsThatNobodyHas(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(200_000, 60)
	s3, kms := map[string]string{sseHeader: "AES256"}, map[string]string{sseHeader: "aws:kms"}
	sumText, sha256Sum := base64Std(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))), sha256.Sum256(data)
	for name, tc := range map[string]struct {
		from, to map[string]string
		reads    bool
	}{
		"S3 to S3":                            {s3, s3, false},
		"S3 to KMS":                           {s3, kms, false},
		"KMS to KMS":                          {kms, kms, false},
		"KMS to S3":                           {kms, s3, true},
		"S3 to S3 with a checksum":            {s3, with(s3, "X-Amz-Checksum-Algorithm", "CRC32"), true},
		"S3 to S3 with the checksum it has":   {with(s3, "X-Amz-Checksum-Crc32", sumText), with(s3, "X-Amz-Checksum-Algorithm", "CRC32"), false},
		"KMS to KMS with a checksum":          {kms, with(kms, "X-Amz-Checksum-Algorithm", "CRC32"), true},
		"KMS to S3 with the checksum it has":  {with(kms, "X-Amz-Checksum-Crc32", sumText), s3, true},
		"S3 to S3 with another checksum kind": {with(s3, "X-Amz-Checksum-Sha256", base64Std(sha256Sum[:])), with(s3, "X-Amz-Checksum-Algorithm", "CRC32"), true},
	} {
		key := strings.ReplaceAll(name, " ", "-")
		c.put(t, bucket, key, data, tc.from).wantStatus(t, http.StatusOK)
		mark := s.liar.mark()
		c.do(t, copyOf(bucket+"/"+key, bucket, key+"-copy", tc.to)).wantStatus(t, http.StatusOK)
		gets, received, sent := moved(s.liar.since(mark, "/"+bucket))
		switch {
		case sent != 0:
			t.Errorf("%s: %d bytes were sent to MinIO, which has them", name, sent)
		case tc.reads && (gets != 1 || received != cipherSize(len(data))):
			t.Errorf("%s: %d GETs of %d bytes, want one of %d", name, gets, received, cipherSize(len(data)))
		case !tc.reads && gets != 0:
			t.Errorf("%s: %d GETs of %d bytes, want none", name, gets, received)
		}
		got := c.get(t, bucket, key+"-copy", map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}).wantStatus(t, http.StatusOK).wantBody(t, data)
		if tc.to[sseHeader] == "AES256" {
			got.wantHeader(t, map[string]string{"Etag": md5ETag(data)})
		}
		if tc.to["X-Amz-Checksum-Algorithm"] != "" || tc.from["X-Amz-Checksum-Crc32"] != "" {
			got.wantHeader(t, map[string]string{"X-Amz-Checksum-Crc32": sumText, "X-Amz-Checksum-Type": "FULL_OBJECT"})
		}
	}
}

// What was uploaded in parts under SSE-KMS has no MD5 of any kind; its copy under
// SSE-S3 has that of the whole, in every answer.
func TestCopyOfKMSPartsToS3HasTheMD5OfItsData(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	up := c.createUpload(t, bucket, "parts", map[string]string{sseHeader: "aws:kms"})
	one, two := partData(minPart, 61), partData(70_001, 62)
	up.put(t, 1, one)
	up.put(t, 2, two)
	up.complete(t)
	data := append(append([]byte{}, one...), two...)
	answer := c.do(t, copyOf(bucket+"/parts", bucket, "copy", map[string]string{sseHeader: "AES256"})).wantStatus(t, http.StatusOK)
	if want := md5ETag(data); answer.header.Get("Etag") != want {
		t.Errorf("the copy's answer: ETag %s, want %s", answer.header.Get("Etag"), want)
	}
	c.get(t, bucket, "copy", map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}).wantStatus(t, http.StatusOK).wantBody(t, data).
		wantHeader(t, map[string]string{"Etag": md5ETag(data), "X-Amz-Checksum-Type": "FULL_OBJECT"})
	border := c.get(t, bucket, "copy", map[string]string{"Range": "bytes=5242870-5242890"}).wantStatus(t, http.StatusPartialContent)
	border.wantBody(t, data[5242870:5242891])
	page := c.do(t, request{method: http.MethodGet, bucket: bucket, query: "list-type=2&prefix=copy"}).wantStatus(t, http.StatusOK)
	if !strings.Contains(string(page.body), strings.Trim(md5ETag(data), `"`)) {
		t.Errorf("the listing has another ETag: %s", page.body)
	}
}

func TestCopyOfDamagedKMSObjectToS3LeavesNothing(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{liar: true})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(3*packageSize+100, 63)
	c.put(t, bucket, "k", data, map[string]string{sseHeader: "aws:kms"}).wantStatus(t, http.StatusOK)
	for _, tamper := range tamperings() {
		s.liar.tell(lie{alter: func(r *http.Request, resp *http.Response) {
			if isGet(r, bucket, "k") {
				alterBody(resp, tamper.change)
			}
		}})
		a := c.do(t, copyOf(bucket+"/k", bucket, "copy", map[string]string{sseHeader: "AES256"}))
		s.liar.tell(lie{})
		if a.status < 500 || a.code == "" {
			t.Errorf("%s: status %d: %s", tamper.name, a.status, a.body)
		}
		c.head(t, bucket, "copy", nil).wantStatus(t, http.StatusNotFound)
	}
}
