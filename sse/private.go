package sse

import (
	"crypto/rand"
	"fmt"
)

// privateMaxSize is what a private section needs at most, in bytes.
const privateMaxSize = 2 + nonceSize + 2 + 16 + 2 + 32

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

// Private is the sealed section of a record.
type Private struct {
	Facts
	// Nonce is the nonce of the object's stream; unused if the object is empty or
	// has parts.
	Nonce StreamNonce
	// hasNonce is false for an empty object.
	hasNonce bool
}

// NewPrivate returns the section for an object of plainSize bytes whose stream
// has the given nonce.
func NewPrivate(plainSize int64, nonce StreamNonce) *Private {
	return &Private{Nonce: nonce, hasNonce: plainSize > 0}
}

// NewPartsPrivate returns the section for an object of several parts: all that
// is known of it is in its manifest.
func NewPartsPrivate() *Private { return &Private{} }

func (p *Private) encode() []byte {
	out := make([]byte, 0, privateMaxSize)
	if p.hasNonce {
		out = appendField(out, tagNonce, p.Nonce[:])
	}
	return p.Facts.append(out)
}

func (p *Private) parse(b []byte) error {
	var last byte
	for len(b) > 0 {
		f, rest, err := nextField(b, last)
		if err != nil {
			return err
		}
		if err := p.setField(f); err != nil {
			return err
		}
		b, last = rest, f.tag
	}
	return nil
}

// parsePrivate reads the private section of r.
func parsePrivate(b []byte, r *Record) (*Private, error) {
	p := new(Private)
	if err := p.parse(b); err != nil {
		return nil, err
	}
	switch {
	case p.hasNonce != (r.PlainSize > 0):
		return nil, fmt.Errorf("stream nonce does not fit the plain size: %w", ErrRecord)
	case p.Parts != 0 || p.Facts.PlainSize != 0 || p.Checksum != nil && p.Checksum.Composite || p.ofManifest() || p.WholeCRC != nil:
		return nil, fmt.Errorf("facts of a manifest or an entry in a record: %w", ErrRecord)
	case r.OpaqueETag && p.MD5 != nil:
		return nil, fmt.Errorf("an MD5 in a record of an opaque ETag: %w", ErrRecord)
	case r.Manifest != (ManifestID{}) && (p.MD5 != nil || p.Checksum != nil):
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
