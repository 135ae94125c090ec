package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// given is the secrets that a service has.
func (f composeFile) given(service string) (names []string) {
	for _, secret := range f.Services[service].Secrets {
		if long, ok := secret.(map[string]any); ok {
			secret = long["source"]
		}
		names = append(names, fmt.Sprint(secret))
	}
	return names
}

// sharedPairs is what is wrong with who knows what: the root of MinIO belongs to it
// and to the setup, and no two of the three pairs are the same.
func (f composeFile) sharedPairs(config string) (faults []string) {
	knows := map[string][]string{
		"minio_root_password": {"minio", "setup"}, "service_password": {"bucketseal", "bucketseal-2", "setup"},
		"client_password": {"bucketseal", "bucketseal-2", "setup"}, "grafana_password": {"grafana"},
		"kms_server.key": {"kms"}, "kms_client.key": {"bucketseal", "bucketseal-2"},
	}
	for service := range f.Services {
		for secret, who := range knows {
			if slices.Contains(f.given(service), secret) != slices.Contains(who, service) {
				faults = append(faults, fmt.Sprintf("%s belongs to %v; %s is given %v", secret, who, service, f.given(service)))
			}
		}
		for variable, value := range f.Services[service].Environment {
			if strings.Contains(variable, "PASSWORD") && !strings.HasPrefix(value, "/run/secrets/") {
				faults = append(faults, fmt.Sprintf("%s has a password in its environment, %s", service, variable))
			}
			if strings.HasPrefix(variable, "BUCKETSEAL_ROOT_") {
				faults = append(faults, fmt.Sprintf("%s has %s, which is one pair for clients and the proxy", service, variable))
			}
		}
	}
	var settings struct {
		Upstream    struct{ Credentials map[string]string }
		Credentials []map[string]string
	}
	if err := yaml.Unmarshal([]byte(config), &settings); err != nil || len(settings.Credentials) == 0 || len(settings.Upstream.Credentials) != 2 {
		return append(faults, fmt.Sprintf("the settings name no pairs of their own for the proxy and for clients (%v)", err))
	}
	seen := map[string]string{"${MINIO_ROOT_USER}": "MinIO's root", "/run/secrets/minio_root_password": "MinIO's root"}
	for i, pair := range append([]map[string]string{settings.Upstream.Credentials}, settings.Credentials...) {
		for _, value := range []string{pair["access_key"], pair["secret_key_file"]} {
			if other := seen[value]; other != "" || value == "" {
				faults = append(faults, fmt.Sprintf("the settings: pair %d has %q of %s", i, value, other))
			}
			seen[value] = fmt.Sprintf("pair %d", i)
		}
	}
	return faults
}

// missingLimits is which service may take all of the machine's memory or processes,
// or frees memory too late or too early for its limit.
func (f composeFile) missingLimits() (faults []string) {
	for name, service := range f.Services {
		var limit, soft float64
		unit := ""
		if _, err := fmt.Sscanf(service.MemLimit, "%f%1s", &limit, &unit); err != nil || limit <= 0 {
			faults = append(faults, name+" has no mem_limit")
		}
		limit *= map[string]float64{"m": 1, "g": 1024}[unit]
		if name == "balancer" || name == "moto" {
			service.Environment = map[string]string{"GOMEMLIMIT": fmt.Sprintf("%.0fMiB", 0.9*limit)} // written in C and Python
		}
		if _, err := fmt.Sscanf(service.Environment["GOMEMLIMIT"], "%fMiB", &soft); err != nil || soft < 0.8*limit || soft > 0.95*limit {
			faults = append(faults, fmt.Sprintf("%s: GOMEMLIMIT %q is not some 90 %% of %s", name, service.Environment["GOMEMLIMIT"], service.MemLimit))
		}
		if service.PidsLimit <= 0 {
			faults = append(faults, name+" has no pids_limit")
		}
	}
	return faults
}

func TestComposeGivesEachItsOwnPairAndLimits(t *testing.T) {
	text, config := readRepo(t, "docker-compose.yml"), readRepo(t, "compose/bucketseal.yml")
	faults := func(text, config string) []string {
		var f composeFile
		if err := yaml.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		return append(f.sharedPairs(config), f.missingLimits()...)
	}
	for _, fault := range faults(text, config) {
		t.Error(fault)
	}
	// Each of these is what the test is there to find.
	for _, change := range [][2]string{
		{"secrets: [minio_root_password]", "secrets: [client_password]"},
		{"    - client_password\n", "    - minio_root_password\n"},
		{"secrets: [grafana_password]", "secrets: [grafana_password, service_password]"},
		{"MINIO_ROOT_PASSWORD_FILE: /run/secrets/minio_root_password", "MINIO_ROOT_PASSWORD: password"},
		{"    SERVICE_USER: bucketseal-service", "    BUCKETSEAL_ROOT_USER: bucketseal-service"},
		{"mem_limit: 2g", ""},
		{"  mem_limit: 1g", ""},
		{"pids_limit: 256", ""},
		{"pids_limit: 1024", ""},
		{"GOMEMLIMIT: 920MiB", "GOMEMLIMIT: 2GiB"},
		{"GOMEMLIMIT: 1840MiB", "GOGC: off"},
	} {
		changed := strings.ReplaceAll(text, change[0], change[1])
		if changed == text || len(faults(changed, config)) == 0 {
			t.Errorf("%q in place of %q goes unnoticed", change[1], change[0])
		}
	}
	for _, changed := range []string{
		"", strings.ReplaceAll(config, "SERVICE_", "CLIENT_"), strings.ReplaceAll(config, "/client_password", "/minio_root_password"),
	} {
		if len(faults(text, changed)) == 0 {
			t.Errorf("the configuration goes unnoticed: %s", changed)
		}
	}
	want, _ := documentedPolicy(t)
	if readRepo(t, "compose/bucketseal-service.json") != want {
		t.Error("compose/bucketseal-service.json is not the policy of docs/configuration.md")
	}
	f := readCompose(t)
	// The profile aws differs in where the keys come from.
	_, plain, _ := strings.Cut(config, "\nupstream:")
	plain, _, _ = strings.Cut(plain, "\n# The volume")
	_, remote, _ := strings.Cut(readRepo(t, "compose/bucketseal-kms.yml"), "\nupstream:")
	if !strings.HasPrefix(remote, plain+"\nkms:\n") {
		t.Error("compose/bucketseal-kms.yml is not compose/bucketseal.yml with a section kms")
	}
	if deps := f.Services["bucketseal"].DependsOn; deps["setup"].Condition != "service_completed_successfully" || f.Services["setup"].DependsOn["minio"].Condition != "service_healthy" {
		t.Errorf("bucketseal starts before its user at MinIO is made: %v", deps)
	}
}

func TestComposeSetupRefusesSharedPairs(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	f, m := readCompose(t), &minioServer{addr: "127.0.0.1:1"}
	for _, change := range []map[string]string{
		{"CLIENT_USER": rootUser},
		{"CLIENT_USER": "bucketseal-service"},
		{"client_password": rootPassword},
		{"service_password": rootPassword},
		{"service_password": composeSecrets()["client_password"]},
	} {
		if out, err := f.setUpAsComposed(t, m, change); err == nil || !strings.Contains(out, "of their own each") {
			t.Errorf("%v: %v %s", change, err, out)
		}
	}
}
