package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/secretstore"
)

// keyDriveMiB is the size of a key server's drive, which has its audit log only.
const keyDriveMiB = 32

// startKeys starts the store and the key servers.
func (c *Cluster) startKeys(ctx, live context.Context) error {
	address, err := c.address("store")
	if err != nil {
		return err
	}
	store := &Server{Name: "store", Address: address}
	if err := c.Certify(store, time.Now().Add(-240*time.Hour), time.Now().Add(2400*time.Hour)); err != nil {
		return err
	}
	base := filepath.Join(c.Dir, store.Name)
	certificate, err := tls.LoadX509KeyPair(base+".crt", base+".key")
	if err != nil {
		return err
	}
	if c.Store, err = secretstore.Listen(address, certificate, c.Seed); err != nil {
		return err
	}
	identities := map[string]string{}
	for name, key := range map[string]*string{"proxies": &c.secrets.proxyKey, "admin": &c.secrets.adminKey} {
		if *key, identities[name], err = c.newIdentity(ctx); err != nil {
			return err
		}
	}
	for i := range c.size(keyServers, fewKeyServers) {
		s, err := c.server(live, fmt.Sprintf("kms-%d", i+1), keyDriveMiB)
		if err != nil {
			return err
		}
		c.KeyServers = append(c.KeyServers, s)
		if err := c.keyServer(s, identities); err != nil {
			return err
		}
		s.Start()
	}
	for _, s := range c.KeyServers {
		if err := s.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// newIdentity makes an API key with the binary's own command.
func (c *Cluster) newIdentity(ctx context.Context) (key, identity string, err error) {
	out, err := exec.CommandContext(ctx, c.Bucketseal, "identity", "new", "--json").Output()
	if err != nil {
		return "", "", fmt.Errorf("identity new: %w", err)
	}
	var made map[string]string
	if err := json.Unmarshal(out, &made); err != nil {
		return "", "", fmt.Errorf("identity new: %w", err)
	}
	for _, v := range made {
		if strings.HasPrefix(v, "kes:v1:") {
			key = v
		} else if len(v) == 64 {
			identity = v
		}
	}
	if key == "" || identity == "" {
		return "", "", fmt.Errorf("identity new: no key and identity in its answer")
	}
	return key, identity, nil
}

const keyConfig = `address: %[1]s
admin: {identity: %[2]s}
tls: {key: %[3]s.key, cert: %[3]s.crt}
policy:
  proxies:
    bucketseal: true
    allow: [/v1/key/create/*, /v1/key/describe/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/list/*, /v1/key/versions/*, /v1/ready]
    identities: [%[4]s]
api:
  /v1/ready: {skip_auth: true}
cache:
  expiry: {any: 20s, unused: 10s, offline: 30s}
log: {audit: on, audit_file: %[5]s}
keys: [{name: chaos-a}, {name: chaos-b}]
keystore:
  aws:
    secretsmanager:
      endpoint: https://%[6]s
      region: us-east-1
      prefix: chaos/
      credentials: {accesskey: chaos, secretkey: chaos-chaos}
`

// keyServer writes the settings of a key server and says how it is started.
func (c *Cluster) keyServer(s *Server, identities map[string]string) error {
	store, err := c.front(s.Name, &Server{Name: "store", Address: c.Store.Address()})
	if err != nil {
		return err
	}
	base := filepath.Join(c.Dir, s.Name)
	if err := c.Certify(s, time.Now().Add(-240*time.Hour), time.Now().Add(2400*time.Hour)); err != nil {
		return err
	}
	config := fmt.Sprintf(keyConfig, s.Address, identities["admin"], base, identities["proxies"], filepath.Join(s.Drive, "audit.log"), store.Address())
	s.Config, s.Clock = base+".yml", base+".clock"
	if err := os.WriteFile(s.Config, []byte(config), 0o600); err != nil {
		return err
	}
	s.command = func() *exec.Cmd {
		cmd := c.net.command(s.Name, c.Bucketseal, "kms", "server", "--config", s.Config)
		cmd.Env = environment("SSL_CERT_FILE="+filepath.Join(c.Dir, "ca.pem"), "CHAOS_CLOCK="+s.Clock)
		return cmd
	}
	s.ready = get("https://" + s.Address + "/v1/ready")
	return nil
}

// Certify gives a server a new certificate that is good from one time to another.
func (c *Cluster) Certify(s *Server, from, to time.Time) error {
	hosts := []string{"127.0.0.1"}
	for _, name := range []string{s.Name, "front"} {
		host, err := c.net.host(name)
		if err != nil {
			return err
		}
		hosts = append(hosts, host)
	}
	return c.authority.certify(filepath.Join(c.Dir, s.Name), hosts, from, to)
}

// RunAdmin runs the binary with the key servers' admin's identity.
func (c *Cluster) RunAdmin(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Bucketseal, args...)
	var servers []string
	for _, s := range c.KeyServers {
		servers = append(servers, s.Address)
	}
	cmd.Env = environment("MINIO_KES_SERVER="+strings.Join(servers, ","), "MINIO_KES_CAPATH="+filepath.Join(c.Dir, "ca.pem"), "MINIO_KES_API_KEY="+c.secrets.adminKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("bucketseal %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// keyBytes is how long a KMS key is.
const keyBytes = 32

// keyMaterial is every text in a stored key that can be a key.
func keyMaterial(value string) []string {
	var found []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if b, err := base64.StdEncoding.DecodeString(v); err == nil && len(b) == keyBytes {
				found = append(found, v)
			}
		case map[string]any:
			for _, one := range v {
				walk(one)
			}
		case []any:
			for _, one := range v {
				walk(one)
			}
		}
	}
	var document any
	if json.Unmarshal([]byte(value), &document) != nil {
		document = value
	}
	walk(document)
	return found
}

// authority signs the servers' certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(file string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "chaos"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(2400 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key, cert}, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// certify writes base.key and base.crt, each whole at once.
func (a *authority) certify(base string, hosts []string, from, to time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: filepath.Base(base)},
		NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(host))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{".key", "PRIVATE KEY", private}, {".crt", "CERTIFICATE", der}} {
		if err := os.WriteFile(base+f.name+".new", pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			return err
		}
		if err := os.Rename(base+f.name+".new", base+f.name); err != nil {
			return err
		}
	}
	return nil
}
