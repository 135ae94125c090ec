package main

import (
	"context"
	"flag"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// proxyCommand is the plain reverse proxy, a process of its own, so that its
// processor time is known: net/http/httputil as anybody would tune it.
func proxyCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "`HOST:PORT` to serve")
	upstream := flags.String("upstream", "127.0.0.1:9000", "`HOST:PORT` of MinIO")
	cert := flags.String("cert", "", "certificate `FILE`, for TLS")
	key := flags.String("key", "", "its private key `FILE`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: *upstream})
	proxy.Transport = &http.Transport{DisableCompression: true, MaxIdleConns: 1024, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}
	proxy.BufferPool = &bufferPool{pool: sync.Pool{New: func() any { return make([]byte, 32<<10) }}}
	server := &http.Server{Addr: *listen, Handler: proxy, ReadHeaderTimeout: time.Minute}
	// HTTP/1.1 only, which is what the benchmark speaks.
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	var err error
	if *cert != "" {
		err = server.ListenAndServeTLS(*cert, *key)
	} else {
		err = server.ListenAndServe()
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// bufferPool is the proxy's pool of copy buffers.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte { return p.pool.Get().([]byte) }

//nolint:staticcheck // SA6002: ReverseProxy hands slices, not pointers; 24 bytes for each request are the usual price.
func (p *bufferPool) Put(b []byte) { p.pool.Put(b) }
