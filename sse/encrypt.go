package sse

import (
	"errors"
	"fmt"
	"io"
)

// Encrypter reads the encrypted stream of a plaintext. Up to four whole packages are read,
// encrypted in place and handed on from the same buffer. It is not safe for concurrent use, and needs
// no Close: its buffer is kept for others once it was read to its end or failed.
type Encrypter struct {
	src     sourceGuard
	at      packagesOf
	ended   bool
	buf     *buffer
	pending []byte // encrypted and not delivered, within buf
	used    int    // bytes of buf that were written to
	err     error
}

// Encrypt returns the encrypted stream: exactly EncSize(PlainSize) bytes, then
// io.EOF. src must give exactly PlainSize bytes and then io.EOF; if it gives less, more, or
// another error, reading fails before the last package and stays failed. Closing src is
// the caller's.
func (s *Stream) Encrypt(src io.Reader) (*Encrypter, error) {
	if s.PlainSize < 0 || s.PlainSize > MaxPlainSize {
		return nil, fmt.Errorf("a stream of %d bytes: %w", s.PlainSize, ErrSource)
	}
	e := &Encrypter{src: sourceGuard{src: src, remaining: s.PlainSize}}
	if s.PlainSize == 0 {
		e.ended = true // DARE of nothing is nothing
	} else {
		e.at = s.from(0)
	}
	return e, nil
}

// Read reads encrypted bytes. Errors are sticky, and never io.ErrUnexpectedEOF.
func (e *Encrypter) Read(p []byte) (int, error) {
	if len(p) == 0 && e.err == nil {
		return 0, nil
	}
	if len(e.pending) == 0 {
		if err := e.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	return n, nil
}

// WriteTo writes all that is left: whole packages in each write, and in the last one only
// the last. Errors are those of Read,
// but io.EOF, and w's.
func (e *Encrypter) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if len(e.pending) == 0 {
			if err := e.next(); err == io.EOF {
				return written, nil
			} else if err != nil {
				return written, err
			}
		}
		n, err := w.Write(e.pending)
		written += int64(n)
		e.pending = e.pending[n:]
		if err != nil {
			return written, err
		}
		if len(e.pending) > 0 {
			return written, io.ErrShortWrite
		}
	}
}

// next encrypts the next packages, as many as fit; the last one of the stream always by
// itself. After that it gives the buffer back and returns io.EOF. Errors are sticky.
func (e *Encrypter) next() error {
	if e.err == nil {
		e.err = e.encrypt()
	}
	if e.err != nil && e.buf != nil {
		e.buf.release(e.used)
		e.buf, e.pending = nil, nil
	}
	return e.err
}

func (e *Encrypter) encrypt() error {
	if e.ended {
		if e.at.aead != nil {
			return io.EOF // the source's end was verified before the last package
		}
		return e.src.end()
	}
	if e.buf == nil {
		e.buf = takeBuffer(EncSize(int64(e.at.length) + e.at.rest))
	}
	filled := 0
	for filled == 0 || !e.at.final && filled+e.at.encSize() <= len(e.buf.bytes) {
		pack := e.buf.bytes[filled : filled+e.at.encSize()]
		filled += len(pack)
		e.used = max(e.used, filled)
		if err := e.encryptNext(pack); err != nil {
			return err
		}
	}
	e.pending = e.buf.bytes[:filled]
	return nil
}

// encryptNext makes pack the next package.
func (e *Encrypter) encryptNext(pack []byte) error {
	if _, err := io.ReadFull(&e.src, pack[headerSize:headerSize+e.at.length]); err != nil {
		return err
	}
	if e.at.final {
		if err := e.src.end(); err != io.EOF {
			return err
		}
	}
	e.at.seal(pack)
	e.ended = !e.at.next()
	return nil
}

// ReadSpaced reads plainSize bytes of src into buffer, which has EncSize(plainSize) bytes:
// with room between them, for EncryptSpaced. Errors are those of io.ReadFull.
func ReadSpaced(src io.Reader, buffer []byte, plainSize int64) error {
	for plainSize > 0 {
		n := min(plainSize, PackageSize)
		if _, err := io.ReadFull(src, buffer[headerSize:headerSize+n]); err != nil {
			return err
		}
		buffer = buffer[n+packageOverhead:]
		plainSize -= n
	}
	return nil
}

// EncryptSpaced encrypts in place what ReadSpaced has read: PlainSize bytes. What buffer
// holds then is what Encrypt gives.
func (s *Stream) EncryptSpaced(buffer []byte) {
	if s.PlainSize == 0 {
		return
	}
	at := s.from(0)
	for more := true; more; more = at.next() {
		at.seal(buffer[:at.encSize()])
		buffer = buffer[at.encSize():]
	}
}

// sourceGuard gives exactly remaining bytes and io.EOF, or an error that is not
// io.ErrUnexpectedEOF: a source that is cut off is never taken for one that ended.
type sourceGuard struct {
	src       io.Reader
	remaining int64
	empty     int
	err       error // sticky: io.ReadFull drops one that comes beside the last bytes
}

// end reads the end of the source. io.EOF if that is where it belongs.
func (g *sourceGuard) end() error {
	var one [1]byte
	for {
		if _, err := g.Read(one[:]); err != nil {
			return err
		}
	}
}

// Read reads the source.
func (g *sourceGuard) Read(p []byte) (n int, err error) {
	if g.err == nil && len(p) > 0 {
		n, g.err = g.read(p)
	}
	return n, g.err
}

func (g *sourceGuard) read(p []byte) (int, error) {
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
