package integration

import (
	"net/http"
	"sync/atomic"
	"testing"
)

// plainConfig makes a proxy that encrypts nothing unless it is asked to.
const plainConfig = "auto_encryption: off\nplain_read: [\"*\"]\n"

func TestEmptyPlainBodiesAreVerified(t *testing.T) {
	t.Parallel()
	h := newHostile(t, plainConfig)
	c, bucket := h.root, newBucket(t, h.root)
	const ofHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // the SHA-256 of "hello"
	for name, r := range map[string]request{
		"payload digest": {payload: ofHello},
		"Content-MD5":    {header: map[string]string{"Content-Md5": contentMD5([]byte("hello"))}},
		"checksum":       {header: map[string]string{"X-Amz-Checksum-Sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}},
	} {
		r.method, r.bucket, r.key = http.MethodPut, bucket, "empty"
		if a := c.do(t, r); a.status != http.StatusBadRequest {
			t.Errorf("an empty body with the %s of another: %d %s", name, a.status, a.code)
		}
		c.get(t, bucket, "empty", nil).wantStatus(t, http.StatusNotFound)
	}
	c.put(t, bucket, "empty", nil, nil).wantStatus(t, http.StatusOK)
}

// Without a checksum to compute, MinIO changes the metadata of a copy onto itself
// alone: a write that comes between loses its own, its record with it.
func TestPlainCopiesOntoThemselvesWriteDataAndMetadataTogether(t *testing.T) {
	t.Parallel()
	h := newHostile(t, plainConfig)
	c, bucket := h.root, newBucket(t, h.root)
	data := testData(2000, 1)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	var together, alone atomic.Int64
	h.up.tell(lie{alter: func(r *http.Request, _ *http.Response) {
		if r.Header.Get("X-Amz-Copy-Source") == "" {
			return
		}
		if r.Header.Get("X-Amz-Checksum-Algorithm") == "" {
			alone.Add(1)
		} else {
			together.Add(1)
		}
	}})
	onto := func(to, source string, header ...string) {
		t.Helper()
		h := with(map[string]string{"X-Amz-Copy-Source": source, "X-Amz-Metadata-Directive": "REPLACE"}, header...)
		c.do(t, request{method: http.MethodPut, bucket: bucket, path: "/" + bucket + to, header: h}).wantStatus(t, http.StatusOK)
		c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
	onto("/k", "/"+bucket+"/k")
	onto("//k", bucket+"/k")
	onto("/k", bucket+"///k")
	onto("/k", bucket+"/k?versionId=null")
	onto("/k", bucket+"/k", "X-Amz-Checksum-Algorithm", "SHA256")
	if together.Load() != 5 || alone.Load() != 0 {
		t.Errorf("%d copies wrote data and metadata together, %d metadata alone", together.Load(), alone.Load())
	}
}

func TestPlainObjectsWithoutALengthAreRefused(t *testing.T) {
	t.Parallel()
	h := newHostile(t, plainConfig)
	c, bucket := h.root, newBucket(t, h.root)
	c.put(t, bucket, "k", testData(70_000, 2), nil).wantStatus(t, http.StatusOK)
	h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
		if r.URL.Path == "/"+bucket+"/k" {
			resp.Header.Del("Content-Length")
			resp.ContentLength = -1
		}
	}})
	for what, r := range map[string]request{
		"GET":  {method: http.MethodGet, key: "k"},
		"HEAD": {method: http.MethodHead, key: "k"},
		"copy": {method: http.MethodPut, key: "other", header: map[string]string{"X-Amz-Copy-Source": bucket + "/k", "X-Amz-Server-Side-Encryption": "AES256"}},
	} {
		r.bucket = bucket
		if a := c.do(t, r); a.status != http.StatusInternalServerError {
			t.Errorf("%s of an object without a length: %d %s", what, a.status, a.code)
		}
	}
	h.up.honest()
	h.unharmed(t)
}
