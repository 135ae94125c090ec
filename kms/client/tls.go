package client

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/watch"
)

// renewAfter is when the certificate of an API key, valid for 90 days, is made
// anew.
const renewAfter = 45 * 24 * time.Hour

// certSource gives the client certificate to each handshake: from an API key,
// made anew in time, or from files, read again when they change.
type certSource struct {
	opts Options // of these: APIKey, CertFile, KeyFile, KeyPassword
	now  func() time.Time

	mu      sync.Mutex
	cert    *tls.Certificate
	renewAt time.Time // with an API key
	stamp   string    // of the files
}

func newCertSource(opts Options) (*certSource, error) {
	switch {
	case opts.APIKey != "" && (opts.CertFile != "" || opts.KeyFile != ""):
		return nil, fmt.Errorf("%w: an API key and a client certificate; give one", ErrOptions)
	case opts.APIKey == "" && (opts.CertFile == "" || opts.KeyFile == ""):
		return nil, fmt.Errorf("%w: neither an API key nor a client certificate with its key", ErrOptions)
	}
	s := &certSource{opts: opts, now: time.Now}
	if _, err := s.current(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return s, nil
}

// get is a tls.Config.GetClientCertificate. A certificate that cannot be read
// again is used on: the files may be in the middle of being replaced.
func (s *certSource) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := s.current()
	if cert != nil {
		return cert, nil
	}
	return nil, err
}

func (s *certSource) identity() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return identity.Of(s.cert.Leaf).String()
}

func (s *certSource) current() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.APIKey != "" {
		return s.fromAPIKey()
	}
	stamp := watch.Stamp(s.opts.CertFile, s.opts.KeyFile)
	if s.cert != nil && stamp == s.stamp {
		return s.cert, nil
	}
	cert, err := loadCert(s.opts)
	if err != nil {
		return s.cert, err
	}
	s.cert, s.stamp = cert, stamp
	return cert, nil
}

func (s *certSource) fromAPIKey() (*tls.Certificate, error) {
	if s.cert != nil && s.now().Before(s.renewAt) {
		return s.cert, nil
	}
	key, err := identity.ParseAPIKey(s.opts.APIKey)
	if err != nil {
		return s.cert, err
	}
	cert, err := key.Certificate()
	if err != nil {
		return s.cert, err
	}
	s.cert, s.renewAt = &cert, s.now().Add(renewAfter)
	return s.cert, nil
}

func loadCert(opts Options) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(opts.CertFile)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(opts.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client key: %w", err)
	}
	defer clear(keyPEM)
	if keyPEM, err = openKey(keyPEM, opts.KeyPassword); err != nil {
		return nil, fmt.Errorf("client key %s: %w", opts.KeyFile, err)
	}
	defer clear(keyPEM)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s with key %s: %w", opts.CertFile, opts.KeyFile, err)
	}
	return &cert, nil
}

// openKey returns the PEM of the private key, opened if it is encrypted.
func openKey(keyPEM []byte, password string) ([]byte, error) {
	for rest := keyPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return keyPEM, nil // tls says what is wrong with it
		}
		legacy := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // the encryption that KES's clients use
		switch {
		case !legacy && block.Type != encryptedPKCS8:
			continue
		case password == "":
			return nil, errors.New("it is encrypted and no password is given")
		case !legacy:
			der, err := openPKCS8(block.Bytes, []byte(password))
			if err != nil {
				return nil, err
			}
			return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
		}
		der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // see above
		if err != nil {
			return nil, errWrongPassword
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
}

// loadRoots reads the certificates of a file, or of all files in a folder.
func loadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // tls takes the system's roots
	}
	files, err := watch.FilesAt(path)
	if err != nil {
		return nil, fmt.Errorf("%w: CA: %w", ErrOptions, err)
	}
	roots, found := x509.NewCertPool(), false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w: CA: %w", ErrOptions, err)
		}
		found = roots.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, fmt.Errorf("%w: CA: no certificate in %s", ErrOptions, path)
	}
	return roots, nil
}
