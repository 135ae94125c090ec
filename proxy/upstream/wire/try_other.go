//go:build !unix

package wire

// tryRead cannot read without waiting here: a connection that ended is noticed by the
// request that is sent on it.
type tryRead struct {
	f   func(fd uintptr) bool
	p   []byte
	n   int
	err error
}

// read takes nothing.
func (t *tryRead) read(uintptr) bool {
	t.n, t.err = 0, nothingThere{}
	return true
}
