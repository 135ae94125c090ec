package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCert writes a self-signed certificate and its key and returns their
// paths and the key's DER.
func writeCert(t *testing.T, dir string) (certFile, keyFile string, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	certFile, keyFile = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	writePEM(t, certFile, &pem.Block{Type: "CERTIFICATE", Bytes: cert})
	writePEM(t, keyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return certFile, keyFile, der
}

func writePEM(t *testing.T, path string, block *pem.Block) {
	t.Helper()
	check(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPIKeyCertificateIsRenewedInTime(t *testing.T) {
	t.Parallel()
	s, err := newCertSource(Options{APIKey: "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
	check(t, err)
	first, err := s.get(nil)
	check(t, err)
	again, err := s.get(nil)
	check(t, err)
	if again != first {
		t.Error("a certificate is made for each handshake")
	}
	id := s.identity()
	if len(id) != 64 || first.Leaf.NotAfter.Before(time.Now().Add(renewAfter)) {
		t.Errorf("identity %q, valid until %v", id, first.Leaf.NotAfter)
	}
	s.now = func() time.Time { return time.Now().Add(renewAfter + time.Hour) }
	renewed, err := s.get(nil)
	check(t, err)
	if renewed == first || s.identity() != id {
		t.Error("the certificate is not renewed under the same identity")
	}
}

func TestCertificateFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, _ := writeCert(t, dir)
	s, err := newCertSource(Options{CertFile: certFile, KeyFile: keyFile})
	check(t, err)
	before := s.identity()
	check(t, os.WriteFile(certFile, []byte("half written"), 0o600))
	if cert, err := s.get(nil); err != nil || cert == nil || s.identity() != before {
		t.Errorf("a half-written file takes the certificate away: %v", err)
	}
	writeCert(t, dir)
	if _, err := s.get(nil); err != nil || s.identity() == before {
		t.Errorf("the new certificate is not used: %v", err)
	}
}

func TestEncryptedKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, der := writeCert(t, dir)
	legacy, err := x509.EncryptPEMBlock(rand.Reader, "PRIVATE KEY", der, []byte("secret"), x509.PEMCipherAES256) //nolint:staticcheck // what KES's clients use
	check(t, err)
	legacyFile := filepath.Join(dir, "legacy.key")
	writePEM(t, legacyFile, legacy)
	files := []string{legacyFile}
	if openssl, err := exec.LookPath("openssl"); err == nil {
		for name, args := range map[string][]string{
			"default": {}, "aes128": {"-v2", "aes-128-cbc"}, "sha1": {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"}, "sha512": {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"},
		} {
			file := filepath.Join(dir, name+".key")
			out, err := exec.Command(openssl, append([]string{"pkcs8", "-topk8", "-in", keyFile, "-out", file, "-passout", "pass:secret"}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("openssl: %v\n%s", err, out)
			}
			files = append(files, file)
		}
	} else {
		t.Log("openssl is not installed: PKCS #8 is not tested")
	}
	for _, file := range files {
		opts := Options{CertFile: certFile, KeyFile: file, KeyPassword: "secret"}
		if _, err := newCertSource(opts); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for password, text := range map[string]string{"": "no password", "wrong": ""} {
			opts.KeyPassword = password
			_, err := newCertSource(opts)
			if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), text) {
				t.Errorf("%s with %q: %v", file, password, err)
			}
		}
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, _ := writeCert(t, dir)
	_, otherKey, _ := writeCert(t, t.TempDir())
	good := Options{Endpoints: []string{"127.0.0.1:7373"}, CertFile: certFile, KeyFile: keyFile}
	for name, change := range map[string]func(*Options){
		"no endpoint":      func(o *Options) { o.Endpoints = []string{" "} },
		"plain http":       func(o *Options) { o.Endpoints = []string{"http://127.0.0.1:7373"} },
		"path":             func(o *Options) { o.Endpoints = []string{"https://h/v1"} },
		"password in URL":  func(o *Options) { o.Endpoints = []string{"https://u:p@h"} },
		"no identity":      func(o *Options) { o.CertFile, o.KeyFile = "", "" },
		"two identities":   func(o *Options) { o.APIKey = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
		"bad API key":      func(o *Options) { o.CertFile, o.KeyFile, o.APIKey = "", "", "kes:v1:xx" },
		"missing file":     func(o *Options) { o.KeyFile = filepath.Join(dir, "none") },
		"key of another":   func(o *Options) { o.KeyFile = otherKey },
		"missing CA":       func(o *Options) { o.CAPath = filepath.Join(dir, "none") },
		"CA without certs": func(o *Options) { o.CAPath = keyFile },
	} {
		opts := good
		change(&opts)
		if _, err := New(opts); !errors.Is(err, ErrOptions) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	good.CAPath = dir // a folder that holds more than certificates
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

func FuzzOpenPKCS8(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Add([]byte{0x30, 0x0f, 0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d, 0x04, 0x00})
	f.Fuzz(func(t *testing.T, der []byte) {
		if plain, err := openPKCS8(der, []byte("password")); (err == nil) == (plain == nil) && len(plain) > 0 {
			t.Errorf("got %d bytes and %v", len(plain), err)
		}
	})
}
