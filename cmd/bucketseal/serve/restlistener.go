package serve

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// restListener is a listener whose socket another process may go on with.
type restListener struct {
	net.Listener
	resting atomic.Bool
	ended   sync.Once
	end     chan struct{}
}

func newRestListener(l net.Listener) *restListener {
	return &restListener{Listener: l, end: make(chan struct{})}
}

// rest makes it accept nothing more, without an end of Accept: that waits for Close. The
// connections that wait are the other process's.
func (l *restListener) rest() {
	l.resting.Store(true)
	_ = l.Listener.Close()
}

// Accept implements net.Listener.
func (l *restListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if errors.Is(err, net.ErrClosed) && l.resting.Load() {
		<-l.end
	}
	return c, err
}

// Close implements net.Listener.
func (l *restListener) Close() error {
	l.ended.Do(func() { close(l.end) })
	if err := l.Listener.Close(); !l.resting.Load() {
		return err
	}
	return nil // it was closed before
}
