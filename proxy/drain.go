package proxy

import "net/http"

// Drain makes readiness answer 503 from now on, so that load balancers send nothing
// new here. Everything else is served as before. It may be called more than once.
func (s *Server) Drain() { s.draining.Store(true) }

// serveDraining answers MinIO's readiness paths of a server that is about to end. It
// returns false if the request is for something else, or the server goes on.
func (s *Server) serveDraining(w http.ResponseWriter, r *http.Request) bool {
	if !s.draining.Load() || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/minio/health/ready", "/minio/health/cluster", "/minio/health/cluster/read":
		w.Header().Set("Server", "bucketseal")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	return false
}
