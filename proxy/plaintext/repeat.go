package plaintext

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Repeat returns what gives a body for each time that it is sent, if that can be done: a body
// that cannot be read from its start again can be sent again as long as nothing of it was read.
func Repeat(body storage.Body) func() (again storage.Body, ok bool) {
	var last *untouched
	begun := false
	return func() (storage.Body, bool) {
		again, first := body, !begun
		begun = true
		switch {
		case first && body.Again != nil:
		case body.Again != nil:
			reader, err := body.Again()
			again.Reader = reader
			return again, err == nil
		case first || last.takeBack():
			last = &untouched{src: body.Reader}
			again.Reader = last
		default:
			again.Reader = nil
			return again, body.Length == 0
		}
		return again, true
	}
}

var errTakenBack = errors.New("the body is sent anew")

// The states of an untouched.
const (
	asItWas int32 = iota
	begunOn
	takenBack
)

// untouched is a reader of src until it is taken back, which it can be before its first read.
type untouched struct {
	src   io.Reader
	state atomic.Int32
}

// takeBack says whether nothing was read, and that nothing will be.
func (u *untouched) takeBack() bool { return u.state.CompareAndSwap(asItWas, takenBack) }

func (u *untouched) begin() bool {
	return u.state.CompareAndSwap(asItWas, begunOn) || u.state.Load() == begunOn
}

// Read reads src.
func (u *untouched) Read(p []byte) (int, error) {
	if !u.begin() {
		return 0, errTakenBack
	}
	return u.src.Read(p)
}

// WriteTo hands on what src writes.
func (u *untouched) WriteTo(w io.Writer) (int64, error) {
	if !u.begin() {
		return 0, errTakenBack
	}
	return io.Copy(w, u.src)
}
