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

// Facts are what is known of a plaintext: in the record if it was known when the
// write began, else in the object's manifest.
type Facts struct {
	// MD5 is the MD5 of the plaintext, nil if nobody computed it.
	MD5 []byte
	// Checksum is the client's checksum, nil if there is none.
	Checksum *Checksum
}

// Private is the sealed section of a record.
type Private struct {
	Facts
	// Nonce is the nonce of the object's stream; unused if the object is empty.
	Nonce StreamNonce
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
	return p.Facts.append(out)
}

func (f *Facts) append(out []byte) []byte {
	if f.MD5 != nil {
		out = appendField(out, tagMD5, f.MD5)
	}
	if f.Checksum != nil {
		out = appendField(out, byte(f.Checksum.Type), f.Checksum.Value)
	}
	return out
}

// Manifest returns the facts as a manifest's content.
func (f *Facts) Manifest() []byte { return f.append([]byte{recordVersion}) }

// ParseManifest reads a manifest's content. ErrRecord.
func ParseManifest(b []byte) (Facts, error) {
	if len(b) == 0 || b[0] != recordVersion {
		return Facts{}, fmt.Errorf("unknown manifest version: %w", ErrRecord)
	}
	var f Facts
	var last byte
	for b = b[1:]; len(b) > 0; {
		next, rest, err := nextField(b, last)
		if err != nil {
			return Facts{}, err
		}
		if err := f.setField(next); err != nil {
			return Facts{}, err
		}
		b, last = rest, next.tag
	}
	return f, nil
}

func parsePrivate(b []byte, plainSize int64, late bool) (*Private, error) {
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
	switch {
	case p.hasNonce != (plainSize > 0):
		return nil, fmt.Errorf("stream nonce does not fit the plain size: %w", ErrRecord)
	case late && (p.MD5 != nil || p.Checksum != nil):
		return nil, fmt.Errorf("facts both in the record and in a manifest: %w", ErrRecord)
	}
	return p, nil
}

func (p *Private) setField(f field) error {
	if f.tag != tagNonce {
		return p.Facts.setField(f)
	}
	if len(f.value) != nonceSize || f.value[0]&finalFlag != 0 {
		return fmt.Errorf("stream nonce: %w", ErrRecord)
	}
	p.Nonce, p.hasNonce = StreamNonce(f.value), true
	return nil
}

func (f *Facts) setField(v field) error {
	size := ChecksumType(v.tag).Size()
	switch {
	case v.tag == tagMD5 && len(v.value) == 16:
		f.MD5 = v.value
	case size > 0 && len(v.value) == size && f.Checksum == nil:
		f.Checksum = &Checksum{Type: ChecksumType(v.tag), Value: v.value}
	default:
		return fmt.Errorf("tag %#x or its value: %w", v.tag, ErrRecord)
	}
	return nil
}
