package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// served returns the first name of the certificate that a client gets who asks
// for a name.
func served(t *testing.T, s *Server, name string) string {
	t.Helper()
	client := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, ServerName: name}
	state, err, _ := handshake(t, ServerConfig(ServerOptions{Certificates: s}), client)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

func TestCertificatesAreChosenByTheirOwnNames(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	ca.issue(t, dir, "default.example")
	ca.issue(t, filepath.Join(dir, "one"), "one.example", "uno.example")
	ca.issue(t, filepath.Join(dir, "wild"), "wild.example", "*.wild.example")
	ca.issue(t, filepath.Join(dir, "exact"), "exact.wild.example")
	ca.issue(t, filepath.Join(dir, "address"), "address.example", "127.0.0.1")
	ca.issue(t, filepath.Join(dir, ".hidden"), "hidden.example")
	write(t, filepath.Join(dir, "CAs", "ca.crt"), ca.pem())
	write(t, filepath.Join(dir, "empty", "README"), []byte("no certificate here"))
	w, _ := newWatcher()
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"default.example":    "default.example",
		"one.example":        "one.example",
		"ONE.example":        "one.example",
		"uno.example":        "one.example",
		"a.wild.example":     "wild.example",
		"exact.wild.example": "exact.wild.example",
		"a.b.wild.example":   "default.example", // a wildcard stands for one label
		"hidden.example":     "default.example",
		"unknown.example":    "default.example",
		"one":                "default.example", // the folder's name means nothing
		"":                   "address.example", // by address
	} {
		if got := served(t, s, name); got != want {
			t.Errorf("%q gets %s, want %s", name, got, want)
		}
	}
}

func TestOfSeveralCertificatesOneTheClientCanUse(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	ca.issue(t, dir, "default.example")
	ca.issue(t, filepath.Join(dir, "a-ecdsa"), "same.example")
	cert, key := ca.sign(t, rsaKey(t), "rsa.same.example", "same.example")
	write(t, filepath.Join(dir, "b-rsa", publicCert), cert)
	write(t, filepath.Join(dir, "b-rsa", privateKey), key)
	w, _ := newWatcher()
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for suite, want := range map[uint16]string{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "same.example",
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   "rsa.same.example",
	} {
		client := &tls.Config{
			MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite},
			InsecureSkipVerify: true, ServerName: "same.example",
		}
		state, err, _ := handshake(t, ServerConfig(ServerOptions{Certificates: s}), client)
		if err != nil || state.PeerCertificates[0].Subject.CommonName != want {
			t.Errorf("%s: %v, want %s", tls.CipherSuiteName(suite), err, want)
		}
	}
}

func TestAFolderIsFollowed(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	ca.issue(t, dir, "first.example")
	w, log := newWatcher()
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step, name, want string, logs ...string) {
		t.Helper()
		w.Reload(false)
		if got := served(t, s, name); got != want {
			t.Errorf("%s: %s gets %s, want %s", step, name, got, want)
		}
		text := log.take()
		for _, part := range logs {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the log does not say %q: %s", step, part, text)
			}
		}
		if len(logs) == 0 && text != "" {
			t.Errorf("%s: %s", step, text)
		}
	}
	expect("nothing changed", "x", "first.example")
	ca.issue(t, filepath.Join(dir, "host"), "host.example")
	expect("a folder more", "host.example", "host.example", "read the TLS certificate again")

	cert, key := ca.sign(t, ecdsaKey(t), "renewed.example", "host.example")
	write(t, filepath.Join(dir, "host", publicCert), cert)
	expect("half a pair", "host.example", "host.example", "the old one stays", filepath.Join("host", publicCert))
	expect("still half a pair", "host.example", "host.example") // said once
	ca.issue(t, dir, "second.example")
	expect("another pair meanwhile", "x", "second.example")
	expect("the half one keeps the old", "host.example", "host.example")
	write(t, filepath.Join(dir, "host", privateKey), key)
	expect("the other half", "host.example", "renewed.example", "read the TLS certificate again")

	if err := os.RemoveAll(filepath.Join(dir, "host")); err != nil {
		t.Fatal(err)
	}
	expect("a folder less", "host.example", "second.example", "read the TLS certificate again")
	if err := os.Remove(filepath.Join(dir, privateKey)); err != nil {
		t.Fatal(err)
	}
	expect("no default key", "x", "second.example", "the old one stays", "no such file")
	if err := os.Remove(filepath.Join(dir, publicCert)); err != nil {
		t.Fatal(err)
	}
	w.Reload(true)
	if got := served(t, s, "x"); got != "second.example" {
		t.Errorf("no default: %s", got)
	}
}

// Kubernetes mounts DIR/public.crt -> ..data/public.crt, ..data -> ..VERSION, and
// exchanges ..data.
func TestAMountedSecretIsFollowed(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	link := func(to, from string) {
		t.Helper()
		if err := os.Symlink(to, from+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from+".new", from); err != nil {
			t.Fatal(err)
		}
	}
	ca.issue(t, filepath.Join(dir, "..v1"), "v1.example")
	link("..v1", filepath.Join(dir, "..data"))
	for _, name := range []string{publicCert, privateKey} {
		link(filepath.Join("..data", name), filepath.Join(dir, name))
	}
	w, _ := newWatcher()
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := served(t, s, "v2.example"); got != "v1.example" {
		t.Errorf("%s", got)
	}
	ca.issue(t, filepath.Join(dir, "..v2"), "v2.example")
	// The same times and sizes: only the link says that something changed.
	for _, name := range []string{publicCert, privateKey} {
		old, err := os.Stat(filepath.Join(dir, "..v1", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "..v2", name), old.ModTime(), old.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	link("..v2", filepath.Join(dir, "..data"))
	w.Reload(false)
	if got := served(t, s, "x"); got != "v2.example" {
		t.Errorf("%s", got)
	}
}

func TestWhatCannotBeUsedIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	cert, key := ca.sign(t, ecdsaKey(t), "a.example")
	_, other := ca.sign(t, ecdsaKey(t), "b.example")
	block, _ := pem.Decode(key)
	pkcs8 := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})
	legacy := pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Bytes: block.Bytes,
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"},
	})
	for name, tc := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"no files":       {nil, nil, "no such file"},
		"no key":         {cert, nil, privateKey},
		"no certificate": {nil, key, publicCert},
		"another key":    {cert, other, "does not match"},
		"no PEM":         {[]byte("x"), key, "failed to find any PEM data"},
		"encrypted":      {cert, pkcs8, "the private key is encrypted"},
		"encrypted, old": {cert, legacy, "the private key is encrypted"},
	} {
		for _, sub := range []string{"", "host"} {
			t.Run(name+"/"+sub, func(t *testing.T) {
				t.Parallel()
				if sub != "" && tc.cert == nil && tc.key == nil {
					t.Skip("an empty folder is none")
				}
				dir := t.TempDir()
				if sub != "" {
					ca.issue(t, dir, "default.example")
				}
				for file, data := range map[string][]byte{publicCert: tc.cert, privateKey: tc.key} {
					if data != nil {
						write(t, filepath.Join(dir, sub, file), data)
					}
				}
				w, _ := newWatcher()
				if _, err := w.Folder(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%v, want %q", err, tc.want)
				}
			})
		}
	}
	w, _ := newWatcher()
	if _, err := w.Folder(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that does not exist was accepted")
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	ca.issue(t, dir, "a.example")
	w, _ := newWatcher()
	s, err := w.File(filepath.Join(dir, publicCert), filepath.Join(dir, privateKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		least, client uint16
		ok            bool
	}{
		{0, tls.VersionTLS11, false},
		{0, tls.VersionTLS12, true},
		{tls.VersionTLS10, tls.VersionTLS11, false},
		{tls.VersionTLS13, tls.VersionTLS12, false},
		{tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		client := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tc.client, InsecureSkipVerify: true}
		_, err, _ := handshake(t, ServerConfig(ServerOptions{Certificates: s, MinVersion: tc.least}), client)
		if (err == nil) != tc.ok {
			t.Errorf("least %x, client %x: %v", tc.least, tc.client, err)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	dir, ca, rogue := t.TempDir(), newAuthority(t, "ca"), newAuthority(t, "rogue")
	ca.issue(t, dir, "a.example")
	write(t, filepath.Join(dir, "CAs", "ca.crt"), ca.pem())
	w, log := newWatcher()
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := w.Pool("tls.client_ca", filepath.Join(dir, "CAs"), false)
	if err != nil {
		t.Fatal(err)
	}
	try := func(mode tls.ClientAuthType, a *authority) bool {
		t.Helper()
		client := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
		if a != nil {
			cert, key := a.sign(t, ecdsaKey(t), "client")
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		server := ServerConfig(ServerOptions{Certificates: s, ClientAuth: mode, ClientCAs: pool})
		_, clientErr, serverErr := handshake(t, server, client)
		return clientErr == nil && serverErr == nil
	}
	const request, require = tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert
	for i, tc := range []struct {
		mode tls.ClientAuthType
		with *authority
		ok   bool
	}{
		{tls.NoClientCert, nil, true},
		{tls.NoClientCert, rogue, true}, // not asked for, not sent
		{request, nil, true},
		{request, ca, true},
		{request, rogue, false},
		{require, nil, false},
		{require, ca, true},
		{require, rogue, false},
	} {
		if got := try(tc.mode, tc.with); got != tc.ok {
			t.Errorf("case %d: %v", i, got)
		}
	}
	// Another authority takes its place.
	write(t, filepath.Join(dir, "CAs", "ca.crt"), rogue.pem())
	w.Reload(false)
	if !strings.Contains(log.take(), "tls.client_ca") || try(require, ca) || !try(require, rogue) {
		t.Error("the new authority is not the one that counts")
	}
	write(t, filepath.Join(dir, "CAs", "broken.crt"), []byte("x"))
	w.Reload(false)
	if text := log.take(); !strings.Contains(text, "holds no certificate in PEM") || !try(require, rogue) {
		t.Errorf("a broken authority: %s", text)
	}
}

func TestUpstreamIsVerifiedWithTheFilesInForce(t *testing.T) {
	t.Parallel()
	dir, ca, next := t.TempDir(), newAuthority(t, "ca"), newAuthority(t, "next")
	ca.issue(t, dir, "minio.example")
	ca.issue(t, filepath.Join(dir, "own"), "proxy")
	caFile := filepath.Join(dir, "roots.pem")
	write(t, caFile, ca.pem())
	w, _ := newWatcher()
	roots, err := w.Pool("upstream.ca", caFile, false)
	if err != nil {
		t.Fatal(err)
	}
	own, err := w.Pair("upstream.cert", filepath.Join(dir, "own", publicCert), filepath.Join(dir, "own", privateKey))
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	clients.AddCert(next.cert)
	connection := ClientConfig(roots, own)
	try := func(name string) error {
		server := ServerConfig(ServerOptions{Certificates: s})
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, clients
		client := connection()
		client.ServerName = name
		_, clientErr, serverErr := handshake(t, server, client)
		if clientErr == nil {
			return serverErr
		}
		return clientErr
	}
	if err := try("minio.example"); err != nil {
		t.Error(err)
	}
	if err := try("other.example"); err == nil {
		t.Error("a certificate of another name was accepted")
	}
	next.issue(t, dir, "minio.example")
	w.Reload(false)
	if err := try("minio.example"); err == nil {
		t.Error("an unknown authority was accepted")
	}
	write(t, caFile, next.pem())
	next.issue(t, filepath.Join(dir, "own"), "proxy")
	w.Reload(false)
	if err := try("minio.example"); err != nil {
		t.Error(err)
	}
}

func TestAFolderOfAuthoritiesMayComeAndGo(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), newAuthority(t, "ca")
	w, log := newWatcher()
	pool, err := w.Pool("folder of certificate authorities", CAsIn(dir), true)
	if err != nil {
		t.Fatal(err)
	}
	knows := func() bool {
		_, err := ca.cert.Verify(x509.VerifyOptions{Roots: pool.Get()})
		return err == nil
	}
	if knows() {
		t.Error("an authority is trusted that nobody named")
	}
	write(t, filepath.Join(CAsIn(dir), "ca.crt"), ca.pem())
	if w.Reload(false); !knows() {
		t.Errorf("the new folder is not used: %s", log.take())
	}
	if err := os.RemoveAll(CAsIn(dir)); err != nil {
		t.Fatal(err)
	}
	if w.Reload(false); knows() {
		t.Error("the folder is gone, its authorities are trusted")
	}
	if _, err := w.Pool("upstream.ca", filepath.Join(dir, "none"), false); err == nil {
		t.Error("a file that does not exist is no error")
	}
}
