package client

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	apiKeyPrefix = "kes:v1:"
	// apiKeyCertFor is the validity of the certificate that is made from an
	// API key; it is made anew when half of that has passed.
	apiKeyCertFor = 90 * 24 * time.Hour
)

// errAPIKey never holds the key.
var errAPIKey = errors.New("the API key is not kes:v1: and the base64 of an Ed25519 key")

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
	sum := sha256.Sum256(s.cert.Leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func (s *certSource) current() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.APIKey != "" {
		return s.fromAPIKey()
	}
	stamp := fileStamp(s.opts.CertFile) + fileStamp(s.opts.KeyFile)
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

func fileStamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "unreadable;"
	}
	return fmt.Sprintf("%d-%d;", info.ModTime().UnixNano(), info.Size())
}

func (s *certSource) fromAPIKey() (*tls.Certificate, error) {
	if s.cert != nil && s.now().Before(s.renewAt) {
		return s.cert, nil
	}
	key, err := parseAPIKey(s.opts.APIKey)
	if err != nil {
		return s.cert, err
	}
	cert, err := selfSigned(key, s.now())
	if err != nil {
		return s.cert, err
	}
	s.cert, s.renewAt = cert, s.now().Add(apiKeyCertFor/2)
	return cert, nil
}

// parseAPIKey reads kes:v1: and base64 of a zero byte, for Ed25519, and the
// seed. The prefix may be missing.
func parseAPIKey(text string) (ed25519.PrivateKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(text), apiKeyPrefix))
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != 0 {
		return nil, errAPIKey
	}
	defer clear(raw)
	return ed25519.NewKeyFromSeed(raw[1:]), nil
}

func selfSigned(key ed25519.PrivateKey, now time.Time) (*tls.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	sum := sha256.Sum256(spki)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: hex.EncodeToString(sum[:])},
		// An hour back, for servers whose clock is behind.
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(apiKeyCertFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: crypto.PrivateKey(key), Leaf: leaf}, nil
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
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w: CA: %w", ErrOptions, err)
	} else if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("%w: CA: %w", ErrOptions, err)
		}
		files = files[:0]
		for _, e := range entries {
			file := filepath.Join(path, e.Name())
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				files = append(files, file)
			}
		}
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
