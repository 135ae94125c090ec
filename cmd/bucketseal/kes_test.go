package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/kescmd"
)

func TestCalledAsKES(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]bool{"kes": true, "/usr/bin/kes": true, "./KES.exe": true, "bucketseal": false, "/kes/bucketseal": false, "": false} {
		if kescmd.CalledAs(program) != want {
			t.Errorf("%q: %t", program, !want)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := runAs(t.Context(), "/usr/bin/kes", []string{"key", "create"}, strings.NewReader(""), &stdout, &stderr, nil); code != 2 ||
		!strings.HasPrefix(stderr.String(), "kes: ") || !strings.Contains(stderr.String(), "see kes key create --help") {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

// TestKESMakesIdentities takes the forms of KES's guides, new and old.
func TestKESMakesIdentities(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if out := ok(t, nil, "", "kes", "identity", "new"); !strings.Contains(out, "kes:v1:") {
		t.Errorf("without a subject: %q", out)
	}
	made := ok(t, nil, "", "kes", "identity", "new", "--ip", "127.0.0.1", "localhost")
	if got := ok(t, nil, "", "kes", "identity", "of", "public.crt"); made != "identity: "+got {
		t.Errorf("%q and %q", made, got)
	}
	fails(t, 1, "force", nil, "", "kes", "identity", "new", "localhost")
	ok(t, nil, "", "kes", "identity", "new", "-f", "--expiry", "1h", "localhost")
	ok(t, nil, "", "kes", "tool", "identity", "new", "--server", "--key", "s.key", "--cert", "s.cert", "--ip", "127.0.0.1", "--dns", "localhost")
	ok(t, nil, "", "kes", "tool", "identity", "new", "--key=root.key", "--cert=root.cert", "--time", "24h", "root")
	if out := ok(t, nil, "", "kes", "tool", "identity", "of", "root.cert", "s.cert"); strings.Count(out, "\n") != 2 {
		t.Errorf("of two: %q", out)
	}
	for _, name := range []string{"private.key", "s.key", "root.key"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	apiKey, id := newIdentity(t)
	if out := ok(t, nil, "", "kes", "identity", "of", apiKey); out != id+"\n" {
		t.Errorf("%q", out)
	}
}

func TestKESServerTakesItsFlags(t *testing.T) {
	t.Parallel()
	dir := newCerts(t)
	apiKey, id := newIdentity(t)
	file := write(t, filepath.Join(dir, "kes.yml"), "address: 127.0.0.1:0\nroot: disabled\ntls: {key: none.key, cert: none.crt, auth: on}\nkeystore: {mem: {}}\n")
	s := start(t, nil, "kes", "server", "--config", file, "--auth=off", "--mlock", "--root", id,
		"--key", filepath.Join(dir, "private.key"), "--cert", filepath.Join(dir, "public.crt"))
	address := s.waitLog(t, `msg="bucketseal key server".* address=(\S+)`)
	s.waitLog(t, "--auth=off is ignored")
	// The file demands signed certificates, so that the administrator's own is none.
	r := command(t, []string{"KES_SERVER=" + address, "KES_API_KEY=" + apiKey}, "", "kes", "status", "-k")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	fails(t, 2, "write on or off", nil, "", "kes", "server", "--config", file, "--auth=x")
	fails(t, 2, "--root", nil, "", "kes", "server", "--config", file, "--root=x")
	fails(t, 2, "bucketseal key", nil, "", "kes", "key", "ls", "--data-dir", dir)
}
