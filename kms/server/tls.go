package server

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/operator/watch"
)

// transport is what follows from the tls section and the files it names.
type transport struct {
	config *tls.Config
	roots  *x509.CertPool
	trust  string
}

// loadTransport reads the files. optional says that some route may be called
// without a certificate; now is the clock.
func loadTransport(c config.TLS, optional bool, now func() time.Time) (*transport, error) {
	cert, err := loadKeyPair(c)
	if err != nil {
		return nil, err
	}
	t := &transport{config: &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Time:         now,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAnyClientCert,
		// Who somebody is, every handshake proves anew: no ticket stands for a
		// certificate that may have been refused since.
		SessionTicketsDisabled: true,
	}, trust: "any"}
	if optional {
		t.config.ClientAuth = tls.RequestClientCert
	}
	if !c.Auth {
		return t, nil
	}
	if t.roots, err = x509.SystemCertPool(); err != nil {
		return nil, fmt.Errorf("tls.auth: the system's certificates cannot be read: %w", err)
	}
	bundle, err := readCAs(c.CA)
	if err != nil {
		return nil, err
	}
	if c.CA != "" && !t.roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM", c.CA)
	}
	sum := sha256.Sum256(bundle)
	t.trust = hex.EncodeToString(sum[:])
	t.config.ClientCAs = t.roots
	t.config.ClientAuth = tls.RequireAndVerifyClientCert
	if optional {
		t.config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return t, nil
}

func loadKeyPair(c config.TLS) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(c.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("tls.cert: %w", err)
	}
	keyPEM, err := os.ReadFile(c.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("tls.key: %w", err)
	}
	defer func() { clear(keyPEM) }()
	if keyPEM, err = openKey(keyPEM, c.Password.Reveal()); err != nil {
		return tls.Certificate{}, fmt.Errorf("tls.key: %s: %w", c.Key, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("tls.cert and tls.key do not make a certificate: %w", err)
	}
	if leaf := cert.Leaf; len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) == 0 {
		return tls.Certificate{}, fmt.Errorf("tls.cert: %s names no host: clients look at the subject alternative name only, so make a certificate that has one", c.Cert)
	}
	return cert, nil
}

// readCAs returns a file, or the files of a folder, as one PEM bundle.
func readCAs(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	files, err := watch.FilesAt(path)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	var bundle bytes.Buffer
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		bundle.Write(b)
		bundle.WriteByte('\n')
	}
	return bundle.Bytes(), nil
}
