package client

import (
	"errors"
	"io"
	"sync"
)

var errWiped = errors.New("the request is over")

// secretBody is a request's body that is zeroed when the call is over, though
// the transport may still be sending it then: a server may answer before it
// has read everything.
type secretBody struct {
	mu   sync.Mutex
	text []byte
}

func newSecretBody(text []byte) *secretBody { return &secretBody{text: text} }

// wipe zeroes the body. Readers get errWiped from then on.
func (b *secretBody) wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.text)
	b.text = nil
}

// size returns the body's length in bytes.
func (b *secretBody) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.text))
}

// reader returns a new reader of the whole body.
func (b *secretBody) reader() (io.ReadCloser, error) {
	return io.NopCloser(&secretReader{body: b}), nil
}

type secretReader struct {
	body   *secretBody
	offset int
}

func (r *secretReader) Read(p []byte) (int, error) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	switch {
	case r.body.text == nil:
		return 0, errWiped
	case r.offset == len(r.body.text):
		return 0, io.EOF
	}
	n := copy(p, r.body.text[r.offset:])
	r.offset += n
	return n, nil
}
