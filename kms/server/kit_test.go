package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/kms/server"
)

// faulty is a key service over memory that fails on demand.
type faulty struct {
	kms.Service
	mu      sync.Mutex
	err     error
	delay   time.Duration
	hold    chan struct{}
	holding int
	panic   bool
}

func (f *faulty) fail(err error) { f.mu.Lock(); f.err = err; f.mu.Unlock() }

func (f *faulty) slow(d time.Duration) { f.mu.Lock(); f.delay = d; f.mu.Unlock() }

// holds has all calls wait until the function that it returns is called.
func (f *faulty) holds() (release func()) {
	hold := make(chan struct{})
	f.mu.Lock()
	f.hold = hold
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		f.hold = nil
		f.mu.Unlock()
		close(hold)
	}
}

// held waits until so many calls were held.
func (f *faulty) held(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		holding := f.holding
		f.mu.Unlock()
		if holding >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d calls are held, not %d", holding, n)
		}
	}
}

func (f *faulty) panics(yes bool) { f.mu.Lock(); f.panic = yes; f.mu.Unlock() }

func (f *faulty) before(ctx context.Context) error {
	f.mu.Lock()
	err, delay, hold, p := f.err, f.delay, f.hold, f.panic
	if hold != nil {
		f.holding++
	}
	f.mu.Unlock()
	if p {
		panic("a bug")
	}
	if delay > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
	if hold != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hold:
		}
	}
	return err
}

func (f *faulty) CreateKey(ctx context.Context, name string) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.Service.CreateKey(ctx, name)
}

func (f *faulty) ImportKey(ctx context.Context, name string, key [kms.DEKSize]byte, a kms.Algorithm) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.Service.ImportKey(ctx, name, key, a)
}

func (f *faulty) DeleteKey(ctx context.Context, name string) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.Service.DeleteKey(ctx, name)
}

func (f *faulty) DescribeKey(ctx context.Context, name string) (kms.KeyInfo, error) {
	if err := f.before(ctx); err != nil {
		return kms.KeyInfo{}, err
	}
	return f.Service.DescribeKey(ctx, name)
}

func (f *faulty) ListKeys(ctx context.Context, prefix string) ([]string, error) {
	if err := f.before(ctx); err != nil {
		return nil, err
	}
	return f.Service.ListKeys(ctx, prefix)
}

func (f *faulty) GenerateDEK(ctx context.Context, name string, ec []byte) (kms.DEK, error) {
	if err := f.before(ctx); err != nil {
		return kms.DEK{}, err
	}
	return f.Service.GenerateDEK(ctx, name, ec)
}

func (f *faulty) Encrypt(ctx context.Context, name string, p, ec []byte) ([]byte, error) {
	if err := f.before(ctx); err != nil {
		return nil, err
	}
	return f.Service.Encrypt(ctx, name, p, ec)
}

func (f *faulty) Decrypt(ctx context.Context, name string, c, ec []byte) ([]byte, error) {
	if err := f.before(ctx); err != nil {
		return nil, err
	}
	return f.Service.Decrypt(ctx, name, c, ec)
}

func (f *faulty) HMAC(ctx context.Context, name string, m []byte) ([]byte, error) {
	if err := f.before(ctx); err != nil {
		return nil, err
	}
	return f.Service.HMAC(ctx, name, m)
}

func (f *faulty) Status(ctx context.Context) (kms.State, error) {
	if err := f.before(ctx); err != nil {
		return kms.State{}, err
	}
	s, err := f.Service.Status(ctx)
	s.Latency = 24 * time.Millisecond
	return s, err
}

// syncBuffer is a log that tests read while the server writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// line returns the first line with all of the words, waiting for it.
func (s *syncBuffer) line(t *testing.T, words ...string) string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
	lines:
		for line := range strings.Lines(s.String()) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return line
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line with %q in\n%s", words, s.String())
		}
	}
}

// kit is a running server.
type kit struct {
	t        testing.TB
	url      string
	server   *server.Server
	service  *faulty
	admin    identity.APIKey
	user     identity.APIKey // policy "minio"
	stranger identity.APIKey // no policy
	dir      string
	cfg      *config.Config
	errors   *syncBuffer
	audits   *syncBuffer
	stop     func() error
}

type option func(*kit, *config.Config, *server.Options)

// start runs a server over memory. Options change what it is given.
func start(t testing.TB, options ...option) *kit {
	t.Helper()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	k := &kit{
		t: t, service: &faulty{Service: local}, dir: t.TempDir(),
		admin: identity.New(), user: identity.New(), stranger: identity.New(),
		errors: &syncBuffer{}, audits: &syncBuffer{},
	}
	k.writeServerCert()
	k.cfg = &config.Config{
		Name: "kes.yml", Address: "127.0.0.1:0", Admin: k.admin.Identity(), KeyStore: &config.Mem{},
		TLS: config.TLS{Key: filepath.Join(k.dir, "server.key"), Cert: filepath.Join(k.dir, "server.crt")},
		Policies: map[string]config.Policy{"minio": {
			Allow:      []string{"/v1/key/create/*", "/v1/key/generate/my-*", "/v1/key/decrypt/my-*", "/v1/key/encrypt/my-*", "/v1/status"},
			Deny:       []string{"/v1/key/create/internal*"},
			Identities: []identity.Identity{k.user.Identity()},
		}, "empty": {}},
	}
	opts := server.Options{Config: k.cfg, Service: k.service, Version: "v1.2.3", Commit: "abc", ErrorLog: k.errors, AuditLog: k.audits, WatchInterval: -1}
	for _, o := range options {
		o(k, k.cfg, &opts)
	}
	if k.server, err = server.New(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k.url = "https://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.server.Serve(ctx, listener) }()
	k.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := k.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return k
}

func (k *kit) writeServerCert() {
	cert, key := newCert(k.t, template("server", false), nil)
	writePEM(k.t, filepath.Join(k.dir, "server.crt"), "CERTIFICATE", cert.Certificate[0])
	writePEM(k.t, filepath.Join(k.dir, "server.key"), "PRIVATE KEY", key)
}

func template(name string, ca bool) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: ca,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

// newCert signs a template with issuer, or itself, and returns the key as PKCS#8.
func newCert(t testing.TB, tmpl *x509.Certificate, issuer *tls.Certificate) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := tmpl, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pkcs8
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func certOf(t testing.TB, key identity.APIKey) tls.Certificate {
	t.Helper()
	cert, err := key.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// as returns a client with these certificates.
func (k *kit) as(certs ...tls.Certificate) *http.Client {
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: certs}, //nolint:gosec // the server's certificate is not what is tested
	}
	k.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (k *kit) asKey(key identity.APIKey) *http.Client { return k.as(certOf(k.t, key)) }

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (a answer) message() string {
	var m struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal([]byte(a.body), &m)
	return m.Message
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func (k *kit) do(client *http.Client, method, path, body string, headers ...string) answer {
	k.t.Helper()
	a, err := k.try(client, method, path, body, headers...)
	for range 3 { // HTTP/2 gives a new connection two seconds to say something: nothing was sent
		if err == nil || !strings.Contains(err.Error(), "client conn could not be established") {
			break
		}
		a, err = k.try(client, method, path, body, headers...)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

func (k *kit) try(client *http.Client, method, path, body string, headers ...string) (answer, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, k.url+path, reader)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b)}, err
}

func (k *kit) expect(a answer, code int, message string) {
	k.t.Helper()
	if a.StatusCode != code || a.message() != message {
		k.t.Errorf("%s %s: got %d %q, want %d %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, code, message)
	}
	if code >= 400 && (a.Header.Get("Content-Type") != "application/json" || !strings.HasSuffix(a.body, "}\n")) {
		k.t.Errorf("error answer is %s %q", a.Header.Get("Content-Type"), a.body)
	}
}

// serverTLS is what the server has, for another that asks its clients the same.
func (k *kit) serverTLS() *tls.Config {
	cert, err := tls.LoadX509KeyPair(filepath.Join(k.dir, "server.crt"), filepath.Join(k.dir, "server.key"))
	if err != nil {
		k.t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
}
