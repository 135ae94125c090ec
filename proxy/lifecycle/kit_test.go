package lifecycle

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// serviceBefore returns a client of a MinIO that a test plays, and the proxy's own view
// of it.
func serviceBefore(t *testing.T, minio http.HandlerFunc) (*upstream.Client, *upstream.Service) {
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
	service, err := client.NewService(storage.Credential{AccessKey: "root-user", SecretKey: "root-secret-0123456789"}, "system")
	if err != nil {
		t.Fatal(err)
	}
	return client, service
}

// readinessBefore returns a readiness that has everything it asks: the MinIO that a test
// plays, and a key service in memory.
func readinessBefore(t *testing.T, minio http.HandlerFunc) *Readiness {
	t.Helper()
	client, service := serviceBefore(t, minio)
	keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	log := slog.New(slog.DiscardHandler)
	notes, err := system.New(system.Options{Service: service, KMS: keys, Key: SystemKey, Deployment: "default"})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := bucketconfig.New(bucketconfig.Options{
		Backend: encryption.RulesBackend{System: notes}, Buckets: service, Home: service.Bucket(), Lease: time.Second, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	setup := NewSetup(keys, service, rules, log)
	return NewReadiness(ReadinessOptions{
		Upstream: client, Service: service, Setup: setup, Fitness: NewFitness(client, service, setup.Ensure, log), Rules: rules,
		KMS: keys, S3Key: func() string { return "default-key" }, Logger: log,
	})
}
