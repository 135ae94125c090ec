package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/kms/server"
)

// creators tells the key service who makes a key.
type creators struct{ *kms.Local }

func (c creators) CreateKeyAs(ctx context.Context, name, createdBy string) error {
	return c.CreateKey(kms.WithCreator(ctx, createdBy), name)
}

func (c creators) ImportKeyAs(ctx context.Context, name string, key [kms.DEKSize]byte, algorithm kms.Algorithm, createdBy string) error {
	return c.ImportKey(kms.WithCreator(ctx, createdBy), name, key, algorithm)
}

// ourServer runs this project's key server until the test ends, with admin as
// its administrator and user under a policy.
func ourServer(t testing.TB, admin, user identity.Identity) (url, ca string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := serverCert(t, dir)
	text := fmt.Sprintf(`
version: v1
address: 127.0.0.1:0
admin: {identity: %s}
tls: {cert: %s, key: %s}
policy:
  apps:
    allow: [/v1/key/generate/*, /v1/key/decrypt/*, /v1/policy/read/apps]
    deny: [/v1/key/generate/secret*]
    identities: [%s]
keystore: {mem: {}}
keys: [{name: default-key}]
`, admin, certFile, keyFile, user)
	cfg, err := config.Parse("test.yml", []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	s, err := server.New(t.Context(), server.Options{Config: cfg, Service: creators{local}, Version: "test", Commit: "c", ErrorLog: io.Discard, AuditLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "https://" + l.Addr().String(), certFile
}

func serverCert(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func connect(t testing.TB, url, ca string, key identity.APIKey) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Endpoints: []string{url}, APIKey: key.Reveal(), CAPath: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAgainstOurServer(t *testing.T) {
	t.Parallel()
	adminKey, userKey, strangerKey := identity.New(), identity.New(), identity.New()
	url, ca := ourServer(t, adminKey.Identity(), userKey.Identity())
	admin, user, stranger := connect(t, url, ca, adminKey), connect(t, url, ca, userKey), connect(t, url, ca, strangerKey)
	ctx := t.Context()

	must(t, admin.CreateKey(ctx, "k"))
	wantErr(t, admin.CreateKey(ctx, "k"), kms.ErrKeyExists)
	must(t, admin.ImportKey(ctx, "imported", [32]byte{1}, kms.AES256))
	info, err := admin.DescribeKey(ctx, "k")
	if err != nil || info.CreatedBy != admin.Identity() || time.Since(info.CreatedAt).Abs() > time.Minute {
		t.Errorf("described %+v, %v", info, err)
	}
	dek, err := user.GenerateDEK(ctx, "k", []byte(`{"a":"b"}`))
	must(t, err)
	got, err := user.DecryptDEK(ctx, "k", dek.Ciphertext, []byte(`{"a":"b"}`))
	if err != nil || got != dek.Plaintext {
		t.Errorf("DEK: %v", err)
	}
	_, err = user.DecryptDEK(ctx, "k", dek.Ciphertext, nil)
	wantErr(t, err, kms.ErrDecrypt)
	_, err = user.GenerateDEK(ctx, "none", nil)
	wantErr(t, err, kms.ErrKeyNotFound)
	_, err = user.GenerateDEK(ctx, "secret-key", nil)
	wantErr(t, err, kms.ErrNotPermitted)
	_, err = stranger.GenerateDEK(ctx, "k", nil)
	wantErr(t, err, kms.ErrNotPermitted)
	sealed, err := admin.Encrypt(ctx, "k", nil, nil)
	must(t, err)
	if plain, err := admin.Decrypt(ctx, "k", sealed, nil); err != nil || len(plain) != 0 {
		t.Errorf("empty plaintext: %q, %v", plain, err)
	}
	mac, err := admin.HMAC(ctx, "k", []byte("m"))
	if again, err2 := admin.HMAC(ctx, "k", []byte("m")); err != nil || err2 != nil || !bytes.Equal(mac, again) {
		t.Errorf("HMAC: %v, %v", err, err2)
	}
	_, err = admin.Status(ctx)
	must(t, err)
	_, err = user.Status(ctx) // may not ask, but learns that the server answers
	must(t, err)
	must(t, admin.DeleteKey(ctx, "imported"))
	wantErr(t, admin.DeleteKey(ctx, "imported"), kms.ErrKeyNotFound)
}

func TestListingOfOurServer(t *testing.T) {
	t.Parallel()
	key := identity.New()
	url, ca := ourServer(t, key.Identity(), identity.New().Identity())
	c := connect(t, url, ca, key)
	want := []string{"default-key"}
	for i := range 1100 {
		name := fmt.Sprintf("key-%04d", i)
		must(t, c.CreateKey(t.Context(), name))
		want = append(want, name)
	}
	if got, err := c.ListKeys(t.Context(), ""); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d names, %v", len(got), err)
	}
	if got, err := c.ListKeys(t.Context(), "key-"); err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("%d names, %v", len(got), err)
	}
}

func TestDescriptionsOfOurServer(t *testing.T) {
	t.Parallel()
	adminKey, userKey := identity.New(), identity.New()
	url, ca := ourServer(t, adminKey.Identity(), userKey.Identity())
	admin, user := connect(t, url, ca, adminKey), connect(t, url, ca, userKey)
	ctx := t.Context()
	if v, err := user.Version(ctx); err != nil || v.Version != "test" {
		t.Errorf("version %+v, %v", v, err)
	}
	if s, err := admin.ServerStatus(ctx); err != nil || s.StoreDown || s.CPUs == 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	if apis, err := admin.APIs(ctx); err != nil || len(apis) == 0 {
		t.Errorf("APIs %+v, %v", apis, err)
	}
	if text, err := admin.Metrics(ctx); err != nil || !strings.Contains(string(text), "kes_http_request") {
		t.Errorf("metrics %.200s, %v", text, err)
	}
	if names, err := admin.ListPolicies(ctx, ""); err != nil || !slices.Equal(names, []string{"apps"}) {
		t.Errorf("policies %q, %v", names, err)
	}
	if p, err := user.ReadPolicy(ctx, "apps"); err != nil || len(p.Allow) != 3 || !slices.Equal(p.Deny, []string{"/v1/key/generate/secret*"}) {
		t.Errorf("policy %+v, %v", p, err)
	}
	if _, err := admin.DescribePolicy(ctx, "apps"); err != nil {
		t.Error(err)
	}
	_, err := admin.ReadPolicy(ctx, "none")
	wantErr(t, err, client.ErrPolicyNotFound)
	if ids, err := admin.ListIdentities(ctx, ""); err != nil || len(ids) != 2 {
		t.Errorf("identities %q, %v", ids, err)
	}
	if id, err := admin.DescribeIdentity(ctx, user.Identity()); err != nil || id.Policy != "apps" {
		t.Errorf("identity %+v, %v", id, err)
	}
	_, err = admin.DescribeIdentity(ctx, strings.Repeat("0", 64))
	wantErr(t, err, client.ErrIdentityNotFound)
	if id, err := user.DescribeSelf(ctx); err != nil || id.Identity != user.Identity() || id.Policy != "apps" || len(id.Allow) != 3 {
		t.Errorf("self %+v, %v", id, err)
	}
	if id, err := admin.DescribeSelf(ctx); err != nil || !id.Admin {
		t.Errorf("self %+v, %v", id, err)
	}
}

func TestCachedDEKsOutliveOurServer(t *testing.T) {
	t.Parallel()
	key := identity.New()
	var c *client.Cache
	var dek kms.DEK
	t.Run("up", func(t *testing.T) { // the server ends with this part
		url, ca := ourServer(t, key.Identity(), identity.New().Identity())
		inner, err := client.New(client.Options{Endpoints: []string{url}, APIKey: key.Reveal(), CAPath: ca})
		must(t, err)
		c = client.Cached(inner, client.CacheOptions{TTL: time.Millisecond, Offline: time.Hour})
		dek, err = c.GenerateDEK(t.Context(), "default-key", []byte("{}"))
		must(t, err)
	})
	time.Sleep(5 * time.Millisecond)
	for range 3 {
		got, err := c.DecryptDEK(t.Context(), "default-key", dek.Ciphertext, []byte("{}"))
		if err != nil || got != dek.Plaintext {
			t.Fatalf("got %v", err)
		}
	}
	_, err := c.DecryptDEK(t.Context(), "default-key", dek.Ciphertext, []byte(`{"other":"context"}`))
	wantErr(t, err, kms.ErrUnavailable)
}

func TestAuditLogOfOurServer(t *testing.T) {
	t.Parallel()
	key := identity.New()
	url, ca := ourServer(t, key.Identity(), identity.New().Identity())
	c := connect(t, url, ca, key)
	audit, err := c.AuditLog(t.Context())
	must(t, err)
	defer audit.Close()
	must(t, c.CreateKey(t.Context(), "k"))
	e, err := audit.Next()
	if err != nil || e.Path != "/v1/key/create/k" || e.Code != 200 || e.Identity != c.Identity() || e.Duration <= 0 || e.Duration > time.Minute {
		t.Errorf("event %+v, %v", e, err)
	}
}

func BenchmarkDecryptOverTLS(b *testing.B) {
	key := identity.New()
	url, ca := ourServer(b, key.Identity(), identity.New().Identity())
	c := connect(b, url, ca, key)
	dek, err := c.GenerateDEK(b.Context(), "default-key", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.DecryptDEK(b.Context(), "default-key", dek.Ciphertext, nil); err != nil {
				b.Error(err)
			}
		}
	})
}
