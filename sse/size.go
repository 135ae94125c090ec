package sse

import "fmt"

// HeaderSize is the length of the header that each package begins with.
const HeaderSize = headerSize

const (
	// PackageSize is the plaintext length of a full DARE package in bytes.
	PackageSize = 1 << 16
	// packageOverhead is the header and the tag of a package.
	packageOverhead = headerSize + tagSize
	// EncPackageSize is the encrypted length of a full package in bytes.
	EncPackageSize = PackageSize + packageOverhead

	headerSize = 16
	finalFlag  = 0x80

	// MaxPlainSize is the largest plaintext of one stream: DARE counts packages
	// with 32 bits. S3's limit for one object is far below it.
	MaxPlainSize = PackageSize << 32
)

// EncSize returns the encrypted length of plainSize bytes of plaintext.
func EncSize(plainSize int64) int64 {
	return plainSize + packageOverhead*packages(plainSize)
}

// PlainSize returns the plaintext length of encSize encrypted bytes, or an
// error that wraps ErrTruncated if no plaintext has that encrypted length.
func PlainSize(encSize int64) (int64, error) {
	full, rest := encSize/EncPackageSize, encSize%EncPackageSize
	if encSize < 0 || rest > 0 && rest <= packageOverhead {
		return 0, fmt.Errorf("no object has %d encrypted bytes: %w", encSize, ErrTruncated)
	}
	if rest > 0 {
		rest -= packageOverhead
	}
	return full*PackageSize + rest, nil
}

// packages returns the number of packages of plainSize bytes.
func packages(plainSize int64) int64 {
	return (plainSize + PackageSize - 1) / PackageSize
}

// Range is a run of plaintext bytes.
type Range struct {
	Offset, Length int64
}

// Encrypted returns the run of encrypted bytes that holds r: whole packages,
// as if the object went on beyond r. The caller cuts it at the encrypted size
// where it is known; upstream does so where it is not.
func (r Range) Encrypted() Range {
	if r.Length == 0 {
		return Range{Offset: r.Offset / PackageSize * EncPackageSize}
	}
	first, last := r.Offset/PackageSize, (r.Offset+r.Length-1)/PackageSize
	return Range{Offset: first * EncPackageSize, Length: (last - first + 1) * EncPackageSize}
}

// Clip returns r without what lies beyond size.
func (r Range) Clip(size int64) Range {
	if r.Offset > size {
		return Range{Offset: size}
	}
	return Range{Offset: r.Offset, Length: min(r.Length, size-r.Offset)}
}
