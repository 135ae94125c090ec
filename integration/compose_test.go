package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Container engines are rare on build machines. These tests hold the container
// files and the binary's real flags, variables and ports together without one.

type composeFile struct {
	Services map[string]struct {
		Build       struct{ Context, Target string }
		Command     []string
		Environment map[string]string
		Ports       []string
		Volumes     []string
		Healthcheck struct{ Test []string }
	}
	Volumes map[string]any
}

func readRepo(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repoRoot(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	var f composeFile
	if err := yaml.Unmarshal([]byte(readRepo(t, "docker-compose.yml")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// flagValue returns what follows a flag.
func flagValue(t *testing.T, args []string, flag string) string {
	t.Helper()
	i := slices.Index(args, flag)
	if i < 0 || i+1 >= len(args) {
		t.Fatalf("no %s in %v", flag, args)
	}
	return args[i+1]
}

func TestComposeStartsBothServersAsTheyAre(t *testing.T) {
	needsSeal(t)
	f := readCompose(t)
	seal, minio := f.Services["bucketseal"], f.Services["minio"]
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(program, append(slices.Clone(seal.Command[:1]), "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("bucketseal server --help: %v\n%s", err, help)
	}
	for _, arg := range seal.Command {
		if strings.HasPrefix(arg, "--") && !strings.Contains(string(help), arg) {
			t.Errorf("docker-compose.yml uses %s, which `bucketseal server --help` does not know", arg)
		}
	}
	_, port, _ := strings.Cut(flagValue(t, seal.Command, "--address"), ":")
	_, minioPort, _ := strings.Cut(flagValue(t, minio.Command, "--address"), ":")
	if up := flagValue(t, seal.Command, "--upstream"); up != "http://minio:"+minioPort {
		t.Errorf("upstream %s, but minio listens on %s", up, minioPort)
	}
	for name, at := range map[string]string{"bucketseal": port, "minio": minioPort} {
		for _, p := range f.Services[name].Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") || !strings.HasSuffix(p, ":"+at) {
				t.Errorf("%s publishes %s; it listens on %s, and only loopback may be published", name, p, at)
			}
		}
		if test := strings.Join(f.Services[name].Healthcheck.Test, " "); !strings.Contains(test, "127.0.0.1:"+at) {
			t.Errorf("%s is checked by %s; it listens on %s", name, test, at)
		}
	}
	mounts := map[string]string{}
	for _, v := range append(slices.Clone(seal.Volumes), minio.Volumes...) {
		name, at, _ := strings.Cut(v, ":")
		mounts[at] = name
		if _, ok := f.Volumes[name]; !ok {
			t.Errorf("volume %s is not declared", name)
		}
	}
	if data := flagValue(t, seal.Command, "--data-dir"); mounts[data] == "" {
		t.Errorf("the data directory %s is in no volume", data)
	}
	startAsComposed(t, program, seal.Command, seal.Healthcheck.Test, seal.Environment)
}

// startAsComposed runs the container's command with this machine's addresses and
// its health check against it.
func startAsComposed(t *testing.T, program string, command, check []string, environment map[string]string) {
	t.Helper()
	s := sharedStack(t)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{
		flagValue(t, command, "--address"): addr, flagValue(t, command, "--upstream"): s.minio.endpoint(), flagValue(t, command, "--data-dir"): dir,
	}
	args := slices.Clone(command)
	for i, arg := range args {
		if other, ok := replace[arg]; ok {
			args[i] = other
		}
	}
	if check[0] != "CMD" || check[1] != "/bucketseal" {
		t.Fatalf("health check %v", check)
	}
	health := slices.Clone(check[2:])
	health[slices.Index(health, "--address")+1] = addr
	if out, err := exec.Command(program, health...).CombinedOutput(); err == nil {
		t.Errorf("%v is content without a server: %s", health, out)
	}

	// The system bucket of the shared stack is sealed under another key: start
	// on a MinIO of its own.
	own, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.kill)
	args[slices.Index(args, "--upstream")+1] = own.endpoint()
	env := baseEnv()
	for name := range environment {
		env = append(env, name+"="+map[string]string{"BUCKETSEAL_ROOT_USER": rootUser, "BUCKETSEAL_ROOT_PASSWORD": rootPassword}[name])
	}
	p, err := startProcess("bucketseal", filepath.Join(dir, "log"), env, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.dumpOnFailure(t)
	if err := p.waitReady(newClient("", "", "").http, "http://"+addr+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, health...).CombinedOutput(); err != nil {
		t.Errorf("%v: %v %s", health, err, out)
	}
}

func TestComposeHasNoDefaultSecrets(t *testing.T) {
	text, example := readRepo(t, "docker-compose.yml"), readRepo(t, ".env.example")
	required := regexp.MustCompile(`\$\{([A-Z_]+):\?`).FindAllStringSubmatch(text, -1)
	if len(required) != 4 {
		t.Errorf("%d required variables, want 4", len(required))
	}
	for _, r := range required {
		if !regexp.MustCompile(`(?m)^` + r[1] + `=$`).MatchString(example) {
			t.Errorf(".env.example does not ask for %s, or has a value for it", r[1])
		}
	}
	for _, r := range regexp.MustCompile(`\$\{([A-Z_]+):-`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(example, "#"+r[1]+"=") || !strings.HasSuffix(r[1], "_PORT") {
			t.Errorf("%s has a default; only ports may, and .env.example names them", r[1])
		}
	}
	for name, service := range readCompose(t).Services {
		for variable, value := range service.Environment {
			if strings.Contains(variable, "PASSWORD") && !strings.HasPrefix(value, "${BUCKETSEAL_ROOT_PASSWORD:?") {
				t.Errorf("%s: %s has the value %q", name, variable, value)
			}
		}
	}
}

func TestDockerfileFitsComposeAndTheBuild(t *testing.T) {
	text, f := readRepo(t, "Dockerfile"), readCompose(t)
	_, last, _ := strings.Cut(text, "FROM scratch AS bucketseal")
	instruction := func(name string) []string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^\s*` + name + ` (\[.*\])$`).FindStringSubmatch(last)
		if m == nil {
			t.Fatalf("no %s in the last stage", name)
		}
		var args []string
		if err := json.Unmarshal([]byte(m[1]), &args); err != nil {
			t.Fatal(err)
		}
		return args
	}
	seal := f.Services["bucketseal"]
	if entry := instruction("ENTRYPOINT"); !slices.Equal(entry, []string{"/bucketseal"}) {
		t.Errorf("entry point %v", entry)
	}
	commands := regexp.MustCompile(`(?m)^CMD (\[.*\])$`).FindStringSubmatch(last)
	var command []string
	if commands == nil || json.Unmarshal([]byte(commands[1]), &command) != nil || !slices.Equal(command, seal.Command) {
		t.Errorf("command %v, docker-compose.yml says %v", command, seal.Command)
	}
	_, port, _ := strings.Cut(flagValue(t, seal.Command, "--address"), ":")
	for what, want := range map[string]string{
		"non-root user": "USER 65532:65532", "port": "EXPOSE " + port, "volume": "VOLUME " + flagValue(t, seal.Command, "--data-dir"),
		"certificates": "/etc/ssl/certs/ca-certificates.crt", "health check": strings.Join(seal.Healthcheck.Test[2:], `", "`),
	} {
		if !strings.Contains(last, want) {
			t.Errorf("%s: the last stage has no %q", what, want)
		}
	}
	for _, service := range f.Services {
		if !strings.Contains(text, " AS "+service.Build.Target+"\n") {
			t.Errorf("no stage %s", service.Build.Target)
		}
	}

	version := regexp.MustCompile(`(?m)^MINIO_VERSION := (\S+)$`).FindStringSubmatch(readRepo(t, "Makefile"))
	if version == nil || !strings.Contains(text, "ARG MINIO_VERSION="+version[1]+"\n") {
		t.Errorf("MinIO's version is not the Makefile's %v", version)
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readRepo(t, "go.mod"))
	if strings.Count(text, "FROM golang:"+goVersion[1]+"-") != strings.Count(text, "FROM golang:") {
		t.Errorf("the images' Go is not go.mod's %s", goVersion[1])
	}
	ignored := readRepo(t, ".dockerignore")
	for _, dir := range []string{"cmd", "proxy", "sse", "kms", "bucketconfig"} {
		if !strings.Contains(ignored, "!"+dir+"\n") {
			t.Errorf(".dockerignore keeps %s from the build", dir)
		}
	}
}
