package sigv4

import (
	"crypto/sha1" // clients choose it as a checksum, nothing rests on it
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/minio/crc64nvme"
)

// ChecksumAlgorithm is one of S3's additional checksums. The zero value is none.
type ChecksumAlgorithm uint8

// The checksums that S3 clients may send.
const (
	CRC32 ChecksumAlgorithm = iota + 1
	CRC32C
	CRC64NVME
	SHA1
	SHA256

	lastAlgorithm = SHA256
)

// checksumPrefix begins the name of every checksum header.
const checksumPrefix = "x-amz-checksum-"

// ParseChecksumAlgorithm returns the algorithm of a name such as "CRC32C",
// regardless of case; ok is false if there is none.
func ParseChecksumAlgorithm(name string) (alg ChecksumAlgorithm, ok bool) {
	for a := CRC32; a <= lastAlgorithm; a++ {
		if strings.EqualFold(name, a.String()) {
			return a, true
		}
	}
	return 0, false
}

// String returns the name as in x-amz-checksum-algorithm, "CRC32C".
func (a ChecksumAlgorithm) String() string {
	switch a {
	case CRC32:
		return "CRC32"
	case CRC32C:
		return "CRC32C"
	case CRC64NVME:
		return "CRC64NVME"
	case SHA1:
		return "SHA1"
	case SHA256:
		return "SHA256"
	default:
		return "none"
	}
}

// HeaderName returns the header that carries the checksum,
// "x-amz-checksum-crc32c", or "" for none.
func (a ChecksumAlgorithm) HeaderName() string {
	switch a {
	case CRC32:
		return "x-amz-checksum-crc32"
	case CRC32C:
		return "x-amz-checksum-crc32c"
	case CRC64NVME:
		return "x-amz-checksum-crc64nvme"
	case SHA1:
		return "x-amz-checksum-sha1"
	case SHA256:
		return "x-amz-checksum-sha256"
	default:
		return ""
	}
}

// Size returns the number of bytes of a raw digest, 0 for none.
func (a ChecksumAlgorithm) Size() int {
	switch a {
	case CRC32, CRC32C:
		return crc32.Size
	case CRC64NVME:
		return crc64nvme.Size
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	default:
		return 0
	}
}

// New returns the algorithm's hash; its Sum is the raw digest that base64
// brings into the header. It returns nil for none.
func (a ChecksumAlgorithm) New() hash.Hash {
	switch a {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case CRC64NVME:
		return crc64nvme.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	default:
		return nil
	}
}

// checksumHeader returns the algorithm whose header has the given name, in
// any case.
func checksumHeader(name string) (alg ChecksumAlgorithm, ok bool) {
	if len(name) < len(checksumPrefix) || !strings.EqualFold(name[:len(checksumPrefix)], checksumPrefix) {
		return 0, false
	}
	return ParseChecksumAlgorithm(name[len(checksumPrefix):])
}
