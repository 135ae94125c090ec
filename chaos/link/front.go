package link

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Front listens on an address and carries what comes to one of its links, by turns. With several
// links it asks each server whether it is alive, over the link itself, and passes over those that
// are not.
type Front struct {
	listener net.Listener
	links    []*Link
	alive    []atomic.Bool
	next     atomic.Uint32
	done     chan struct{}
	all      sync.WaitGroup
}

// healthPath answers 200 where a MinIO has joined enough others to write. One that only lives, having just been
// started, says of objects that there are none.
const healthPath = "/minio/health/cluster"

const (
	healthPace  = time.Second
	healthLimit = time.Second
)

// Listen serves on the address until Close.
func Listen(address string, links ...*Link) (*Front, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	f := &Front{listener: listener, links: links, alive: make([]atomic.Bool, len(links)), done: make(chan struct{})}
	for i := range links {
		f.alive[i].Store(true)
		if len(links) > 1 {
			f.all.Go(func() { f.watch(i) })
		}
	}
	f.all.Go(f.serve)
	return f, nil
}

// Address is where it listens.
func (f *Front) Address() string { return f.listener.Addr().String() }

// Close stops listening, and breaks off what is carried.
func (f *Front) Close() {
	close(f.done)
	_ = f.listener.Close()
	for _, l := range f.links {
		l.Set(Fault{Refuse: true})
	}
	f.all.Wait()
}

func (f *Front) serve() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			select {
			case <-f.done:
				return
			case <-time.After(20 * time.Millisecond): // no descriptors left, say
				continue
			}
		}
		f.all.Go(func() { f.take(client) })
	}
}

// take finds a server for a connection.
func (f *Front) take(client net.Conn) {
	first := int(f.next.Add(1))
	for i := range f.links {
		at := (first + i) % len(f.links)
		if !f.alive[at].Load() {
			continue
		}
		server, err := f.links[at].dial()
		if err == nil {
			f.links[at].carry(client, server)
			return
		}
	}
	abort(client)
}

// watch asks one server whether it is alive, through its link.
func (f *Front) watch(i int) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		server, err := f.links[i].dial()
		if err != nil {
			return nil, err
		}
		ours, theirs := loopback()
		if ours == nil {
			return nil, net.ErrClosed
		}
		f.all.Go(func() { f.links[i].carry(theirs, server) })
		return ours, nil
	}}
	client := &http.Client{Transport: transport, Timeout: healthLimit}
	scheme := "http://"
	if f.links[i].Secure {
		scheme = "https://"
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // whether it is alive, not who it is
	}
	for {
		select {
		case <-f.done:
			return
		case <-time.After(healthPace):
		}
		answer, err := client.Get(scheme + f.links[i].target + healthPath)
		if err == nil {
			_ = answer.Body.Close()
		}
		f.alive[i].Store(err == nil && answer.StatusCode == http.StatusOK)
	}
}

// loopback is a pair of TCP connections, which unlike net.Pipe can be closed one way. Nil if there is none.
func loopback() (ours, theirs net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil
	}
	defer listener.Close()
	ours, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, nil
	}
	if theirs, err = listener.Accept(); err != nil {
		_ = ours.Close()
		return nil, nil
	}
	return ours, theirs
}
