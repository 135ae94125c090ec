package proxy

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

func TestCRCsOfPartsCombineToTheWhole(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []sigv4.ChecksumAlgorithm{sigv4.CRC32, sigv4.CRC32C, sigv4.CRC64NVME} {
		kind := sealedChecksum(algorithm)
		for _, sizes := range [][]int{{0}, {1}, {1, 1}, {5, 0, 7}, {65536, 1, 65537}, {100000, 3, 99999, 12345}} {
			whole := algorithm.New()
			var crc uint64
			for _, size := range sizes {
				part := make([]byte, size)
				for i := range part {
					part[i] = byte(rand.Uint32()) //nolint:gosec // test data
				}
				whole.Write(part)
				one := algorithm.New()
				one.Write(part)
				crc = combineCRC(kind, crc, one.Sum(nil), int64(size))
			}
			if got := crcBytes(kind, crc); !bytes.Equal(got, whole.Sum(nil)) {
				t.Errorf("%v of %v: %x, want %x", algorithm, sizes, got, whole.Sum(nil))
			}
		}
	}
}
