package checksum_test

import (
	"encoding/binary"
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// The checksum of a whole object follows from those of its parts, without their data.
func ExampleCombine() {
	sum := func(text string) []byte {
		h := checksum.CRC32C.New()
		_, _ = h.Write([]byte(text))
		return h.Sum(nil)
	}
	first, second := sum("hello, "), sum("world")
	whole := checksum.Combine(checksum.CRC32C, uint64(binary.BigEndian.Uint32(first)), second, int64(len("world")))
	fmt.Printf("%x\n", checksum.Bytes(checksum.CRC32C, whole))
	fmt.Printf("%x\n", sum("hello, world"))
	// Output:
	// 6999a41f
	// 6999a41f
}
