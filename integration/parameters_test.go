package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// ownParameters are what clients add to requests, and what mean nothing to S3:
// Elasticsearch's purpose, cache busters, marks of advertisers.
func ownParameters() []string {
	return []string{"x-purpose=SnapshotData", "v=1.2.3", "_=1700000000", "utm_source=mail&utm_medium=x", "x-purpose=a&x-purpose=b", "X-Any=1"}
}

func TestParametersThatMeanNothingAreIgnoredAndNotForwarded(t *testing.T) {
	needsSeal(t)
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(5000, 3)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	mark := s.liar.mark()
	for _, q := range ownParameters() {
		get := func(key, query string) answer {
			return c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: query}).wantStatus(t, http.StatusOK)
		}
		get("k", q).wantBody(t, data)
		c.do(t, request{method: http.MethodHead, bucket: bucket, key: "k", query: q}).wantStatus(t, http.StatusOK)
		c.do(t, request{method: http.MethodGet, bucket: bucket, key: "k", query: q, header: map[string]string{"Range": "bytes=4-7"}}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[4:8])
		for _, list := range []string{"list-type=2&", "", "versions=&", "uploads=&", "location=&"} {
			get("", list+q)
		}
		c.do(t, request{method: http.MethodGet, path: "/", query: q}).wantStatus(t, http.StatusOK)
	}
	for _, q := range []string{"x-purpose=SnapshotData", "x-anything=1&X-Other=2"} {
		c.do(t, request{method: http.MethodPut, bucket: bucket, key: "put", query: q, body: data}).wantStatus(t, http.StatusOK)
		created := c.do(t, request{method: http.MethodPost, bucket: bucket, key: "parts", query: "uploads=&" + q}).wantStatus(t, http.StatusOK)
		u := uploadOf(t, c, bucket, "parts", created)
		part := u.partRequest(1, data)
		part.query += "&" + q
		u.etags[1] = c.do(t, part).wantStatus(t, http.StatusOK).header.Get("Etag")
		complete := u.completeRequest(1)
		complete.query += "&" + q
		c.do(t, complete).wantStatus(t, http.StatusOK)
		document := []byte("<Delete><Object><Key>put</Key></Object></Delete>")
		c.do(t, request{method: http.MethodPost, bucket: bucket, query: "delete=&" + q, body: document, header: map[string]string{"Content-Md5": contentMD5(document)}}).wantStatus(t, http.StatusOK)
		c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "parts", query: q}).wantStatus(t, http.StatusNoContent)
	}
	for _, r := range s.liar.since(mark, "/"+bucket) {
		for _, name := range []string{"purpose", "utm_", "v=", "_=", "nything", "X-Any", "X-Other"} {
			if strings.Contains(r.query, name) {
				t.Errorf("%q went upstream: %s", name, r)
			}
		}
	}
	// What would mean something is refused, and so is what S3 would not ignore on a write.
	for _, r := range []request{
		{method: http.MethodGet, key: "k", query: "renameObject="},
		{method: http.MethodGet, key: "k", query: "torrent=&x-purpose=1"},
		{method: http.MethodGet, query: "analytics=&x-purpose=1"},
		{method: http.MethodPut, key: "k", query: "v=1"},
		{method: http.MethodDelete, key: "k", query: "_=1"},
		{method: http.MethodGet, query: "events=a&events=b&ping=10&prefix=&suffix="},
	} {
		r.bucket = bucket
		if a := c.do(t, r); a.status != http.StatusNotImplemented || a.code != "NotImplemented" {
			t.Errorf("%s ?%s: %d %s", r.method, r.query, a.status, a.code)
		}
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

func TestCompleteChecksTheSizeThatIsGiven(t *testing.T) {
	needsSeal(t)
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	parts := [][]byte{partData(minPart, 1), partData(7, 2)}
	for _, size := range []int{minPart + 7, minPart + 8, 0} {
		key := fmt.Sprint("k", size)
		u := c.createUpload(t, bucket, key, nil)
		for i, data := range parts {
			u.put(t, i+1, data)
		}
		r := u.completeRequest(1, 2)
		r.header = map[string]string{"X-Amz-Mp-Object-Size": strconv.Itoa(size)}
		if size == minPart+7 {
			c.do(t, r).wantStatus(t, http.StatusOK)
			c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(parts, nil))
			continue
		}
		c.do(t, r).wantError(t, http.StatusBadRequest, "InvalidRequest", "")
		c.head(t, bucket, key, nil).wantStatus(t, http.StatusNotFound)
		u.complete(t, 1, 2) // the upload is still there
	}
}
