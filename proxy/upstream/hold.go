package upstream

import (
	"bytes"
	"fmt"
	"io"
)

// holdUpTo is the length in bytes of bodies that are read before the request
// begins. net/http sends headers by themselves before a body that it does not
// know to be in memory: two writes here and two reads there, which for a small
// object cost more than encrypting it. With the headers it fits into one write
// of the transport.
const holdUpTo = 32 << 10

// holdBody reads a small body into memory. Body's own error, or ErrUnreachable
// if it has another length than it says.
func (r *Request) holdBody() error {
	r.held = false
	if r.Body == nil || r.Length <= 0 || r.Length > holdUpTo || r.SignBody || r.Header.Get("Expect") != "" {
		return nil
	}
	buf := bytes.NewBuffer(make([]byte, 0, r.Length+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(r.Body, r.Length+1))
	_ = r.Body.Close()
	if err == nil && n != r.Length {
		err = fmt.Errorf("a body of %d bytes is not of the length it has", r.Length)
	}
	if err != nil {
		return fmt.Errorf("%s to upstream: %w (%w)", r.Method, ErrUnreachable, err)
	}
	data := buf.Bytes()
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	r.Body, _ = r.GetBody()
	r.held = true
	return nil
}
