package sse

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
)

// Survey finds the parts of an object whose table of parts is lost: each is a run
// of packages with one nonce, counted from 0, and a final flag on the last. Their
// order, and that none is missing, nobody vouches for.
type Survey struct {
	Key *ObjectKey
	// Known are the numbers and sizes of the parts, as somebody says they are. If it
	// is nil, each part is tried with every number that may follow; empty parts, which
	// have no packages, are then not found.
	Known []Part
	// Begin is called when a part begins; what it returns takes the part's plaintext
	// and its packages.
	Begin func() (plain, encrypted io.Writer)

	src     io.Reader
	pack    [EncPackageSize]byte
	plain   []byte
	found   []Part
	current *surveyedPart
}

// surveyedPart is the part that a survey is in.
type surveyedPart struct {
	Part
	aead             cipher.AEAD
	packages         uint32
	plain, encrypted io.Writer
}

// Run reads src to its end and returns the parts. It can be called once.
// ErrTampered, ErrTruncated, or src's own errors.
func (s *Survey) Run(src io.Reader) ([]Part, error) {
	s.src, s.plain = src, make([]byte, 0, PackageSize)
	for {
		n, err := s.next()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if err := s.take(s.pack[:n]); err != nil {
			return nil, err
		}
	}
	if s.current != nil {
		return nil, fmt.Errorf("part %d has no end: %w", s.current.Number, ErrTruncated)
	}
	s.takeEmpty()
	if s.Known != nil && len(s.found) != len(s.Known) {
		return nil, fmt.Errorf("%d of %d parts: %w", len(s.found), len(s.Known), ErrTruncated)
	}
	return s.found, nil
}

// next reads a package and returns its length, 0 at the end.
func (s *Survey) next() (int, error) {
	n, err := io.ReadFull(s.src, s.pack[:headerSize])
	if n == 0 && err == io.EOF {
		return 0, nil
	}
	if err != nil {
		return 0, notEOF(err)
	}
	if s.pack[0] != dareVersion || s.pack[1] != dareCipher {
		return 0, fmt.Errorf("version or cipher of a package: %w", ErrTampered)
	}
	length := int(binary.LittleEndian.Uint16(s.pack[2:])) + 1
	n = headerSize + length + tagSize
	_, err = io.ReadFull(s.src, s.pack[headerSize:n])
	return n, notEOF(err)
}

// take opens a package, of the current part or of one that begins.
func (s *Survey) take(pack []byte) error {
	nonce := StreamNonce(pack[4:headerSize])
	final := nonce[0]&finalFlag != 0
	nonce[0] &^= finalFlag
	if s.current == nil {
		if err := s.begin(pack, nonce); err != nil {
			return err
		}
	}
	c := s.current
	if nonce != c.Nonce || !final && len(pack) < EncPackageSize || !c.open(s.plain, pack) {
		return fmt.Errorf("package %d of part %d: %w", c.packages, c.Number, ErrTampered)
	}
	size := len(pack) - packageOverhead
	if _, err := c.plain.Write(s.plain[:size]); err != nil {
		return err
	}
	if _, err := c.encrypted.Write(pack); err != nil {
		return err
	}
	c.PlainSize += int64(size)
	c.packages++
	if !final {
		return nil
	}
	s.found, s.current = append(s.found, c.Part), nil
	if i := len(s.found) - 1; s.Known != nil && s.Known[i].PlainSize != c.PlainSize {
		return fmt.Errorf("part %d has %d bytes, not %d: %w", c.Number, c.PlainSize, s.Known[i].PlainSize, ErrTampered)
	}
	return nil
}

// takeEmpty takes the empty parts that are known to come now.
func (s *Survey) takeEmpty() {
	for len(s.found) < len(s.Known) && s.Known[len(s.found)].PlainSize == 0 {
		s.Begin()
		s.found = append(s.found, Part{Number: s.Known[len(s.found)].Number})
	}
}

// begin finds out which part begins with the package.
func (s *Survey) begin(pack []byte, nonce StreamNonce) error {
	s.takeEmpty()
	first, last := uint32(1), uint32(MaxParts)
	if n := len(s.found); n > 0 {
		first = s.found[n-1].Number + 1
	}
	if s.Known != nil {
		if len(s.found) == len(s.Known) {
			return fmt.Errorf("more than %d parts: %w", len(s.Known), ErrTampered)
		}
		first = s.Known[len(s.found)].Number
		last = first
	}
	for number := first; number <= last; number++ {
		key := s.Key.Part(number)
		part := &surveyedPart{Part: Part{Number: number, Nonce: nonce}, aead: newGCM(key[:])}
		clear(key[:])
		if part.open(s.plain, pack) {
			part.plain, part.encrypted = s.Begin()
			s.current = part
			return nil
		}
	}
	return fmt.Errorf("a package that begins no part from %d to %d: %w", first, last, ErrTampered)
}

// open decrypts the part's next package (docs/format.md, section 5).
func (p *surveyedPart) open(plain, pack []byte) bool {
	var nonce [nonceSize]byte
	copy(nonce[:], pack[4:headerSize])
	counter := binary.LittleEndian.Uint32(nonce[8:]) ^ p.packages
	binary.LittleEndian.PutUint32(nonce[8:], counter)
	_, err := p.aead.Open(plain[:0], nonce[:], pack[headerSize:], pack[:4])
	return err == nil
}
