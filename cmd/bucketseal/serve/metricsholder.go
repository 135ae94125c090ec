package serve

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// metricsHolder has the server at metrics.address, which can be moved, begun and ended
// while the proxy serves.
type metricsHolder struct {
	registry  *prometheus.Registry
	handler   *proxy.Server
	inherited sockets
	more      []extra
	log       *slog.Logger

	mu      sync.Mutex
	address string // as configured
	server  *metricsServer
}

// follow makes the server what a configuration says. An error changes nothing.
func (h *metricsHolder) follow(c *config.Config) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.MetricsAddress != h.address {
		var fresh *metricsServer
		if c.MetricsAddress != "" {
			var err error
			if fresh, err = newMetricsServer(context.Background(), c, h.inherited, h.registry, h.handler, h.handler.ServeReadiness, h.more...); err != nil {
				return err
			}
			h.log.Info("metrics and health", "address", fresh.listener.Addr().String())
			go fresh.serve()
		}
		if h.server != nil {
			h.server.close()
		}
		h.server, h.address = fresh, c.MetricsAddress
	}
	if h.server == nil {
		return nil
	}
	if c.Profiling {
		h.log.Warn("metrics.profiling is on: whoever can reach this address can have the server profile itself", "address", h.server.listener.Addr().String())
	}
	h.server.profile(c.Profiling)
	return nil
}

// listener returns where the server listens, nil if it does not.
func (h *metricsHolder) listener() net.Listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server == nil {
		return nil
	}
	return h.server.listener
}

// rest has another process answer from now on; what is being answered is finished.
func (h *metricsHolder) rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		s := h.server.server
		go func() { _ = s.Shutdown(context.Background()) }()
	}
}

// close ends the server.
func (h *metricsHolder) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		h.server.close()
	}
}

// also has a path answered besides.
func (h *metricsHolder) also(pattern string, handler http.Handler) {
	h.more = append(h.more, extra{pattern, handler})
}
