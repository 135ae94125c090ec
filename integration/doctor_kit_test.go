package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

// clinic is an installation that the doctor looks at: a proxy with the documented policy,
// before a MinIO that a test can have lie.
type clinic struct {
	*stack
	mc           *mcRunner
	metrics      string
	config, keys string
}

const (
	clinicUser   = "clinic-service"
	clinicSecret = "clinic-service-secret"
)

// doctorsPolicy is what docs/configuration.md gives the proxy's user for the doctor besides.
func doctorsPolicy(t *testing.T) (p policyDocument) {
	t.Helper()
	_, section, _ := strings.Cut(readRepo(t, "docs/configuration.md"), "### The proxy's own rights at MinIO\n")
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(section, 2)
	if len(blocks) != 2 {
		t.Fatal("docs/configuration.md has no policy for the doctor")
	}
	if err := json.Unmarshal([]byte(blocks[1][1]), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	dir := t.TempDir()
	m, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	c := &clinic{stack: &stack{dir: dir, minio: m}, keys: filepath.Join(dir, "data")}
	c.mc = newMC(t, &stack{minio: m})
	if c.liar, err = newLyingUpstream(m.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.liar.close)
	_, policy := documentedPolicy(t)
	policy.Statement = append(policy.Statement, doctorsPolicy(t).Statement...)
	c.user(t, clinicUser, policy)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if c.metrics, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	c.config = writeFile(t, dir, "healthy.yml", fmt.Appendf(nil, `address: %s
upstream:
  endpoint: %s
  credentials: {access_key: %s, secret_key: %s}
credentials:
- {access_key: %s, secret_key: %s}
metrics: {address: "%s"}
data_dir: %s
`, addr, c.liar.endpoint(), clinicUser, clinicSecret, rootUser, rootPassword, c.metrics, c.keys))
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), baseEnv("BUCKETSEAL_DOCTOR_INTERVAL=1s"), program, "server", "--config", c.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	c.seal = &sealServer{process: p, addr: addr}
	c.dumpOnFailure(t)
	if err := p.waitReady(http.DefaultClient, "http://"+addr+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}
	return c
}

// user makes a user of MinIO with a policy.
func (c *clinic) user(t *testing.T, name string, policy policyDocument) {
	t.Helper()
	text, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	c.mc.must(t, "admin", "policy", "create", "raw", name, writeFile(t, c.dir, name+".json", text))
	c.mc.must(t, "admin", "user", "add", "raw", name, clinicSecret)
	c.mc.must(t, "admin", "policy", "attach", "raw", name, "--user", name)
}

// bucketseal runs a command.
func (c *clinic) bucketseal(t *testing.T, args ...string) (stdout, all string, err error) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	return run(t, baseEnv("BUCKETSEAL_DOCTOR_INTERVAL=1s"), c.dir, program, args...) // as the server
}

func (c *clinic) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, all, err := c.bucketseal(t, args...)
	if err != nil {
		t.Fatalf("bucketseal %v: %v\n%s", args, err, all)
	}
	return out
}

// page reads one of metrics.address.
func (c *clinic) page(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + c.metrics + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// recipient is somebody who could open a key backup.
func (c *clinic) recipient(t *testing.T) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String()
}

// diagnosis is what the doctor prints.
type diagnosis struct {
	Findings []struct{ ID, Severity, What, Why, Do string }
	Unknown  []string
}

func (d *diagnosis) ids() (ids []string) {
	for _, f := range d.Findings {
		if f.ID != "machine.swap" { // that of the machine that tests run on
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// look has the doctor look at a configuration.
func (c *clinic) look(t *testing.T, config string) (d diagnosis, code int) {
	t.Helper()
	out, all, err := c.bucketseal(t, "doctor", "--json", "--config", config)
	if failed := json.Unmarshal([]byte(out), &d); failed != nil {
		t.Fatalf("%v: %s", failed, all)
	}
	if err != nil {
		code = exitCode(err)
	}
	return d, code
}

// broken is a configuration that differs from the healthy one.
func (c *clinic) broken(t *testing.T, name, old, replacement string) string {
	t.Helper()
	healthy := string(readFile(t, c.config))
	if !strings.Contains(healthy, old) {
		t.Fatalf("%q is not in the configuration", old)
	}
	return writeFile(t, c.dir, name+".yml", []byte(strings.Replace(healthy, old, replacement, 1)))
}

// certificate makes one of which so much of three months is left.
func (c *clinic) certificate(t *testing.T, left time.Duration) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clinic"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: time.Now().Add(left),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("clinic%d", int(left.Hours()))
	cert = writeFile(t, c.dir, name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, writeFile(t, c.dir, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}
