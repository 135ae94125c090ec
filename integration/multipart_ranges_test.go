package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

func TestRangesAcrossEveryBoundaryOfOddParts(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	parts := oddParts()
	data := bytes.Join(parts, nil)
	for _, m := range sseModes()[:3] {
		etag := uploadParts(t, c, bucket, m.name, m, parts...)
		if want := multipartETag(parts...); m.md5 && etag != want {
			t.Errorf("ETag %s, want %s", etag, want)
		}
		wantObject(t, c, bucket, m.name, etag, nil, parts...)
		at, encAt := 0, int64(0)
		for i, part := range parts[:len(parts)-1] {
			at, encAt = at+len(part), encAt+cipherSize(len(part))
			// One package on either side: the last of one part, the first of the next.
			tail := (len(part)-1)%packageSize + 1
			touched := int64(tail+packageOverhead) + min(packageSize, int64(len(parts[i+1]))) + packageOverhead
			for _, r := range [][2]int{{at - 1, at}, {at - tail, at + packageSize - 1}, {at - 1, at + 5}} {
				mark := s.liar.mark()
				c.get(t, bucket, m.name, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", r[0], r[1])}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[r[0]:r[1]+1])
				requests := s.liar.since(mark, "/"+bucket)
				got := requests[len(requests)-1].received
				if len(requests) > 2 || got != touched && (len(requests) == 2 || got > touched+packageSize+packageOverhead) {
					t.Errorf("%s, range %v: %v, want one request of %d bytes, after at most one", m.name, r, requests, touched)
				}
			}
			c.get(t, bucket, m.name, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", at, at)}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[at:at+1])
		}
		for i, part := range parts {
			n := fmt.Sprint(3*i + 3)
			mark := s.liar.mark()
			c.do(t, request{method: http.MethodGet, bucket: bucket, key: m.name, query: "partNumber=" + n}).wantStatus(t, http.StatusPartialContent).
				wantBody(t, part).wantHeader(t, map[string]string{"X-Amz-Mp-Parts-Count": "4"})
			requests := s.liar.since(mark, "/"+bucket)
			if last := requests[len(requests)-1]; len(requests) > 2 || last.received != cipherSize(len(part)) {
				t.Errorf("%s, part %s: %v", m.name, n, requests)
			}
			a := c.do(t, request{method: http.MethodHead, bucket: bucket, key: m.name, query: "partNumber=" + n}).wantStatus(t, http.StatusPartialContent)
			if a.size(t) != int64(len(part)) || a.header.Get("X-Amz-Mp-Parts-Count") != "4" {
				t.Errorf("%s, HEAD of part %s: %d bytes of %s parts", m.name, n, a.size(t), a.header.Get("X-Amz-Mp-Parts-Count"))
			}
			c.do(t, request{method: http.MethodGet, bucket: bucket, key: m.name, query: fmt.Sprint("partNumber=", 3*i+2)}).wantError(t, http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "")
		}
	}
}

func TestRangeAcrossEqualPartsIsOneUpstreamRequest(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	parts := [][]byte{partData(minPart, 5), partData(minPart, 6), partData(1000, 7)}
	uploadParts(t, c, bucket, "k", sseModes()[0], parts...)
	data := bytes.Join(parts, nil)
	for _, r := range [][2]int{{minPart - 1, minPart}, {minPart - 70_000, minPart + 70_000}, {2*minPart - 5, len(data) - 1}, {5, 5}} {
		mark := s.liar.mark()
		c.get(t, bucket, "k", map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", r[0], r[1])}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[r[0]:r[1]+1])
		first, last := r[0]/packageSize, r[1]/packageSize
		want := min(int64(last+1)*(packageSize+packageOverhead), cipherSize(len(data))) - int64(first)*(packageSize+packageOverhead)
		if requests := s.liar.since(mark, "/"+bucket); len(requests) != 1 || requests[0].received != want {
			t.Errorf("range %v: %v, want one request of %d bytes", r, requests, want)
		}
	}
}

// Once an object's layout is known, every range and part is one upstream request of
// exactly the packages it touches, until another object is there.
func TestRangeOfKnownOddPartsIsOneUpstreamRequest(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	parts := oddParts()
	data := bytes.Join(parts, nil)
	etag := uploadParts(t, c, bucket, "k", sseModes()[1], parts...)
	watched := func(what string, want int64, number int, r request, body []byte) {
		t.Helper()
		mark := s.liar.mark()
		c.do(t, r).wantStatus(t, http.StatusPartialContent).wantBody(t, body)
		requests := s.liar.since(mark, "/"+bucket)
		if len(requests) != number || requests[number-1].received != want {
			t.Errorf("%s: %v, want %d of %d bytes", what, requests, number, want)
		}
	}
	ranged := func(from, to int, header ...string) request {
		h := map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", from, to)}
		for i := 0; i+1 < len(header); i += 2 {
			h[header[i]] = header[i+1]
		}
		return request{method: http.MethodGet, bucket: bucket, key: "k", header: h}
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data) // now it is known
	at := 0
	for i, part := range parts[:len(parts)-1] {
		at += len(part)
		tail := (len(part)-1)%packageSize + 1
		two := int64(tail+packageOverhead) + min(packageSize, int64(len(parts[i+1]))) + packageOverhead
		watched("boundary", two, 1, ranged(at-1, at), data[at-1:at+1])
		watched("If-Range", two, 1, ranged(at-1, at, "If-Range", etag), data[at-1:at+1])
		watched("before it", int64(tail+packageOverhead), 1, ranged(at-1, at-1), data[at-1:at])
		watched("part", cipherSize(len(part)), 1, request{method: http.MethodGet, bucket: bucket, key: "k", query: fmt.Sprint("partNumber=", 3*i+3)}, part)
	}
	watched("suffix", cipherSize(len(parts[3])), 1, request{method: http.MethodGet, bucket: bucket, key: "k", header: map[string]string{"Range": fmt.Sprintf("bytes=-%d", packageSize+70)}}, data[len(data)-packageSize-70:])
	c.do(t, ranged(len(data), len(data)+5)).wantError(t, http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "")
	c.do(t, ranged(0, 5, "If-Match", `"other"`)).wantStatus(t, http.StatusPreconditionFailed)
	c.do(t, ranged(0, 5, "If-None-Match", etag)).wantStatus(t, http.StatusNotModified)
	c.do(t, ranged(0, 5, "If-Range", `"other"`)).wantStatus(t, http.StatusOK).wantBody(t, data)

	// Another object takes its place: of one stream, of other parts, copied onto itself, none.
	small := testData(3*packageSize, 9)
	c.put(t, bucket, "k", small, nil).wantStatus(t, http.StatusOK)
	watched("replaced", 2*sealedPackage, 2, ranged(packageSize-1, packageSize), small[packageSize-1:packageSize+1])
	watched("forgotten", 2*sealedPackage, 1, ranged(packageSize-1, packageSize), small[packageSize-1:packageSize+1])
	uploadParts(t, c, bucket, "k", sseModes()[1], parts...)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodPut, bucket: bucket, key: "k", header: map[string]string{
		"X-Amz-Copy-Source": bucket + "/k", "X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-New": "1",
	}}).wantStatus(t, http.StatusOK)
	for range 2 {
		at := len(parts[0])
		c.do(t, ranged(at-1, at)).wantStatus(t, http.StatusPartialContent).wantBody(t, data[at-1:at+1]).wantHeader(t, map[string]string{"X-Amz-Meta-New": "1"})
	}
	other := [][]byte{partData(minPart+7, 71), partData(99, 72)}
	uploadParts(t, c, bucket, "k", sseModes()[0], other...)
	c.do(t, ranged(minPart+6, minPart+7)).wantStatus(t, http.StatusPartialContent).wantBody(t, bytes.Join(other, nil)[minPart+6:minPart+8])
	c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "k"}).wantStatus(t, http.StatusNoContent)
	c.do(t, ranged(0, 5)).wantError(t, http.StatusNotFound, "NoSuchKey", "")
}
