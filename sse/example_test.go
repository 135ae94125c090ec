package sse_test

import (
	"fmt"

	"github.com/bucketseal/bucketseal/sse"
)

// Every 64 KiB of plaintext, and what remains, become a package that is 32 bytes longer.
func ExampleEncSize() {
	for _, plainSize := range []int64{0, 1, sse.PackageSize, sse.PackageSize + 1} {
		fmt.Println(plainSize, "->", sse.EncSize(plainSize))
	}
	// Output:
	// 0 -> 0
	// 1 -> 33
	// 65536 -> 65568
	// 65537 -> 65601
}

// Two bytes that lie in two packages need both of them.
func ExampleRange_Encrypted() {
	for _, r := range []sse.Range{{Offset: 10, Length: 2}, {Offset: sse.PackageSize - 1, Length: 2}} {
		enc := r.Encrypted()
		fmt.Printf("%d bytes from %d: read %d from %d\n", r.Length, r.Offset, enc.Length, enc.Offset)
	}
	// Output:
	// 2 bytes from 10: read 65568 from 0
	// 2 bytes from 65535: read 131136 from 0
}
