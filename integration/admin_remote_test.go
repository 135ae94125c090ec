package integration

import (
	"strings"
	"testing"
)

// mc's key commands with the keys at a key server: as far as its policy for the
// proxy goes.
func TestMCAdministersKeysOfAKeyServer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	proxy := newAPIKey(t)
	policy := strings.Replace(proxyPolicy, "    - /v1/ready\n", "    - /v1/ready\nLIST", 1)
	const store = "keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n"
	k := startKMS(t, kesYAML+strings.Replace(policy, "LIST", "", 1)+store, "PROXY="+proxy.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	s := &stack{dir: dir, minio: minio}
	if s.seal, err = startSealWith(dir, minio.endpoint(), k.remoteYAML(t, dir, proxy, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.seal.kill() })
	s.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", s.seal.isReady)

	mc := newMC(t, s)
	mc.must(t, "admin", "kms", "key", "create", "seal", "far-key")
	mc.denies(t, "already exits", "admin", "kms", "key", "create", "seal", "far-key")
	mc.says(t, "Decryption ✔", "admin", "kms", "key", "status", "seal", "far-key")
	mc.denies(t, "insufficient permissions", "admin", "kms", "key", "list", "seal")
	if out := mustSeal(t, k.as(k.admin), "", "key", "ls", "far"); out != "far-key\n" {
		t.Errorf("keys at the server: %q", out)
	}

	writeFile(t, k.dir, "kes.yml", []byte(strings.ReplaceAll(kesYAML+strings.Replace(policy, "LIST", "    - /v1/key/list/*\n", 1)+store, "DIR", k.dir)))
	waitFor(t, startLimit, "the new policy", func() bool {
		_, _, err := mc.run(t, "admin", "kms", "key", "list", "seal")
		return err == nil
	})
	if list := mc.must(t, "admin", "kms", "key", "list", "seal", "--json"); !strings.Contains(list, "far-key") || strings.Contains(list, "bucketseal-system") {
		t.Errorf("key list: %s", list)
	}
	// Without its key server the proxy says so.
	if err := k.stop(0); err == nil {
		t.Log("the key server ended by itself")
	}
	mc.says(t, "cannot be reached", "admin", "kms", "key", "status", "seal", "far-key")
}
