package integration

import (
	"net/http"
	"testing"
)

func TestWholeGetIsOneUpstreamRequest(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, size := range borderSizes() {
		data := testData(size, 10)
		c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
		mark := s.liar.mark()
		c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		requests := s.liar.since(mark, "/"+bucket)
		if len(requests) != 1 || requests[0].received != cipherSize(size) {
			t.Errorf("%d bytes: %v, want one GET of %d bytes", size, requests, cipherSize(size))
		}
		mark = s.liar.mark()
		c.head(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
		if requests := s.liar.since(mark, "/"+bucket); len(requests) != 1 || requests[0].method != http.MethodHead {
			t.Errorf("%d bytes: HEAD became %v, want one HEAD", size, requests)
		}
	}
}

func TestSmallPutIsOneUpstreamRequest(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "warm", []byte("x"), nil).wantStatus(t, http.StatusOK)
	for _, size := range append(borderSizes(), 1<<20) {
		mark := s.liar.mark()
		c.put(t, bucket, "k", testData(size, 11), nil).wantStatus(t, http.StatusOK)
		requests := s.liar.since(mark, "/"+bucket)
		if len(requests) != 1 || requests[0].method != http.MethodPut || requests[0].sent != cipherSize(size) {
			t.Errorf("%d bytes: %v, want one PUT of %d bytes", size, requests, cipherSize(size))
		}
	}
}

func TestUpstreamSeesTheClientsAccessKeyAndNoPlaintextHash(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(5000, 12)
	mark := s.liar.mark()
	c.do(t, request{
		method: http.MethodPut, bucket: bucket, key: "k", body: data, payload: sha256Hex(data),
		header: map[string]string{"Content-Md5": contentMD5(data)},
	}).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	for _, r := range s.liar.since(mark, "/"+bucket) {
		for name := range r.header {
			switch value := r.header.Get(name); {
			case value == sha256Hex(data), value == contentMD5(data):
				t.Errorf("%v: header %s carries a digest of the plaintext", r, name)
			case name == "X-Amz-Server-Side-Encryption":
				t.Errorf("%v: MinIO is asked to encrypt", r)
			}
		}
	}
}
