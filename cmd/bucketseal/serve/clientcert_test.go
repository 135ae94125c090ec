package serve

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// signer makes certificates, the first of which, of itself, is an authority.
type signer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (s *signer) sign(end time.Time) tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: end, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if s.cert == nil {
		s.cert, s.key, template.IsCA, template.KeyUsage = template, key, true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, key.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	if template.IsCA {
		s.cert = leaf
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (s *signer) write(dir string, c tls.Certificate) (certFile, keyFile string) {
	s.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A client's certificate that expires ends with its connection open: by 503 if a request is
// late, and before that by the end of the connection after an answer.
func TestAClientsCertificateEndsOnOpenConnections(t *testing.T) {
	t.Parallel()
	ca := &signer{t: t}
	authority := ca.sign(time.Now().Add(48 * time.Hour))
	server := ca.sign(time.Now().Add(48 * time.Hour))
	caFile, _ := ca.write(t.TempDir(), authority)
	cert, key := ca.write(t.TempDir(), server)
	c, err := config.Parse("f.yml", []byte("address: 127.0.0.1:0\ntls: {cert: "+cert+", key: "+key+", client_auth: require, client_ca: "+caFile+"}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	f, err := newFront(ctx, c, sockets{}, certs.NewWatcher(slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	go func() {
		_ = f.serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }))
	}()
	for name, test := range map[string]struct {
		life, rest time.Duration
		code       int
		closes     bool
	}{
		"lasts":           {24 * time.Hour, 0, 200, false},
		"ends soon":       {time.Minute, 0, 200, true},
		"ended meanwhile": {3 * time.Second, 4 * time.Second, 503, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := tls.Dial("tcp", f.listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{ca.sign(time.Now().Add(test.life))}}) //nolint:gosec // the server is the test's own
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			time.Sleep(test.rest)
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			a, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			if a.StatusCode != test.code || a.Close != test.closes {
				t.Errorf("%d, closed %t", a.StatusCode, a.Close)
			}
		})
	}
}
