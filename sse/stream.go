package sse

import (
	"errors"
	"fmt"
	"io"
)

// Stream is the DARE stream of one part: what is needed to encrypt or decrypt
// it. The nonce must never be used for another plaintext under the same key.
type Stream struct {
	Key   PartKey
	Nonce StreamNonce
	// PlainSize is the plaintext's length in bytes, known before the first byte.
	PlainSize int64
}

// Decrypt returns a reader of the plaintext bytes of r. src gives the encrypted bytes of
// r.Encrypted().Clip(EncSize(PlainSize)); no more of it is read. Errors are those of
// Decrypter. Closing src is the caller's.
func (s *Stream) Decrypt(src io.Reader, r Range) (*Decrypter, error) {
	if r.Offset < 0 || r.Length < 0 || r.Length > s.PlainSize-r.Offset {
		return nil, fmt.Errorf("range %d+%d of %d bytes: %w", r.Offset, r.Length, s.PlainSize, ErrTruncated)
	}
	d := &Decrypter{src: src, remaining: r.Length, toRead: r.Encrypted().Clip(EncSize(s.PlainSize)).Length}
	if r.Length > 0 {
		d.begin(s, r.Offset)
	}
	return d, nil
}

// notEOF turns every form of an early end into ErrTruncated.
func notEOF(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}
