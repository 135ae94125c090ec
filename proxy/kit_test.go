package proxy

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// serverBefore returns a Server in front of a MinIO that a test plays.
func serverBefore(t *testing.T, minio http.HandlerFunc) *Server {
	t.Helper()
	up := httptest.NewServer(minio)
	t.Cleanup(up.Close)
	endpoint, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	const user, secret = "root-user", "root-secret-0123456789"
	server, err := New(Options{
		Upstream: client, Service: storage.Credential{AccessKey: user, SecretKey: secret},
		Identities: identity.Settings{Credentials: map[string]string{user: secret}, Access: identity.Access{Unrestricted: true}},
		KMS:        keys, DefaultKey: "default-key", AutoEncryption: sse.ModeS3, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}
