package integration

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kesFolder is a folder of keys as KES writes it: each file base64 of a protocol
// buffer, put together here by hand (docs/keys.md, section 2).
func kesFolder(t *testing.T, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		part := func(fill byte) []byte {
			return append(append([]byte{0x0a, 32}, bytes.Repeat([]byte{fill}, 32)...), 0x10, 1)
		}
		record := append([]byte{0x0a, 36}, part(byte(i+1))...)
		record = append(append(record, 0x12, 36), part(0xc8)...)
		record = append(record, 0x1a, 6, 0x08, 0x80, 0xe2, 0xcf, 0xaa, 0x06)
		writeFile(t, dir, name, []byte(base64.StdEncoding.EncodeToString(record)))
	}
}

// folder reads all files of a directory.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			files[e.Name()] = string(readFile(t, filepath.Join(dir, e.Name())))
		}
	}
	return files
}

func TestMigrateFromKESToASealedFolderToSecretsManagerAndBack(t *testing.T) {
	t.Parallel()
	addr := moto(t)
	dir := t.TempDir()
	kesFolder(t, filepath.Join(dir, "kes"), "alpha", "beta", "Gamma")
	const region = "ap-south-1"
	master := []string{"MASTER=" + strings.Repeat("ab", 32)}
	kes := writeFile(t, dir, "kes.yml", []byte("keystore: {fs: {path: "+dir+"/kes}}\n"))
	sealed := writeFile(t, dir, "sealed.yml", []byte("keystore: {fs: {path: "+dir+"/sealed, masterkey: {env: MASTER}}}\n"))
	secrets := writeFile(t, dir, "secrets.yml", []byte(secretsStore("http://"+addr, region, "kmskey: "+motoKey(t, addr, region))))
	back := writeFile(t, dir, "back.yml", []byte("keystore: {fs: {path: "+dir+"/back}}\n"))

	steps := []struct{ from, to, pattern, want string }{
		{kes, sealed, "al*", "1 keys copied and verified, 0 there already, 0 failed\n"},
		{kes, sealed, "*", "2 keys copied and verified, 1 there already, 0 failed\n"},
		{sealed, secrets, "*", "3 keys copied and verified, 0 there already, 0 failed\n"},
		{sealed, secrets, "*", "0 keys copied and verified, 3 there already, 0 failed\n"},
		{secrets, back, "*", "3 keys copied and verified, 0 there already, 0 failed\n"},
	}
	for _, step := range steps {
		if out := mustSeal(t, master, "", "kms", "migrate", "--from", step.from, "--to", step.to, step.pattern); out != step.want {
			t.Errorf("migrate %s to %s: %q", filepath.Base(step.from), filepath.Base(step.to), out)
		}
	}
	before, after := folder(t, filepath.Join(dir, "kes")), folder(t, filepath.Join(dir, "back"))
	if len(after) != 3 {
		t.Errorf("%d keys came back", len(after))
	}
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%s came back as %q, was %q", name, after[name], value)
		}
		if s, ok := motoSecret(t, addr, region, name); !ok || s.SecretString != value {
			t.Errorf("secret %s is %q, KES would have written %q", name, s.SecretString, value)
		}
		for file, content := range folder(t, filepath.Join(dir, "sealed")) {
			if strings.Contains(content, value) || strings.Contains(content, strings.Repeat("\x01", 32)) {
				t.Errorf("the sealed %s can be read", file)
			}
		}
	}
	// Another key of the same name is neither overwritten nor passed over.
	kesFolder(t, filepath.Join(dir, "kes"), "new", "alpha")
	_, all, err := runSeal(t, master, "", "kms", "migrate", "--from", kes, "--to", sealed)
	if exitCode(err) != 1 || !strings.Contains(all, `key "alpha"`) || !strings.Contains(all, "another key of that name") {
		t.Errorf("a conflict: %v %s", err, all)
	}
}
