package proxy

import (
	"context"
	"net/http"
	"time"
)

// healthTimeout bounds a readiness check.
const healthTimeout = 3 * time.Second

// serveHealth answers MinIO's health paths about the proxy itself, to anybody:
// live says that it runs, ready and cluster that the storage and the key service
// answer too. It returns false if the request is for something else.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/minio/health/live":
		w.WriteHeader(http.StatusOK)
	case "/minio/health/ready", "/minio/health/cluster", "/minio/health/cluster/read":
		if err := s.ready(r.Context()); err != nil {
			s.log.Warn("not ready", "error", err)
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		w.WriteHeader(http.StatusOK)
	default:
		return false
	}
	return true
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
