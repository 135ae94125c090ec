package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// checksumOfParts is the checksum of an object of parts as Complete's header has it.
func checksumOfParts(algorithm, kind string, parts ...[]byte) string {
	h := checksums()[algorithm]()
	for _, p := range parts {
		if kind == "COMPOSITE" {
			one := checksums()[algorithm]()
			one.Write(p)
			p = one.Sum(nil)
		}
		h.Write(p)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestChecksumsOfPartsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	type upload struct{ algorithm, kind, sent string }
	uploads := []upload{
		{"CRC32", "COMPOSITE", ""},
		{"CRC32", "COMPOSITE", "COMPOSITE"},
		{"CRC32", "FULL_OBJECT", "FULL_OBJECT"},
		{"CRC32C", "COMPOSITE", ""},
		{"CRC32C", "FULL_OBJECT", "FULL_OBJECT"},
		{"SHA1", "COMPOSITE", ""},
		{"SHA256", "COMPOSITE", "COMPOSITE"},
		{"CRC64NVME", "FULL_OBJECT", ""},
		{"CRC64NVME", "FULL_OBJECT", "FULL_OBJECT"},
	}
	for _, m := range allModes() {
		t.Run(m.name, func(t *testing.T) {
			x := newExchange(t)
			bucket := x.bucket()
			for i, up := range uploads {
				if m.name != "s3" && i%3 != 0 {
					continue
				}
				first, last := partData(5, 60), []byte(nil)
				if up.sent != "" && m.name == "s3" || i == 0 || i == 8 {
					first, last = partData(minPart, 60), partData(77, 61)
				}
				name := fmt.Sprintf("checksum %s %s: ", up.algorithm, up.sent)
				create := map[string]string{"X-Amz-Checksum-Algorithm": up.algorithm}
				if up.sent != "" {
					create["X-Amz-Checksum-Type"] = up.sent
				}
				u := x.upload(name+"create", bucket, fmt.Sprint("k", i), m, create)
				u.checksummedParts(name, up.algorithm, first, last)
				u.completeWithChecksums(name, up.algorithm, up.kind, first, last)
				u.readWithChecksums(name)
			}
			for _, bad := range []upload{
				{"SHA256", "", "FULL_OBJECT"}, {"CRC64NVME", "", "COMPOSITE"}, {"CRC32", "", "WHOLE"}, {"MD4", "", ""}, {"", "", "COMPOSITE"},
			} {
				header := map[string]string{"X-Amz-Checksum-Algorithm": bad.algorithm, "X-Amz-Checksum-Type": bad.sent}
				for n, v := range header {
					if v == "" {
						delete(header, n)
					}
				}
				u := &uploadExchange{exchange: x, bucket: bucket, key: "bad", m: m}
				u.create("create with checksum "+bad.algorithm+" "+bad.sent, "bad", header)
			}
			u := x.upload("create", bucket, "computed", m, map[string]string{"X-Amz-Checksum-Algorithm": "CRC32"})
			u.part("checksum : part with none", 1, []byte("x"))
			u = x.upload("create", bucket, "none", m)
			u.part("part with a checksum that was not announced", 1, []byte("x"), map[string]string{"X-Amz-Checksum-Crc32": checksumOf(checksums()["CRC32"], []byte("x"))})
			u.do("list part with a checksum that was not announced", http.MethodGet, nil, nil)
			u.part("part without", 1, []byte("x")).ok()
			u.complete("complete with a checksum that was not announced", xmlOf(1), map[string]string{"X-Amz-Checksum-Crc32": checksumOf(checksums()["CRC32"], []byte("x"))})
			u.object("head of not announced", http.MethodHead, map[string]string{"X-Amz-Checksum-Mode": "ENABLED"})
		})
	}
}

func (u *uploadExchange) checksummedParts(name, algorithm string, first, last []byte) {
	u.t.Helper()
	header := func(algorithm string, data []byte) map[string]string {
		return map[string]string{"X-Amz-Checksum-" + algorithm: checksumOf(checksums()[algorithm], data)}
	}
	other := "SHA256"
	if algorithm == other {
		other = "CRC32"
	}
	u.part(name+"part with wrong", 3, []byte("x"), header(algorithm, []byte("y")))
	u.part(name+"part with another", 3, []byte("x"), header(other, []byte("x")))
	u.part(name+"part", 1, first, header(algorithm, first)).ok()
	if last != nil {
		u.part(name+"last part", 2, last, header(algorithm, last)).ok()
	}
	u.do(name+"list parts", http.MethodGet, nil, nil, "max-parts", "2")
}

func (u *uploadExchange) completeWithChecksums(name, algorithm, kind string, first, last []byte) {
	u.t.Helper()
	parts := [][]byte{first}
	if last != nil {
		parts = append(parts, last)
	}
	list := func(wrong int) string {
		var b strings.Builder
		for i, p := range parts {
			if i == wrong {
				p = []byte("other")
			}
			fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>{e%d}</ETag><Checksum%s>%s</Checksum%s></Part>", i+1, i+1, algorithm, checksumOf(checksums()[algorithm], p), algorithm)
		}
		return "<CompleteMultipartUpload>" + b.String() + "</CompleteMultipartUpload>"
	}
	whole := "X-Amz-Checksum-" + algorithm
	right := checksumOfParts(algorithm, kind, parts...)
	u.complete(name+"complete with wrong checksum in the list", list(0))
	u.complete(name+"complete with wrong object checksum", list(-1), map[string]string{whole: checksumOfParts(algorithm, kind, []byte("other")), "X-Amz-Checksum-Type": kind})
	u.complete(name+"complete with malformed object checksum", list(-1), map[string]string{whole: "x", "X-Amz-Checksum-Type": kind})
	u.complete(name+"complete", list(-1), map[string]string{whole: right, "X-Amz-Checksum-Type": kind}).ok()
}

func (u *uploadExchange) readWithChecksums(name string) {
	u.t.Helper()
	mode := map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}
	u.object(name+"head", http.MethodHead, mode)
	u.object(name+"get", http.MethodGet, mode)
	u.object(name+"get range", http.MethodGet, with(mode, "Range", "bytes=1-2"))
	u.object(name+"get part", http.MethodGet, mode, "partNumber", "1")
	u.object(name+"head part", http.MethodHead, mode, "partNumber", "1")
	u.object(name+"attributes of parts", http.MethodGet, map[string]string{"X-Amz-Object-Attributes": "Checksum,ObjectParts,ETag,ObjectSize"}, "attributes", "")
}

func TestPartsCopiedFromObjectsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	const first = minPart + 3
	// Sources: one stream, and parts of odd sizes.
	for _, from := range allModes() {
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: from.name, body: testData(200_000, 62), header: from.put}).ok().keep("s-"+from.name, "Etag")
		u := x.upload("create", bucket, "parts-"+from.name, from)
		u.part("part", 1, partData(first, 63)).ok()
		u.part("part", 7, partData(100_001, 64)).ok()
		u.complete("complete", xmlOf(1, 7)).ok()
	}
	for _, to := range allModes() {
		u := x.upload("create", bucket, "to-"+to.name, to)
		copyPart := func(label string, number int, from string, header ...map[string]string) both {
			t.Helper()
			b := u.do("copy part "+label, http.MethodPut, nil, with(join(append(header, to.read)...), "X-Amz-Copy-Source", bucket+"/"+from), "partNumber", fmt.Sprint(number))
			if b.seal.status == http.StatusOK && b.ref.status == http.StatusOK {
				b.keepElement(fmt.Sprint("e", number), "ETag")
			}
			return b
		}
		rng := func(from, to int) map[string]string {
			return map[string]string{"X-Amz-Copy-Source-Range": fmt.Sprintf("bytes=%d-%d", from, to)}
		}
		for i, from := range allModes() {
			key := ofSource(from.read)
			label := from.name + " to " + to.name + ": "
			copyPart(label+"whole", 10*i+1, from.name, key).ok()
			copyPart(label+"range", 10*i+2, from.name, key, rng(packageSize-1, packageSize)).ok()
			copyPart(label+"range of parts", 10*i+3, "parts-"+from.name, key, rng(first-7, first+packageSize)).ok()
			copyPart(label+"last byte", 10*i+4, from.name, key, rng(199_999, 199_999)).ok()
			copyPart(label+"beyond", 99, from.name, key, rng(0, 200_000))
			copyPart(label+"condition holds", 99, from.name, key, map[string]string{"X-Amz-Copy-Source-If-Match": "{s-" + from.name + "}"})
			copyPart(label+"condition fails", 99, from.name, key, map[string]string{"X-Amz-Copy-Source-If-Match": "0123456789abcdef0123456789abcdef"})
			copyPart(label+"condition fails too", 99, from.name, key, map[string]string{"X-Amz-Copy-Source-If-None-Match": "{s-" + from.name + "}"})
		}
		for name, header := range map[string]map[string]string{
			"range open": {"X-Amz-Copy-Source-Range": "bytes=5-"}, "range suffix": {"X-Amz-Copy-Source-Range": "bytes=-5"}, "range unit": {"X-Amz-Copy-Source-Range": "5-6"},
			"range backwards": {"X-Amz-Copy-Source-Range": "bytes=6-5"}, "range two": {"X-Amz-Copy-Source-Range": "bytes=0-1,3-4"}, "range x": {"X-Amz-Copy-Source-Range": "bytes=x-y"},
		} {
			copyPart(name, 99, "none", header)
		}
		copyPart("no source", 99, "no-such-key")
		copyPart("source c without key", 99, "c")
		copyPart("source c with other key", 99, "c", ofSource(customerHeaders(keyTwo)))
		copyPart("source none with key", 99, "none", ofSource(customerHeaders(keyOne)))
		copyPart("source s3 with key", 99, "s3", ofSource(customerHeaders(keyOne)))
		u.do("list copied parts", http.MethodGet, nil, nil)
		copyPart("large enough", 1, "parts-none").ok()
		u.complete("complete of copied parts", xmlOf(1, 2)).ok()
		u.object("get of copied parts", http.MethodGet, nil)
	}
}

func TestPartsOfUploadsWithCustomerKeysAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	one, two := customerHeaders(keyOne), customerHeaders(keyTwo)
	without := func(name string) map[string]string {
		h := join(one)
		delete(h, name)
		return h
	}
	for _, m := range allModes() {
		u := x.upload("create", bucket, m.name, m)
		m.read = nil // say it part by part
		u.m = m
		for _, tc := range []struct {
			name   string
			header map[string]string
		}{
			{"no key", nil},
			{"right key", one},
			{"other key", two},
			{"no algorithm", without(sseCAlgorithm)},
			{"no key header", without(sseCKey)},
			{"no MD5", without(sseCMD5)},
			{"bad algorithm", with(one, sseCAlgorithm, "AES128")},
			{"MD5 of another", with(one, sseCMD5, two[sseCMD5])},
			{"short key", with(one, sseCKey, "AAAA")},
			{"key not base64", with(one, sseCKey, "!")},
			{"s3 header", map[string]string{sseHeader: "AES256"}},
			{"kms header", map[string]string{sseHeader: "aws:kms"}},
			{"key and s3 header", with(one, sseHeader, "AES256")},
		} {
			u.part("key of part, "+m.name+": "+tc.name, 1, []byte("x"), tc.header)
			u.do("key of list, "+m.name+": "+tc.name, http.MethodGet, nil, tc.header)
		}
		right := map[string]string(nil)
		if m.name == "c" {
			right = one
		}
		u.part("key of part", 1, []byte("x"), right).ok()
		u.complete("key of complete, "+m.name+": other key", xmlOf(1), two)
	}
}

func TestConditionsOnCompleteAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	for _, m := range allModes() {
		for i, tc := range []struct {
			name   string
			exists bool
			header map[string]string
		}{
			{"if none-match star", false, map[string]string{"If-None-Match": "*"}},
			{"if none-match star fails", true, map[string]string{"If-None-Match": "*"}},
			{"if match", true, map[string]string{"If-Match": "{old}"}},
			{"if match fails", true, map[string]string{"If-Match": `"0123456789abcdef0123456789abcdef"`}},
			{"if match nothing", false, map[string]string{"If-Match": `"0123456789abcdef0123456789abcdef"`}},
			{"if match star", true, map[string]string{"If-Match": "*"}},
			{"if none-match", true, map[string]string{"If-None-Match": `"0123456789abcdef0123456789abcdef"`}},
			{"if none-match fails", true, map[string]string{"If-None-Match": "{old}"}},
		} {
			key := fmt.Sprint(m.name, i)
			if tc.exists {
				x.do("put", request{method: http.MethodPut, bucket: bucket, key: key, body: testData(3000, 65), header: m.put}).ok().keep("old", "Etag")
			}
			u := x.upload("create", bucket, key, m)
			u.part("part", 1, []byte("x")).ok()
			u.complete("complete "+tc.name, xmlOf(1), tc.header)
			u.object("get after complete "+tc.name, http.MethodGet, nil)
			u.create("create "+tc.name, "other", tc.header)
		}
	}
}

func TestUploadsOfOtherObjectsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	m := allModes()[1]
	u := x.upload("create", bucket, "one", m)
	u.part("part", 1, []byte("x")).ok()
	u.key = "two"
	u.part("part of a foreign upload", 1, []byte("x"))
	u.do("list parts of a foreign upload", http.MethodGet, nil, nil)
	u.complete("complete of a foreign upload", xmlOf(1))
	u.do("abort of a foreign upload", http.MethodDelete, nil, nil)
	u.key = "one"
	for name, id := range map[string]string{
		"letters": "abc", "dots": "../../x.AAAAAAAAAAAAAAAAAAAAAA", "slash": "a/b.AAAAAAAAAAAAAAAAAAAAAA", "long": strings.Repeat("a", 2000) + ".AAAAAAAAAAAAAAAAAAAAAA",
		"cut": "x{upload}", "nul": "a\x00b.AAAAAAAAAAAAAAAAAAAAAA", "base64 of nothing": "Li4=", "space": "a b.AAAAAAAAAAAAAAAAAAAAAA",
	} {
		for i := range x.vars {
			x.vars[i]["garbled"] = escapeQuery(strings.ReplaceAll(id, "{upload}", x.vars[i]["upload"]))
		}
		object := request{bucket: bucket, key: "one", query: "uploadId={garbled}"}
		for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPost, http.MethodPut} {
			r := object
			r.method = method
			if method == http.MethodPost {
				r.body = []byte(xmlOf(1))
			}
			if method == http.MethodPut {
				r.query, r.body = "partNumber=1&"+r.query, []byte("x")
			}
			u.checked("garbled id "+name+" "+method, x.send(r))
		}
	}
	u.do("list parts after all", http.MethodGet, nil, nil)
	u.complete("complete after all", xmlOf(1)).ok()
}

func escapeQuery(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func TestUploadsIntoVersionedAndLockedBucketsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket("X-Amz-Bucket-Object-Lock-Enabled", "true") // has versions, too
	lock := map[string]string{
		"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339),
		"X-Amz-Object-Lock-Legal-Hold": "ON", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "X-Amz-Tagging": "a=b", "X-Amz-Meta-A": "b", "Expires": "Wed, 21 Oct 2037 07:28:00 GMT",
	}
	for _, m := range allModes() {
		for i := range 2 {
			u := x.upload("create locked", bucket, m.name, m, lock)
			u.part("part of locked", 1, []byte(fmt.Sprint("x", i)), map[string]string{"Content-Md5": contentMD5([]byte(fmt.Sprint("x", i)))}).ok()
			u.do("list parts of locked", http.MethodGet, nil, nil)
			u.complete("complete of locked", xmlOf(1)).ok().keep(fmt.Sprint("v", i), "X-Amz-Version-Id")
		}
		u := &uploadExchange{exchange: x, bucket: bucket, key: m.name, m: m}
		for i := range 2 {
			version := fmt.Sprintf("versionId={v%d}", i)
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				u.checked("read locked", x.send(request{method: method, bucket: bucket, key: m.name, query: version, header: m.read}))
				u.checked("read part of locked", x.send(request{method: method, bucket: bucket, key: m.name, query: "partNumber=1&" + version, header: m.read}))
			}
			u.checked("attributes of locked", x.send(request{method: http.MethodGet, bucket: bucket, key: m.name, query: "attributes=&" + version, header: with(m.read, "X-Amz-Object-Attributes", "ETag,ObjectSize,ObjectParts,StorageClass")}))
			for _, sub := range []string{"retention", "legal-hold", "tagging"} {
				u.checked(sub+" of locked", x.send(request{method: http.MethodGet, bucket: bucket, key: m.name, query: sub + "=&" + version}))
			}
		}
		u.checked("delete locked", x.send(request{method: http.MethodDelete, bucket: bucket, key: m.name, query: "versionId={v0}"}))
	}
	u := &uploadExchange{exchange: x, bucket: bucket}
	u.checked("list versions of locked", x.send(request{method: http.MethodGet, bucket: bucket, query: "versions="}))
	u.key, u.m = "bad", allModes()[1]
	for name, header := range map[string]map[string]string{
		"storage class": {"X-Amz-Storage-Class": "GLACIER"}, "tags": {"X-Amz-Tagging": "a=b&a=c"}, "lock without date": {"X-Amz-Object-Lock-Mode": "GOVERNANCE"},
		"sse": {sseHeader: "foo"}, "kms key": {sseHeader: "aws:kms", sseKeyID: "no-such-key"}, "metadata": {"X-Amz-Meta-A": strings.Repeat("x", 2100)},
		"s3 and c": with(customerHeaders(keyOne), sseHeader, "AES256"), "bad context": {sseHeader: "aws:kms", sseContext: "!"}, "acl": {"X-Amz-Acl": "private"},
	} {
		b := x.send(request{method: http.MethodPost, bucket: bucket, key: "bad", query: "uploads=", header: header})
		if b.ref.status >= 300 {
			u.checked("bad create: "+name, b)
		} else if b.seal.status >= 300 {
			t.Errorf("bad create: %s: %d %s, a MinIO takes it", name, b.seal.status, b.seal.code)
		}
	}
	u.checked("create in no bucket", x.send(request{method: http.MethodPost, bucket: "no-such-bucket-at-all", key: "k", query: "uploads="}))
}

func TestBucketDefaultsHoldForUploads(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	for _, rule := range []string{encryptionRule("AES256", ""), encryptionRule("aws:kms", defaultKey)} {
		bucket := x.bucket()
		x.do("rule", request{method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(rule), header: map[string]string{"Content-Md5": contentMD5([]byte(rule))}}).ok()
		for _, m := range allModes() {
			u := x.upload("create by rule", bucket, m.name, m)
			u.part("part by rule", 1, []byte("x")).ok()
			u.complete("complete by rule", xmlOf(1)).ok()
			u.object("get by rule", http.MethodGet, nil).ok()
		}
	}
}
