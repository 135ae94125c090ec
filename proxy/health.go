package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// serveHealth answers MinIO's health paths about the proxy itself, to anybody:
// live says that it runs, ready that the storage and the key service answer too,
// cluster that the storage has its quorum besides. It returns false if the
// request is for something else.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	answer := healthAnswer{status: http.StatusOK}
	switch r.URL.Path {
	case "/minio/health/live":
	case "/minio/health/ready":
		answer = s.probes.ask(r.Context(), r.URL.Path, s.readyAnswer)
	case "/minio/health/cluster", "/minio/health/cluster/read":
		maintenance := r.URL.Query().Get("maintenance") == "true"
		answer = s.probes.ask(r.Context(), fmt.Sprint(r.URL.Path, maintenance), func(ctx context.Context) healthAnswer {
			return s.clusterAnswer(ctx, strings.TrimPrefix(r.URL.Path, adminRoot), maintenance)
		})
	default:
		return false
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(answer.status)
	return true
}

func (s *Server) readyAnswer(ctx context.Context) healthAnswer {
	if err := s.ready(ctx); err != nil {
		return s.notReady(err)
	}
	return healthAnswer{status: http.StatusOK}
}

func (s *Server) notReady(err error) healthAnswer {
	s.log.Warn("not ready", "error", err)
	return healthAnswer{status: http.StatusServiceUnavailable}
}

func (s *Server) ready(ctx context.Context) error {
	if err := s.opts.Upstream.Alive(ctx); err != nil {
		return err
	}
	if _, err := s.opts.KMS.Status(ctx); err != nil {
		return err
	}
	if err := s.setup.ensure(ctx); err != nil {
		return err
	}
	return s.fitness.ensure(ctx)
}

// clusterAnswer is what MinIO says of its quorum, if the proxy is ready itself.
// With maintenance MinIO says 412 if it could not spare a server.
func (s *Server) clusterAnswer(ctx context.Context, path string, maintenance bool) healthAnswer {
	if err := s.ready(ctx); err != nil {
		return s.notReady(err)
	}
	up := &upstream.Request{Method: http.MethodGet, Bucket: "minio", Key: path}
	if maintenance {
		up.Query = map[string][]string{"maintenance": {"true"}}
	}
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return s.notReady(err)
	}
	defer upstream.Discard(resp)
	answer := healthAnswer{status: resp.StatusCode, header: http.Header{}}
	for name, values := range resp.Header {
		if strings.HasPrefix(name, "X-Minio-") {
			answer.header[name] = values
		}
	}
	if resp.StatusCode != http.StatusOK && (!maintenance || resp.StatusCode != http.StatusPreconditionFailed) {
		answer.status = s.notReady(fmt.Errorf("MinIO's cluster check answers %d", resp.StatusCode)).status
	}
	return answer
}
