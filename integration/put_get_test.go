package integration

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestObjectsOfEverySizeComeBackInEveryMode(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, mode := range sseModes() {
		for _, size := range append(borderSizes(), 5<<20) {
			t.Run(fmt.Sprintf("%s/%d", mode.name, size), func(t *testing.T) {
				data := testData(size, 1)
				key := fmt.Sprintf("%s-%d", strings.ReplaceAll(mode.name, " ", "-"), size)
				put := c.put(t, bucket, key, data, mode.put).wantStatus(t, http.StatusOK).wantHeader(t, mode.want)
				etag := put.header.Get("Etag")
				// The MD5 of nothing says nothing.
				if size > 0 && mode.md5 != (etag == md5ETag(data)) {
					t.Errorf("ETag %s; is it the MD5 of the plaintext: want %t", etag, mode.md5)
				}

				same := map[string]string{"Etag": etag, "Content-Length": strconv.Itoa(size), "Accept-Ranges": "bytes"}
				got := c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
				got.wantHeader(t, mode.want).wantHeader(t, same)
				head := c.head(t, bucket, key, nil).wantStatus(t, http.StatusOK)
				head.wantHeader(t, mode.want).wantHeader(t, same)
				if g, h := got.header.Get("Last-Modified"), head.header.Get("Last-Modified"); g == "" || g != h {
					t.Errorf("Last-Modified of GET %q, of HEAD %q", g, h)
				}
				wantSealed(t, s, bucket, key, data)
			})
		}
	}
}

func TestObjectWithoutAskingIsEncryptedByDefault(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(1000, 2)
	want := map[string]string{"X-Amz-Server-Side-Encryption": "AES256", "Etag": md5ETag(data)}
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK).wantHeader(t, want)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, want)
	wantSealed(t, s, bucket, "k", data)
}

func TestTwoUploadsOfTheSameBytesLookDifferentUpstream(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(3*packageSize, 3)
	for _, key := range []string{"a", "b"} {
		c.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK)
	}
	a, b := s.raw().get(t, bucket, "a", nil), s.raw().get(t, bucket, "b", nil)
	if string(a.body[:packageSize]) == string(b.body[:packageSize]) {
		t.Error("two objects with the same content have the same ciphertext")
	}
	wantNoPlaintext(t, "b as seen from a", b.body, a.body)
}

func TestNeitherPlaintextNorKeysReachDiskOrLog(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	const marker = "THIS-IS-THE-PLAINTEXT-0123456789"
	for _, size := range []int{1, 4000, 100_000} {
		data := []byte(strings.Repeat(marker, size))
		for _, mode := range sseModes() {
			key := fmt.Sprintf("%d-%s", size, mode.name)
			c.put(t, bucket, key, data, mode.put).wantStatus(t, http.StatusOK)
			c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		}
	}
	customerKey := strings.Repeat("K", 32)
	c.put(t, bucket, "customer", []byte(marker), map[string]string{
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256",
		"X-Amz-Server-Side-Encryption-Customer-Key":       base64.StdEncoding.EncodeToString([]byte(customerKey)),
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5":   contentMD5([]byte(customerKey)),
	})
	if err := s.seal.stopIfRunning(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	wantNotOnDisk(t, []string{s.dir}, marker, customerKey,
		base64.StdEncoding.EncodeToString([]byte(customerKey)), rootPassword)
}

func TestUserMetadataAndContentHeadersComeBack(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	header := map[string]string{
		"Content-Type":        "text/x-special; charset=utf-8",
		"Cache-Control":       "max-age=3",
		"Content-Disposition": `attachment; filename="a b.txt"`,
		"Content-Language":    "de-AT",
		"Content-Encoding":    "gzip",
		"Expires":             "Wed, 21 Oct 2037 07:28:00 GMT",
		"X-Amz-Meta-Colour":   "blue",
		"X-Amz-Meta-Long":     strings.Repeat("v", 1500),
	}
	data := testData(100, 4)
	put := map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}
	for name, value := range header {
		put[name] = value
	}
	c.put(t, bucket, "k", data, put).wantStatus(t, http.StatusOK)
	got := c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, header)
	c.head(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantHeader(t, header)
	for name := range got.header {
		if strings.Contains(strings.ToLower(name), "bucketseal") {
			t.Errorf("the client sees header %s", name)
		}
	}
}

func TestReservedMetadataNamesAreRefused(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, name := range []string{"x-amz-meta-bucketseal", "X-AMZ-META-BUCKETSEAL", "x-amz-meta-Bucketseal-x"} {
		a := c.put(t, bucket, "k", []byte("x"), map[string]string{name: "forged"})
		if a.status != http.StatusBadRequest {
			t.Errorf("header %s: status %d %s, want 400", name, a.status, a.code)
		}
		a = c.do(t, request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x"), query: query(name, "forged")})
		if a.status < 400 {
			t.Errorf("query %s: status %d, want a refusal", name, a.status)
		}
	}
	wantNothingStored(t, s, bucket, "k")
}

func TestKeysArriveByteForByte(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	ref := referenceClient(t)
	refBucket := newBucket(t, ref)
	keys := []string{
		"plain", "with space", "a+b", "a%2Fb", "a%20b", "üñí/ключ/鍵", "dir/", "a:b@c=d&e?f#g", "~tilde", "'quotes\"", "a/./b", "a/../b", "..", ".",
		"a//b", "/lead", "//lead2", "trailing//", "minio/health/live", "back\\slash", "tab\tkey", "*(){}[]|^`<>", strings.Repeat("long/", 50) + "x",
	}
	accepted := map[string][]byte{}
	for i, key := range keys {
		data := testData(200+i, 5)
		if strings.HasSuffix(key, "/") {
			data = nil
		}
		want := ref.put(t, refBucket, key, data, nil)
		got := c.put(t, bucket, key, data, nil)
		if got.status != want.status || got.code != want.code {
			t.Errorf("PUT %q: %d %s, a MinIO answers %d %s", key, got.status, got.code, want.status, want.code)
			continue
		}
		if got.status == http.StatusOK {
			accepted[key] = data
		}
	}
	for key, data := range accepted {
		if a := c.get(t, bucket, key, nil); a.status != http.StatusOK || string(a.body) != string(data) {
			t.Errorf("GET %q: %d %s, %d bytes, want %d", key, a.status, a.code, len(a.body), len(data))
		}
		if a := s.raw().head(t, bucket, key, nil); a.status != http.StatusOK {
			t.Errorf("MinIO has no object named %q: %d", key, a.status)
		}
	}
	if len(accepted) < 12 {
		t.Errorf("only %d of %d keys accepted", len(accepted), len(keys))
	}
}

func TestOverwriteAndDelete(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for i, size := range []int{100, 3 * packageSize, 0, 7} {
		data := testData(size, uint64(i))
		c.put(t, bucket, "k", data, sseModes()[i%2].put).wantStatus(t, http.StatusOK)
		c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
	del := request{method: http.MethodDelete, bucket: bucket, key: "k"}
	c.do(t, del).wantStatus(t, http.StatusNoContent)
	c.do(t, del).wantStatus(t, http.StatusNoContent)
	a := c.get(t, bucket, "k", nil).wantError(t, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	if !strings.Contains(string(a.body), "<Key>k</Key>") || !strings.Contains(string(a.body), "<BucketName>"+bucket+"</BucketName>") {
		t.Errorf("error body: %s", a.body)
	}
	c.head(t, bucket, "k", nil).wantStatus(t, http.StatusNotFound)
	c.get(t, bucket+"-none", "k", nil).wantError(t, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	c.put(t, bucket+"-none", "k", []byte("x"), nil).wantError(t, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
}

func TestEveryPayloadKindIsAccepted(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(3*packageSize+17, 6)
	crc := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	sum := base64.StdEncoding.EncodeToString([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	put := map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}

	for name, r := range map[string]request{
		"unsigned":    {payload: "UNSIGNED-PAYLOAD"},
		"hashed":      {payload: sha256Hex(data)},
		"content-md5": {header: map[string]string{"Content-Md5": contentMD5(data)}},
		"crc32c":      {header: map[string]string{"X-Amz-Checksum-Crc32c": sum}},
	} {
		t.Run(name, func(t *testing.T) {
			r.method, r.bucket, r.key, r.body = http.MethodPut, bucket, name, data
			if r.header == nil {
				r.header = map[string]string{}
			}
			r.header["X-Amz-Server-Side-Encryption"] = "AES256"
			c.do(t, r).wantStatus(t, http.StatusOK)
			c.get(t, bucket, name, nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, map[string]string{"Etag": md5ETag(data)})
		})
	}
	for name, b := range map[string]chunkedBody{
		streamingSigned:          {data: data, chunk: packageSize},
		streamingSignedTrailer:   {data: data, chunk: 50_000, trailerName: "x-amz-checksum-crc32c", trailerValue: sum},
		streamingUnsignedTrailer: {data: data, chunk: 70_000, trailerName: "x-amz-checksum-crc32c", trailerValue: sum},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := c.putChunked(bucket, name, name, b, put)
			if err != nil {
				t.Fatal(err)
			}
			a.wantStatus(t, http.StatusOK)
			got := c.get(t, bucket, name, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
			got.wantHeader(t, map[string]string{"Etag": md5ETag(data), "Content-Encoding": ""})
			wantSealed(t, s, bucket, name, data)
		})
	}
}
