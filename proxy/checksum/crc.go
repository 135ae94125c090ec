package checksum

import (
	"encoding/binary"
)

// The reflected polynomials of S3's CRCs.
const (
	polyCRC32     = 0xedb88320
	polyCRC32C    = 0x82f63b78
	polyCRC64NVME = 0x9a6c9329ac4bc9b5
)

// Combine returns the CRC of a||b from the CRC of a, the CRC of b in its S3
// form, and b's length in bytes.
func Combine(kind Algorithm, a uint64, b []byte, length int64) uint64 {
	poly, width := uint64(polyCRC32), 32
	switch kind {
	case CRC32C:
		poly = polyCRC32C
	case CRC64NVME:
		poly, width = polyCRC64NVME, 64
	}
	var padded [8]byte
	copy(padded[8-len(b):], b)
	return shiftCRC(a, poly, width, length) ^ binary.BigEndian.Uint64(padded[:])
}

// shiftCRC returns the CRC register after length zero bytes: multiplication by
// x^(8 length) modulo the polynomial, by squaring. Initial and final inversion
// cancel out in Combine.
func shiftCRC(crc, poly uint64, width int, length int64) uint64 {
	// factor is x^8 in reflected form, where the highest bit is x^0.
	factor := uint64(1) << (width - 1 - 8)
	for ; length > 0; length >>= 1 {
		if length&1 == 1 {
			crc = multiplyCRC(crc, factor, poly, width)
		}
		factor = multiplyCRC(factor, factor, poly, width)
	}
	return crc
}

// multiplyCRC multiplies two reflected polynomials modulo poly.
func multiplyCRC(a, b, poly uint64, width int) uint64 {
	var product uint64
	for bit := uint64(1) << (width - 1); bit > 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 == 1 {
			b = b>>1 ^ poly
		} else {
			b >>= 1
		}
	}
	return product
}

// Bytes is a CRC in its S3 form.
func Bytes(kind Algorithm, crc uint64) []byte {
	out := binary.BigEndian.AppendUint64(nil, crc)
	return out[8-kind.Size():]
}
