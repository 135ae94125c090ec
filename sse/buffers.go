package sse

import "sync"

// ahead is how many full packages are read ahead at most.
const ahead = 4

// bufferSizes are the sizes of kept buffers in bytes, ascending: a small object takes a
// small one.
var bufferSizes = [...]int{4<<10 + packageOverhead, 16<<10 + packageOverhead, EncPackageSize, 2 * EncPackageSize, ahead * EncPackageSize}

// bufferPools hold buffers of bufferSizes that nobody uses.
var bufferPools [len(bufferSizes)]sync.Pool

// buffer is memory for packages. It is kept for others once it is released.
type buffer struct {
	bytes []byte
	class int
}

// takeBuffer returns a buffer of size bytes or a little more, of the largest size if that
// is smaller.
func takeBuffer(size int64) *buffer {
	class := 0
	for class < len(bufferSizes)-1 && int64(bufferSizes[class]) < size {
		class++
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{bytes: make([]byte, bufferSizes[class]), class: class}
}

// release gives the buffer to others. Its first used bytes may hold plaintext, and are
// cleared.
func (b *buffer) release(used int) {
	b.clear(used)
	bufferPools[b.class].Put(b)
}

func (b *buffer) clear(used int) { clear(b.bytes[:used]) }
