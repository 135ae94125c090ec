package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// guideYAML is the configuration of MinIO's guide to AWS Secrets Manager as root
// KMS. REGION and the paths are to be replaced, by the guide's own words.
const guideYAML = `address: 0.0.0.0:7373
root: disabled
tls:
  key:  CERTS/kes-server.key
  cert: CERTS/kes-server.cert
policy:
  minio:
    allow:
    - /v1/key/create/*
    - /v1/key/generate/*
    - /v1/key/decrypt/*
    identities:
    - ${MINIO_IDENTITY_HASH}
keys:
  - name: "minio-encryption-key-alpha"
keystore:
  secretsmanager:
    endpoint: secretsmanager.REGION.amazonaws
    region: REGION
    kmskey: ""
    credentials:
      accesskey: "${AWSACCESSKEY}"
      secretkey: "${AWSSECRETKEY}"
`

// kesLink makes a link to the program with the name that the guide calls.
func kesLink(t *testing.T) string {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "kes")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// kesRunner runs a link named kes in a folder.
type kesRunner struct {
	program, dir string
	env          []string
}

func (k *kesRunner) must(t *testing.T, args ...string) string {
	t.Helper()
	out, all, err := run(t, baseEnv(k.env...), k.dir, k.program, args...)
	if err != nil {
		t.Fatalf("kes %s: %v\n%s", strings.Join(args, " "), err, all)
	}
	return out
}

// TestTheGuideToAWSIsWalkedWithALinkNamedKES does what MinIO's guide "Server-Side
// Object Encryption with AWS Root KMS" tells, command by command.
func TestTheGuideToAWSIsWalkedWithALinkNamedKES(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	addr := moto(t)
	const region = "sa-east-1"
	dir := t.TempDir()
	kes := &kesRunner{program: kesLink(t), dir: dir}
	for _, name := range []string{"kes-server", "minio-kes"} {
		kes.must(t, "tool", "identity", "new", "--key", "certs-"+name+".key", "--cert", "certs-"+name+".cert", "--ip", "127.0.0.1", "--dns", "localhost")
	}
	certs := filepath.Join(dir, "certs-")
	hash := strings.TrimSpace(kes.must(t, "tool", "identity", "of", certs+"minio-kes.cert"))
	kes.env = []string{"MINIO_IDENTITY_HASH=" + hash, "AWSACCESSKEY=AK", "AWSSECRETKEY=SK"}

	page := strings.NewReplacer("CERTS/", certs, "REGION", region).Replace(guideYAML)
	asItStands := writeFile(t, dir, "page.yml", []byte(page))
	out, all, err := runSeal(t, kes.env, "", "kms", "config", "check", asItStands)
	if err != nil || !strings.Contains(out, "valid") || !strings.Contains(all, "secretsmanager."+region+".amazonaws.com") {
		t.Errorf("the page's configuration as it stands: %v\n%s", err, all)
	}

	// The mock stands where AWS would.
	config := writeFile(t, dir, "kes-config.yaml", []byte(strings.Replace(page, "secretsmanager."+region+".amazonaws", "http://"+addr, 1)))
	at, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	server, err := startProcess("kes", filepath.Join(dir, "kes.log"), baseEnv(kes.env...),
		kes.program, "server", "--mlock", "--auth=off", "--config="+config, "--addr", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.kill)
	k := &kmsServer{process: server, dir: dir, addr: at}
	if err := os.Rename(certs+"kes-server.cert", k.caFile()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(k.caFile(), certs+"kes-server.cert"); err != nil {
		t.Fatal(err)
	}
	if err := server.waitReady(k.client(t, newAPIKey(t).certificate(t)).http, "https://"+at+"/version"); err != nil {
		t.Fatal(err)
	}

	minio, err := startMinIO(t.TempDir(), "", false, "MINIO_KMS_KES_ENDPOINT=https://"+at, "MINIO_KMS_KES_CERT_FILE="+certs+"minio-kes.cert",
		"MINIO_KMS_KES_KEY_FILE="+certs+"minio-kes.key", "MINIO_KMS_KES_CAPATH="+k.caFile(), "MINIO_KMS_KES_KEY_NAME=minio-backend-default-key")
	if err != nil {
		t.Fatalf("%v\n%s", err, server.logTail(0))
	}
	t.Cleanup(minio.kill)

	kes.env = []string{"KES_SERVER=https://" + at, "KES_CLIENT_KEY=" + certs + "minio-kes.key", "KES_CLIENT_CERT=" + certs + "minio-kes.cert"}
	kes.must(t, "key", "create", "-k", "encrypted-bucket-key")
	dek := struct{ Plaintext, Ciphertext string }{}
	jsonOf(t, kes.must(t, "key", "dek", "-k", "encrypted-bucket-key"), &dek)
	again := dek
	jsonOf(t, kes.must(t, "key", "decrypt", "-k", "encrypted-bucket-key", dek.Ciphertext), &again)
	if again.Plaintext != dek.Plaintext || dek.Plaintext == "" {
		t.Errorf("decrypted %q, want %q", again.Plaintext, dek.Plaintext)
	}

	mc := newMC(t, &stack{minio: minio})
	mc.must(t, "mb", "raw/encrypted")
	mc.must(t, "encrypt", "set", "sse-kms", "encrypted-bucket-key", "raw/encrypted")
	mc.must(t, "cp", writeFile(t, dir, "object", []byte("by the guide")), "raw/encrypted/")
	if out := mc.must(t, "stat", "--json", "raw/encrypted/object"); !strings.Contains(out, "encrypted-bucket-key") {
		t.Errorf("mc stat: %s", out)
	}
	if out := mc.must(t, "cat", "raw/encrypted/object"); out != "by the guide" {
		t.Errorf("mc cat: %q", out)
	}
	for _, name := range []string{"minio-encryption-key-alpha", "minio-backend-default-key", "encrypted-bucket-key"} {
		if _, ok := motoSecret(t, addr, region, name); !ok {
			t.Errorf("there is no secret %s", name)
		}
	}
}

// TestKESCommandLines speaks to a key server with the command lines of KES's
// documentation.
func TestKESCommandLines(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	k := startKMS(t, kesYAML+memStore)
	kes := &kesRunner{program: kesLink(t), dir: t.TempDir(), env: []string{"KES_SERVER=" + k.url(), "KES_API_KEY=" + k.admin.key}}
	kes.must(t, "key", "create", "-k", "one", "two")
	kes.must(t, "key", "import", "-k", "mine", strings.Repeat("A", 43)+"=")
	if out := kes.must(t, "key", "ls", "-k", "t*"); out != "two\n" {
		t.Errorf("key ls: %q", out)
	}
	if out := kes.must(t, "ls", "-k", "-e", "enclave"); out != "mine\none\ntwo\n" {
		t.Errorf("ls: %q", out)
	}
	kes.must(t, "key", "rm", "-k", "two") // KES does not ask
	if out := kes.must(t, "key", "info", "-k", "one", "--color", "never"); !strings.Contains(out, k.admin.id) {
		t.Errorf("key info: %q", out)
	}
	var sealed struct{ Ciphertext, Plaintext string }
	jsonOf(t, kes.must(t, "key", "encrypt", "-k", "one", "Hello world"), &sealed)
	jsonOf(t, kes.must(t, "key", "decrypt", "-k", "one", sealed.Ciphertext), &sealed)
	if sealed.Plaintext != "SGVsbG8gd29ybGQ=" {
		t.Errorf("decrypted %q", sealed.Plaintext)
	}
	jsonOf(t, kes.must(t, "key", "dek", "-k", "one", "YWJvdXQ="), &sealed)
	jsonOf(t, kes.must(t, "key", "decrypt", "-k", "one", sealed.Ciphertext, "YWJvdXQ="), &sealed)
	for _, args := range [][]string{
		{"policy", "ls", "-k"},
		{"policy", "show", "-k", "minio"},
		{"policy", "info", "-k", "minio"},
		{"ls", "-p", "-k"},
		{"ls", "-i", "-k"},
		{"identity", "ls", "-k"},
		{"identity", "info", "-k"},
		{"status", "-k", "-s", k.addr, "-a", k.admin.key},
		{"status", "-k", "--api"},
		{"metric", "-k"},
		{"--version"},
	} {
		if out := kes.must(t, args...); out == "" {
			t.Errorf("kes %v printed nothing", args)
		}
	}
	if status := k.clientOf(t, k.admin).do(t, http.MethodGet, "/v1/key/describe/two", nil).status; status != http.StatusNotFound {
		t.Errorf("the deleted key: %d", status)
	}
}
