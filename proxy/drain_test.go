package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOperatorsAreToldThatAServerIsAboutToEnd(t *testing.T) {
	t.Parallel()
	server := serverBefore(t, func(http.ResponseWriter, *http.Request) {})
	server.Drain()
	w := httptest.NewRecorder()
	server.ServeReadiness(w, httptest.NewRequest(http.MethodGet, "/minio/health/ready", nil))
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "not ready: about to end\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
