package integration

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"

	"github.com/minio/crc64nvme"
)

func crc64Text(parts ...[]byte) string {
	h := crc64nvme.New()
	for _, data := range parts {
		h.Write(data)
	}
	return base64Std(h.Sum(nil))
}

var checksumEnabled = map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}

// wantDefault checks that an object has the CRC64NVME that every write gets, wherever
// a checksum is told.
func wantDefault(t *testing.T, c *client, bucket, key string, listed bool, data ...[]byte) {
	t.Helper()
	sum := crc64Text(data...)
	want := map[string]string{"X-Amz-Checksum-Crc64nvme": sum, "X-Amz-Checksum-Type": "FULL_OBJECT"}
	none := map[string]string{"X-Amz-Checksum-Crc64nvme": "", "X-Amz-Checksum-Type": ""}
	c.head(t, bucket, key, checksumEnabled).wantStatus(t, http.StatusOK).wantHeader(t, want)
	c.get(t, bucket, key, checksumEnabled).wantStatus(t, http.StatusOK).wantHeader(t, want)
	c.head(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantHeader(t, none)
	if len(data[0]) > 0 {
		c.get(t, bucket, key, with(checksumEnabled, "Range", "bytes=0-0")).wantStatus(t, http.StatusPartialContent).wantHeader(t, none)
	}
	a := c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "Checksum"}})
	wantText(t, a, "<ChecksumCRC64NVME>"+sum+"</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>")
	if listed {
		a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: query("list-type", "2", "prefix", key)})
		wantText(t, a, "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>")
	}
}

func wantText(t *testing.T, a answer, text string) {
	t.Helper()
	if !strings.Contains(string(a.body), text) {
		t.Errorf("%s: no %s in %s", a.what, text, a.body)
	}
}

// As at AWS, a write without a checksum gets a CRC64NVME, and so do its copies, for
// which nobody reads the data.
func TestWritesWithoutAChecksumGetACRC64NVME(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, m := range sseModes()[:2] {
		for _, size := range []int{0, 1, 70_000, 9<<20 + 1} { // the last one is streamed
			data, key := testData(size, 71), fmt.Sprintf("%s-%d", strings.ReplaceAll(m.name, " ", "-"), size)
			mark := s.liar.mark()
			put := c.put(t, bucket, key, data, m.put).wantStatus(t, http.StatusOK)
			requests := s.liar.since(mark, "")
			if size > 8<<20 && !m.md5 { // the record went before the data, and no manifest is worth it
				put.wantHeader(t, map[string]string{"X-Amz-Checksum-Crc64nvme": ""})
				c.head(t, bucket, key, checksumEnabled).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Checksum-Crc64nvme": ""})
				for _, r := range requests {
					if strings.Contains(r.path, "/late/") {
						t.Errorf("%s: %v: a manifest for a checksum that nobody asked for", key, r)
					}
				}
				c.do(t, copyOf(bucket+"/"+key, bucket, key+"-copy", m.put)).wantStatus(t, http.StatusOK)
				c.get(t, bucket, key+"-copy", checksumEnabled).wantStatus(t, http.StatusOK).wantBody(t, data)
				continue
			}
			put.wantHeader(t, map[string]string{"X-Amz-Checksum-Crc64nvme": crc64Text(data), "X-Amz-Checksum-Type": "FULL_OBJECT"})
			wantDefault(t, c, bucket, key, m.md5, data)
			mark = s.liar.mark()
			a := c.do(t, copyOf(bucket+"/"+key, bucket, key+"-copy", m.put)).wantStatus(t, http.StatusOK)
			wantText(t, a, "<ChecksumCRC64NVME>"+crc64Text(data))
			if gets, _, sent := moved(s.liar.since(mark, "/"+bucket)); gets != 0 || sent != 0 {
				t.Errorf("%s: the copy moves data: %d GETs, %d bytes sent", key, gets, sent)
			}
			wantDefault(t, c, bucket, key+"-copy", m.md5, data)
		}
	}
	data := testData(9<<20+1, 72) // streamed, and its MD5 is known before
	c.put(t, bucket, "with-md5", data, map[string]string{sseHeader: "AES256", "Content-Md5": contentMD5(data)}).wantStatus(t, http.StatusOK).
		wantHeader(t, map[string]string{"X-Amz-Checksum-Crc64nvme": ""})
	c.get(t, bucket, "with-md5", checksumEnabled).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, map[string]string{"X-Amz-Checksum-Crc64nvme": ""})
	// What has no checksum, as what older releases wrote, is listed and copied as ever.
	c.do(t, copyOf(bucket+"/with-md5", bucket, "with-md5-copy", map[string]string{sseHeader: "AES256"})).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "with-md5-copy", checksumEnabled).wantStatus(t, http.StatusOK).wantBody(t, data)
	wantText(t, c.do(t, request{method: http.MethodGet, bucket: bucket, query: query("list-type", "2", "prefix", "with-md5-copy")}), strings.Trim(md5ETag(data), `"`))
	small := testData(1000, 73)
	form := postForm{fields: [][2]string{{"key", "form"}}, file: small}
	c.anonymous().do(t, form.request(c, bucket)).wantStatus(t, http.StatusNoContent).wantHeader(t, map[string]string{"X-Amz-Checksum-Crc64nvme": crc64Text(small)})
	wantDefault(t, c, bucket, "form", true, small)
	sum := base64Std(crc32.NewIEEE().Sum(nil))
	c.put(t, bucket, "own", nil, map[string]string{"X-Amz-Checksum-Crc32": sum}).wantStatus(t, http.StatusOK).
		wantHeader(t, map[string]string{"X-Amz-Checksum-Crc32": sum, "X-Amz-Checksum-Crc64nvme": ""})
}

// So does an upload in parts, whatever its parts come with; its parts are told as the
// client sent them.
func TestUploadsWithoutAChecksumGetACRC64NVMEOfTheWhole(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	one, two, three := partData(minPart, 74), partData(minPart+1, 75), testData(70_000, 76)
	c.put(t, bucket, "source", one, nil).wantStatus(t, http.StatusOK)
	for _, m := range sseModes()[:2] {
		u := c.createUpload(t, bucket, m.name, m.put)
		for number, header := range map[int]map[string]string{
			2: {"X-Amz-Checksum-Crc32": checksumOf(checksums()["CRC32"], two)},
			5: {"X-Amz-Checksum-Crc64nvme": crc64Text(one)},
			7: {"X-Amz-Checksum-Sha256": checksumOf(checksums()["SHA256"], three)},
		} {
			r := u.partRequest(number, map[int][]byte{2: two, 5: one, 7: three}[number])
			r.header = header
			a := c.do(t, r).wantStatus(t, http.StatusOK).wantHeader(t, with(map[string]string{"X-Amz-Checksum-Crc64nvme": ""}, flat(header)...))
			u.etags[number] = a.header.Get("Etag")
		}
		u.put(t, 3, two)
		copied := u.request(http.MethodPut, "partNumber", "4")
		copied.header = map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/source"}
		u.etags[4] = completedETag(t, c.do(t, copied).wantStatus(t, http.StatusOK))
		listed := c.do(t, u.request(http.MethodGet))
		wantText(t, listed, "<ChecksumCRC32>"+checksumOf(checksums()["CRC32"], two))
		if n := strings.Count(string(listed.body), "<ChecksumCRC64NVME>"); n != 1 {
			t.Errorf("%d parts have a CRC64NVME, want the one that was sent: %s", n, listed.body)
		}
		whole := [][]byte{two, two, one, one, three}
		complete := u.completeRequest()
		complete.header = map[string]string{"X-Amz-Checksum-Crc64nvme": crc64Text(one)}
		if a := c.do(t, complete); a.status != http.StatusBadRequest {
			t.Errorf("Complete with a wrong checksum: %d %s", a.status, a.body)
		}
		complete.header = map[string]string{"X-Amz-Checksum-Crc64nvme": crc64Text(whole...)}
		a := c.do(t, complete).wantStatus(t, http.StatusOK)
		wantText(t, a, "<ChecksumCRC64NVME>"+crc64Text(whole...)+"</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>")
		wantDefault(t, c, bucket, m.name, true, whole...)
		c.do(t, copyOf(bucket+"/"+m.name, bucket, m.name+"-copy", m.put)).wantStatus(t, http.StatusOK)
		wantDefault(t, c, bucket, m.name+"-copy", true, whole...)
	}
}

func flat(header map[string]string) (pairs []string) {
	for name, value := range header {
		pairs = append(pairs, name, value)
	}
	return pairs
}

// As at AWS, a copy of an object with a checksum of its parts' checksums has that of the
// whole. Of CRCs it follows from the parts'; for others the data is read.
func TestCopyOfACompositeChecksumHasThatOfTheWhole(t *testing.T) {
	s := watchedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	parts := [][]byte{partData(minPart, 77), partData(minPart+1, 78), testData(1, 79)}
	whole := append(append(append([]byte{}, parts[0]...), parts[1]...), parts[2]...)
	for name, reads := range map[string]bool{"CRC32": false, "CRC32C": false, "SHA256": true, "SHA1": true} {
		header := "X-Amz-Checksum-" + name
		u := c.createUpload(t, bucket, name, map[string]string{sseHeader: "AES256", "X-Amz-Checksum-Algorithm": name, "X-Amz-Checksum-Type": "COMPOSITE"})
		for i, data := range parts {
			u.put(t, i+1, data)
		}
		u.complete(t)
		c.head(t, bucket, name, checksumEnabled).wantHeader(t, map[string]string{"X-Amz-Checksum-Type": "COMPOSITE"})
		want := map[string]string{header: checksumOf(checksums()[name], whole), "X-Amz-Checksum-Type": "FULL_OBJECT"}
		for to, put := range map[string]map[string]string{
			"s3": {sseHeader: "AES256"}, "kms": {sseHeader: "aws:kms"}, "asked": {sseHeader: "AES256", "X-Amz-Checksum-Algorithm": name},
		} {
			mark := s.liar.mark()
			a := c.do(t, copyOf(bucket+"/"+name, bucket, name+to, put)).wantStatus(t, http.StatusOK)
			if gets, _, sent := moved(s.liar.since(mark, "/"+bucket)); (gets != 0) != reads || sent != 0 {
				t.Errorf("%s to %s: the copy moves data: %d GETs, %d bytes sent", name, to, gets, sent)
			}
			wantText(t, a, "<Checksum"+name+">"+want[header]+"</Checksum"+name+"><ChecksumType>FULL_OBJECT")
			c.get(t, bucket, name+to, checksumEnabled).wantStatus(t, http.StatusOK).wantBody(t, whole).wantHeader(t, want)
		}
	}
	c.put(t, bucket, "asked-other", nil, map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/SHA256", sseHeader: "aws:kms", "X-Amz-Checksum-Algorithm": "CRC64NVME"}).wantStatus(t, http.StatusOK)
	wantDefault(t, c, bucket, "asked-other", false, whole)
}
