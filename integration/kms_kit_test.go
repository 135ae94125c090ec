package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runSeal runs bucketseal to its end with input on its standard input.
func runSeal(t *testing.T, env []string, input string, args ...string) (stdout, all string, err error) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	return runWith(t, baseEnv(env...), "", input, program, args...)
}

// mustSeal is runSeal for what must succeed; it returns the standard output.
func mustSeal(t *testing.T, env []string, input string, args ...string) string {
	t.Helper()
	out, all, err := runSeal(t, env, input, args...)
	if err != nil {
		t.Fatalf("bucketseal %s: %v\n%s", strings.Join(args, " "), err, all)
	}
	return out
}

// refusedSeal is runSeal for what must fail with exit code 1 and a text.
func refusedSeal(t *testing.T, text string, env []string, input string, args ...string) {
	t.Helper()
	_, all, err := runSeal(t, env, input, args...)
	if exitCode(err) != 1 || !strings.Contains(all, text) {
		t.Errorf("bucketseal %s: %v, want exit code 1 and %q in\n%s", strings.Join(args, " "), err, text, all)
	}
}

// apiKey is an identity of a key server's client, and the key that proves it.
type apiKey struct {
	key string
	id  string
}

func newAPIKey(t *testing.T) apiKey {
	t.Helper()
	var out struct {
		APIKey   string `json:"api_key"`
		Identity string `json:"identity"`
	}
	if err := json.Unmarshal([]byte(mustSeal(t, nil, "", "identity", "new", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	return apiKey{out.APIKey, out.Identity}
}

// certificate makes the client certificate of an API key as KES's clients do:
// kes:v1: and base64 of a zero byte and an Ed25519 seed.
func (k apiKey) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(k.key, "kes:v1:"))
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != 0 {
		t.Fatalf("an API key of %d bytes: %v", len(raw), err)
	}
	return selfSigned(t, ed25519.NewKeyFromSeed(raw[1:]))
}

func selfSigned(t *testing.T, private ed25519.PrivateKey) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// kmsServer is a running `bucketseal kms server`.
type kmsServer struct {
	*process
	// dir holds kes.yml and the server's certificate.
	dir, addr string
	// env is added to the server's environment.
	env          []string
	admin, minio apiKey
}

func (k *kmsServer) url() string    { return "https://" + k.addr }
func (k *kmsServer) caFile() string { return filepath.Join(k.dir, "server.crt") }
func (k *kmsServer) config() string { return filepath.Join(k.dir, "kes.yml") }

// kesYAML is a configuration as KES's users have it; a key store is appended.
// The environment gives ADMIN and MINIO.
const kesYAML = `version: v1
address: 127.0.0.1:7373
admin:
  identity: ${ADMIN}
tls:
  key: DIR/server.key
  cert: DIR/server.crt
policy:
  minio:
    allow:
    - /v1/key/create/*
    - /v1/key/generate/*
    - /v1/key/decrypt/*
    - /v1/key/describe/*
    - /v1/key/list/*
    - /v1/status
    deny:
    - /v1/key/create/internal*
    identities:
    - ${MINIO}
`

// startKMS starts a key server with that configuration, in which DIR stands for
// a folder of the test's own.
func startKMS(t *testing.T, yaml string, env ...string) *kmsServer {
	t.Helper()
	k := &kmsServer{dir: t.TempDir(), admin: newAPIKey(t), minio: newAPIKey(t)}
	k.env = append([]string{"ADMIN=" + k.admin.id, "MINIO=" + k.minio.id, "MINIO_IDENTITY_HASH=" + k.minio.id}, env...)
	mustSeal(t, nil, "", "identity", "new", "--key", filepath.Join(k.dir, "server.key"), "--cert", k.caFile(), "--ip", "127.0.0.1")
	writeFile(t, k.dir, "kes.yml", []byte(strings.ReplaceAll(yaml, "DIR", k.dir)))
	k.start(t)
	t.Cleanup(func() { k.kill() })
	return k
}

// start starts the server, again at the address it had.
func (k *kmsServer) start(t *testing.T) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	for attempt := 0; ; attempt++ {
		at := k.addr
		if at == "" {
			if at, err = freeAddress(); err != nil {
				t.Fatal(err)
			}
		}
		k.process, err = startProcess("key server", filepath.Join(k.dir, "kms.log"), baseEnv(k.env...),
			program, "kms", "server", "--config", k.config(), "--addr", at)
		if err != nil {
			t.Fatal(err)
		}
		if err = k.waitReady(k.client(t, k.admin.certificate(t)).http, "https://"+at+"/version"); err == nil {
			k.addr = at
			k.dumpOnFailure(t)
			return
		}
		k.kill()
		if attempt == 2 || k.addr != "" {
			t.Fatal(err)
		}
	}
}

// as is the environment of a command line that talks to the server.
func (k *kmsServer) as(key apiKey) []string {
	return []string{"MINIO_KES_SERVER=" + k.addr, "MINIO_KES_API_KEY=" + key.key, "MINIO_KES_CAPATH=" + k.caFile()}
}

// forMinIO is what MinIO is told to use the server.
func (k *kmsServer) forMinIO(defaultKey string) []string {
	return []string{
		"MINIO_KMS_KES_ENDPOINT=" + k.url(), "MINIO_KMS_KES_API_KEY=" + k.minio.key,
		"MINIO_KMS_KES_CAPATH=" + k.caFile(), "MINIO_KMS_KES_KEY_NAME=" + defaultKey,
	}
}

// kesClient speaks KES's API byte by byte.
type kesClient struct {
	server *kmsServer
	http   *http.Client
}

// client returns a client with these certificates, all of them sent.
func (k *kmsServer) client(t *testing.T, certs ...tls.Certificate) *kesClient {
	t.Helper()
	pool := x509.NewCertPool()
	data := readFile(t, k.caFile())
	if !pool.AppendCertsFromPEM(data) {
		t.Fatalf("%s holds no certificate", k.caFile())
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16,
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &kesClient{server: k, http: &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// keyOf returns the client of an API key.
func (k *kmsServer) clientOf(t *testing.T, key apiKey) *kesClient {
	t.Helper()
	return k.client(t, key.certificate(t))
}

// kesAnswer is an answer of a key server.
type kesAnswer struct {
	status int
	header http.Header
	body   string
}

// message is the text of an error.
func (a kesAnswer) message() string {
	var e struct{ Message string }
	_ = json.Unmarshal([]byte(a.body), &e)
	return e.Message
}

func (c *kesClient) try(method, path string, body []byte) (kesAnswer, error) {
	req, err := http.NewRequest(method, c.server.url()+path, bytes.NewReader(body))
	if err != nil {
		return kesAnswer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return kesAnswer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return kesAnswer{resp.StatusCode, resp.Header, string(data)}, err
}

func (c *kesClient) do(t *testing.T, method, path string, in any) kesAnswer {
	t.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	a, err := c.try(method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// generate asks for a DEK and returns it with its ciphertext.
func (c *kesClient) generate(key string, context []byte) (plaintext, ciphertext []byte, err error) {
	var out struct{ Plaintext, Ciphertext []byte }
	err = c.call("/v1/key/generate/"+key, map[string][]byte{"context": context}, &out)
	if err == nil && len(out.Plaintext) != 32 {
		err = fmt.Errorf("a DEK of %d bytes", len(out.Plaintext))
	}
	return out.Plaintext, out.Ciphertext, err
}

func (c *kesClient) decrypt(key string, ciphertext, context []byte) ([]byte, error) {
	var out struct{ Plaintext []byte }
	err := c.call("/v1/key/decrypt/"+key, map[string][]byte{"ciphertext": ciphertext, "context": context}, &out)
	return out.Plaintext, err
}

func (c *kesClient) call(path string, in map[string][]byte, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	a, err := c.try(http.MethodPost, path, body)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, a.status, a.body)
	}
	return json.Unmarshal([]byte(a.body), out)
}

// unmarshal reads the JSON of a 200.
func unmarshal(a kesAnswer, v any) error {
	if a.status != http.StatusOK {
		return fmt.Errorf("status %d", a.status)
	}
	return json.Unmarshal([]byte(a.body), v)
}

// startKeysAndMinIO starts a key server with a policy for one API key, which proxies use, and a
// MinIO in a directory of their own.
func startKeysAndMinIO(t *testing.T, policy string) (*kmsServer, *minioServer, apiKey) {
	t.Helper()
	proxy := newAPIKey(t)
	k := startKMS(t, kesYAML+policy+"keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n",
		"PROXY="+proxy.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	minio, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	return k, minio, proxy
}
