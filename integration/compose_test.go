package integration

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
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
		Image       string
		Build       struct{ Context, Target string }
		Profiles    []string
		Secrets     []any
		Command     []string
		Environment map[string]string
		Ports       []string
		Volumes     []string
		Healthcheck struct{ Test []string }
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		MemLimit    string                                `yaml:"mem_limit"`
		PidsLimit   int                                   `yaml:"pids_limit"`
	}
	Volumes map[string]any
	Secrets map[string]struct{ File string }
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

// dataDirOf is the data directory of the settings that docker-compose.yml mounts.
func dataDirOf(t *testing.T) string {
	t.Helper()
	var settings struct {
		DataDir string `yaml:"data_dir"`
	}
	if err := yaml.Unmarshal([]byte(readRepo(t, "compose/bucketseal.yml")), &settings); err != nil || settings.DataDir == "" {
		t.Fatalf("compose/bucketseal.yml: data_dir %q, %v", settings.DataDir, err)
	}
	return settings.DataDir
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
	t.Parallel()
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
		if strings.HasPrefix(name, "./") {
			continue
		}
		if _, ok := f.Volumes[name]; !ok {
			t.Errorf("volume %s is not declared", name)
		}
	}
	if mounts[dataDirOf(t)] != "keys" {
		t.Errorf("the data directory %s is in no volume", dataDirOf(t))
	}
	startAsComposed(t, program, f)
}

// composeSecrets are user names, and what stands in the files of secrets.
func composeSecrets() map[string]string {
	return map[string]string{
		"MINIO_ROOT_USER": rootUser, "CLIENT_USER": "composed-client", "minio_root_password": rootPassword,
		"service_password": "service-secret-$0 \"1'", "client_password": "composed-secret-$0 \"1'",
	}
}

// writeSecrets makes the folder of secrets, as compose/new-secrets.sh does.
func writeSecrets(t *testing.T, change map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range composeSecrets() {
		if other, ok := change[name]; ok {
			value = other
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// environmentOf is a service's environment, with the user names of composeSecrets.
func (f composeFile) environmentOf(t *testing.T, service string) map[string]string {
	t.Helper()
	env := map[string]string{}
	for name, value := range f.Services[service].Environment {
		env[name] = regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`).ReplaceAllStringFunc(value, func(v string) string {
			variable, otherwise, _ := strings.Cut(strings.Trim(v, "${}"), ":-")
			return cmp.Or(composeSecrets()[variable], otherwise)
		})
	}
	return env
}

// setUpAsComposed runs compose/setup.sh against a MinIO, and returns what it prints.
func (f composeFile) setUpAsComposed(t *testing.T, m *minioServer, change map[string]string) (string, error) {
	t.Helper()
	mc, err := tool("MC_BIN", "mc")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(mc, filepath.Join(dir, "mc")); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "MC_CONFIG_DIR=" + filepath.Join(dir, "config")}
	given := f.environmentOf(t, "setup")
	given["MINIO_ENDPOINT"], given["SECRETS"] = m.endpoint(), writeSecrets(t, change)
	maps.Copy(given, change)
	for name, value := range given {
		env = append(env, name+"="+value)
	}
	_, all, err := run(t, env, dir, "sh", strings.Replace(f.Services["setup"].Command[0], "/etc/bucketseal", filepath.Join(repoRoot(), "compose"), 1))
	return all, err
}

// startAsComposed runs the container's command with this machine's addresses and
// its health check against it, behind it a MinIO that the setup has prepared.
func startAsComposed(t *testing.T, program string, f composeFile) {
	t.Helper()
	command, check := f.Services["bucketseal"].Command, f.Services["bucketseal"].Healthcheck.Test
	m, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	for range 2 { // again at each start
		if out, err := f.setUpAsComposed(t, m, nil); err != nil {
			t.Fatalf("setup: %v\n%s", err, out)
		}
	}
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{
		flagValue(t, command, "--address"): addr, flagValue(t, command, "--upstream"): m.endpoint(),
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

	given := f.environmentOf(t, "bucketseal")
	settings := readRepo(t, "compose/"+filepath.Base(given["BUCKETSEAL_CONFIG"]))
	given["BUCKETSEAL_CONFIG"] = writeFile(t, dir, "bucketseal.yml", []byte(strings.NewReplacer("/run/secrets", writeSecrets(t, nil), dataDirOf(t), dir).Replace(settings)))
	given["BUCKETSEAL_METRICS_ADDRESS"] = "127.0.0.1:0"
	env := baseEnv()
	for name, value := range given {
		env = append(env, name+"="+value)
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
	if log := p.logSince(0); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("it does not start in peace:\n%s", log)
	}
	composedRights(t, "http://"+addr, m)
}

// composedRights checks what each of the three pairs may do: the clients' everything
// but the system bucket and MinIO's administration, MinIO's root and the proxy's own
// nothing at the proxy.
func composedRights(t *testing.T, endpoint string, m *minioServer) {
	t.Helper()
	secrets, data := composeSecrets(), testData(100_000, 3)
	c := newClient(endpoint, secrets["CLIENT_USER"], secrets["client_password"])
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", data, kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	c.do(t, request{method: http.MethodPost, path: "/minio/kms/v1/key/create", query: "key-id=composed"}).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "other", data, kmsWith("composed")).wantStatus(t, http.StatusOK)
	c.as(rootUser, rootPassword).get(t, bucket, "k", nil).wantError(t, http.StatusForbidden, "InvalidAccessKeyId", "")
	if a := c.as("bucketseal-service", secrets["service_password"]).get(t, bucket, "k", nil); a.status != http.StatusForbidden {
		t.Errorf("the proxy's own pair reads at the proxy: %d", a.status)
	}

	straight := newClient(m.endpoint(), c.access, c.secret)
	for _, r := range []request{
		{method: http.MethodGet, bucket: systemBucket, query: "list-type=2"},
		{method: http.MethodPut, bucket: systemBucket, key: "k", body: data[:10]},
		{method: http.MethodGet, path: "/minio/admin/v3/list-users"},
	} {
		if a := straight.do(t, r).wantStatus(t, http.StatusForbidden); !strings.Contains(string(a.body), "AccessDenied") {
			t.Errorf("%s %s: %s", r.method, r.path, a.body)
		}
	}
	service := straight.as("bucketseal-service", secrets["service_password"])
	service.do(t, request{method: http.MethodGet, bucket: systemBucket, query: "list-type=2"}).wantStatus(t, http.StatusOK)
	service.put(t, bucket, "planted", data[:10], nil).wantError(t, http.StatusForbidden, "AccessDenied", "")
}

// Each secret of docker-compose.yml is made by compose/new-secrets.sh, for a group only, and
// made once; what can be set is in .env.example.
func TestComposeSecretsAreMadeAndVariablesDocumented(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	f, dir := readCompose(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte("A=b\nSERVICE_PASSWORD=of before $1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets := filepath.Join(dir, "secrets")
	contents := map[string]string{}
	for round := range 2 {
		if _, out, err := run(t, baseEnv(), dir, "sh", filepath.Join(repoRoot(), "compose/new-secrets.sh")); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for name, secret := range f.Secrets {
			if secret.File != "${SECRETS:-./secrets}/"+name {
				t.Errorf("%s is %s", name, secret.File)
			}
			info, err := os.Stat(filepath.Join(secrets, name))
			if err != nil || info.Size() < 10 || info.Mode().Perm() != 0o440 {
				t.Fatalf("%s: %v %v", name, info, err)
			}
			content := string(readFile(t, filepath.Join(secrets, name)))
			if round > 0 && contents[name] != content {
				t.Errorf("%s is made again", name)
			}
			contents[name] = content
		}
	}
	if contents["service_password"] != "of before $1\n" || contents["client_password"] == contents["minio_root_password"] {
		t.Errorf("passwords %q", contents)
	}
	if info, err := os.Stat(secrets); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v %v", info, err)
	}
	text, example := readRepo(t, "docker-compose.yml"), readRepo(t, ".env.example")
	for _, r := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(example, "\n#"+r[1]+"=") {
			t.Errorf(".env.example does not name %s", r[1])
		}
	}
}

func TestDockerfileFitsComposeAndTheBuild(t *testing.T) {
	t.Parallel()
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
	if commands == nil || json.Unmarshal([]byte(commands[1]), &command) != nil || !slices.Equal(command, append(slices.Clone(seal.Command), "--data-dir", dataDirOf(t))) {
		t.Errorf("command %v, docker-compose.yml says %v", command, seal.Command)
	}
	_, port, _ := strings.Cut(flagValue(t, seal.Command, "--address"), ":")
	for what, want := range map[string]string{
		"non-root user": "USER 65532:65532", "port": "EXPOSE " + port, "volume": "VOLUME " + dataDirOf(t),
		"certificates": "/etc/ssl/certs/ca-certificates.crt", "health check": strings.Join(seal.Healthcheck.Test[2:], `", "`),
	} {
		if !strings.Contains(last, want) {
			t.Errorf("%s: the last stage has no %q", what, want)
		}
	}
	for _, service := range f.Services {
		if service.Build.Target != "" && !strings.Contains(text, " AS "+service.Build.Target+"\n") {
			t.Errorf("no stage %s", service.Build.Target)
		}
	}

	for _, program := range []string{"MINIO", "MC"} {
		version := regexp.MustCompile(`(?m)^` + program + `_VERSION\s+:= (\S+)$`).FindStringSubmatch(readRepo(t, "Makefile"))
		if version == nil || !strings.Contains(text, "ARG "+program+"_VERSION="+version[1]+"\n") {
			t.Errorf("%s's version is not the Makefile's %v", program, version)
		}
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readRepo(t, "go.mod"))
	if strings.Count(text, "FROM golang:"+goVersion[1]+"-") != strings.Count(text, "FROM golang:") {
		t.Errorf("the images' Go is not go.mod's %s", goVersion[1])
	}
}

// The image is built from what .dockerignore lets through: every folder that the
// program has packages in must be among it.
func TestTheImageIsBuiltFromAllThatTheProgramImports(t *testing.T) {
	t.Parallel()
	list := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{.ImportPath}}{{end}}{{end}}", "./cmd/bucketseal")
	list.Dir = repoRoot()
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 10 {
		t.Fatalf("packages %q", packages)
	}
	ignored := readRepo(t, ".dockerignore")
	for _, path := range packages {
		dir := strings.Split(strings.TrimPrefix(path, "github.com/bucketseal/bucketseal/"), "/")[0]
		if !strings.Contains(ignored, "!"+dir+"\n") {
			t.Errorf(".dockerignore keeps %s from the build", path)
		}
	}
}
