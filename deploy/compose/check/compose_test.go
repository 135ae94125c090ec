package check

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const root = "../../.."

// project loads docker-compose.yml with a profile, as `docker compose` does.
func project(t *testing.T, env []string, profiles ...string) *types.Project {
	t.Helper()
	return projectOf(t, []string{"docker-compose.yml"}, env, profiles...)
}

// projectOf loads several files over each other.
func projectOf(t *testing.T, files, env []string, profiles ...string) *types.Project {
	t.Helper()
	var paths []string
	for _, file := range files {
		paths = append(paths, filepath.Join(root, file))
	}
	options, err := cli.NewProjectOptions(paths,
		cli.WithName("check"), cli.WithProfiles(profiles), cli.WithEnv(env), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// seal runs the binary.
func seal(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	program := os.Getenv("BUCKETSEAL_BIN")
	if program == "" {
		t.Skip("BUCKETSEAL_BIN is not set; make compose-check sets it")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestEachProfileIsWhatComposeUnderstands(t *testing.T) {
	for profile, want := range map[string][]string{
		"":              {"bucketseal", "minio", "setup"},
		"ha":            {"balancer", "bucketseal", "bucketseal-2", "minio", "setup"},
		"aws":           {"bucketseal", "kms", "minio", "moto", "setup"},
		"observability": {"bucketseal", "grafana", "minio", "prometheus", "setup"},
	} {
		p := project(t, nil, profile)
		names := p.ServiceNames()
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Errorf("profile %q: %v, want %v", profile, names, want)
		}
	}
}

func TestEveryServiceIsHeldIn(t *testing.T) {
	for name, s := range project(t, nil, "*").Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
			t.Errorf("%s: read only %v, dropped %v, options %v", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if s.MemLimit <= 0 || s.PidsLimit <= 0 || len(s.Networks) == 0 || s.NetworkMode != "" {
			t.Errorf("%s: memory %d, processes %d, networks %v", name, s.MemLimit, s.PidsLimit, s.Networks)
		}
		if len(s.Secrets) > 0 && len(s.GroupAdd) != 1 {
			t.Errorf("%s cannot read its secrets: %v", name, s.GroupAdd)
		}
		if s.Restart != "unless-stopped" && name != "setup" {
			t.Errorf("%s: restart %q", name, s.Restart)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %v", name, port)
			}
		}
	}
}

func TestEveryMountedFileIsThere(t *testing.T) {
	p := project(t, nil, "*")
	for name, s := range p.Services {
		mounted := map[string]string{}
		for _, v := range s.Volumes {
			if v.Type != "bind" {
				continue
			}
			mounted[v.Target] = v.Source
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s, read only %v: %v", name, v.Source, v.ReadOnly, err)
			}
		}
		words := slices.Clone([]string(s.Command))
		for _, value := range s.Environment {
			if value != nil {
				words = append(words, *value)
			}
		}
		for _, word := range words {
			_, path, _ := strings.Cut("="+word, "=/")
			if strings.HasPrefix(word, "--") {
				_, path, _ = strings.Cut(word, "=/")
			}
			path = "/" + path
			if file, ok := strings.CutPrefix(path, "/run/secrets/"); ok && !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool {
				return filepath.Base(c.Target) == file || c.Target == "" && c.Source == file
			}) {
				t.Errorf("%s uses %s, which it is not given", name, path)
			}
			for target, source := range mounted {
				if file, ok := strings.CutPrefix(path, target+"/"); ok {
					if _, err := os.Stat(filepath.Join(source, file)); err != nil {
						t.Errorf("%s uses %s: %v", name, path, err)
					}
				}
			}
		}
	}
}

// Each command and health check of bucketseal names commands and flags that there are.
func TestCommandsAreTheBinarys(t *testing.T) {
	found := 0
	for name, s := range project(t, nil, "*").Services {
		if !strings.HasPrefix(s.Image, "bucketseal:") {
			continue
		}
		for _, line := range [][]string{s.Command, s.HealthCheck.Test[2:]} {
			var command, flags []string
			for _, word := range line {
				switch {
				case strings.HasPrefix(word, "--"):
					flags = append(flags, word)
				case len(flags) == 0:
					command = append(command, word)
				}
			}
			help, err := seal(t, nil, append(command, "--help")...)
			if err != nil || !strings.Contains(help, "\n  bucketseal "+strings.Join(command, " ")+" ") {
				t.Fatalf("%s: %v: %v\n%s", name, command, err, help)
			}
			for _, flag := range flags {
				found++
				if !strings.Contains(help, flag) {
					t.Errorf("%s: there is no flag %s of %v", name, flag, command)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d flags were found", found)
	}
}

// The settings that the containers mount, with their environment, are what the binary takes.
func TestSettingsAreTheBinarys(t *testing.T) {
	secrets := t.TempDir()
	if out, err := exec.Command("sh", filepath.Join(root, "compose/new-secrets.sh"), secrets).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check := func(service, file string, command ...string) string {
		t.Helper()
		s := project(t, nil, "*").Services[service]
		var env []string
		for name, value := range s.Environment {
			if name != "CREDENTIALS_DIRECTORY" && name != "BUCKETSEAL_CONFIG" && name != "SSL_CERT_FILE" {
				env = append(env, name+"="+*value)
			}
		}
		if service == "kms" {
			identity, err := os.ReadFile(filepath.Join(secrets, "kms_client_identity"))
			if err != nil {
				t.Fatal(err)
			}
			env = append(env, "KMS_CLIENT_IDENTITY="+strings.TrimSpace(string(identity)))
		}
		text, err := os.ReadFile(filepath.Join(root, "compose", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, used := range regexp.MustCompile(`/run/secrets/[a-z_.]+`).FindAllString(string(text), -1) {
			if !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool { return c.Source == filepath.Base(used) }) {
				t.Errorf("%s uses %s, which %s is not given", file, used, service)
			}
		}
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/run/secrets", secrets)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := seal(t, env, append(command, path)...)
		if err != nil || strings.Contains(out, "warning") {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
		return string(text)
	}
	check("bucketseal", "bucketseal.yml", "config", "check")
	remote := check("bucketseal", "bucketseal-kms.yml", "config", "check")
	server := check("kms", "kms.yml", "kms", "config", "check")
	if !strings.Contains(remote, "https://kms:7373") || !strings.Contains(server, ":7373") {
		t.Error("the proxies look for the key server elsewhere")
	}
	// Which settings are mounted is a variable.
	p := project(t, []string{"BUCKETSEAL_SETTINGS=bucketseal-kms.yml"}, "*")
	if at := *p.Services["bucketseal-2"].Environment["BUCKETSEAL_CONFIG"]; at != "/etc/bucketseal/bucketseal-kms.yml" {
		t.Errorf("settings %s", at)
	}
}

// The console is at the first proxy alone, published to this host alone, and only when asked for.
func TestTheConsoleIsAFileOfItsOwn(t *testing.T) {
	const variable = "BUCKETSEAL_CONSOLE_ADDRESS"
	for name, s := range project(t, nil, "*").Services {
		if _, ok := s.Environment[variable]; ok {
			t.Errorf("%s has a console that nobody asked for", name)
		}
	}
	p := projectOf(t, []string{"docker-compose.yml", "compose/console.yml"}, []string{"CONSOLE_PORT=19091"}, "*")
	for name, s := range p.Services {
		at, ok := s.Environment[variable]
		if ok != (name == "bucketseal") {
			t.Errorf("%s has a console: %v", name, ok)
		}
		if !ok {
			continue
		}
		if n := len(s.Ports); n != 2 || s.Ports[1].HostIP != "127.0.0.1" || s.Ports[1].Published != "19091" || *at != fmt.Sprintf(":%d", s.Ports[1].Target) {
			t.Errorf("%s: %v, and it listens on %s", name, s.Ports, *at)
		}
		if s.Environment["BUCKETSEAL_METRICS_ADDRESS"] == nil || !s.ReadOnly || s.MemLimit <= 0 {
			t.Errorf("%s lost what docker-compose.yml gives it", name)
		}
	}
	for _, file := range []string{"bucketseal.yml", "bucketseal-kms.yml"} {
		text, err := os.ReadFile(filepath.Join(root, "compose", file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		env := []string{variable + "=:9091", "SERVICE_USER=service", "CLIENT_USER=client"}
		if out, _ := seal(t, env, "config", "check", path); strings.Contains(out, "console") {
			t.Errorf("%s does not allow the console:\n%s", file, out)
		}
	}
}

// One variable for each image, and none of them is "latest".
func TestEachImageHasOneVariable(t *testing.T) {
	var env []string
	names := map[string]string{
		"BUCKETSEAL": "bucketseal", "MINIO": "minio", "SETUP": "setup", "HAPROXY": "balancer", "MOTO": "moto", "PROMETHEUS": "prometheus", "GRAFANA": "grafana",
	}
	for variable := range names {
		env = append(env, variable+"_IMAGE=example.com/"+strings.ToLower(variable)+"@sha256:"+strings.Repeat("0", 64))
	}
	plain, given := project(t, nil, "*"), project(t, env, "*")
	for variable, service := range names {
		if got := given.Services[service].Image; !strings.HasPrefix(got, "example.com/"+strings.ToLower(variable)+"@") {
			t.Errorf("%s: %s", service, got)
		}
		if image := plain.Services[service].Image; !strings.Contains(image, ":") || strings.HasSuffix(image, ":latest") {
			t.Errorf("%s: %s", service, image)
		}
	}
}

// Grafana's dashboard asks the data source that is provisioned.
func TestTheDashboardFindsItsDataSource(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy/observability/dashboard.json"))
	if err != nil || !json.Valid(text) {
		t.Fatalf("%v", err)
	}
	source, err := os.ReadFile(filepath.Join(root, "compose/grafana/datasources/prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), "type: prometheus") || !strings.Contains(string(text), `"type": "prometheus"`) {
		t.Error("the dashboard is not for Prometheus")
	}
}
