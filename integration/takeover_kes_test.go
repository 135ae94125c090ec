package integration

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A MinIO whose KES is our key server encrypts by itself. What it has is taken over, and read
// from a MinIO without a KMS, after the key server and its keys are gone.
func TestTakeOverOfAMinIOWithOurKeyServer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	k := startKMS(t, kesYAML+"keystore: {fs: {path: DIR/keys, masterkey: {file: DIR/master.key}}}\n")
	m := startKMSMinIO(t, k, minioDefaultKey)
	mustSeal(t, k.as(k.admin), "", "key", "create", "reports")
	raw := m.raw()
	raw.do(t, request{method: http.MethodPut, bucket: "mixed"}).wantStatus(t, http.StatusOK)
	raw.do(t, request{method: http.MethodPut, bucket: "ruled"}).wantStatus(t, http.StatusOK)
	raw.do(t, request{
		method: http.MethodPut, bucket: "ruled", query: "versioning=",
		body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
	}).wantStatus(t, http.StatusOK)
	raw.putEncryption(t, "ruled", encryptionRule("aws:kms", "reports")).wantStatus(t, http.StatusOK)

	data, etags := map[string][]byte{}, map[string]string{}
	parts := [][]byte{partData(minPart+1, 1), partData(77, 3)}
	for name, header := range map[string]map[string]string{"s3": {"X-Amz-Server-Side-Encryption": "AES256"}, "kms": kmsWith("reports"), "plain": {}} {
		data["mixed/"+name], data["mixed/"+name+"-empty"], data["mixed/"+name+"-parts"] = testData(200_000, 7), nil, bytes.Join(parts, nil)
		for _, key := range []string{name, name + "-empty"} {
			etags["mixed/"+key] = raw.put(t, "mixed", key, data["mixed/"+key], header).wantStatus(t, http.StatusOK).header.Get("Etag")
		}
		u := raw.createUpload(t, "mixed", name+"-parts", header)
		for i, part := range parts {
			u.put(t, i+1, part)
		}
		etags["mixed/"+name+"-parts"] = u.complete(t)
	}
	older := raw.put(t, "ruled", "k", []byte("older"), nil).wantStatus(t, http.StatusOK).header.Get("X-Amz-Version-Id")
	data["ruled/k"] = testData(9<<20, 8)
	raw.put(t, "ruled", "k", data["ruled/k"], nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:reports"})

	var err error
	if m.seal, err = startSeal(m.dir, "", m.minio.endpoint(), "--plain-read", "*"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.seal.kill() })
	m.seal.dumpOnFailure(t)
	if out, err := m.command(t, "object", "encrypt", "--bucket", "*"); err == nil || !strings.Contains(out, "rule-at-minio") {
		t.Errorf("a bucket with a rule at MinIO: %v %s", err, out)
	}
	raw.bucketEncryption(t, http.MethodDelete, "ruled").wantStatus(t, http.StatusNoContent)

	if os.Getenv("BUCKETSEAL_LONG") != "" { // MinIO is asked for a quarter of a minute
		// Without its KMS, MinIO cannot read what it encrypted: it stays, and nothing is lost.
		if err := k.stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if out, err := m.command(t, "object", "encrypt", "--bucket", "ruled"); err == nil || strings.Contains(out, "nothing readable is left in") {
			t.Errorf("while the key server is away: %v %s", err, out)
		}
		k.start(t)
	}
	if out := m.takeOver(t, "--bucket", "*"); !strings.Contains(out, "encrypted by MinIO") {
		t.Errorf("taken over: %s", out)
	}

	// What MinIO itself keeps lies under its KMS too: users and settings are exported, and what it
	// cannot read any more is taken out of its way.
	mc := newMC(t, m.stack)
	mc.must(t, "admin", "user", "add", "raw", "alice", "alice-secret-0123")
	mc.must(t, "admin", "policy", "attach", "raw", "readwrite", "--user", "alice")
	mc.must(t, "admin", "config", "set", "raw", "api", "requests_max=777")
	mc.must(t, "admin", "cluster", "iam", "export", "raw")
	settings := mc.must(t, "admin", "config", "export", "raw")

	// The key server goes, with its keys; MinIO knows no KMS any more.
	m.seal.kill()
	if err := m.minio.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(m.dir, "data", ".minio.sys", "config"), filepath.Join(m.dir, "former-config")); err != nil {
		t.Fatal(err)
	}
	k.kill()
	if err := os.RemoveAll(k.dir + "/keys"); err != nil {
		t.Fatal(err)
	}
	if m.minio, err = startMinIO(m.dir, m.minio.addr, false); err != nil {
		t.Fatal(err)
	}
	m.minio.dumpOnFailure(t)
	mc.must(t, "admin", "cluster", "iam", "import", "raw", filepath.Join(mc.config, "raw-iam-info.zip"))
	m.raw().as("alice", "alice-secret-0123").head(t, "mixed", "s3", nil).wantStatus(t, http.StatusOK)
	// On a busy machine MinIO still writes the settings of a first start after it has begun to serve.
	for tries := 3; ; tries-- {
		if _, all, err := runWith(t, baseEnv("HOME="+mc.config, "MC_CONFIG_DIR="+mc.config), mc.config, settings, mc.program, "--quiet", "--no-color", "admin", "config", "import", "raw"); err != nil {
			t.Errorf("mc admin config import: %v %s", err, all)
		}
		if err := m.minio.stop(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		if m.minio, err = startMinIO(m.dir, m.minio.addr, false); err != nil {
			t.Fatal(err)
		}
		m.minio.dumpOnFailure(t)
		out := mc.must(t, "admin", "config", "get", "raw", "api")
		if strings.Contains(out, "requests_max=777") {
			break
		}
		if tries == 1 {
			t.Fatalf("MinIO's settings: %s", out)
		}
	}
	m.without(t, "--plain-read")
	c := m.client()
	for name, want := range data {
		bucket, key, _ := strings.Cut(name, "/")
		a := c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, want).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"})
		if etag := etags[name]; etag != "" && !strings.HasPrefix(key, "kms") {
			a.wantHeader(t, map[string]string{"Etag": etag})
		}
		if len(want) > 0 && !strings.HasSuffix(key, "-parts") { // those may end a package at the end of a part
			wantSealed(t, m.stack, bucket, key, want)
		}
	}
	c.do(t, request{method: http.MethodGet, bucket: "ruled", key: "k", query: "versionId=" + older}).wantStatus(t, http.StatusOK).wantBody(t, []byte("older"))
	if out, err := m.command(t, "object", "verify"); err != nil || !strings.Contains(out, `"verified":11`) {
		t.Errorf("verify: %v %s", err, out)
	}
}
