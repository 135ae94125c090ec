package memory

import (
	"crypto/md5"  //nolint:gosec // S3's ETags are MD5
	"crypto/sha1" //nolint:gosec // a checksum of S3's
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"maps"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// checksums are what an object has besides its ETag.
type checksums struct {
	values    map[string]string // in base64, by algorithm as S3 names it: "CRC32C"
	composite bool              // of the parts' checksums
}

const checksumHeader = "X-Amz-Checksum-"

// polyCRC64NVME is reflected.
const polyCRC64NVME = 0x9a6c9329ac4bc9b5

// algorithms are the checksums of S3.
var algorithms = map[string]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(polyCRC64NVME)) },
	"SHA1":      sha1.New,
	"SHA256":    sha256.New,
}

// sumOf returns one of an algorithm that exists.
func sumOf(algorithm string, data []byte) string {
	h := algorithms[algorithm]()
	_, _ = h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// kept are the algorithms that have a hash here.
func kept() (set checksum.Set) {
	for name := range algorithms {
		if a, ok := checksum.Parse(name); ok {
			set |= checksum.SetOf(a)
		}
	}
	return set
}

func headerOf(algorithm string) string {
	return checksumHeader + algorithm[:1] + strings.ToLower(algorithm[1:])
}

// verify holds data against every digest that is declared, and returns the checksums
// among them.
func verify(data []byte, declared ...storage.Metadata) (checksums, error) {
	sums := checksums{}
	for _, meta := range declared {
		if want := meta.Get("Content-Md5"); want != "" {
			sum := md5.Sum(data) //nolint:gosec // see above
			if raw, err := base64.StdEncoding.DecodeString(want); err != nil || len(raw) != len(sum) {
				return sums, fail(400, "InvalidDigest", "The Content-Md5 you specified is not valid.")
			}
			if want != base64.StdEncoding.EncodeToString(sum[:]) {
				return sums, fail(400, "BadDigest", "The Content-Md5 you specified did not match what we received.")
			}
		}
		for algorithm := range algorithms {
			want := meta.Get(headerOf(algorithm))
			if want == "" {
				continue
			}
			if want != sumOf(algorithm, data) {
				return sums, fail(400, "XAmzContentChecksumMismatch", "The provided 'x-amz-checksum' header does not match what was computed.")
			}
			sums.set(algorithm, want)
		}
	}
	return sums, nil
}

func (c *checksums) set(algorithm, value string) {
	if c.values == nil {
		c.values = make(map[string]string)
	}
	c.values[algorithm] = value
}

// tell says the checksums in an answer.
func (c *checksums) tell(h storage.Metadata) {
	for algorithm, value := range c.values {
		h.Set(headerOf(algorithm), value)
		h.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
		if c.composite {
			h.Set("X-Amz-Checksum-Type", "COMPOSITE")
		}
	}
}

func (c *checksums) clone() map[string]string { return maps.Clone(c.values) }

func md5Hex(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}
