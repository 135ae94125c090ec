package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/adminapi"
)

// serveHealth answers MinIO's health paths about the proxy itself, to anybody:
// live says that it runs, ready that the storage and the key service do what reads
// and writes need, cluster that the storage has its quorum besides. It returns false if the
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
			return s.clusterAnswer(ctx, strings.TrimPrefix(r.URL.Path, adminapi.Root), maintenance)
		})
	default:
		return false
	}
	w.Header().Set("Server", "bucketseal")
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(answer.status)
	return true
}

func (s *Server) readyAnswer(ctx context.Context) healthAnswer {
	if err := s.readiness.Ask(ctx); err != nil {
		return notReady
	}
	return healthAnswer{status: http.StatusOK}
}

// Ready says whether the server can do what clients ask for, after a look at what it needs:
// nil, or system.ErrNotReady with the causes.
func (s *Server) Ready(ctx context.Context) error { return s.readiness.Ask(ctx) }

// notReady is all that strangers are told; the log says why, and ServeReadiness.
var notReady = healthAnswer{status: http.StatusServiceUnavailable}

// ServeReadiness answers MinIO's path for readiness as ServeHTTP does, with the
// causes in words besides. It is for an address that only operators reach.
func (s *Server) ServeReadiness(w http.ResponseWriter, r *http.Request) {
	answer, words := notReady, "not ready: about to end"
	if !s.draining.Load() {
		answer = s.probes.ask(r.Context(), "/minio/health/ready", s.readyAnswer)
		words = s.readiness.Words()
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, words+"\n")
}

// clusterAnswer is what MinIO says of its quorum, if the proxy is ready itself.
// With maintenance MinIO says 412 if it could not spare a server.
func (s *Server) clusterAnswer(ctx context.Context, path string, maintenance bool) healthAnswer {
	if err := s.readiness.Ask(ctx); err != nil {
		return notReady
	}
	said, err := s.opts.Upstream.Health(ctx, path, maintenance)
	if err != nil {
		return notReady
	}
	answer := healthAnswer{status: said.Status, header: http.Header(said.Header)}
	if said.Status != http.StatusOK && (!maintenance || said.Status != http.StatusPreconditionFailed) {
		s.log.Warn("MinIO has no quorum", "status", said.Status)
		answer.status = notReady.status
	}
	return answer
}

// State says whether MinIO and the key service do what reads and writes need, as far as they
// were tried, and in words for operators how things are.
func (s *Server) State() (storage, keys bool, words string) {
	storage, keys = s.readiness.Usable()
	return storage, keys, s.readiness.Words()
}
