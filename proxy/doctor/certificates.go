package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// expiresSoon is when a certificate should have been renewed: two weeks before its end, or
// when a third of its life is left, if that is less.
const expiresSoon = 14 * 24 * time.Hour

func soon(c *x509.Certificate, now time.Time) bool {
	return c.NotAfter.Sub(now) < min(expiresSoon, c.NotAfter.Sub(c.NotBefore)/3)
}

// certificatesLook looks at the server's own certificates.
func certificatesLook(_ context.Context, e *examination) {
	var files []string
	switch t := e.c.TLS; {
	case t.Cert != "":
		files = []string{t.Cert}
	case t.CertsDir != "":
		files = append(files, filepath.Join(t.CertsDir, "public.crt"))
		more, _ := filepath.Glob(filepath.Join(t.CertsDir, "*", "public.crt"))
		files = append(files, more...)
	}
	var leaves []*x509.Certificate
	for _, file := range files {
		chain, err := readChain(file)
		if err != nil {
			e.find("tls.certificate", oneLine(err))
			continue
		}
		leaves = append(leaves, chain[0])
		chainLook(e, file, chain)
	}
	for _, domain := range e.c.Domains {
		for _, name := range []string{domain, "bucket." + domain} {
			if len(leaves) > 0 && !bears(leaves, name) {
				e.find("tls.names", fmt.Sprintf("no certificate is for %s, as domain wants it", name))
			}
		}
	}
}

func bears(leaves []*x509.Certificate, name string) bool {
	for _, c := range leaves {
		if c.VerifyHostname(name) == nil {
			return true
		}
	}
	return false
}

// readChain reads the certificates of a PEM file.
func readChain(file string) (chain []*x509.Certificate, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: there is no certificate in it", file)
	}
	return chain, nil
}

func chainLook(e *examination, file string, chain []*x509.Certificate) {
	now := time.Now()
	for i, c := range chain {
		until := c.NotAfter.UTC().Format(time.RFC3339)
		switch {
		case now.After(c.NotAfter):
			e.find("tls.certificate", fmt.Sprintf("%s: %s has expired on %s", file, nameOf(c), until))
		case now.Before(c.NotBefore):
			e.find("tls.certificate", fmt.Sprintf("%s: %s is valid only from %s", file, nameOf(c), c.NotBefore.UTC().Format(time.RFC3339)))
		case soon(c, now):
			e.find("tls.expiry", fmt.Sprintf("%s: %s expires on %s", file, nameOf(c), until))
		}
		if i > 0 && !bytes.Equal(chain[i-1].RawIssuer, c.RawSubject) {
			e.find("tls.chain", fmt.Sprintf("%s: certificate %d is not the one that signed certificate %d", file, i+1, i))
		}
	}
	if leaf := chain[0]; len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		e.find("tls.names", fmt.Sprintf("%s: %s names no host (subjectAltName)", file, nameOf(leaf)))
	}
}

// nameOf says which certificate is meant.
func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return "the certificate of " + c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return "the certificate of " + c.IPAddresses[0].String()
	}
	return fmt.Sprintf("the certificate %q", c.Subject.CommonName)
}

// remoteCertificatesLook looks at the certificates of MinIO and of the key servers.
func remoteCertificatesLook(ctx context.Context, e *examination) {
	look := func(id string, u *url.URL) {
		c, err := shown(ctx, u)
		if err == nil && soon(c, time.Now()) {
			e.find(id, fmt.Sprintf("%s at %s expires on %s", nameOf(c), u.Host, c.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	if u := e.c.Upstream.Endpoint; u.Scheme == "https" {
		look("upstream.tls-expiry", u)
	}
	if e.c.KMS.Remote == nil {
		return
	}
	for _, endpoint := range e.c.KMS.Remote.Endpoints {
		if u, err := url.Parse(endpoint); err == nil && u.Scheme == "https" {
			look("keyserver.tls-expiry", u)
		}
	}
}

var errNoCertificate = errors.New("the server shows no certificate")

// shown returns the certificate that a server shows. It is not verified here: whoever uses
// the server does.
func shown(ctx context.Context, u *url.URL) (*x509.Certificate, error) {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	d := tls.Dialer{Config: &tls.Config{
		ServerName: u.Hostname(), MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // nothing is sent: only the date is looked at
	}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	certificates := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(certificates) == 0 {
		return nil, errNoCertificate
	}
	return certificates[0], nil
}
