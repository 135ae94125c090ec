package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// newAgeIdentity makes an age identity and returns its file and its recipient.
func newAgeIdentity(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte("# mine\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, id.Recipient().String()
}

// newKeys makes a key store of a proxy with these keys.
func newKeys(t *testing.T, names ...string) (dataDir string) {
	t.Helper()
	dataDir = filepath.Join(t.TempDir(), "data")
	ok(t, nil, "", append([]string{"key", "create", "--init", "--data-dir", dataDir}, names...)...)
	return dataDir
}

func TestKeysAreBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	from, file := newKeys(t, "one", "Two"), filepath.Join(t.TempDir(), "keys.age")
	identity, recipient := newAgeIdentity(t)
	_, other := newAgeIdentity(t)
	sealed := strings.TrimSpace(ok(t, nil, "plaintext", "key", "encrypt", "Two", "--data-dir", from))
	out := ok(t, nil, "", "key", "backup", "-r", other, "--recipient", recipient, "-o", file, "--data-dir", from)
	if !strings.Contains(out, "2 keys") || !strings.Contains(out, `"default"`) {
		t.Errorf("backup says %q", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v (%v)", info.Mode(), err)
	}
	digest := strings.TrimSpace(out[strings.LastIndex(out, " "):])
	to := filepath.Join(t.TempDir(), "new")
	fails(t, 1, "--init", nil, "", "key", "restore", file, "-i", identity, "--data-dir", to)
	fails(t, 1, "another one than was asked for", nil, "", "key", "restore", file, "-i", identity, "--digest", "00", "--init", "--data-dir", to)
	if _, err := os.Stat(to); err == nil {
		t.Error("a refused backup made a key store")
	}
	for _, want := range []string{"2 keys restored and read back, 0 there", "0 keys restored and read back, 2 there"} {
		if out := ok(t, nil, "", "key", "restore", file, "-i", identity, "--digest", digest, "--init", "--data-dir", to); !strings.Contains(out, want) {
			t.Errorf("restore says %q, want %q", out, want)
		}
	}
	if out := ok(t, nil, sealed, "key", "decrypt", "Two", "--data-dir", to); out != "plaintext" {
		t.Errorf("the restored key opens %q", out)
	}
	// Into a key store of another kind, named by a proxy's configuration and by a KES one.
	dir := t.TempDir()
	kes, proxy := filepath.Join(dir, "kes.yml"), filepath.Join(dir, "proxy.yml")
	writeText(t, kes, "keystore: {fs: {path: "+filepath.Join(dir, "plain")+"}}\n")
	writeText(t, proxy, "kms: {config: "+kes+"}\n")
	for i, where := range [][]string{{"--keystore", kes}, {"--into", proxy}} {
		if out := ok(t, nil, "", append([]string{"key", "restore", file, "-i", identity, "--init"}, where...)...); !strings.Contains(out, []string{"2 keys restored", "0 keys restored"}[i]) {
			t.Errorf("%v: %q", where, out)
		}
	}
	// And from there, to the same digest but for when it was made.
	again := filepath.Join(dir, "again.age")
	ok(t, nil, "", "key", "backup", "-r", recipient, "-o", again, "--keystore", kes)
	if out := ok(t, nil, "", "key", "restore", again, "-i", identity, "--data-dir", from); !strings.Contains(out, "0 keys restored and read back, 2 there") {
		t.Errorf("%q", out)
	}
}

func TestRestoreOverwritesNoKey(t *testing.T) {
	t.Parallel()
	file, to := filepath.Join(t.TempDir(), "keys.age"), newKeys(t, "two")
	identity, recipient := newAgeIdentity(t)
	ok(t, nil, "", "key", "backup", "-r", recipient, "-o", file, "--data-dir", newKeys(t, "one", "two"))
	fails(t, 1, `key "two": the store has another key of that name`, nil, "", "key", "restore", file, "-i", identity, "--data-dir", to)
	if out := ok(t, nil, "", "key", "ls", "--data-dir", to); out != "two\n" {
		t.Errorf("the store has %q", out)
	}
}

func TestBackupsOpenForTheirRecipientsOnly(t *testing.T) {
	t.Parallel()
	from, dir := newKeys(t, "one"), t.TempDir()
	file := filepath.Join(dir, "keys.age")
	identity, recipient := newAgeIdentity(t)
	wrong, _ := newAgeIdentity(t)
	ok(t, nil, "", "key", "backup", "-r", recipient, "-o", file, "--data-dir", from)
	fails(t, 1, "not encrypted to this identity", nil, "", "key", "restore", file, "-i", wrong, "--data-dir", from)
	fails(t, 2, "--identity", nil, "", "key", "restore", file, "--data-dir", from)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.age")
	writeText(t, cut, string(whole[:len(whole)-1]))
	fails(t, 1, "no whole key backup", nil, "", "key", "restore", cut, "-i", identity, "--data-dir", from)

	withPhrase := filepath.Join(dir, "phrase.age")
	ok(t, nil, "correct horse\n", "key", "backup", "--passphrase", "-o", withPhrase, "--data-dir", from)
	ok(t, nil, "correct horse\n", "key", "restore", withPhrase, "--passphrase", "--data-dir", from)
	// To be wrong costs as much as to be right: seconds, with the race detector.
	cheap := sealedCheaply(t, dir, "correct horse")
	fails(t, 1, "passphrase", nil, "battery staple\n", "key", "restore", cheap, "--passphrase", "--data-dir", from)
	fails(t, 1, "passphrase", nil, "", "key", "restore", withPhrase, "-i", identity, "--data-dir", from)
}

// sealedCheaply makes a file that is encrypted with a passphrase which takes no time to try.
func sealedCheaply(t *testing.T, dir, phrase string) string {
	t.Helper()
	recipient, err := age.NewScryptRecipient(phrase)
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	var sealed strings.Builder
	w, err := age.Encrypt(&sealed, recipient)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cheap.age")
	writeText(t, file, sealed.String())
	return file
}

func TestBackupCommandLines(t *testing.T) {
	t.Parallel()
	from, file := newKeys(t, "one"), filepath.Join(t.TempDir(), "keys.age")
	identity, recipient := newAgeIdentity(t)
	secret, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	for message, args := range map[string][]string{
		"--output is missing":        {"-r", recipient},
		"nobody could open it":       {"-o", file},
		"malformed":                  {"-o", file, "-r", "age1nonsense"},
		"none of the others can be":  {"-o", file, "-r", recipient, "--passphrase"},
		"should not be on a command": {"-o", file, "-r", strings.Fields(string(secret))[2]},
	} {
		r := command(t, nil, "x\n", append([]string{"key", "backup", "--data-dir", from}, args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, message) {
			t.Errorf("%v: %d, %q, want %q", args, r.code, r.stderr, message)
		}
		if strings.Contains(r.stderr, strings.Fields(string(secret))[2]) {
			t.Error("an error repeats an identity")
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written")
	}
	ok(t, nil, "", "key", "backup", "-r", recipient, "-o", file, "--data-dir", from)
	fails(t, 1, "--force", nil, "", "key", "backup", "-r", recipient, "-o", file, "--data-dir", from)
	ok(t, nil, "", "key", "backup", "-r", recipient, "-o", file, "--force", "--data-dir", from)
	fails(t, 1, "keystore", nil, "", "key", "backup", "-r", recipient, "-o", file+"2", "--config", writeText(t, file+".yml", "kms: {remote: {endpoints: [\"https://127.0.0.1:1\"], api_key: x}}\n"))
}

// writeText writes a file and returns its name.
func writeText(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
