package sse

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// A package's header: version, cipher, length of the plaintext less one (16 bits, little
// endian), nonce with the final flag (docs/format.md, section 5). minio/sio is the
// reference; stream_sio_test.go holds this to it.
const (
	dareVersion = 0x20 // DARE 2.0
	dareCipher  = 0x00 // AES-256-GCM
)

// place is what a package must be: the package number of a stream.
type place struct {
	aead   cipher.AEAD
	nonce  StreamNonce
	number int64
	length int // of its plaintext, in bytes
	final  bool
	gcm    [nonceSize]byte // that the package is encrypted with: see setNonce
}

// encSize is the package's length in bytes.
func (p *place) encSize() int { return p.length + packageOverhead }

// seal encrypts a package in place: its plaintext lies in pack behind the header's place,
// and room for the tag behind that.
func (p *place) seal(pack []byte) {
	pack[0], pack[1] = dareVersion, dareCipher
	binary.LittleEndian.PutUint16(pack[2:], uint16(p.length-1)) //nolint:gosec // 1 to 65,536
	copy(pack[4:headerSize], p.nonce[:])
	if p.final {
		pack[4] |= finalFlag
	}
	p.setNonce(pack)
	p.aead.Seal(pack[headerSize:headerSize], p.gcm[:], pack[headerSize:headerSize+p.length], pack[:4])
}

// open decrypts a package in place and returns its plaintext. ErrTampered if it is not the
// one that belongs here; then nothing of it is left.
func (p *place) open(pack []byte) ([]byte, error) {
	if err := p.check(pack); err != nil {
		return nil, err
	}
	p.setNonce(pack)
	plain, err := p.aead.Open(pack[headerSize:headerSize], p.gcm[:], pack[headerSize:p.encSize()], pack[:4])
	if err != nil {
		clear(pack[headerSize:p.encSize()])
		return nil, fmt.Errorf("package %d: not authentic: %w", p.number, ErrTampered)
	}
	return plain, nil
}

// check refuses a header that is not the one of this place.
func (p *place) check(header []byte) error {
	nonce := StreamNonce(header[4:headerSize])
	final := nonce[0]&finalFlag != 0
	nonce[0] &^= finalFlag
	switch {
	case header[0] != dareVersion || header[1] != dareCipher:
		return fmt.Errorf("package %d: version or cipher: %w", p.number, ErrTampered)
	case int(binary.LittleEndian.Uint16(header[2:]))+1 != p.length:
		return fmt.Errorf("package %d: length: %w", p.number, ErrTampered)
	case nonce != p.nonce:
		return fmt.Errorf("package %d: of another stream: %w", p.number, ErrTampered)
	case final != p.final:
		return fmt.Errorf("package %d: final flag: %w", p.number, ErrTampered)
	}
	return nil
}

// setNonce sets the nonce that a package is encrypted with: that of its header, and its
// number in the last four bytes.
func (p *place) setNonce(header []byte) {
	copy(p.gcm[:], header[4:headerSize])
	counter := binary.LittleEndian.Uint32(p.gcm[8:]) ^ uint32(p.number) //nolint:gosec // MaxPlainSize bounds it
	binary.LittleEndian.PutUint32(p.gcm[8:], counter)
}

// packagesOf walks over the packages of one stream.
type packagesOf struct {
	place
	rest int64 // plaintext of the packages after this one, in bytes
}

// from returns the walk, at the package that holds the plaintext byte at offset, which is
// in the stream.
func (s *Stream) from(offset int64) packagesOf {
	number := offset / PackageSize
	w := packagesOf{place: place{aead: newGCM(s.Key[:]), nonce: s.Nonce, number: number - 1}, rest: s.PlainSize - number*PackageSize}
	w.next()
	return w
}

// next goes on to the next package. False at the end of the stream.
func (w *packagesOf) next() bool {
	if w.rest == 0 {
		return false
	}
	w.number++
	w.length = int(min(w.rest, PackageSize))
	w.rest -= int64(w.length)
	w.final = w.rest == 0
	return true
}
