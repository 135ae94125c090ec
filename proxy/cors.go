package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// exposedHeaders are what scripts of another origin may read of an answer. They
// are MinIO's; a * counts for scripts that send no credentials of the browser's own.
const exposedHeaders = "Date, Etag, Server, Connection, Accept-Ranges, Content-Range, Content-Encoding, Content-Length, " +
	"Content-Type, Content-Disposition, Last-Modified, Content-Language, Cache-Control, Retry-After, X-Amz-Bucket-Region, " +
	"Expires, X-Amz*, X-Amz*, *"

// corsMethods are the methods that scripts of another origin may use.
var corsMethods = []string{"GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH"}

// serveCORS says on every answer which pages may read it (the Fetch standard,
// section 3.3, calls that CORS), and answers a browser's question beforehand
// itself: true. It is about browsers only; who may do what is not decided here.
func (s *Server) serveCORS(w http.ResponseWriter, r *http.Request) bool {
	h, origin := w.Header(), r.Header.Get("Origin")
	allowed := origin != "" && s.live.Load().AllowOrigin.Match(origin)
	method := r.Header.Get("Access-Control-Request-Method")
	preflight := r.Method == http.MethodOptions && method != ""
	h.Add("Vary", "Origin")
	if preflight {
		h.Set("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
		allowed = allowed && slices.Contains(corsMethods, method)
	}
	if allowed {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	switch {
	case preflight:
		if asked := r.Header.Values("Access-Control-Request-Headers"); allowed && len(asked) > 0 {
			h.Set("Access-Control-Allow-Headers", strings.Join(asked, ","))
		}
		if allowed {
			h.Set("Access-Control-Allow-Methods", method)
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	case allowed:
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
	}
	if r.Method == http.MethodOptions {
		h.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return true
	}
	return false
}
