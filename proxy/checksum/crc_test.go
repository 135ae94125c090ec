package checksum

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestCRCsOfPartsCombineToTheWhole(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{CRC32, CRC32C, CRC64NVME} {
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
				crc = Combine(algorithm, crc, one.Sum(nil), int64(size))
			}
			if got := Bytes(algorithm, crc); !bytes.Equal(got, whole.Sum(nil)) {
				t.Errorf("%v of %v: %x, want %x", algorithm, sizes, got, whole.Sum(nil))
			}
		}
	}
}
