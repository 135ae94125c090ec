package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// handshakeTimeout bounds the handshake, readHeaderTimeout a request's line and
	// headers (HTTP/1.1).
	handshakeTimeout  = 5 * time.Second
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 90 * time.Second
	// byteTimeout ends an HTTP/2 connection whose client takes nothing.
	byteTimeout = 10 * time.Second

	acceptPause = 50 * time.Millisecond
)

// class is a kind of clients, each with an HTTP server of its own.
type class int

const (
	strangers class = iota
	known
	proxies // in front of this server; many clients come through each
	classes
)

// holdings bound what one connection of a class may hold. Go's HTTP/2 server keeps
// headers and a goroutine for each stream, and headers of four times as many that
// were reset while others were served.
type holdings struct {
	streams, headerBytes int
	// receive is what may come of a body before it is asked for.
	receivePerStream, receive int
	idle                      time.Duration
}

func (c class) holdings() holdings {
	const least = 64 << 10 // that HTTP/2 has for a connection
	switch c {
	case proxies: // 16 KiB: a client's certificate is among the headers
		return holdings{streams: 128, headerBytes: 16 << 10, receivePerStream: 64 << 10, receive: 1 << 20, idle: idleTimeout}
	case known:
		return holdings{streams: 32, headerBytes: 4 << 10, receivePerStream: 64 << 10, receive: 256 << 10, idle: idleTimeout}
	default:
		return holdings{streams: 4, headerBytes: 4 << 10, receivePerStream: 16 << 10, receive: least, idle: handshakeTimeout}
	}
}

// peerKey is where a connection's context keeps what its handshake proved.
type peerKey struct{}

// Serve answers requests until ctx ends; then it lets those under way finish,
// for the grace time at most, and returns nil. It closes the listener, which
// speaks plain TCP. It may be called once.
//
// Handshakes are done here and not by net/http, because what they prove decides
// which of two HTTP servers a connection goes to: the one for strangers holds next
// to nothing for them.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	var queues [classes]*queue
	var servers [classes]*http.Server
	for c := range classes {
		queues[c], servers[c] = newQueue(listener.Addr()), s.httpServer(c.holdings())
	}

	running, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	defer s.noise.flush()
	wait.Go(func() { s.watch(running) })
	wait.Go(func() { s.keepCreating(running) })

	failed := make(chan error, classes)
	accepting := make(chan error, 1)
	go func() { accepting <- s.accept(running, listener, &wait, queues) }()
	for c, server := range servers {
		go func() { failed <- server.Serve(queues[c]) }()
	}
	var err error
	select {
	case err = <-accepting:
	case err = <-failed:
	case <-ctx.Done():
	}
	stop()
	_ = listener.Close()
	s.shutdown(context.WithoutCancel(ctx), servers)
	if err != nil {
		return fmt.Errorf("key server: %w", err)
	}
	return nil
}

// shutdown ends the servers within the grace time; what is not done by then is cut
// off.
func (s *Server) shutdown(ctx context.Context, servers [classes]*http.Server) {
	grace, cancel := context.WithTimeout(ctx, s.opts.Grace)
	defer cancel()
	s.endStreams()
	var ending sync.WaitGroup
	for _, server := range servers {
		ending.Go(func() {
			if server.Shutdown(grace) != nil {
				_ = server.Close()
			}
		})
	}
	ending.Wait()
	s.waitForEnds(grace)
}

func (s *Server) httpServer(h holdings) *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       h.idle,
		MaxHeaderBytes:    h.headerBytes,
		ErrorLog:          log.New(connectionLog{s}, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          h.streams,
			MaxReceiveBufferPerStream:     h.receivePerStream,
			MaxReceiveBufferPerConnection: h.receive,
			MaxDecoderHeaderTableSize:     4 << 10,
			WriteByteTimeout:              byteTimeout,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if t, ok := c.(*tls.Conn); ok {
				if in, ok := t.NetConn().(*conn); ok {
					return context.WithValue(ctx, peerKey{}, in.peer)
				}
			}
			return ctx
		},
	}
}

// accept takes connections until the listener is closed, and has each shake hands
// by itself.
func (s *Server) accept(ctx context.Context, listener net.Listener, wait *sync.WaitGroup, queues [classes]*queue) error {
	for {
		raw, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // too few files, most likely: that passes
			s.noise.note(fmt.Sprintf("accept: %v", err))
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		in, dropped, ok := s.crowd.admit(raw)
		if !ok {
			s.noise.note(fmt.Sprintf("connection from %s refused: all %d are in use", raw.RemoteAddr(), s.crowd.limits.Most))
			_ = raw.Close()
			continue
		}
		if dropped != nil {
			s.noise.note(fmt.Sprintf("connection from %s closed: there are too many of those without rights", dropped.RemoteAddr()))
			_ = dropped.Close()
		}
		wait.Go(func() { s.greet(ctx, in, queues) })
	}
}

// greet does the handshake and hands the connection on.
func (s *Server) greet(ctx context.Context, in *conn, queues [classes]*queue) {
	st := s.state.Load()
	secured := tls.Server(in, st.tls)
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(limited); err != nil {
		s.noise.note(fmt.Sprintf("TLS handshake error from %s: %v", in.RemoteAddr(), err))
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil && speaksHTTP(record.RecordHeader) {
			_ = in.SetWriteDeadline(time.Now().Add(refusalWrite))
			_, _ = io.WriteString(in, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		}
		_ = in.Close()
		return
	}
	cs := secured.ConnectionState()
	in.peer = newPeer(&cs, st.trust)
	c := s.state.Load().classOf(in.peer.id)
	if c == strangers {
		in.left.Store(strangerBytes)
	} else if !s.crowd.promote(in, in.peer.id) {
		s.noise.note(fmt.Sprintf("connection from %s refused: its identity %s has too many", in.RemoteAddr(), in.peer.id))
		_ = in.Close()
		return
	}
	queues[c].put(in, secured)
}

// speaksHTTP says whether the first bytes of a connection are those of a request
// that was meant for plain HTTP.
func speaksHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET":
		return true
	}
	return false
}
