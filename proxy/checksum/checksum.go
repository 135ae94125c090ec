// Package checksum is S3's additional checksums: their names, their hashes, and how the
// CRC of a whole follows from those of its parts.
package checksum

import (
	"crypto/md5"  // clients choose it as a checksum, nothing rests on it
	"crypto/sha1" // the same
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/minio/crc64nvme"
	"github.com/zeebo/xxh3"
)

// Algorithm is one of S3's additional checksums. The zero value is none.
type Algorithm uint8

// The checksums that S3 clients may send.
const (
	CRC32 Algorithm = iota + 1
	CRC32C
	CRC64NVME
	SHA1
	SHA256
	SHA512
	MD5
	XXHASH64
	XXHASH3
	XXHASH128

	// Last is the last one of them.
	Last = XXHASH128
)

// Set is a set of algorithms.
type Set uint16

// SetOf returns the set of some algorithms.
func SetOf(algorithms ...Algorithm) (set Set) {
	for _, a := range algorithms {
		set |= 1 << a
	}
	return set
}

// Has says whether an algorithm is in the set.
func (s Set) Has(a Algorithm) bool { return a <= Last && s&(1<<a) != 0 }

// checksums are what S3 calls each checksum, its size in bytes and its hash.
var checksums = [Last + 1]struct {
	name string
	size int
	new  func() hash.Hash
}{
	CRC32:     {"CRC32", crc32.Size, func() hash.Hash { return crc32.NewIEEE() }},
	CRC32C:    {"CRC32C", crc32.Size, func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
	CRC64NVME: {"CRC64NVME", crc64nvme.Size, func() hash.Hash { return crc64nvme.New() }},
	SHA1:      {"SHA1", sha1.Size, sha1.New},
	SHA256:    {"SHA256", sha256.Size, sha256.New},
	SHA512:    {"SHA512", sha512.Size, sha512.New},
	MD5:       {"MD5", md5.Size, md5.New},
	XXHASH64:  {"XXHASH64", 8, func() hash.Hash { return xxhash.New() }},
	XXHASH3:   {"XXHASH3", 8, func() hash.Hash { return xxh3.New() }},
	XXHASH128: {"XXHASH128", 16, func() hash.Hash { return xxhash128{xxh3.New()} }},
}

// xxhash128 is XXH3 with its sum of 128 bits, most significant byte first.
type xxhash128 struct{ *xxh3.Hasher }

// Size returns 16.
func (xxhash128) Size() int { return 16 }

// Sum appends the sum to b.
func (h xxhash128) Sum(b []byte) []byte {
	sum := h.Sum128().Bytes()
	return append(b, sum[:]...)
}

// Prefix begins the name of every checksum header.
const Prefix = "x-amz-checksum-"

// Parse returns the algorithm of a name such as "CRC32C",
// regardless of case; ok is false if there is none.
func Parse(name string) (alg Algorithm, ok bool) {
	for a := CRC32; a <= Last; a++ {
		if strings.EqualFold(name, a.String()) {
			return a, true
		}
	}
	return 0, false
}

// String returns the name as in x-amz-checksum-algorithm, "CRC32C".
func (a Algorithm) String() string {
	if a == 0 || a > Last {
		return "none"
	}
	return checksums[a].name
}

// HeaderName returns the header that carries the checksum,
// "x-amz-checksum-crc32c", or "" for none.
func (a Algorithm) HeaderName() string {
	if a == 0 || a > Last {
		return ""
	}
	return Prefix + strings.ToLower(checksums[a].name)
}

// Size returns the number of bytes of a raw digest, 0 for none.
func (a Algorithm) Size() int {
	if a > Last {
		return 0
	}
	return checksums[a].size
}

// Combinable says whether the checksum of a whole follows from those of its parts.
func (a Algorithm) Combinable() bool { return a == CRC32 || a == CRC32C || a == CRC64NVME }

// New returns the algorithm's hash; its Sum is the raw digest that base64
// brings into the header. It returns nil for none.
func (a Algorithm) New() hash.Hash {
	if a == 0 || a > Last {
		return nil
	}
	return checksums[a].new()
}

// OfHeader returns the algorithm whose header has the given name, in
// any case.
func OfHeader(name string) (alg Algorithm, ok bool) {
	if len(name) < len(Prefix) || !strings.EqualFold(name[:len(Prefix)], Prefix) {
		return 0, false
	}
	return Parse(name[len(Prefix):])
}
