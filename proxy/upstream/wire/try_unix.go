//go:build unix

package wire

import "syscall"

// tryRead is one read of a socket that does not wait.
type tryRead struct {
	f   func(fd uintptr) bool
	p   []byte
	n   int
	err error
}

// read takes what is there.
func (t *tryRead) read(fd uintptr) bool {
	for {
		t.n, t.err = syscall.Read(int(fd), t.p)
		if t.err != syscall.EINTR { //nolint:errorlint // a system call returns it as it is
			break
		}
	}
	if t.err == syscall.EAGAIN || t.err == syscall.EWOULDBLOCK { //nolint:errorlint // see above
		t.n, t.err = 0, nothingThere{}
	}
	return true
}
