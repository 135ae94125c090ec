package sse

import (
	"crypto/rand"
	"fmt"
)

const (
	tagNonce    = 0x01
	tagMD5      = 0x02
	tagChecksum = 0x10 // CRC32; the others follow

	privateMaxSize = 2 + nonceSize + 2 + 16 + 2 + 32
)

// StreamNonce distinguishes the streams encrypted under one part key. Its
// highest bit is clear.
type StreamNonce [nonceSize]byte

// NewStreamNonce draws a stream nonce.
func NewStreamNonce() StreamNonce {
	var n StreamNonce
	_, _ = rand.Read(n[:])
	n[0] &^= finalFlag
	return n
}

// ChecksumType is the algorithm of an S3 checksum, numbered as in a record.
type ChecksumType byte

// The checksums that S3 knows.
const (
	CRC32     ChecksumType = tagChecksum + iota
	CRC32C    ChecksumType = tagChecksum + iota
	CRC64NVME ChecksumType = tagChecksum + iota
	SHA1      ChecksumType = tagChecksum + iota
	SHA256    ChecksumType = tagChecksum + iota
)

// Size returns the checksum's length in bytes, 0 for an unknown type.
func (c ChecksumType) Size() int {
	switch c {
	case CRC32, CRC32C:
		return 4
	case CRC64NVME:
		return 8
	case SHA1:
		return 20
	case SHA256:
		return 32
	default:
		return 0
	}
}

// Checksum is an S3 checksum of a whole plaintext.
type Checksum struct {
	Type  ChecksumType
	Value []byte // raw, Type.Size() bytes
}

// Private is the sealed section of a record.
type Private struct {
	// Nonce is the nonce of the object's stream; unused if the object is empty.
	Nonce StreamNonce
	// MD5 is the MD5 of the plaintext, nil if it was not known in time.
	MD5 []byte
	// Checksum is the client's checksum, nil if there is none.
	Checksum *Checksum
	// hasNonce is false for an empty object.
	hasNonce bool
}

// NewPrivate returns the section for an object of plainSize bytes whose stream
// has the given nonce.
func NewPrivate(plainSize int64, nonce StreamNonce) *Private {
	return &Private{Nonce: nonce, hasNonce: plainSize > 0}
}

func (p *Private) encode() []byte {
	out := make([]byte, 0, privateMaxSize)
	if p.hasNonce {
		out = appendField(out, tagNonce, p.Nonce[:])
	}
	if p.MD5 != nil {
		out = appendField(out, tagMD5, p.MD5)
	}
	if p.Checksum != nil {
		out = appendField(out, byte(p.Checksum.Type), p.Checksum.Value)
	}
	return out
}

func parsePrivate(b []byte, plainSize int64) (*Private, error) {
	p := new(Private)
	var last byte
	for len(b) > 0 {
		f, rest, err := nextField(b, last)
		if err != nil {
			return nil, err
		}
		if err := p.setField(f); err != nil {
			return nil, err
		}
		b, last = rest, f.tag
	}
	if p.hasNonce != (plainSize > 0) {
		return nil, fmt.Errorf("stream nonce does not fit the plain size: %w", ErrRecord)
	}
	return p, nil
}

func (p *Private) setField(f field) error {
	bad := func() error { return fmt.Errorf("private value of tag %#x: %w", f.tag, ErrRecord) }
	switch {
	case f.tag == tagNonce:
		if len(f.value) != nonceSize || f.value[0]&finalFlag != 0 {
			return bad()
		}
		p.Nonce, p.hasNonce = StreamNonce(f.value), true
	case f.tag == tagMD5:
		if len(f.value) != 16 {
			return bad()
		}
		p.MD5 = f.value
	case ChecksumType(f.tag).Size() > 0:
		if len(f.value) != ChecksumType(f.tag).Size() || p.Checksum != nil {
			return bad()
		}
		p.Checksum = &Checksum{Type: ChecksumType(f.tag), Value: f.value}
	default:
		return fmt.Errorf("unknown private tag %#x: %w", f.tag, ErrRecord)
	}
	return nil
}
