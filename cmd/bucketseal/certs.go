package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// certPoll is how often certificate files are looked at.
const certPoll = 10 * time.Second

// certFiles is a server certificate that follows its files. What cannot be used
// is logged, and the certificate from before stays.
type certFiles struct {
	cert, key string
	log       *slog.Logger
	current   atomic.Pointer[tls.Certificate]
	stamp     string // of the files that were last read
}

// newCertFiles reads the files.
func newCertFiles(cert, key string, log *slog.Logger) (*certFiles, error) {
	f := &certFiles{cert: cert, key: key, log: log, stamp: stampOf(cert, key)}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// get implements tls.Config.GetCertificate.
func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current.Load(), nil }

func (f *certFiles) load() error {
	certPEM, err := os.ReadFile(f.cert)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(f.key)
	if err != nil {
		return fmt.Errorf("TLS private key: %w", err)
	}
	defer clear(keyPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", f.cert, f.key, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		f.log.Warn("the TLS certificate is not valid now", "file", f.cert, "from", pair.Leaf.NotBefore, "to", pair.Leaf.NotAfter)
	}
	f.current.Store(&pair)
	return nil
}

// watch reads the files again when they have changed, looked at every interval,
// and whenever hup gives something.
func (f *certFiles) watch(ctx context.Context, every time.Duration, hup <-chan os.Signal) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hup:
			asked = true
		case <-tick.C:
		}
		f.reload(asked)
	}
}

// reload reads the files if they have changed, or if it is asked to.
func (f *certFiles) reload(asked bool) {
	stamp := stampOf(f.cert, f.key)
	if stamp == f.stamp && !asked {
		return
	}
	f.stamp = stamp
	if err := f.load(); err != nil {
		f.log.Error("the new TLS certificate cannot be used; the old one stays", "error", err)
		return
	}
	f.log.Info("read the TLS certificate again", "file", f.cert, "valid_to", f.current.Load().Leaf.NotAfter)
}

// stampOf changes when one of the files does.
func stampOf(files ...string) string {
	stamp := ""
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			stamp += fmt.Sprintf("%d %d;", info.Size(), info.ModTime().UnixNano())
		} else {
			stamp += "missing;"
		}
	}
	return stamp
}
