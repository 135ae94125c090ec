package integration

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pair is the proxy before a plain MinIO, and beside it a MinIO with a KMS key:
// both over TLS, so that customer keys are taken. Like that MinIO the proxy
// encrypts only what a request or a rule asks for, and reads plain objects.
type pair struct {
	seal, reference *client
	// behind is the MinIO that the proxy stores in.
	behind  *client
	servers []*process
	pool    *x509.CertPool
	certs   string
}

// pairDomain is the name below which both sides take buckets in the host.
const pairDomain = "s3.example.com"

// A user of both sides of the pair who may be given policies.
const (
	limitedUser     = "limited-user"
	limitedPassword = "limited-secret-0123456789"
)

// sharedPair returns the pair that all side-by-side tests use.
func sharedPair(t *testing.T) *pair {
	t.Helper()
	needsSeal(t)
	s := &shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pair == nil && s.err["pair"] == nil {
		p, err := startPair(t, filepath.Join(runDir, "pair"))
		s.fail("pair", err)
		s.pair = p
	}
	if err := s.err["pair"]; err != nil {
		t.Fatal(err)
	}
	for _, p := range s.pair.servers {
		p.dumpOnFailure(t)
	}
	return s.pair
}

func startPair(t *testing.T, dir string) (*pair, error) {
	p := &pair{certs: filepath.Join(dir, "certs")}
	if err := os.MkdirAll(p.certs, 0o700); err != nil {
		return nil, err
	}
	p.pool = writeCertificate(t, p.certs)
	behind, err := startMinIO(filepath.Join(dir, "behind"), "", false)
	if err != nil {
		return nil, err
	}
	p.behind = newClient(behind.endpoint(), rootUser, rootPassword)
	p.servers = append(p.servers, behind.process)
	if err := p.startReference(filepath.Join(dir, "reference")); err != nil {
		p.stop()
		return nil, err
	}
	if err := p.startSeal(t, filepath.Join(dir, "seal"), behind.endpoint(), "off"); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *pair) client(addr string) *client {
	c := newClient("https://"+addr, rootUser, rootPassword)
	c.http.Transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.pool}, DisableCompression: true,
		MaxIdleConnsPerHost: 16, ExpectContinueTimeout: 5 * time.Second,
	}
	return c
}

func (p *pair) startReference(dir string) error {
	program, err := tool("MINIO_BIN", "minio")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return err
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	env := baseEnv("MINIO_ROOT_USER="+rootUser, "MINIO_ROOT_PASSWORD="+rootPassword,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on", "MINIO_DOMAIN="+pairDomain, "MINIO_KMS_SECRET_KEY="+referenceKey)
	ref, err := startProcess("reference minio", filepath.Join(dir, "minio.log"), env,
		program, "server", "--quiet", "--certs-dir", p.certs, "--address", addr, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	p.servers = append(p.servers, ref)
	p.reference = p.client(addr)
	if err := ref.waitReady(p.reference.http, p.reference.endpoint+"/minio/health/live"); err != nil {
		return err
	}
	return waitServing(p.reference)
}

// startSeal starts the proxy; auto is its setting auto_encryption.
func (p *pair) startSeal(t *testing.T, dir, upstream, auto string, env ...string) error {
	program, err := sealBinary()
	if err != nil {
		return err
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config := fmt.Sprintf(`address: %s
domain: [%s]
upstream:
  endpoint: %s
  credentials: {access_key: %s, secret_key: %s}
credentials:
  - {access_key: %s, secret_key: %s}
  - {access_key: %s, secret_key: %s}
auto_encryption: %s
plain_read: ["*"]
data_dir: data
tls:
  certs_dir: %s
`, addr, pairDomain, upstream, rootUser, rootPassword, rootUser, rootPassword, limitedUser, limitedPassword, auto, p.certs)
	path := writeFile(t, dir, "bucketseal.yml", []byte(config))
	seal, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), baseEnv(env...), program, "server", "--config", path)
	if err != nil {
		return err
	}
	p.servers = append(p.servers, seal)
	p.seal = p.client(addr)
	return seal.waitReady(p.seal.http, p.seal.endpoint+"/minio/health/ready")
}

func (p *pair) stop() {
	for _, server := range p.servers {
		_ = server.stop(10 * time.Second)
	}
}
