package plaintext

import (
	"bytes"
	"io"
)

// Drain reads a body that must be empty, so that its digests are checked.
func Drain(body io.Reader) error {
	var one [1]byte
	_, err := io.ReadFull(body, one[:])
	switch err {
	case nil:
		return ErrIncompleteBody
	case io.EOF:
		return nil
	default:
		return err
	}
}

// bufferedBody is a body that was read whole, because its length was not said.
type bufferedBody struct {
	Body
	r *bytes.Reader
}

// Read implements Body.
func (b bufferedBody) Read(p []byte) (int, error) { return b.r.Read(p) }

// ReadUnsized reads a body that comes without a length, as mc's last part of a pipe
// and a form's file do, if it has limit bytes at most. done gives its memory back. ErrBusy,
// ErrMissingLength.
func ReadUnsized(memory Memory, limit int64, body Body) (whole Body, size int64, done func(), err error) {
	buffer := memory.Take(limit + 1)
	if buffer == nil {
		return nil, 0, nil, ErrBusy
	}
	done = func() { memory.Give(buffer, false) }
	n, err := io.ReadFull(body, buffer)
	switch {
	case err == nil:
		done()
		return nil, 0, nil, ErrMissingLength
	case body.Err() != io.EOF:
		done()
		return nil, 0, nil, Fault(body, err)
	}
	return bufferedBody{body, bytes.NewReader(buffer[:n])}, int64(n), done, nil
}

// Fault returns the client's fault if there is one, since upstream's failure
// then only follows from it.
func Fault(body Body, err error) error {
	if own := body.Err(); own != nil && own != io.EOF {
		return own
	}
	return err
}

// BeforeEnd returns src, of size bytes, and calls commit before the last of them are
// delivered. DARE's last package follows the verified end of the plaintext, so everything is
// known then. An error of commit is that of reading.
func BeforeEnd(src io.Reader, size int64, commit func() error) io.Reader {
	return &lastBytes{src: src, remaining: size, commit: commit}
}

// lastBytes implements BeforeEnd.
type lastBytes struct {
	src       io.Reader
	remaining int64
	commit    func() error
	err       error
}

func (l *lastBytes) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.src.Read(p)
	if err == nil || err == io.EOF {
		if err := l.passing(n); err != nil {
			return 0, err
		}
	}
	return n, err
}

// passing commits if the n bytes that are to be delivered now are the last.
func (l *lastBytes) passing(n int) error {
	l.remaining -= int64(n)
	if l.remaining == 0 && l.commit != nil {
		if l.err = l.commit(); l.err != nil {
			return l.err
		}
		l.commit = nil
	}
	return nil
}

// WriteTo hands on what src writes.
func (l *lastBytes) WriteTo(w io.Writer) (int64, error) {
	if l.err != nil {
		return 0, l.err
	}
	to, ok := l.src.(io.WriterTo)
	if !ok {
		return io.Copy(w, struct{ io.Reader }{l})
	}
	return to.WriteTo(&lastWriter{l, w})
}

// lastWriter commits before the last bytes are written.
type lastWriter struct {
	last *lastBytes
	w    io.Writer
}

// Write writes.
func (l *lastWriter) Write(p []byte) (int, error) {
	if err := l.last.passing(len(p)); err != nil {
		return 0, err
	}
	return l.w.Write(p)
}

// HoldLast returns a plain body of size bytes, and holds the last of them back until the
// body's digests are verified.
func HoldLast(body io.Reader, size int64) io.Reader {
	return &sourceReader{src: body, remaining: size}
}

// sourceReader implements HoldLast.
type sourceReader struct {
	src       io.Reader
	remaining int64
	last      [1]byte
	held      bool
}

func (r *sourceReader) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case r.remaining > 1:
		n, err := r.src.Read(p[:min(int64(len(p)), r.remaining-1)])
		r.remaining -= int64(n)
		return n, err
	case r.remaining == 1 && !r.held:
		n, err := r.src.Read(r.last[:])
		r.held = n == 1
		if !r.held || err != nil && err != io.EOF {
			return 0, err
		}
		return 0, nil
	}
	if err := Drain(r.src); err != nil {
		return 0, err
	}
	if r.held {
		r.held, r.remaining = false, 0
		p[0] = r.last[0]
		return 1, io.EOF
	}
	return 0, io.EOF
}
