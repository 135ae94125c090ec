package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServerStartsWithoutAFileAndEndsWhenAsked(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	d := start(t, rootEnv(), "server", "--address", "127.0.0.1:0", "--upstream", fakeMinIO(t), "--data-dir", dir,
		"--allow-anonymous", "a*", "--allow-anonymous", "b", "--plain-read", "c")
	address := d.ready(t)
	if got := get(t, http.DefaultClient, "http://"+address+"/minio/admin/v3/info"); got < 400 {
		t.Errorf("MinIO's administration API: %d", got)
	}
	keys := ok(t, nil, "", "key", "ls", "--data-dir", dir)
	if !strings.Contains(keys, "bucketseal-default\n") {
		t.Errorf("keys: %q", keys)
	}
	if code := d.stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := d.stderr.String()
	for _, want := range []string{`msg="bucketseal server" version=`, "auto_encryption=sse-s3", "tls=false", "keys=" + filepath.Join(dir, "keys")} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, testSecret) {
		t.Error("the log holds the password")
	}
	fails(t, 1, "connection refused", nil, "", "health", "--address", address)
}

func TestServerStartsWithoutUpstreamAndSaysSo(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	d := start(t, rootEnv(), "server", "--address", "127.0.0.1:0", "--upstream", "http://"+closed, "--data-dir", t.TempDir())
	address := d.address(t)
	d.waitLog(t, "not ready: the upstream does not answer")
	d.waitLog(t, "cannot set up the system bucket")
	if got := get(t, http.DefaultClient, "http://"+address+"/minio/health/live"); got != http.StatusOK {
		t.Errorf("live: %d", got)
	}
	fails(t, 1, "503", nil, "", "health", "--address", address)
}

func TestServerRefusesToStartOnWhatCannotWork(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dir := t.TempDir()
	base := func(extra ...string) []string {
		return append([]string{"server", "--address", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data")}, extra...)
	}
	broken := t.TempDir()
	write(t, filepath.Join(broken, "public.crt"), "no certificate")
	write(t, filepath.Join(broken, "private.key"), "no key")
	for name, tc := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"no credentials":     {nil, base(), 1, "credentials: there are none"},
		"no place for keys":  {rootEnv(), []string{"server"}, 1, "data_dir: nothing says where keys are kept"},
		"address in use":     {rootEnv(), base("--address", l.Addr().String()), 1, "address already in use"},
		"bad address":        {rootEnv(), base("--address", "nowhere"), 1, `--address: "nowhere" is no address`},
		"bad upstream":       {rootEnv(), base("--upstream", "minio:9000"), 1, "--upstream:"},
		"no certificates":    {rootEnv(), base("--certs-dir", filepath.Join(dir, "none")), 1, "no such file or directory"},
		"broken certificate": {rootEnv(), base("--certs-dir", broken), 1, "TLS certificate"},
		"bad master key":     {rootEnv("BUCKETSEAL_MASTER_KEY=" + testSecret), base(), 1, "BUCKETSEAL_MASTER_KEY:"},
		"broken authority":   {rootEnv("BUCKETSEAL_UPSTREAM_CA=" + filepath.Join(broken, "public.crt")), base(), 1, "upstream.ca:"},
		"no such file":       {rootEnv(), base("--config", filepath.Join(dir, "none.yml")), 1, "cannot read the configuration"},
		"unknown flag":       {rootEnv(), base("--adress", "x"), 2, "unknown flag"},
		"unknown command":    {nil, []string{"serve"}, 2, `unknown command "serve"`},
		"unknown subcommand": {nil, []string{"key", "burn"}, 2, `unknown command "burn"`},
		"too many arguments": {nil, []string{"server", "x"}, 2, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fails(t, tc.code, tc.want, tc.env, "", tc.args...)
		})
	}
}

func TestServerSpeaksTLSAndFollowsItsCertificate(t *testing.T) {
	t.Parallel()
	certs := newCerts(t)
	d := start(t, rootEnv(), "server", "--address", "127.0.0.1:0", "--upstream", fakeMinIO(t), "--data-dir", t.TempDir(), "--certs-dir", certs)
	address := d.ready(t, "--tls-skip-verify")
	first := servedKey(t, address)
	fails(t, 1, "certificate", nil, "", "health", "--address", address)
	renewCerts(t, certs)
	hangup(t)
	waitFor(t, "the new certificate is served", func() bool {
		now := servedKey(t, address)
		return now != first && len(now) == len(first)
	})
}

func TestServerTakesItsKeysFromAKESSection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "seal.yml"), `
address: 127.0.0.1:0
upstream: {endpoint: "`+fakeMinIO(t)+`"}
kms:
  keystore:
    fs:
      path: `+filepath.Join(dir, "keys")+`
      masterkey: {file: `+filepath.Join(dir, "master.key")+`}
  keys:
    - name: listed
`)
	d := start(t, rootEnv(), "server", "--config", file)
	d.ready(t)
	d.waitLog(t, "keys=keystore.fs")
	if keys := ok(t, nil, "", "key", "ls", "--config", file); !strings.Contains(keys, "bucketseal-default\n") || !strings.Contains(keys, "listed\n") {
		t.Errorf("keys: %q", keys)
	}
	if _, err := os.Stat(filepath.Join(dir, "master.key")); err != nil {
		t.Error(err)
	}
}

func TestServerWithAMistakeInItsKESSectionDoesNotStart(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "seal.yml"), "address: 127.0.0.1:0\n\nkms:\n  keystore:\n    fs: {pth: x}\n")
	fails(t, 1, file+":5:", rootEnv(), "", "server", "--config", file)
	fails(t, 1, file+":5:", rootEnv(), "", "config", "check", file)
	file = write(t, file, "kms:\n  cache: {expiry: {any: 1m}}\n")
	fails(t, 1, "there is no keystore", rootEnv(), "", "server", "--config", file)
}

func TestConfigCheckAcceptsTheExample(t *testing.T) {
	t.Parallel()
	example := filepath.Join("..", "..", "bucketseal.example.yml")
	env := []string{"BUCKETSEAL_SERVICE_SECRET=" + testSecret, "ALICE_SECRET=" + testSecret}
	if out := ok(t, env, "", "config", "check", example); !strings.Contains(out, "valid") {
		t.Errorf("%q", out)
	}
	fails(t, 1, "bucketseal.example.yml:34:17: upstream.credentials.secret_key: the variable BUCKETSEAL_SERVICE_SECRET is not set", nil, "", "config", "check", example)
	fails(t, 1, "credentials: there are none", nil, "", "config", "check")
	if out := ok(t, rootEnv("BUCKETSEAL_DATA_DIR="+t.TempDir()), "", "config", "check"); out != "the environment: valid\n" {
		t.Errorf("%q", out)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	if out := ok(t, nil, "", "version"); !strings.HasPrefix(out, "bucketseal ") || !strings.Contains(out, "commit") {
		t.Errorf("%q", out)
	}
	if out := ok(t, nil, "", "version", "--json"); !strings.Contains(out, `"go":"go1.`) {
		t.Errorf("%q", out)
	}
	for _, flag := range []string{"--address", "--upstream", "--data-dir", "--certs-dir", "--allow-anonymous", "--plain-read", "--config"} {
		if !strings.Contains(ok(t, nil, "", "server", "--help"), flag+" ") {
			t.Errorf("server --help does not have %s", flag)
		}
	}
	if out := ok(t, nil, "", "completion", "bash"); !strings.Contains(out, "bucketseal") {
		t.Error("no shell completion")
	}
}

func TestMistypedCommandsGetASuggestion(t *testing.T) {
	t.Parallel()
	fails(t, 2, `did you mean server?`, nil, "", "sever")
	fails(t, 2, `did you mean create?`, nil, "", "key", "creat", "x")
	fails(t, 2, `did you mean of?`, nil, "", "kes", "tool", "identity", "off")
	fails(t, 2, `unknown command "zzz"; see`, nil, "", "zzz")
	for _, args := range [][]string{{"--version"}, {"-v"}, {"kes", "--version"}} {
		if out := ok(t, nil, "", args...); !strings.HasPrefix(out, "bucketseal ") {
			t.Errorf("%v: %q", args, out)
		}
	}
}
