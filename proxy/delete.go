package proxy

import "net/http"

// deleteObject serves DeleteObject: forwarded, but for If-Match, which upstream
// ignores.
func (s *Server) deleteObject(w http.ResponseWriter, r *request) error {
	if err := s.vault.MayDelete(r.Context(), s.reader(r), r.name(), r.query.Get("versionId"), list(r.Header, "If-Match")); err != nil {
		return err
	}
	return s.forward(w, r)
}
