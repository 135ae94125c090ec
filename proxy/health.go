package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// healthTimeout bounds a readiness check.
const healthTimeout = 3 * time.Second

// serveHealth answers MinIO's health paths about the proxy itself, to anybody:
// live says that it runs, ready that the storage and the key service answer too,
// cluster that the storage has its quorum besides. It returns false if the
// request is for something else.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	status := http.StatusOK
	switch r.URL.Path {
	case "/minio/health/live":
	case "/minio/health/ready":
		status = s.readyStatus(r.Context())
	case "/minio/health/cluster", "/minio/health/cluster/read":
		status = s.clusterStatus(w.Header(), r)
	default:
		return false
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
	return true
}

func (s *Server) readyStatus(ctx context.Context) int {
	if err := s.ready(ctx); err != nil {
		s.log.Warn("not ready", "error", err)
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := s.opts.Upstream.Alive(ctx); err != nil {
		return err
	}
	if _, err := s.opts.KMS.Status(ctx); err != nil {
		return err
	}
	return s.setup.ensure(ctx)
}

// clusterStatus is what MinIO says of its quorum, if the proxy is ready itself.
// With maintenance=true MinIO says 412 if it could not spare a server.
func (s *Server) clusterStatus(h http.Header, r *http.Request) int {
	if status := s.readyStatus(r.Context()); status != http.StatusOK {
		return status
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	up := &upstream.Request{Method: http.MethodGet, Bucket: "minio", Key: strings.TrimPrefix(r.URL.Path, adminRoot)}
	maintenance := r.URL.Query().Get("maintenance") == "true"
	if maintenance {
		up.Query = map[string][]string{"maintenance": {"true"}}
	}
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		s.log.Warn("not ready", "error", err)
		return http.StatusServiceUnavailable
	}
	defer upstream.Discard(resp)
	for name, values := range resp.Header {
		if strings.HasPrefix(name, "X-Minio-") {
			h[name] = values
		}
	}
	switch {
	case resp.StatusCode == http.StatusOK, maintenance && resp.StatusCode == http.StatusPreconditionFailed:
		return resp.StatusCode
	default:
		s.log.Warn("not ready", "error", fmt.Sprintf("MinIO's cluster check answers %d", resp.StatusCode))
		return http.StatusServiceUnavailable
	}
}
