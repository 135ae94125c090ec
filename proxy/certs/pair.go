package certs

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// errEncryptedKey is what is said of a private key with a password: a server that
// starts by itself has nobody to ask for it.
var errEncryptedKey = errors.New("the private key is encrypted, which is not supported; store it without a password (openssl pkey -in FILE -out NEW), readable by the server alone")

// loadPair reads a certificate, with its chain, and its private key.
func loadPair(cert, key string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(cert)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		return nil, fmt.Errorf("TLS private key: %w", err)
	}
	defer clear(keyPEM)
	if isEncrypted(keyPEM) {
		return nil, fmt.Errorf("TLS private key %s: %w", key, errEncryptedKey)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", cert, key, err)
	}
	return &pair, nil
}

// isEncrypted finds PKCS #8 keys with a password, and those of OpenSSL's older
// form, which say so in a header.
func isEncrypted(keyPEM []byte) bool {
	for {
		var block *pem.Block
		if block, keyPEM = pem.Decode(keyPEM); block == nil {
			return false
		}
		encrypted := block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
		clear(block.Bytes)
		if encrypted {
			return true
		}
	}
}

// Pair is one certificate that follows its files.
type Pair struct {
	current atomic.Pointer[tls.Certificate]
}

// Pair reads a certificate and its key, and follows both. what is what messages
// call it.
func (w *Watcher) Pair(what, cert, key string) (*Pair, error) {
	p := new(Pair)
	w.holders.client = p
	files := func() []string { return []string{cert, key} }
	err := w.Follow(what, files, func() error {
		pair, err := loadPair(cert, key)
		if err != nil {
			return err
		}
		w.warnValidity(what, pair)
		p.current.Store(pair)
		return nil
	})
	return p, err
}

// Get returns the certificate in force.
func (p *Pair) Get() *tls.Certificate { return p.current.Load() }
