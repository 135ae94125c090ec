package integration

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rangeCase is a Range header and the bytes it selects: [from, to), or -1 for
// the whole object, or -2 for 416.
type rangeCase struct {
	header   string
	from, to int
}

func rangeCases(size int) []rangeCase {
	const whole, none = -1, -2
	return []rangeCase{
		{"bytes=0-0", 0, 1},
		{"bytes=0-", 0, size},
		{"bytes=1-3", 1, 4},
		{fmt.Sprintf("bytes=%d-%d", packageSize-1, packageSize), packageSize - 1, packageSize + 1},
		{fmt.Sprintf("bytes=%d-%d", packageSize, 2*packageSize-1), packageSize, 2 * packageSize},
		{fmt.Sprintf("bytes=0-%d", packageSize-1), 0, packageSize},
		{fmt.Sprintf("bytes=10-%d", 3*packageSize+5), 10, 3*packageSize + 6},
		{fmt.Sprintf("bytes=%d-", size-1), size - 1, size},
		{fmt.Sprintf("bytes=%d-%d", size-10, size+1000), size - 10, size},
		{"bytes=-1", size - 1, size},
		{fmt.Sprintf("bytes=-%d", packageSize+3), size - packageSize - 3, size},
		{fmt.Sprintf("bytes=-%d", size+7), 0, size},
		{fmt.Sprintf("bytes=%d-", size), none, 0},
		{fmt.Sprintf("bytes=%d-%d", size+5, size+9), none, 0},
		{"bytes=-0", none, 0},
		{"bytes=5-2", none, 0},
		// What cannot be parsed, and several ranges at once, are served whole.
		{"bytes=0-1,5-6", whole, 0},
		{"bytes=a-b", whole, 0},
		{"lines=0-1", whole, 0},
		{"bytes=", whole, 0},
		{"bytes=--1", whole, 0},
	}
}

func TestGetRange(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	ref := referenceClient(t)
	refBucket := newBucket(t, ref)
	for _, size := range []int{4*packageSize + 100, 4 * packageSize} {
		data := testData(size, 7)
		key := strconv.Itoa(size)
		put := map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}
		c.put(t, bucket, key, data, put).wantStatus(t, http.StatusOK)
		ref.put(t, refBucket, key, data, put).wantStatus(t, http.StatusOK)
		for _, rc := range rangeCases(size) {
			t.Run(key+"/"+rc.header, func(t *testing.T) {
				header := map[string]string{"Range": rc.header}
				a := c.get(t, bucket, key, header)
				checkRange(t, a, rc, data)
				want := ref.get(t, refBucket, key, header)
				// MinIO's message names the range, and names it wrong: "bytes=5--1".
				if a.status != want.status || a.code != want.code || a.header.Get("Content-Range") != want.header.Get("Content-Range") {
					t.Errorf("got %d %s %q %q, a MinIO %d %s %q %q", a.status, a.code, a.message, a.header.Get("Content-Range"),
						want.status, want.code, want.message, want.header.Get("Content-Range"))
				}
				h, hw := c.head(t, bucket, key, header), ref.head(t, refBucket, key, header)
				if h.status != hw.status || (h.status < 300 && h.header.Get("Content-Length") != hw.header.Get("Content-Length")) ||
					h.header.Get("Content-Range") != hw.header.Get("Content-Range") {
					t.Errorf("HEAD: got %d length %s %q, a MinIO %d length %s %q", h.status, h.header.Get("Content-Length"), h.header.Get("Content-Range"),
						hw.status, hw.header.Get("Content-Length"), hw.header.Get("Content-Range"))
				}
			})
		}
	}
}

func checkRange(t *testing.T, a answer, rc rangeCase, data []byte) {
	t.Helper()
	switch rc.from {
	case -2:
		a.wantError(t, http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "")
	case -1:
		a.wantStatus(t, http.StatusOK).wantBody(t, data)
	default:
		a.wantStatus(t, http.StatusPartialContent).wantBody(t, data[rc.from:rc.to])
		a.wantHeader(t, map[string]string{
			"Content-Range":  fmt.Sprintf("bytes %d-%d/%d", rc.from, rc.to-1, len(data)),
			"Content-Length": strconv.Itoa(rc.to - rc.from),
			"Etag":           md5ETag(data), "X-Amz-Server-Side-Encryption": "AES256",
		})
	}
}

// As at AWS, no range of an empty object can be satisfied; MinIO answers some with
// a Content-Range that no client can read.
func TestRangesOfEmptyObjectsAndParts(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	for _, config := range []string{"", "auto_encryption: off\nplain_read: [\"*\"]\n"} {
		h := newHostile(t, config)
		c := h.root
		bucket := newBucket(t, c)
		c.put(t, bucket, "empty", nil, nil).wantStatus(t, http.StatusOK)
		empty := c.createUpload(t, bucket, "of an empty part", nil)
		empty.put(t, 1, nil)
		empty.complete(t)
		last := c.createUpload(t, bucket, "with an empty last part", nil)
		last.put(t, 1, partData(minPart, 1))
		last.put(t, 2, nil)
		last.complete(t)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, key := range []string{"empty", "of an empty part"} {
				for _, r := range []string{"bytes=0-", "bytes=0-0", "bytes=-5", "bytes=5-", "bytes=0-99"} {
					a := c.do(t, request{method: method, bucket: bucket, key: key, header: map[string]string{"Range": r}})
					a.wantError(t, http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range '"+unsatisfied(r)+"' is not satisfiable").wantHeader(t, map[string]string{"Content-Range": ""})
				}
				c.do(t, request{method: method, bucket: bucket, key: key, query: "partNumber=1"}).wantStatus(t, http.StatusPartialContent).wantHeader(t, map[string]string{"Content-Length": "0", "Content-Range": ""})
				c.do(t, request{method: method, bucket: bucket, key: key, query: "partNumber=2"}).wantError(t, http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "")
			}
			for r, want := range map[string]string{"bytes=5242879-": "bytes 5242879-5242879/5242880", "bytes=-1": "bytes 5242879-5242879/5242880"} {
				c.do(t, request{method: method, bucket: bucket, key: "with an empty last part", header: map[string]string{"Range": r}}).wantStatus(t, http.StatusPartialContent).wantHeader(t, map[string]string{"Content-Range": want})
			}
			c.do(t, request{method: method, bucket: bucket, key: "with an empty last part", header: map[string]string{"Range": "bytes=5242880-"}}).wantError(t, http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "")
			a := c.do(t, request{method: method, bucket: bucket, key: "with an empty last part", query: "partNumber=2"})
			if a.header.Get("Content-Range") != "" || a.status != http.StatusPartialContent && a.status != http.StatusRequestedRangeNotSatisfiable {
				t.Errorf("%s of an empty last part: %d, Content-Range %q", method, a.status, a.header.Get("Content-Range"))
			}
		}
	}
}

// unsatisfied is how MinIO names a range in its answer: an open end is -1.
func unsatisfied(r string) string {
	if strings.HasSuffix(r, "-") {
		return r + "-1"
	}
	return r
}

func TestConditionsOnReadsUseTheETagTheClientKnows(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(2*packageSize+9, 8)
	for _, mode := range sseModes() {
		put := c.put(t, bucket, mode.name, data, mode.put).wantStatus(t, http.StatusOK)
		etag, other := put.header.Get("Etag"), `"00000000000000000000000000000000"`
		modified := c.head(t, bucket, mode.name, nil).header.Get("Last-Modified")
		past := time.Now().Add(-48 * time.Hour).UTC().Format(http.TimeFormat)
		for _, tc := range []struct {
			header map[string]string
			status int
		}{
			{map[string]string{"If-Match": etag}, http.StatusOK},
			{map[string]string{"If-Match": "*"}, http.StatusOK},
			{map[string]string{"If-Match": etag, "Range": "bytes=5-70000"}, http.StatusPartialContent},
			{map[string]string{"If-Match": other}, http.StatusPreconditionFailed},
			{map[string]string{"If-Match": other, "Range": "bytes=5-9"}, http.StatusPreconditionFailed},
			{map[string]string{"If-None-Match": etag}, http.StatusNotModified},
			{map[string]string{"If-None-Match": "*"}, http.StatusNotModified},
			{map[string]string{"If-None-Match": other}, http.StatusOK},
			{map[string]string{"If-Modified-Since": modified}, http.StatusNotModified},
			{map[string]string{"If-Modified-Since": past}, http.StatusOK},
			{map[string]string{"If-Unmodified-Since": modified}, http.StatusOK},
			{map[string]string{"If-Unmodified-Since": past}, http.StatusPreconditionFailed},
		} {
			if a := c.get(t, bucket, mode.name, tc.header); a.status != tc.status {
				t.Errorf("%s: GET %v: status %d, want %d", mode.name, tc.header, a.status, tc.status)
			}
			if a := c.head(t, bucket, mode.name, tc.header); a.status != tc.status {
				t.Errorf("%s: HEAD %v: status %d, want %d", mode.name, tc.header, a.status, tc.status)
			}
		}
	}
}

func TestRangeFetchesOnlyThePackagesItTouches(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	const size = 64 * packageSize
	data := testData(size, 9)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	for _, rc := range []rangeCase{
		{"bytes=0-0", 0, 1},
		{"bytes=100000-100001", 100000, 100002},
		{fmt.Sprintf("bytes=%d-%d", packageSize-1, packageSize), packageSize - 1, packageSize + 1},
		{fmt.Sprintf("bytes=%d-%d", 5*packageSize, 10*packageSize-1), 5 * packageSize, 10 * packageSize},
		{"bytes=-1", size - 1, size},
	} {
		mark := s.liar.mark()
		c.get(t, bucket, "k", map[string]string{"Range": rc.header}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[rc.from:rc.to])
		var down int64
		requests := s.liar.since(mark, "/"+bucket)
		for _, r := range requests {
			down += r.received
		}
		packages := int64((rc.to-rc.from+packageSize-1)/packageSize) + 2
		if limit := packages * (packageSize + packageOverhead); down > limit {
			t.Errorf("%s: fetched %d bytes, at most %d packages = %d allowed: %v", rc.header, down, packages, limit, requests)
		}
	}
}
