package sse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"
)

// Stream is the DARE stream of one part: what is needed to encrypt or decrypt
// it. The nonce must never be used for another plaintext under the same key.
type Stream struct {
	Key   PartKey
	Nonce StreamNonce
	// PlainSize is the plaintext's length in bytes, known before the first byte.
	PlainSize int64
}

// config is strict: only DARE 2.0 and only AES-256-GCM, whatever the CPU.
func (s *Stream) config(firstPackage uint32) sio.Config {
	nonce := [nonceSize]byte(s.Nonce)
	return sio.Config{
		MinVersion:     sio.Version20,
		MaxVersion:     sio.Version20,
		CipherSuites:   []byte{sio.AES_256_GCM},
		Key:            s.Key[:],
		Nonce:          &nonce,
		SequenceNumber: firstPackage,
	}
}

// Encrypt returns a reader of the encrypted stream: exactly
// EncSize(PlainSize) bytes, then io.EOF. src must give exactly PlainSize bytes
// and then io.EOF; if it gives less, more, or another error, the reader fails
// before the last package and stays failed. Closing src is the caller's.
func (s *Stream) Encrypt(src io.Reader) (io.Reader, error) {
	guarded := &sourceGuard{src: src, remaining: s.PlainSize}
	if s.PlainSize == 0 {
		return &sticky{src: guarded}, nil // DARE of nothing is nothing
	}
	enc, err := sio.EncryptReader(guarded, s.config(0))
	if err != nil {
		return nil, fmt.Errorf("start encryption: %w", err)
	}
	return &sticky{src: enc}, nil
}

// Decrypt returns a reader of the plaintext bytes of r. src gives the
// encrypted bytes of r.Encrypted().Clip(EncSize(PlainSize)) and then io.EOF. Every
// package is checked against the stream's nonce and its place before sio sees
// it. Errors (ErrTampered, ErrTruncated, or src's own) are sticky and never
// io.EOF; io.EOF comes after r.Length bytes. Closing src is the caller's.
func (s *Stream) Decrypt(src io.Reader, r Range) (io.Reader, error) {
	if r.Offset < 0 || r.Length < 0 || r.Length > s.PlainSize-r.Offset {
		return nil, fmt.Errorf("range %d+%d of %d bytes: %w", r.Offset, r.Length, s.PlainSize, ErrTruncated)
	}
	if r.Length == 0 {
		return bytes.NewReader(nil), nil
	}
	first := r.Offset / PackageSize
	checked := &headerCheck{src: src, stream: s, number: first}
	dec, err := sio.DecryptReader(checked, s.config(uint32(first)))
	if err != nil {
		return nil, fmt.Errorf("start decryption: %w", err)
	}
	return &sticky{src: &window{src: dec, skip: r.Offset % PackageSize, remaining: r.Length}}, nil
}

// sticky repeats the first error for ever: after an authentication failure
// sio's next Read may return a clean end or the next package.
type sticky struct {
	src io.Reader
	err error
}

func (s *sticky) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.src.Read(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// sourceGuard gives sio exactly remaining bytes and io.EOF, or an error that is
// not io.ErrUnexpectedEOF, which sio takes for the end and seals as a valid,
// shorter object.
type sourceGuard struct {
	src       io.Reader
	remaining int64
	empty     int
}

func (g *sourceGuard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if g.remaining == 0 {
		var one [1]byte
		p = one[:]
	} else if int64(len(p)) > g.remaining {
		p = p[:g.remaining]
	}
	n, err := g.src.Read(p)
	if n > 0 && g.remaining == 0 {
		return 0, fmt.Errorf("more bytes than declared: %w", ErrSource)
	}
	g.remaining -= int64(n)
	switch {
	case err == nil && n == 0:
		if g.empty++; g.empty > 100 {
			return 0, io.ErrNoProgress
		}
		return 0, nil
	case err == nil:
		g.empty = 0
		return n, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("plaintext is cut off: %w", ErrSource)
	case err == io.EOF && g.remaining > 0:
		return n, fmt.Errorf("%d bytes missing: %w", g.remaining, ErrSource)
	default:
		return n, err
	}
}

// headerCheck passes encrypted packages on and refuses the first header that
// is not the one that this stream must have there.
type headerCheck struct {
	src     io.Reader
	stream  *Stream
	number  int64 // of the next package
	header  [headerSize]byte
	pending []byte // of header, still to be delivered
	body    int64  // of the current package, still to be delivered
}

func (h *headerCheck) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(h.pending) == 0 && h.body == 0 {
		if err := h.next(); err != nil {
			return 0, err
		}
	}
	if len(h.pending) > 0 {
		n := copy(p, h.pending)
		h.pending = h.pending[n:]
		return n, nil
	}
	if int64(len(p)) > h.body {
		p = p[:h.body]
	}
	n, err := h.src.Read(p)
	h.body -= int64(n)
	if err == io.EOF && h.body == 0 {
		err = nil
	}
	return n, notEOF(err)
}

func (h *headerCheck) next() error {
	last := packages(h.stream.PlainSize) - 1
	if _, err := io.ReadFull(h.src, h.header[:]); err != nil {
		if err == io.EOF && h.number > last {
			return io.EOF // the one place where the end belongs
		}
		return notEOF(err)
	}
	length := int64(PackageSize)
	if h.number == last {
		length = h.stream.PlainSize - last*PackageSize
	}
	final := h.header[4]&finalFlag != 0
	nonce := StreamNonce(h.header[4:])
	nonce[0] &^= finalFlag
	switch {
	case h.number > last:
		return fmt.Errorf("package %d of %d: %w", h.number, last+1, ErrTampered)
	case h.header[0] != sio.Version20 || h.header[1] != sio.AES_256_GCM:
		return fmt.Errorf("package %d: version or cipher: %w", h.number, ErrTampered)
	case int64(binary.LittleEndian.Uint16(h.header[2:]))+1 != length:
		return fmt.Errorf("package %d: length: %w", h.number, ErrTampered)
	case nonce != h.stream.Nonce:
		return fmt.Errorf("package %d: of another stream: %w", h.number, ErrTampered)
	case final != (h.number == last):
		return fmt.Errorf("package %d: final flag: %w", h.number, ErrTampered)
	}
	h.pending, h.body = h.header[:], length+tagSize
	h.number++
	return nil
}

// notEOF turns every form of an early end into ErrTruncated.
func notEOF(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// window delivers remaining bytes of src after skipping skip, and never asks
// src for more: beyond a range src has no final package.
type window struct {
	src             io.Reader
	skip, remaining int64
}

func (w *window) Read(p []byte) (int, error) {
	if w.remaining == 0 {
		return 0, io.EOF
	}
	if w.skip > 0 {
		n, err := io.CopyN(io.Discard, w.src, w.skip)
		w.skip -= n
		if err != nil {
			return 0, asDecryption(err)
		}
	}
	if int64(len(p)) > w.remaining {
		p = p[:w.remaining]
	}
	n, err := w.src.Read(p)
	w.remaining -= int64(n)
	if err == io.EOF && w.remaining == 0 {
		err = nil
	}
	if err == nil && w.remaining == 0 {
		// At its end sio returns its package buffer for reuse. What it says
		// there is of no use: every package was checked against its place.
		_, _ = io.Copy(io.Discard, w.src)
	}
	return n, asDecryption(err)
}

// asDecryption makes sio's own errors ours.
func asDecryption(err error) error {
	var broken sio.Error
	if errors.As(err, &broken) {
		return fmt.Errorf("%v: %w", broken, ErrTampered)
	}
	return notEOF(err)
}
