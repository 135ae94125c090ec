package s3api

import (
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// deleteObject serves DeleteObject: forwarded, but for If-Match, which upstream
// ignores.
func (s *API) deleteObject(w http.ResponseWriter, r *intake.Request) error {
	if err := s.vault.MayDelete(r.Context(), s.reader(r), name(r), r.Query.Get("versionId"), list(r.Header, "If-Match")); err != nil {
		return err
	}
	return s.in.Forward(w, r, upstream.S3)
}
