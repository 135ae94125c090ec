package sse

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Tags of the private section, of manifests and of the ledger's entries.
const (
	tagNonce     = 0x01
	tagMD5       = 0x02
	tagParts     = 0x03
	tagFactSize  = 0x04
	tagSHA512    = 0x0b // the younger checksums follow
	tagChecksum  = 0x10 // CRC32; the older checksums follow
	tagComposite = 0x15
	tagKey       = 0x16
	tagUnproven  = 0x17
	tagWholeCRC  = 0x18

	manifestVersion = 0x01
	// MaxParts is S3's limit for the parts of one object.
	MaxParts = 10000
)

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

// The checksums that S3 knows since 2026.
const (
	SHA512    ChecksumType = tagSHA512 + iota
	MD5       ChecksumType = tagSHA512 + iota
	XXHASH64  ChecksumType = tagSHA512 + iota
	XXHASH3   ChecksumType = tagSHA512 + iota
	XXHASH128 ChecksumType = tagSHA512 + iota
)

// Size returns the checksum's length in bytes, 0 for an unknown type.
func (c ChecksumType) Size() int {
	switch c {
	case CRC32, CRC32C:
		return 4
	case CRC64NVME, XXHASH64, XXHASH3:
		return 8
	case MD5, XXHASH128:
		return 16
	case SHA1:
		return 20
	case SHA256:
		return 32
	case SHA512:
		return 64
	default:
		return 0
	}
}

// Checksum is an S3 checksum of a plaintext.
type Checksum struct {
	Type  ChecksumType
	Value []byte // raw, Type.Size() bytes
	// Composite says that Value is a checksum of the parts' checksums.
	Composite bool
}

// Facts are what is known of a plaintext: in the record if it was known when the
// write began, else in the object's manifest; of a part, in the ledger.
type Facts struct {
	// MD5 is the MD5 of the plaintext, or of the parts' ETags; nil if nobody computed
	// it.
	MD5 []byte
	// Parts is the number of parts of an object that was uploaded in parts, else 0.
	Parts int
	// PlainSize is the plaintext's length in bytes. It is not in the facts of a
	// record, which has it itself.
	PlainSize int64
	// Checksum is the client's checksum, nil if there is none.
	Checksum *Checksum
	// Key is the object's key, in a manifest whose name does not tell it.
	Key string
	// Unproven says of a manifest that it was made from the object as upstream had
	// it, and not when the object was written.
	Unproven bool
	// WholeCRC, in a ledger entry, is the CRC64NVME of a part of an upload that asks
	// for no checksum: the object's follows from those of all. nil if nobody computed it.
	WholeCRC []byte
}

// ofManifest says whether there is something that only a manifest may have.
func (f *Facts) ofManifest() bool { return f.Key != "" || f.Unproven }

// Manifest returns the facts as a manifest's content.
func (f *Facts) Manifest() []byte { return f.append([]byte{manifestVersion}) }

// ParseManifest reads a manifest's content. ErrRecord.
func ParseManifest(b []byte) (Facts, error) {
	p, err := parseFacts(b)
	if err == nil && (p.hasNonce || p.WholeCRC != nil) {
		err = fmt.Errorf("facts of an entry in a manifest: %w", ErrRecord)
	}
	return p.Facts, err
}

// PartFacts are what the ledger knows of an uploaded part.
type PartFacts struct {
	Facts
	// Nonce is the nonce of the part's stream; unused if the part is empty or
	// stored plain.
	Nonce StreamNonce
}

// Entry returns the facts as a ledger entry's content.
func (p *PartFacts) Entry() []byte {
	out := []byte{manifestVersion}
	if p.Nonce != (StreamNonce{}) {
		out = appendField(out, tagNonce, p.Nonce[:])
	}
	return p.Facts.append(out)
}

// ParseEntry reads a ledger entry's content. ErrRecord.
func ParseEntry(b []byte) (PartFacts, error) {
	p, err := parseFacts(b)
	if err == nil && p.ofManifest() {
		err = fmt.Errorf("facts of a manifest in an entry: %w", ErrRecord)
	}
	return PartFacts{Facts: p.Facts, Nonce: p.Nonce}, err
}

func parseFacts(b []byte) (Private, error) {
	var p Private
	if len(b) == 0 || b[0] != manifestVersion {
		return p, fmt.Errorf("unknown version: %w", ErrRecord)
	}
	return p, p.parse(b[1:])
}

func (f *Facts) append(out []byte) []byte {
	if f.MD5 != nil {
		out = appendField(out, tagMD5, f.MD5)
	}
	if f.Parts > 0 {
		out = appendField(out, tagParts, binary.AppendUvarint(nil, uint64(f.Parts)))
	}
	if f.PlainSize > 0 {
		out = appendField(out, tagFactSize, binary.AppendUvarint(nil, uint64(f.PlainSize)))
	}
	if f.Checksum != nil {
		out = appendField(out, byte(f.Checksum.Type), f.Checksum.Value)
		if f.Checksum.Composite {
			out = appendField(out, tagComposite, nil)
		}
	}
	if f.Key != "" {
		out = appendField(out, tagKey, []byte(f.Key))
	}
	if f.Unproven {
		out = appendField(out, tagUnproven, nil)
	}
	if f.WholeCRC != nil {
		out = appendField(out, tagWholeCRC, f.WholeCRC)
	}
	return out
}

func (f *Facts) setField(v field) error {
	size := ChecksumType(v.tag).Size()
	n, notNumber := wholeUvarint(v.value)
	switch {
	case v.tag == tagMD5 && len(v.value) == 16:
		f.MD5 = v.value
	case v.tag == tagParts && notNumber == nil && n > 0 && n <= MaxParts:
		f.Parts = int(n)
	case v.tag == tagFactSize && notNumber == nil && n > 0 && n <= math.MaxInt64/2:
		f.PlainSize = int64(n)
	case size > 0 && len(v.value) == size && f.Checksum == nil:
		f.Checksum = &Checksum{Type: ChecksumType(v.tag), Value: v.value}
	case v.tag == tagComposite && len(v.value) == 0 && f.Checksum != nil:
		f.Checksum.Composite = true
	case v.tag == tagKey && len(v.value) > 0:
		f.Key = string(v.value)
	case v.tag == tagUnproven && len(v.value) == 0:
		f.Unproven = true
	case v.tag == tagWholeCRC && len(v.value) == CRC64NVME.Size():
		f.WholeCRC = v.value
	default:
		return fmt.Errorf("tag %#x or its value: %w", v.tag, ErrRecord)
	}
	return nil
}
