package integration

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const minioDefaultKey = "minio-default"

// kmsMinIO is a MinIO whose KES is a bucketseal key server.
type kmsMinIO struct {
	*stack
	kms        *kmsServer
	defaultKey string
}

func startKMSMinIO(t *testing.T, k *kmsServer, defaultKey string) *kmsMinIO {
	t.Helper()
	m := &kmsMinIO{stack: &stack{dir: t.TempDir()}, kms: k, defaultKey: defaultKey}
	m.start(t, "")
	t.Cleanup(func() { m.minio.kill() })
	return m
}

func (m *kmsMinIO) start(t *testing.T, addr string) {
	t.Helper()
	var err error
	if m.minio, err = startMinIO(m.dir, addr, false, m.kms.forMinIO(m.defaultKey)...); err != nil {
		t.Fatalf("%v\n%s", err, m.kms.logTail(0))
	}
	m.minio.dumpOnFailure(t)
}

// restart ends key server and MinIO and starts both again.
func (m *kmsMinIO) restart(t *testing.T) {
	t.Helper()
	if err := m.minio.stop(20 * time.Second); err != nil {
		t.Errorf("MinIO ended with %v", err)
	}
	if err := m.kms.stop(10 * time.Second); err != nil {
		t.Errorf("key server ended with %v", err)
	}
	m.kms.start(t)
	m.start(t, m.minio.addr)
}

// object writes an object that MinIO encrypts under key by the bucket's rule,
// and checks that it says so.
func (m *kmsMinIO) object(t *testing.T, mc *mcRunner, at, key string, data []byte) {
	t.Helper()
	mc.must(t, "mb", at)
	mc.must(t, "encrypt", "set", "sse-kms", key, at)
	mc.must(t, "cp", writeFile(t, t.TempDir(), "object", data), at+"/")
	var stat struct{ Metadata map[string]string }
	out := mc.must(t, "stat", "--json", at+"/object")
	if err := json.Unmarshal([]byte(out), &stat); err != nil {
		t.Fatal(err)
	}
	if got := stat.Metadata["X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"]; got != "arn:aws:kms:"+key {
		t.Errorf("mc stat shows the KMS key %q: %s", got, out)
	}
}

// useKeys has mc and MinIO do with KMS keys what users do, before and after a
// restart of both servers. mayList says that MinIO's policy lets it list keys.
func (m *kmsMinIO) useKeys(t *testing.T, mayList bool) {
	t.Helper()
	mc := newMC(t, m.stack)
	mc.must(t, "admin", "kms", "key", "create", "seal", "reports")
	for _, args := range [][]string{{"seal"}, {"seal", "reports"}} {
		out := mc.must(t, append([]string{"admin", "kms", "key", "status"}, args...)...)
		if strings.Count(out, "✔") != 2 {
			t.Errorf("key status %v: %s", args, out)
		}
	}
	if out := mc.must(t, "admin", "kms", "key", "status", "seal", "no-such-key"); !strings.Contains(out, "key with given key ID does not exist") {
		t.Errorf("status of a missing key: %s", out)
	}
	if _, all, err := mc.run(t, "admin", "kms", "key", "create", "seal", "reports"); err == nil || !strings.Contains(all, "key with given key ID already exi") {
		t.Errorf("creating a key twice: %v %s", err, all)
	}
	out, all, err := mc.run(t, "admin", "kms", "key", "list", "seal")
	switch {
	case mayList && (err != nil || !strings.Contains(out, "reports") || !strings.Contains(out, m.defaultKey)):
		t.Errorf("key list: %v %s", err, all)
	case !mayList && err == nil:
		t.Errorf("keys were listed against the policy: %s", out)
	}
	bucket := "seal/" + bucketName(t)
	data := testData(200_000, 300)
	m.object(t, mc, bucket, "reports", data)
	if _, all, err := mc.run(t, "encrypt", "set", "sse-kms", "no-such-key", bucket); err == nil {
		t.Errorf("a rule with a missing key was accepted: %s", all)
	}
	m.object(t, mc, bucket+"-default", m.defaultKey, data)
	read := func() {
		t.Helper()
		for _, at := range []string{bucket, bucket + "-default"} {
			if got := mc.must(t, "cat", at+"/object"); got != string(data) {
				t.Errorf("mc cat %s: %d bytes that are not those written", at, len(got))
			}
		}
	}
	read()
	m.restart(t)
	read()
	m.object(t, mc, bucket+"-after", "reports", data)
}

func TestMinIOUsesAKeyServerWithAFolderOfKeys(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+"keystore: {fs: {path: DIR/keys, masterkey: {file: DIR/master.key}}}\n")
	m := startKMSMinIO(t, k, minioDefaultKey)
	m.useKeys(t, true)
	// The key that the policy denies is denied through MinIO too.
	mc := newMC(t, m.stack)
	if _, all, err := mc.run(t, "admin", "kms", "key", "create", "seal", "internal-1"); err == nil {
		t.Errorf("a key was created against the policy: %s", all)
	}
	if log := k.logSince(0); !strings.Contains(log, `path=/v1/key/create/internal-1 policy=minio`) || !strings.Contains(log, "identity="+k.minio.id) {
		t.Errorf("the log does not say who was refused what:\n%s", k.logTail(0))
	}
	wantNoSecrets(t, k, m.minio.process)
	entries, err := os.ReadDir(filepath.Join(k.dir, "keys"))
	if err != nil || len(entries) != 2 {
		t.Errorf("%d key files, %v", len(entries), err)
	}
}

// wantNoSecrets checks that no log holds an API key.
func wantNoSecrets(t *testing.T, k *kmsServer, more ...*process) {
	t.Helper()
	for _, p := range append(more, k.process) {
		for _, key := range []apiKey{k.admin, k.minio} {
			if strings.Contains(p.logSince(0), key.key) || strings.Contains(p.logSince(0), strings.TrimPrefix(key.key, "kes:v1:")) {
				t.Errorf("the log of %s holds an API key", p.name)
			}
		}
	}
}

func TestMinIOUsesAKeyServerWithKeysInSecretsManager(t *testing.T) {
	t.Parallel()
	addr := moto(t)
	const region = "eu-central-1"
	arn := motoKey(t, addr, region)
	k := startKMS(t, kesYAML+"keys: [{name: listed}]\n"+
		secretsStore("http://"+addr, region, "kmskey: "+arn, "prefix: seal/", "tags: {app: bucketseal}"))
	m := startKMSMinIO(t, k, minioDefaultKey)
	m.useKeys(t, true)
	for _, name := range []string{minioDefaultKey, "reports", "listed"} {
		if s, ok := motoSecret(t, addr, region, "seal/"+name); !ok || s.KmsKeyId != arn || s.SecretString == "" {
			t.Errorf("secret %s: %v, KMS key %q", name, ok, s.KmsKeyId)
		}
	}
}

func TestMinIOUsesTheConfigurationOfItsDocumentation(t *testing.T) {
	t.Parallel()
	addr := moto(t)
	example := readFile(t, filepath.Join(repoRoot(), "kms", "config", "testdata", "docs-example.yml"))
	yaml := strings.NewReplacer("/data/certs/server.cert", "DIR/server.crt", "/data/certs/", "DIR/",
		"secretsmanager.us-east-1.amazonaws.com", "http://"+addr).Replace(string(example))
	if bytes.Equal([]byte(yaml), example) {
		t.Fatal("the example is not what it was")
	}
	k := startKMS(t, yaml, "AWSACCESSKEY=AK", "AWSSECRETKEY=SK")
	for _, key := range []string{"minio-encryption-key-alpha", "minio-encryption-key-baker", "minio-encryption-key-charlie"} {
		if s, ok := motoSecret(t, addr, "us-east-1", key); !ok || s.SecretString == "" {
			t.Errorf("key %s was not created at start", key)
		}
	}
	for _, warning := range []string{"root is deprecated", "keystore.secretsmanager is deprecated"} {
		if !strings.Contains(k.logSince(0), warning) {
			t.Errorf("no warning %q:\n%s", warning, k.logTail(0))
		}
	}
	// root: disabled
	if a := k.clientOf(t, k.admin).do(t, http.MethodGet, "/v1/status", nil); a.status != http.StatusForbidden {
		t.Errorf("without an admin, status answers %d", a.status)
	}
	startKMSMinIO(t, k, "minio-encryption-key-alpha").useKeys(t, false)
}
