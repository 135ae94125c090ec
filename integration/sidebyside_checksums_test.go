package integration

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"

	"github.com/minio/crc64nvme"
)

// checksums are S3's algorithms by the end of their header's name.
func checksums() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{
		"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
		"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
		"CRC64NVME": func() hash.Hash { return crc64nvme.New() },
		"SHA1":      sha1.New,
		"SHA256":    sha256.New,
	}
}

func checksumOf(newHash func() hash.Hash, data []byte) string {
	h := newHash()
	h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestChecksumsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	for _, size := range []int{0, 70_000, 9<<20 + 1} { // the last one is streamed
		data := testData(size, 51)
		for _, m := range allModes() {
			for name, newHash := range checksums() {
				if size > 1<<20 && name != "SHA256" {
					continue
				}
				key := m.name + "-" + name
				sum := checksumOf(newHash, data)
				header := "X-Amz-Checksum-" + name
				read := func(label string) {
					t.Helper()
					label = empty(size) + m.name + " " + label
					enabled := with(m.read, "X-Amz-Checksum-Mode", "ENABLED")
					x.do(label+", head", request{method: http.MethodHead, bucket: bucket, key: key, header: enabled})
					x.do(label+", head without mode", request{method: http.MethodHead, bucket: bucket, key: key, header: m.read})
					x.do(label+", attributes", request{
						method: http.MethodGet, bucket: bucket, key: key, query: "attributes=",
						header: with(m.read, "X-Amz-Object-Attributes", "Checksum,ObjectSize,ETag,StorageClass"),
					})
					if size <= 1<<20 {
						x.do(label+", get", request{method: http.MethodGet, bucket: bucket, key: key, header: enabled})
						x.do(label+", get range", request{method: http.MethodGet, bucket: bucket, key: key, header: with(enabled, "Range", "bytes=0-10")})
						x.do(label+", get part", request{method: http.MethodGet, bucket: bucket, key: key, header: enabled, query: "partNumber=1"})
						x.do(label+", copy", copyOf(bucket+"/"+key, bucket, key+"-copy", ofSource(m.read), m.put))
						x.do(label+", head of copy", request{method: http.MethodHead, bucket: bucket, key: key + "-copy", header: enabled})
					}
				}
				put := request{method: http.MethodPut, bucket: bucket, key: key, body: data, header: with(m.put, header, sum)}
				x.do(empty(size)+"checksum in header", put).ok()
				read("checksum in header")

				put.header = with(m.put, "X-Amz-Sdk-Checksum-Algorithm", name)
				x.do(empty(size)+"checksum asked for", put)
				read("checksum asked for")

				trailer := chunkedBody{data: data, chunk: packageSize, trailerName: strings.ToLower(header), trailerValue: sum}
				for _, kind := range []string{streamingSignedTrailer, streamingUnsignedTrailer} {
					b := both{x: x}
					var err error
					if b.seal, err = x.side[0].putChunked(bucket, key, kind, trailer, with(m.put, "X-Amz-Sdk-Checksum-Algorithm", name)); err != nil {
						t.Fatal(err)
					}
					if b.ref, err = x.side[1].putChunked(bucket, key, kind, trailer, with(m.put, "X-Amz-Sdk-Checksum-Algorithm", name)); err != nil {
						t.Fatal(err)
					}
					x.compare(empty(size)+m.name+" checksum in trailer", b)
					b.ok()
				}
				read("checksum in trailer")
			}
		}
	}
	data := testData(100, 52)
	sum := checksumOf(checksums()["CRC32"], data)
	for name, header := range map[string]map[string]string{
		"wrong":                {"X-Amz-Checksum-CRC32": "AAAAAA=="},
		"too short":            {"X-Amz-Checksum-CRC32": "AAAA"},
		"two":                  {"X-Amz-Checksum-CRC32": sum, "X-Amz-Checksum-CRC32C": sum},
		"another than asked":   {"X-Amz-Checksum-CRC32": sum, "X-Amz-Sdk-Checksum-Algorithm": "SHA1"},
		"unknown algorithm":    {"X-Amz-Sdk-Checksum-Algorithm": "MD4"},
		"small letters":        {"X-Amz-Sdk-Checksum-Algorithm": "crc32"},
		"unknown header":       {"X-Amz-Checksum-Md4": "AAAA"},
		"trailer not sent":     {"X-Amz-Trailer": "x-amz-checksum-crc32"},
		"checksum-algorithm":   {"X-Amz-Checksum-Algorithm": "SHA1"},
		"type":                 {"X-Amz-Checksum-CRC32": sum, "X-Amz-Checksum-Type": "FULL_OBJECT"},
		"composite":            {"X-Amz-Checksum-CRC32": sum, "X-Amz-Checksum-Type": "COMPOSITE"},
		"and MD5":              {"X-Amz-Checksum-CRC32": sum, "Content-Md5": contentMD5(data)},
		"copy with algorithm?": {"X-Amz-Checksum-CRC32": sum, "X-Amz-Checksum-Mode": "ENABLED"},
	} {
		r := request{method: http.MethodPut, bucket: bucket, key: "odd", body: data, header: with(header, sseHeader, "AES256")}
		if x.do("odd checksum: "+name, r).seal.status == http.StatusOK {
			x.do("odd checksum: "+name+", head", request{method: http.MethodHead, bucket: bucket, key: "odd", header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}})
		}
	}
	for _, m := range allModes() {
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: data, header: m.put}).ok()
		for _, to := range allModes() {
			for name := range checksums() {
				x.do("copy "+m.name+" to "+to.name+" with algorithm", copyOf(bucket+"/"+m.name, bucket, "sum", ofSource(m.read), to.put, map[string]string{"X-Amz-Checksum-Algorithm": name}))
				x.do("copy "+m.name+" to "+to.name+" with algorithm, head", request{method: http.MethodHead, bucket: bucket, key: "sum", header: with(to.read, "X-Amz-Checksum-Mode", "ENABLED")})
			}
		}
	}
}
