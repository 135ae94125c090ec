package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keyServer is a running key server and its administrator's environment.
type keyServer struct {
	*daemon
	dir, file, address string
	admin              []string
}

const kesYAML = `
address: 127.0.0.1:0
admin: {identity: ADMIN}
tls: {key: private.key, cert: public.crt}
policy:
  reader:
    allow: [/v1/key/list/*, /v1/status]
    identities: [READER]
keys: [{name: listed}]
keystore:
  fs: {path: DIR/keys, masterkey: {file: DIR/master.key}}
`

func newIdentity(t *testing.T) (apiKey, id string) {
	t.Helper()
	for line := range strings.SplitSeq(ok(t, nil, "", "identity", "new"), "\n") {
		if v, found := strings.CutPrefix(line, "API key:  "); found {
			apiKey = v
		} else if v, found := strings.CutPrefix(line, "identity: "); found {
			id = v
		}
	}
	if !strings.HasPrefix(apiKey, "kes:v1:") || len(id) != 64 {
		t.Fatalf("identity new: %q %q", apiKey, id)
	}
	return apiKey, id
}

func startKeyServer(t *testing.T, reader string) *keyServer {
	t.Helper()
	dir := newCerts(t)
	apiKey, id := newIdentity(t)
	text := strings.NewReplacer("ADMIN", id, "READER", reader, "DIR", dir,
		"private.key", filepath.Join(dir, "private.key"), "public.crt", filepath.Join(dir, "public.crt")).Replace(kesYAML)
	s := &keyServer{dir: dir, file: write(t, filepath.Join(dir, "kes.yml"), text)}
	s.daemon = start(t, nil, "kms", "server", "--config", s.file)
	s.address = s.waitLog(t, `msg="bucketseal key server".* address=(\S+)`)
	s.admin = s.env("MINIO_KES_API_KEY=" + apiKey)
	return s
}

func (s *keyServer) env(extra ...string) []string {
	return append([]string{"MINIO_KES_SERVER=" + s.address, "MINIO_KES_CAPATH=" + filepath.Join(s.dir, "public.crt")}, extra...)
}

func TestCommandsWorkOnAKeyServer(t *testing.T) {
	t.Parallel()
	readerKey, reader := newIdentity(t)
	s := startKeyServer(t, reader)
	ok(t, s.admin, "", "key", "create", "one", "two")
	if out := ok(t, s.admin, "", "key", "ls"); out != "listed\none\ntwo\n" {
		t.Errorf("key ls: %q", out)
	}
	if out := ok(t, s.admin, "", "key", "info", "one", "--json"); !strings.Contains(out, `"created_by":"`+strings.TrimSpace(ok(t, s.admin, "", "identity", "of"))) {
		t.Errorf("key info does not say who created it: %q", out)
	}
	sealed := ok(t, s.admin, "text", "key", "encrypt", "one")
	if out := ok(t, s.admin, sealed, "key", "decrypt", "one"); out != "text" {
		t.Errorf("decrypted %q", out)
	}
	ok(t, s.admin, "", "key", "rm", "two", "--force")
	fails(t, 1, "key does not exist", s.admin, "", "key", "info", "two")

	if out := ok(t, s.admin, "", "policy", "ls"); out != "reader\n" {
		t.Errorf("policy ls: %q", out)
	}
	if out := ok(t, s.admin, "", "policy", "show", "reader"); !strings.Contains(out, "/v1/key/list/*") {
		t.Errorf("policy show: %q", out)
	}
	if out := ok(t, s.admin, "", "policy", "info", "reader"); strings.Contains(out, "/v1/") || !strings.Contains(out, "reader") {
		t.Errorf("policy info: %q", out)
	}
	if out := ok(t, s.admin, "", "identity", "ls"); !strings.Contains(out, reader) {
		t.Errorf("identity ls: %q", out)
	}
	if out := ok(t, s.admin, "", "identity", "info"); !strings.Contains(out, "admin") {
		t.Errorf("identity info: %q", out)
	}
	readerEnv := s.env("MINIO_KES_API_KEY_FILE=" + write(t, filepath.Join(s.dir, "reader.api"), readerKey+"\n"))
	if out := ok(t, readerEnv, "", "identity", "info", "--json"); !strings.Contains(out, `"policy":"reader"`) || !strings.Contains(out, "/v1/status") {
		t.Errorf("the reader's identity info: %q", out)
	}
	ok(t, readerEnv, "", "key", "ls")
	fails(t, 1, "insufficient permissions", readerEnv, "", "key", "create", "three")
	if out := ok(t, readerEnv, "", "status"); !strings.Contains(out, "key store:") {
		t.Errorf("status: %q", out)
	}
	if out := ok(t, s.admin, "", "status", "--json", "--api"); !strings.Contains(out, `"keystore":"ok"`) || !strings.Contains(out, "/v1/key/create/") {
		t.Errorf("status: %q", out)
	}
	if out := ok(t, s.admin, "", "metric"); !strings.Contains(out, "kes_system_up_time") {
		t.Errorf("metric: %q", out)
	}
	fails(t, 1, "nothing says who you are", []string{"MINIO_KES_SERVER=" + s.address}, "", "status")
	fails(t, 2, "--server", s.admin, "", "key", "ls", "--server", s.address, "--data-dir", s.dir)
	if code := s.stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestALocalStoreIsMeantWhenAFlagNamesOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"MINIO_KES_SERVER=127.0.0.1:1", "MINIO_KES_API_KEY=x"}
	ok(t, env, "", "key", "create", "--init", "here", "--data-dir", dir)
	if out := ok(t, env, "", "key", "ls", "--data-dir", dir); out != "here\n" {
		t.Errorf("%q", out)
	}
}

func TestTheAuditLogIsFollowed(t *testing.T) {
	t.Parallel()
	s := startKeyServer(t, strings.Repeat("ab", 32))
	follower := start(t, s.admin, "log", "--json")
	waitFor(t, "an event arrives", func() bool {
		_ = command(t, s.admin, "", "key", "create", "listed")
		return strings.Contains(follower.stdout.String(), `"path":"/v1/key/create/listed"`)
	})
	if code := follower.stop(t); code != 0 {
		t.Errorf("exit code %d: %s", code, follower.stderr.String())
	}
}

func TestTheKeyServerReadsItsConfigurationAgain(t *testing.T) {
	t.Parallel()
	readerKey, reader := newIdentity(t)
	s := startKeyServer(t, strings.Repeat("ab", 32))
	env := s.env("MINIO_KES_API_KEY=" + readerKey)
	fails(t, 1, "insufficient permissions", env, "", "key", "ls")
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.file, strings.ReplaceAll(string(text), strings.Repeat("ab", 32), reader))
	hangup(t)
	waitFor(t, "the new policy is in force", func() bool { return command(t, env, "", "key", "ls").code == 0 })
	write(t, s.file, "nonsense: true\n")
	hangup(t)
	s.waitLog(t, "in force stays")
	ok(t, env, "", "key", "ls")
}

func TestTheProxySharesItsKeysAndUsesAServersKeys(t *testing.T) {
	t.Parallel()
	dir := newCerts(t)
	apiKey, id := newIdentity(t)
	minio := fakeMinIO(t)
	proxyKey, proxy := newIdentity(t)
	embedded := strings.NewReplacer("ADMIN", id, "READER", proxy, "[/v1/key/list/*, /v1/status]", "[/v1/key/create/*, /v1/key/describe/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/ready]\n    bucketseal: true", "DIR", dir,
		"private.key", filepath.Join(dir, "private.key"), "public.crt", filepath.Join(dir, "public.crt")).Replace(kesYAML)
	first := start(t, rootEnv(), "server", "--config", write(t, filepath.Join(dir, "first.yml"),
		"address: 127.0.0.1:0\nupstream: {endpoint: \""+minio+"\"}\nkms: # embedded\n"+strings.ReplaceAll(embedded, "\n", "\n  ")+"\n"))
	address := first.waitLog(t, `msg="bucketseal key server" address=(\S+)`)
	first.ready(t)

	second := start(t, rootEnv("KES_KEY="+proxyKey), "server", "--config", write(t, filepath.Join(dir, "second.yml"),
		"address: 127.0.0.1:0\nupstream: {endpoint: \""+minio+"\"}\ndefault_key: second\nkms:\n  remote:\n    endpoints: [\"https://"+address+"\"]\n    api_key: ${KES_KEY}\n    ca: public.crt\n"))
	second.ready(t)
	second.waitLog(t, "keys=https://"+address)
	env := []string{"MINIO_KES_SERVER=" + address, "MINIO_KES_CAPATH=" + filepath.Join(dir, "public.crt"), "MINIO_KES_API_KEY=" + apiKey}
	out := ok(t, env, "", "key", "ls")
	for _, want := range []string{"bucketseal-default\n", "second\n", "listed\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("keys %q, want %q", out, want)
		}
	}
	if second.stop(t) != 0 || first.stop(t) != 0 {
		t.Errorf("exit codes %d %d", second.code, first.code)
	}
	for _, d := range []*daemon{first, second} {
		if log := d.stderr.String() + d.stdout.String(); strings.Contains(log, apiKey) || strings.Contains(log, proxyKey) {
			t.Error("a log holds an API key")
		}
	}
}

func TestIdentityOf(t *testing.T) {
	t.Parallel()
	apiKey, id := newIdentity(t)
	for name, out := range map[string]string{
		"stdin":       ok(t, nil, apiKey+"\n", "identity", "of", "-"),
		"environment": ok(t, []string{"MINIO_KES_API_KEY=" + apiKey}, "", "identity", "of"),
		"file":        ok(t, nil, "", "identity", "of", write(t, filepath.Join(t.TempDir(), "f"), apiKey)),
	} {
		if out != id+"\n" {
			t.Errorf("%s: %q, want %q", name, out, id)
		}
	}
	dir := t.TempDir()
	cert := filepath.Join(dir, "c")
	made := ok(t, nil, "", "identity", "new", "--key", filepath.Join(dir, "k"), "--cert", cert)
	if got := ok(t, []string{"MINIO_KES_CERT_FILE=" + cert}, "", "identity", "of"); made != "identity: "+got {
		t.Errorf("%q and %q", made, got)
	}
	fails(t, 1, "--force", nil, "", "identity", "new", "--key", filepath.Join(dir, "k"), "--cert", cert)
	fails(t, 2, "every user", nil, "", "identity", "of", apiKey)
	fails(t, 1, "neither a certificate", nil, "something", "identity", "of", "-")
	fails(t, 2, "give both", nil, "", "identity", "new", "--key", "x")
}

func TestMigrateTakesVersionsAlong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := []string{"--data-dir", dir + "/data"}
	run := func(input string, args ...string) string { return ok(t, nil, input, append(args, data...)...) }
	from := write(t, filepath.Join(dir, "from.yml"), "keystore: {fs: {path: "+dir+"/data/keys, masterkey: {file: "+dir+"/data/master.key}}}\n")
	to := write(t, filepath.Join(dir, "to.yml"), "keystore: {fs: {path: "+dir+"/plain}}\n")
	seal := write(t, filepath.Join(dir, "seal.yml"), "kms: {config: to.yml}\n")
	run("", "key", "create", "--init", "k")
	first := run("one", "key", "encrypt", "k")
	migrate := func() string { return ok(t, nil, "", "kms", "migrate", "--from", from, "--to", to, "k") }
	if out := migrate(); out != "1 keys copied and verified, 0 there already, 0 failed\n" {
		t.Errorf("%q", out)
	}
	if out := run("", "key", "rotate", "k"); out != "rotated k version 2\n" {
		t.Errorf("%q", out)
	}
	second := run("two", "key", "encrypt", "k")
	run("", "key", "rotate", "k")
	run("", "key", "retire", "--force", "k", "1")
	for _, want := range []string{"1 keys copied and verified, 0 there already, 0 failed\n", "0 keys copied and verified, 1 there already, 0 failed\n"} {
		if out := migrate(); out != want { // it has gone on since it was copied
			t.Errorf("%q, want %q", out, want)
		}
	}
	if out := ok(t, nil, second, "key", "decrypt", "k", "--config", seal); out != "two" {
		t.Errorf("the copy of version 2 decrypts %q", out)
	}
	fails(t, 1, "retired", nil, first, "key", "decrypt", "k", "--config", seal)
	out := ok(t, nil, "", "key", "ls", "--versions", "--config", seal)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 4 || !strings.Contains(lines[1], "retired") || !strings.Contains(lines[2], "decrypt-only") || !strings.Contains(lines[3], "active") {
		t.Errorf("key ls --versions: %s", out)
	}
	fails(t, 2, "is no version", nil, "", "key", "retire", "k", "zero", "--config", seal)
	fails(t, 2, "no waiting time", nil, "", "key", "destroy", "k", "1", "--after", "soon", "--config", seal)
	fails(t, 1, "not known what still uses the key version", nil, "", "key", "destroy", "k", "2", "--now", "--config", seal)
	fails(t, 1, "not confirmed", nil, "3\n", "key", "destroy", "k", "2", "--now", "--force", "--config", seal)
}

func TestMigrateCopiesVerifiesAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from := write(t, filepath.Join(dir, "from.yml"), "keystore: {fs: {path: "+dir+"/data/keys, masterkey: {file: "+dir+"/data/master.key}}}\n")
	to := write(t, filepath.Join(dir, "to.yml"), "keystore: {fs: {path: "+dir+"/plain}}\n")
	ok(t, nil, "", "key", "create", "--init", "a-1", "a-2", "b-1", "--data-dir", dir+"/data")
	sealed := ok(t, nil, "text", "key", "encrypt", "a-1", "--data-dir", dir+"/data")
	if out := ok(t, nil, "", "kms", "migrate", "--from", from, "--to", to, "a*"); out != "2 keys copied and verified, 0 there already, 0 failed\n" {
		t.Errorf("%q", out)
	}
	if out := ok(t, nil, "", "kms", "migrate", "--from", from, "--to", to); out != "1 keys copied and verified, 2 there already, 0 failed\n" {
		t.Errorf("%q", out)
	}
	if out := ok(t, nil, "", "kms", "migrate", "--from", from, "--to", to, "b-1"); !strings.HasPrefix(out, "0 keys copied and verified, 1 there") {
		t.Errorf("%q", out)
	}
	seal := write(t, filepath.Join(dir, "seal.yml"), "kms: {config: to.yml}\n")
	if out := ok(t, nil, sealed, "key", "decrypt", "a-1", "--config", seal); out != "text" {
		t.Errorf("the copy decrypts %q", out)
	}
	write(t, filepath.Join(dir, "data", "keys", "junk.key"), "no key")
	r := command(t, nil, "", "kms", "migrate", "--from", from, "--to", to)
	if r.code != 1 || !strings.Contains(r.stdout, "3 there already, 1 failed") || !strings.Contains(r.stderr, `key "junk"`) {
		t.Errorf("with junk in the store: %+v", r)
	}
	fails(t, 1, "no such file", nil, "", "kms", "migrate", "--from", filepath.Join(dir, "none"), "--to", to)
	fails(t, 2, "invalid characters", nil, "", "kms", "migrate", "--from", from, "--to", to, "a*b")
}

func TestKMSConfigCheckTellsPlaceAndWarnings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := write(t, filepath.Join(dir, "bad.yml"), "address: 127.0.0.1:7373\nkeystor: {}\n")
	fails(t, 1, bad+":2:1:", nil, "", "kms", "config", "check", bad)
	fails(t, 1, bad+":2:1:", nil, "", "kms", "server", "--config", bad)
	old := write(t, filepath.Join(dir, "old.yml"), "address: 127.0.0.1:7373\nroot: disabled\ntls: {key: k, cert: c}\nkeystore: {fs: {path: x}}\n")
	r := command(t, nil, "", "kms", "config", "check", old)
	if r.code != 0 || !strings.Contains(r.stderr, old+":2:") {
		t.Errorf("deprecated settings: %+v", r)
	}
}
