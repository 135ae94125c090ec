package proxy

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// serverBefore is a Server in front of a MinIO that answers with the handler.
func serverBefore(t *testing.T, handler http.HandlerFunc) *Server {
	t.Helper()
	minio := httptest.NewServer(handler)
	t.Cleanup(minio.Close)
	endpoint, err := url.Parse(minio.URL)
	if err != nil {
		t.Fatal(err)
	}
	up, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	return &Server{
		opts:       Options{Upstream: up, Service: storage.Credential{AccessKey: testRoot, SecretKey: testRootSecret}},
		identities: testIdentities(t), log: slog.New(slog.DiscardHandler),
	}
}
