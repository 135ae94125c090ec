package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const memStore = "keystore: {mem: {}}\n"

func TestKeyCommandsOnAKeyServer(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+memStore)
	admin, minio := k.as(k.admin), k.as(k.minio)

	if out := mustSeal(t, admin, "", "key", "create", "one", "two"); out != "created one\ncreated two\n" {
		t.Errorf("key create: %q", out)
	}
	refusedSeal(t, "key already exists", admin, "", "key", "create", "one")
	refusedSeal(t, "key name", admin, "", "key", "create", "a b")
	refusedSeal(t, "not authorized: insufficient permissions", minio, "", "key", "rm", "one", "--force")
	refusedSeal(t, "key does not exist", admin, "", "key", "info", "three")
	refusedSeal(t, "key does not exist", admin, "", "key", "dek", "three")

	var info struct {
		Name      string
		CreatedBy string `json:"created_by"`
	}
	jsonOf(t, mustSeal(t, admin, "", "key", "info", "two", "--json"), &info)
	if info.Name != "two" || info.CreatedBy != k.admin.id {
		t.Errorf("key info: %+v", info)
	}
	mustSeal(t, minio, "", "key", "create", "by-minio")
	if out := mustSeal(t, minio, "", "key", "info", "by-minio"); !strings.Contains(out, k.minio.id) {
		t.Errorf("key info: %s", out)
	}

	secret := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	mustSeal(t, admin, secret+"\n", "key", "import", "mine", "-")
	mustSeal(t, admin, "", "key", "import", "chacha", writeFile(t, t.TempDir(), "key", []byte(secret)), "--cipher", "ChaCha20")
	refusedSeal(t, "not 32 bytes", admin, "c2hvcnQ=", "key", "import", "short")
	if out := mustSeal(t, admin, "", "key", "ls"); out != "by-minio\nchacha\nmine\none\ntwo\n" {
		t.Errorf("key ls: %q", out)
	}
	for _, pattern := range []string{"m", "m*", "mine"} {
		if out := mustSeal(t, admin, "", "key", "ls", pattern); out != "mine\n" {
			t.Errorf("key ls %s: %q", pattern, out)
		}
	}

	var dek struct{ Plaintext, Ciphertext string }
	jsonOf(t, mustSeal(t, minio, "", "key", "dek", "mine", "--context", "about", "--json"), &dek)
	plain, err := base64.StdEncoding.DecodeString(dek.Plaintext)
	if err != nil || len(plain) != 32 {
		t.Errorf("a DEK of %d bytes, %v", len(plain), err)
	}
	if out := mustSeal(t, minio, dek.Ciphertext, "key", "decrypt", "mine", "--context", "about"); out != string(plain) {
		t.Error("the DEK opens as another")
	}
	refusedSeal(t, "decryption failed: ciphertext is not authentic", minio, dek.Ciphertext, "key", "decrypt", "mine", "--context", "other")
	refusedSeal(t, "decryption failed: ciphertext is not authentic", minio, dek.Ciphertext, "key", "decrypt", "one", "--context", "about")
	sealed := mustSeal(t, admin, "a text\n", "key", "encrypt", "chacha")
	if out := mustSeal(t, minio, sealed, "key", "decrypt", "chacha"); out != "a text\n" {
		t.Errorf("decrypted %q", out)
	}

	refusedSeal(t, "not confirmed", admin, "", "key", "rm", "one")
	mustSeal(t, admin, "", "key", "rm", "one", "two", "--force")
	refusedSeal(t, "key does not exist", admin, "", "key", "rm", "one", "--force")
	wantNoSecrets(t, k)
}

func jsonOf(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func TestAdministrationOfAKeyServer(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+memStore)
	admin, minio := k.as(k.admin), k.as(k.minio)

	// Identities: KES's, made and told by either side.
	if out := mustSeal(t, nil, k.admin.key, "identity", "of", "-"); out != k.admin.id+"\n" {
		t.Errorf("identity of: %q", out)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.crt"), filepath.Join(dir, "c.key")
	mustSeal(t, nil, "", "identity", "new", "--key", keyFile, "--cert", certFile, "somebody")
	id := strings.TrimSpace(mustSeal(t, nil, "", "identity", "of", certFile))
	stranger := []string{"MINIO_KES_SERVER=" + k.addr, "MINIO_KES_CERT_FILE=" + certFile, "MINIO_KES_KEY_FILE=" + keyFile, "MINIO_KES_CAPATH=" + k.caFile()}
	refusedSeal(t, "not authorized: insufficient permissions", stranger, "", "key", "ls")
	if !strings.Contains(k.logSince(0), "identity="+id) {
		t.Errorf("the server knows that certificate by another identity than %s", id)
	}
	refusedSeal(t, "identity does not exist", stranger, "", "identity", "info")

	if out := mustSeal(t, admin, "", "identity", "ls"); !strings.Contains(out, k.minio.id) || !strings.Contains(out, k.admin.id) {
		t.Errorf("identity ls: %q", out)
	}
	var info struct {
		Admin  bool
		Policy string
		Allow  []string
		Deny   []string
	}
	jsonOf(t, mustSeal(t, minio, "", "identity", "info", "--json"), &info)
	if info.Admin || info.Policy != "minio" || !slices.Contains(info.Allow, "/v1/key/create/*") || !slices.Contains(info.Deny, "/v1/key/create/internal*") {
		t.Errorf("identity info: %+v", info)
	}
	jsonOf(t, mustSeal(t, admin, "", "identity", "info", "--json"), &info)
	if !info.Admin {
		t.Errorf("identity info of the admin: %+v", info)
	}
	if out := mustSeal(t, admin, "", "identity", "info", k.minio.id); !strings.Contains(out, "minio") {
		t.Errorf("identity info: %q", out)
	}
	if out := mustSeal(t, admin, "", "policy", "ls"); out != "minio\n" {
		t.Errorf("policy ls: %q", out)
	}
	if out := mustSeal(t, admin, "", "policy", "show", "minio"); !strings.Contains(out, "/v1/key/create/internal*") {
		t.Errorf("policy show: %q", out)
	}
	refusedSeal(t, "policy does not exist", admin, "", "policy", "show", "none")
	refusedSeal(t, "not authorized: insufficient permissions", minio, "", "policy", "ls")

	if out := mustSeal(t, minio, "", "status"); !strings.Contains(out, "key store:") {
		t.Errorf("status: %q", out)
	}
	if out := mustSeal(t, admin, "", "status", "--api"); strings.Count(out, "/v1/") != 21 || !strings.Contains(out, "/version") {
		t.Errorf("status --api: %s", out)
	}
	if out := mustSeal(t, admin, "", "metric"); !strings.Contains(out, `kes_http_request_error{code="403"}`) {
		t.Errorf("metric: %s", out)
	}
	none := []string{"MINIO_KES_SERVER=127.0.0.1:1", "MINIO_KES_API_KEY=" + k.admin.key}
	refusedSeal(t, "127.0.0.1:1", none, "", "status")
	refusedSeal(t, "certificate", []string{"MINIO_KES_SERVER=" + k.addr, "MINIO_KES_API_KEY=" + k.admin.key}, "", "status")
}

func TestAuditStreamDeliversEventsAtOnce(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+memStore)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	follow := func(name string, args ...string) *process {
		p, err := startProcess(name, filepath.Join(k.dir, name), baseEnv(k.as(k.admin)...), program, append([]string{"log", "--json"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		return p
	}
	audit, errorLog := follow("audit"), follow("errors", "--error")
	c, user := k.clientOf(t, k.admin), k.clientOf(t, k.minio)
	// The streams are there once a request that is made over and over shows.
	waitFor(t, 10*time.Second, "the streams to begin", func() bool {
		user.do(t, http.MethodGet, "/v1/policy/list/", nil)
		return strings.Contains(audit.logSince(0), "/v1/policy/list/") && strings.Contains(errorLog.logSince(0), "/v1/policy/list/")
	})
	start := time.Now()
	c.do(t, http.MethodPost, "/v1/key/create/seen", nil)
	user.do(t, http.MethodPost, "/v1/key/generate/seen", map[string][]byte{"context": []byte(`{"secret-bucket":"secret-object"}`)})
	user.do(t, http.MethodDelete, "/v1/key/delete/seen", nil)
	waitFor(t, 5*time.Second, "the events to arrive", func() bool { return strings.Contains(audit.logSince(0), "/v1/key/delete/seen") })
	if took := time.Since(start); took > patience*2*time.Second {
		t.Errorf("the events took %v", took)
	}
	log := audit.logSince(0)
	for _, want := range []string{`"/v1/key/create/seen"`, `"/v1/key/generate/seen"`, k.admin.id, k.minio.id} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in the audit stream:\n%s", want, log)
		}
	}
	if strings.Contains(log+k.logSince(0), "secret-object") {
		t.Error("the encryption context stands in a log")
	}
	waitFor(t, 5*time.Second, "the refusal to arrive", func() bool {
		return strings.Contains(errorLog.logSince(0), "/v1/key/delete/seen") && strings.Contains(errorLog.logSince(0), "policy=minio")
	})
	// Both end when the server does, and the server does not wait for them.
	if err := k.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	for _, p := range []*process{audit, errorLog} {
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
			t.Errorf("%s goes on without a server", p.name)
		}
	}
}

func TestElevenHundredKeysAreListedOnce(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+"keystore: {fs: {path: DIR/keys}}\n")
	names := make([]string, 1100)
	for i := range names {
		names[i] = fmt.Sprintf("key-%04d", i)
	}
	mustSeal(t, k.as(k.minio), "", append([]string{"key", "create"}, names...)...)
	want := strings.Join(names, "\n") + "\n"
	for _, pattern := range [][]string{nil, {"key*"}, {"key-"[:3]}} {
		if out := mustSeal(t, k.as(k.minio), "", append([]string{"key", "ls"}, pattern...)...); out != want {
			t.Errorf("key ls %v: %d lines", pattern, strings.Count(out, "\n"))
		}
	}
	var list struct {
		Names      []string
		ContinueAt *string `json:"continue_at"`
	}
	if err := unmarshal(k.clientOf(t, k.minio).do(t, http.MethodGet, "/v1/key/list/", nil), &list); err != nil || !slices.Equal(list.Names, names) || list.ContinueAt != nil {
		t.Errorf("list: %v, %d names", err, len(list.Names))
	}
	m := startKMSMinIO(t, k, names[0])
	out := newMC(t, m.stack).must(t, "admin", "kms", "key", "list", "seal", "--json")
	for _, name := range names {
		if strings.Count(out, `"`+name+`"`) != 1 {
			t.Fatalf("mc lists %s %d times", name, strings.Count(out, `"`+name+`"`))
		}
	}
}
