package sse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sort"
)

// Part is one part of an object: a stream of its own.
type Part struct {
	// Number is the part's number, from 1; numbers may have gaps.
	Number uint32
	// PlainSize is the part's length in bytes before encryption.
	PlainSize int64
	// Nonce is the nonce of its stream; unused if the part is empty.
	Nonce StreamNonce
	// Checksum is the part's checksum, raw; nil if the object has none.
	Checksum []byte
}

// PartETag is the ETag that clients know a part of SSE-KMS or SSE-C by, and one of SSE-S3
// that came without an MD5 where ETags are opaque: a digest of what tells its ciphertext from that of every other part and of every
// other upload of the same one. Upstream, which could give two of them one ETag,
// has no say in it.
func PartETag(upload ManifestID, number uint32, nonce StreamNonce) [16]byte {
	sum := sha256.Sum256(associated("etag", upload[:], u32(number), nonce[:]))
	return [16]byte(sum[:16])
}

// Parts is the layout of an object's data: its parts in order.
type Parts struct {
	list []Part
	// plain and enc hold the offset of each part, and one more for the end.
	plain, enc []int64
	checksum   ChecksumType
}

// NewParts returns the layout of the parts, whose numbers ascend. checksum is
// the algorithm of their checksums, 0 for none. ErrRecord.
func NewParts(list []Part, checksum ChecksumType) (*Parts, error) {
	p := &Parts{list: list, plain: make([]int64, len(list)+1), enc: make([]int64, len(list)+1), checksum: checksum}
	for i, part := range list {
		if i > 0 && part.Number <= list[i-1].Number || part.Number < 1 || part.Number > MaxParts || part.PlainSize < 0 || part.PlainSize > MaxPlainSize {
			return nil, fmt.Errorf("part %d of the layout: %w", part.Number, ErrRecord)
		}
		p.plain[i+1] = p.plain[i] + part.PlainSize
		p.enc[i+1] = p.enc[i] + EncSize(part.PlainSize)
	}
	return p, nil
}

// OnePart is the layout of an object that was not uploaded in parts.
func OnePart(plainSize int64, nonce StreamNonce) *Parts {
	p, err := NewParts([]Part{{Number: 1, PlainSize: plainSize, Nonce: nonce}}, 0)
	if err != nil {
		panic(err) // the size came from a record, which bounds it
	}
	return p
}

// List returns the parts. The caller must not change them.
func (p *Parts) List() []Part { return p.list }

// Checksum returns the algorithm of the parts' checksums, 0 for none.
func (p *Parts) Checksum() ChecksumType { return p.checksum }

// PlainSize returns the object's length in bytes before encryption.
func (p *Parts) PlainSize() int64 { return p.plain[len(p.list)] }

// EncSize returns the object's encrypted length in bytes.
func (p *Parts) EncSize() int64 { return p.enc[len(p.list)] }

// Range returns the plaintext of the part at index i.
func (p *Parts) Range(i int) Range {
	return Range{Offset: p.plain[i], Length: p.list[i].PlainSize}
}

// BeginsAt says whether a part begins at an encrypted offset, and header is that of
// its first package. It authenticates nothing.
func (p *Parts) BeginsAt(offset int64, header []byte) bool {
	if len(header) != headerSize {
		return false
	}
	nonce := StreamNonce(header[headerSize-nonceSize:])
	nonce[0] &^= finalFlag
	for i, part := range p.list {
		if p.enc[i] == offset && part.PlainSize > 0 {
			return part.Nonce == nonce
		}
	}
	return false
}

// at returns the index of the part that holds the plaintext byte at offset.
func (p *Parts) at(offset int64) int {
	return sort.Search(len(p.list), func(i int) bool { return p.plain[i+1] > offset })
}

// Encrypted returns the run of encrypted bytes that holds the plaintext r, which
// lies within the object: whole packages of the parts it touches.
func (p *Parts) Encrypted(r Range) Range {
	if r.Length == 0 {
		return Range{}
	}
	first, last := p.at(r.Offset), p.at(r.Offset+r.Length-1)
	from := p.enc[first] + (r.Offset-p.plain[first])/PackageSize*EncPackageSize
	inLast := (r.Offset + r.Length - 1 - p.plain[last]) / PackageSize
	to := min(p.enc[last]+(inLast+1)*EncPackageSize, p.enc[last+1])
	return Range{Offset: from, Length: to - from}
}

// Decrypt returns a reader of the plaintext r of the object. src gives the
// encrypted bytes of p.Encrypted(r); no more of it is read. Errors are those of
// Decrypter. Closing src is the caller's.
func (p *Parts) Decrypt(key *ObjectKey, src io.Reader, r Range) (*Decrypter, error) {
	if r.Offset < 0 || r.Length < 0 || r.Length > p.PlainSize()-r.Offset {
		return nil, fmt.Errorf("range %d+%d of %d bytes: %w", r.Offset, r.Length, p.PlainSize(), ErrTruncated)
	}
	d := &Decrypter{src: src, remaining: r.Length, toRead: p.Encrypted(r).Length}
	if r.Length > 0 {
		d.parts, d.key, d.part = p, *key, p.at(r.Offset)
		d.beginPart(r.Offset - p.plain[d.part])
	}
	return d, nil
}

// Encode returns the layout as a manifest's table of parts.
func (p *Parts) Encode() []byte {
	out := make([]byte, 0, 2+len(p.list)*(8+nonceSize+p.checksum.Size()))
	out = append(out, manifestVersion, byte(p.checksum))
	for _, part := range p.list {
		out = binary.AppendUvarint(out, uint64(part.Number))
		out = binary.AppendUvarint(out, uint64(part.PlainSize))
		if part.PlainSize > 0 {
			out = append(out, part.Nonce[:]...)
		}
		out = append(out, part.Checksum...)
	}
	return out
}

// ParseParts reads a manifest's table of parts. ErrRecord.
func ParseParts(b []byte) (*Parts, error) {
	if len(b) < 2 || b[0] != manifestVersion || b[1] != 0 && ChecksumType(b[1]).Size() == 0 {
		return nil, fmt.Errorf("table of parts: %w", ErrRecord)
	}
	checksum := ChecksumType(b[1])
	var list []Part
	for b = b[2:]; len(b) > 0; {
		var part Part
		number, n, err := canonicalUvarint(b)
		if err != nil || number == 0 || number > MaxParts {
			return nil, fmt.Errorf("number of a part: %w", ErrRecord)
		}
		size, m, err := canonicalUvarint(b[n:])
		if err != nil || size > MaxPlainSize {
			return nil, fmt.Errorf("size of part %d: %w", number, ErrRecord)
		}
		b = b[n+m:]
		part.Number, part.PlainSize = uint32(number), int64(size)
		need := checksum.Size()
		if size > 0 {
			need += nonceSize
		}
		if len(b) < need {
			return nil, fmt.Errorf("part %d is cut short: %w", number, ErrRecord)
		}
		if size > 0 {
			part.Nonce = StreamNonce(b[:nonceSize])
			if part.Nonce[0]&finalFlag != 0 {
				return nil, fmt.Errorf("nonce of part %d: %w", number, ErrRecord)
			}
		}
		if checksum != 0 {
			part.Checksum = b[need-checksum.Size() : need]
		}
		b = b[need:]
		list = append(list, part)
	}
	return NewParts(list, checksum)
}
