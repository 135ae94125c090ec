package plaintext

import (
	"iter"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/sse"
)

// checksumTypes are the checksums that S3 knows, as clients and as records name them.
var checksumTypes = [...]struct {
	wire   checksum.Algorithm
	sealed sse.ChecksumType
}{
	{checksum.CRC32, sse.CRC32},
	{checksum.CRC32C, sse.CRC32C},
	{checksum.CRC64NVME, sse.CRC64NVME},
	{checksum.SHA1, sse.SHA1},
	{checksum.SHA256, sse.SHA256},
	{checksum.SHA512, sse.SHA512},
	{checksum.MD5, sse.MD5},
	{checksum.XXHASH64, sse.XXHASH64},
	{checksum.XXHASH3, sse.XXHASH3},
	{checksum.XXHASH128, sse.XXHASH128},
}

// Checksums returns the checksums that S3 knows, as clients and as records name them.
func Checksums() iter.Seq2[checksum.Algorithm, sse.ChecksumType] {
	return func(yield func(checksum.Algorithm, sse.ChecksumType) bool) {
		for _, t := range checksumTypes {
			if !yield(t.wire, t.sealed) {
				return
			}
		}
	}
}

// Algorithm returns the algorithm of a record's checksum, 0 for none. Every type that a
// record can have has one.
func Algorithm(kind sse.ChecksumType) checksum.Algorithm {
	for _, t := range checksumTypes {
		if t.sealed == kind {
			return t.wire
		}
	}
	return 0
}

// ChecksumType returns how a record names a client's checksum, 0 for none.
func ChecksumType(algorithm checksum.Algorithm) sse.ChecksumType {
	for _, t := range checksumTypes {
		if t.wire == algorithm {
			return t.sealed
		}
	}
	return 0
}

// DefaultChecksum is what a write gets whose client asks for no checksum, as at AWS.
const DefaultChecksum = checksum.CRC64NVME
