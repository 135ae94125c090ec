package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
	"github.com/bucketseal/bucketseal/operator/clientcert"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/edge"
)

// certPoll is how often certificate files are looked at.
const certPoll = 10 * time.Second

// park is after how long an idle connection gives back its memory. Clients that send
// requests all the time do not get so far, and for others it costs a goroutine.
const park = time.Second

// front is the listener, the certificate and the HTTP server before a handler.
type front struct {
	listener  *edge.Listener
	tls       *tls.Config // nil for plain HTTP
	server    *http.Server
	shutdown  atomic.Int64 // limits.shutdown, in nanoseconds
	closing   atomic.Bool  // each answer is the last one of its connection
	log       *slog.Logger
	newcomers newcomers
	hup       <-chan os.Signal
	reload    func() // for each hup
	stop      func() // ends the watching of certificates
}

// newFront listens, or takes the socket that was handed over. Files are watched until close is called.
func newFront(ctx context.Context, c *config.Config, inherited sockets, files *certs.Watcher, log *slog.Logger) (*front, error) {
	watch, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	hup, stopHup := hangups() // without TLS too: SIGHUP must not end the server
	stop := func() { stopWatch(); stopHup() }
	f := &front{
		log: log, stop: stop,
		server: &http.Server{
			ReadHeaderTimeout: c.Limits.ReadHeader,
			IdleTimeout:       c.Limits.Idle,
			MaxHeaderBytes:    int(2 * c.Limits.MaxHeader), // between, the proxy answers in S3's way
			ErrorLog:          stdlog.New(logs.HTTP(log), "", 0),
			HTTP2:             http2Limits(c.Limits),
			ConnContext:       edge.ConnContext,
		},
	}
	f.shutdown.Store(int64(c.Limits.Shutdown))
	f.server.ConnState = f.newcomers.connState
	var err error
	if f.tls, err = build.FrontTLS(c.TLS, files); err != nil {
		stop()
		return nil, err
	}
	f.hup, f.reload = hup, func() { files.Reload(true) }
	go files.Watch(watch, certPoll, nil)
	listener, err := inherited.listen(ctx, socketS3, c.Address)
	if err != nil {
		stop()
		return nil, fmt.Errorf("address: %w", err)
	}
	f.listener = edge.Listen(listener, edge.Connections{
		Most: c.Limits.MaxConnections, PerClient: c.Limits.MaxConnectionsPerClient, Trust: forwarded.Trust{Proxies: c.TrustedProxies},
		HTTP2: c.Limits.MaxHTTP2Connections, Headers: headerMemory(c), Park: park,
	})
	if f.tls != nil {
		f.tls = f.listener.TLS(f.tls)
	}
	return f, nil
}

// http2Limits bound what one connection may hold.
func http2Limits(l config.Limits) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: edge.HTTP2Streams,
		// Each connection keeps a buffer for the largest frame.
		MaxReadFrameSize: 64 << 10,
		// What clients may send before a handler asks for it.
		MaxReceiveBufferPerConnection: 1 << 20,
		MaxReceiveBufferPerStream:     512 << 10,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   15 * time.Second,
		WriteByteTimeout:              l.Stall,
	}
}

// leave makes each answer from now on the last one of its connection: a client that finds
// its connection closed between two requests cannot tell whether the second one was served.
func (f *front) leave() { f.closing.Store(true) }

// lastAnswers says so to clients.
func (f *front) lastAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.closing.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func (f *front) close() {
	f.stop()
	_ = f.listener.Close()
}

// Proxy answers requests until ctx ends, and then lets those that run finish
// within the limit. What is left is cut off.
func (f *front) serve(ctx context.Context, handler http.Handler) error {
	go findSupervisor(f.log).onHangup(ctx, f.hup, f.reload)
	f.server.Handler = f.lastAnswers(edge.Handler(clientcert.Handler(handler, nil)))
	f.server.TLSConfig = f.tls
	failed := make(chan error, 2)
	if f.tls != nil {
		go func() { failed <- f.server.ServeTLS(f.listener, "", "") }()
	} else {
		woken := f.listener.Woken()
		go func() { failed <- f.server.Serve(f.listener) }()
		go func() { failed <- f.server.Serve(woken) }()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve S3: %w", err)
	case <-ctx.Done():
	}
	shutdown := time.Duration(f.shutdown.Load())
	f.log.Info("ending: running transfers may finish", "limit", shutdown)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer cancel()
	_ = f.listener.Close()
	f.newcomers.wait(limit, newcomerTime)
	err := f.server.Shutdown(limit)
	if errors.Is(err, net.ErrClosed) { // the listener, before
		err = nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		f.log.Warn("transfers that were still running are cut off", "limit", shutdown)
		err = f.server.Close()
	}
	f.log.Info("ended")
	return err
}
