package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
	"github.com/bucketseal/bucketseal/operator/clientcert"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/console"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// rememberRefusals has the console know the last refusals, if there is a console: something
// stands in front of the audit log then, or of none.
func rememberRefusals(c *config.Config, o *proxy.Options) {
	if c.Console.Address != "" {
		o.Audit = console.NewRecent(o.Audit)
	}
}

// recentOf returns what rememberRefusals has set, nil if that was nothing.
func recentOf(account intake.Auditor) *console.Recent {
	recent, _ := account.(*console.Recent)
	return recent
}

// consoleServer serves the console. nil is none.
type consoleServer struct {
	listener net.Listener
	server   *http.Server
}

// openConsole serves the console at console.address, if there is one, until it is closed.
func (r *running) openConsole(ctx context.Context, c *config.Config, up *upstream.Client, inherited sockets) error {
	if c.Console.Address == "" {
		return nil
	}
	files := certs.NewWatcher(r.log)
	secure, err := build.FrontTLS(c.TLS, files)
	if err != nil {
		return err
	}
	facts := &consoleFacts{running: r, forwarder: up.Forwarder()}
	page, err := console.New(console.Options{
		Proxy: r.handler, Region: c.Region, Facts: facts, Stored: facts.stored, Recent: r.recent, Origin: r.clientOf,
		Life: c.Console.Session, Secure: secure != nil, Logger: r.log,
	})
	if err != nil {
		return err
	}
	l, err := inherited.listen(ctx, socketConsole, c.Console.Address)
	if err != nil {
		return fmt.Errorf("console.address: %w", err)
	}
	if err := guardSecrets(l.Addr(), secure != nil || c.Console.PlainHTTP); err != nil {
		_ = l.Close()
		return err
	}
	patience := edge.Patience{Stall: c.Limits.Stall}
	s := &consoleServer{listener: l, server: &http.Server{
		Handler: edge.Handler(clientcert.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w, req, finish := patience.Apply(w, req)
			defer finish()
			page.ServeHTTP(w, req)
		}), nil)),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: stdlog.New(logs.HTTP(r.log), "", 0), TLSConfig: secure,
		HTTP2: http2Limits(c.Limits),
	}}
	go files.Watch(ctx, certPoll, nil)
	go page.Watch(ctx)
	go s.serve(newSideDoor(l, forwarded.Trust{Proxies: c.TrustedProxies}), secure)
	r.console = s
	r.log.Info("console", "address", l.Addr().String(), "tls", secure != nil)
	if c.Console.PlainHTTP && secure == nil {
		r.log.Warn("console.plain_http is on: whoever reads what travels to this address reads secret keys", "address", l.Addr().String())
	}
	return nil
}

// guardSecrets refuses a socket on which secret keys would travel readable. The configuration was
// checked for that; a service manager's socket listens where its unit says.
func guardSecrets(at net.Addr, allowed bool) error {
	if tcp, ok := at.(*net.TCPAddr); allowed || ok && tcp.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("console.address: the socket that was handed over listens on %s, where secret keys are typed in without TLS; "+
		"set tls, have its unit listen on 127.0.0.1, or set console.plain_http if something before it has TLS", at)
}

func (s *consoleServer) serve(l net.Listener, secure *tls.Config) {
	if secure != nil {
		_ = s.server.ServeTLS(l, "", "")
		return
	}
	_ = s.server.Serve(l)
}

// rest has another process answer from now on. Sessions end with this one.
func (s *consoleServer) rest() {
	if s != nil {
		go func() { _ = s.server.Shutdown(context.Background()) }()
	}
}

// close ends the server.
func (s *consoleServer) close() {
	if s != nil {
		_ = s.server.Close()
	}
}

// clientOf returns the address of the client that a request comes from.
func (r *running) clientOf(req *http.Request) netip.Addr {
	c := r.config.Load()
	return forwarded.Trust{Proxies: c.TrustedProxies, Header: forwarded.Header(c.ForwardedHeader)}.Origin(req).Addr
}
