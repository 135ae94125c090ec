package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writeCertificate writes public.crt and private.key for 127.0.0.1 into dir and
// returns the pool that trusts them.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	return writeCertificateFor(t, dir, "localhost")
}

// writeCertificateFor does so for 127.0.0.1 and other names.
func writeCertificateFor(t *testing.T, dir string, names ...string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bucketseal test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: names,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "public.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, dir, "private.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func TestServerSpeaksTLSWithCertificateFiles(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	certs := filepath.Join(dir, "certs")
	if err := os.Mkdir(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	pool := writeCertificate(t, certs)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	p, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), env, program, "server",
		"--address", addr, "--upstream", minio.endpoint(), "--data-dir", filepath.Join(dir, "seal"), "--certs-dir", certs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.dumpOnFailure(t)
	c := newClient("https://"+addr, rootUser, rootPassword)
	c.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true, ForceAttemptHTTP2: true}
	if err := p.waitReady(c.http, c.endpoint+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}

	bucket := newBucket(t, c)
	data := testData(packageSize+7, 110)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	both := with(customerHeaders(data[:32]), "X-Amz-Server-Side-Encryption", "AES256")
	c.put(t, bucket, "bad", data, both).wantError(t, http.StatusBadRequest, "InvalidArgument",
		"Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}}}
	if resp, err := old.Get(c.endpoint + "/minio/health/live"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.1 is accepted")
	}
}
