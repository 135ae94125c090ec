package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/glob"
)

func TestOnlyAllowedOriginsAreToldSo(t *testing.T) {
	t.Parallel()
	s := &Server{}
	s.Adopt(Options{AllowOrigin: glob.Patterns{"https://*.example.com", "http://localhost:3000"}})
	for origin, want := range map[string]bool{
		"https://a.example.com": true, "http://localhost:3000": true, "http://a.example.com": false,
		"https://example.com.evil.test": false, "null": false, "": false,
	} {
		for _, preflight := range []bool{false, true} {
			r, w := httptest.NewRequest(http.MethodGet, "/b/k", nil), httptest.NewRecorder()
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			if preflight {
				r.Method = http.MethodOptions
				r.Header.Set("Access-Control-Request-Method", "PUT")
			}
			if answered := s.serveCORS(w, r); answered != preflight {
				t.Errorf("%q: answered %v", origin, answered)
			}
			got := w.Header().Get("Access-Control-Allow-Origin")
			if want != (got == origin && origin != "") || !want && got != "" {
				t.Errorf("%q, preflight %v: allowed %q", origin, preflight, got)
			}
			if allowed := w.Header().Get("Access-Control-Allow-Methods"); (allowed != "") != (want && preflight) {
				t.Errorf("%q, preflight %v: methods %q", origin, preflight, allowed)
			}
		}
	}
}
