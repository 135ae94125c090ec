package plaintext

import (
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Range is one range of bytes that a client asks for.
type Range struct {
	// First and Last are the first and the last byte; Last is -1 if the range is open.
	First, Last int64
	// Suffix is the length of a range at the end; -1 if it is none.
	Suffix int64
}

// Of returns the range within an object of size bytes, or a *RangeError.
// As at AWS, an empty object has no range at all: MinIO answers its end with the
// Content-Range "bytes 0--1/0", which clients cannot read.
func (b *Range) Of(size int64) (sse.Range, error) {
	switch {
	case b.Suffix >= 0 && size == 0:
		return sse.Range{}, &RangeError{*b}
	case b.Suffix >= 0:
		n := min(b.Suffix, size)
		return sse.Range{Offset: size - n, Length: n}, nil
	case b.First >= size:
		return sse.Range{}, &RangeError{*b}
	case b.Last < 0 || b.Last >= size:
		return sse.Range{Offset: b.First, Length: size - b.First}, nil
	default:
		return sse.Range{Offset: b.First, Length: b.Last - b.First + 1}, nil
	}
}

// Packages returns the range that fetches the packages of the range, whatever the
// object's size: a suffix may begin inside a package.
func (b *Range) Packages() *storage.Range {
	switch {
	case b.Suffix >= 0:
		packages := min(b.Suffix, sse.MaxPlainSize)/sse.PackageSize + 2
		return &storage.Range{First: -packages * sse.EncPackageSize, Last: -1}
	case b.Last < 0:
		return &storage.Range{First: min(b.First, sse.MaxPlainSize) / sse.PackageSize * sse.EncPackageSize, Last: -1}
	default:
		first, last := min(b.First, sse.MaxPlainSize), min(b.Last, sse.MaxPlainSize)
		enc := sse.Range{Offset: first, Length: last - first + 1}.Encrypted()
		return &storage.Range{First: enc.Offset, Last: enc.Offset + enc.Length - 1}
	}
}

// Encrypted is what upstream answers to b.Packages, of an object of encSize encrypted
// bytes.
func (b *Range) Encrypted(encSize int64) sse.Range {
	asked := b.Packages()
	switch {
	case asked.First < 0:
		n := min(-asked.First, encSize)
		return sse.Range{Offset: encSize - n, Length: n}
	case asked.Last < 0:
		return sse.Range{Offset: asked.First, Length: max(encSize-asked.First, 0)}
	default:
		return sse.Range{Offset: asked.First, Length: asked.Last - asked.First + 1}.Clip(encSize)
	}
}

// Exactly asks for a range whose place is known.
func Exactly(r sse.Range) *storage.Range {
	return &storage.Range{First: r.Offset, Last: r.Offset + r.Length - 1}
}

// Plain asks for the range itself, of a plain object.
func (b *Range) Plain() *storage.Range {
	if b.Suffix >= 0 {
		return &storage.Range{First: -b.Suffix, Last: -1}
	}
	return &storage.Range{First: b.First, Last: b.Last}
}

// RangeError says that no byte of a range exists in an object.
type RangeError struct{ Range Range }

// Error names the range.
func (e *RangeError) Error() string {
	if e.Range.Suffix >= 0 {
		return fmt.Sprintf("the requested range 'bytes=-%d' is not satisfiable", e.Range.Suffix)
	}
	return fmt.Sprintf("the requested range 'bytes=%d-%d' is not satisfiable", e.Range.First, e.Range.Last)
}
