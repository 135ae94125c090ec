package proxycmd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthAsksThePathOfAURL(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/minio/health/ready" && r.URL.Path != "/v1/ready" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	for suffix, ready := range map[string]bool{"": true, "/": true, "/v1/ready": true, "/v1/other": false} {
		if _, err := askReady(context.Background(), server.URL+suffix, true); (err == nil) != ready {
			t.Errorf("%q: %v, want ready %v", suffix, err, ready)
		}
	}
	if _, err := askReady(context.Background(), strings.TrimPrefix(server.URL, "https://")+"/v1/ready", true); err != nil {
		t.Errorf("without a scheme: %v", err)
	}
}
