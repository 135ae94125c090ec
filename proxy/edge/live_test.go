package edge

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/operator/forwarded"
)

func TestAGateThatGrowsLetsThoseInWhoWait(t *testing.T) {
	t.Parallel()
	g := NewGate(1, time.Minute)
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := make(chan func(), 1)
	go func() {
		if leave, err := g.Enter(t.Context()); err == nil {
			in <- leave
		}
	}()
	for {
		if _, waiting := g.holds(); waiting == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	g.Resize(2, 0)
	second := <-in
	if _, err := g.Enter(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("a third one: %v", err)
	}
	g.Resize(1, 0) // two are inside
	second()
	if _, err := g.Enter(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one after the gate became narrower: %v", err)
	}
	leave()
	if _, err := g.Enter(t.Context()); err != nil {
		t.Errorf("the only one: %v", err)
	}
}

// A listener that rests gives new connections to another process with the same socket, and
// serves on what it has.
func TestAListenerThatRestsKeepsItsConnections(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := inner.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	defer other.Close()
	l := Listen(inner, Connections{})
	l.Adjust(1, 0, 0, forwarded.Trust{})
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := l.Accept(); ended <- err }()
	l.Rest()
	select {
	case err := <-ended:
		t.Fatalf("Accept has ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	go func() {
		if second, err := net.Dial("tcp", other.Addr().String()); err == nil {
			second.Close()
		}
	}()
	if second, err := other.Accept(); err != nil {
		t.Errorf("the other process accepts nothing: %v", err)
	} else {
		second.Close()
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
