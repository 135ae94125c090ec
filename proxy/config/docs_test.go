package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The documentation names every setting with its type, default, variable and
// flag, and the example file holds every one of them.
func TestDocumentationAndExampleNameEverySetting(t *testing.T) {
	t.Parallel()
	page := readRepo(t, "docs/configuration.md")
	rows := make(map[string][]string)
	for line := range strings.SplitSeq(page, "\n") {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `") && len(cells) == 8 {
			rows[strings.Trim(cells[1], " `")] = cells[2:]
		}
	}
	for _, s := range Settings() {
		row, ok := rows[s.Path]
		if !ok {
			t.Errorf("docs/configuration.md does not have %s", s.Path)
			continue
		}
		delete(rows, s.Path)
		for i, want := range []string{string(s.Type), s.Default, s.Env, s.Flag} {
			if want != "" && !strings.Contains(row[i], want) {
				t.Errorf("%s: the documentation says %q, the program %q", s.Path, row[i], want)
			}
		}
	}
	for path := range rows {
		t.Errorf("docs/configuration.md has %s, the program does not", path)
	}
	for _, name := range []string{EnvFile, EnvRootUser, EnvRootUserFile, EnvRootPassword, EnvRootPasswordFile, EnvMasterKey} {
		if !strings.Contains(page, name) {
			t.Errorf("docs/configuration.md does not have %s", name)
		}
	}
}

func TestTheExampleIsValidAndHoldsTheDefaults(t *testing.T) {
	t.Parallel()
	example := readRepo(t, "bucketseal.example.yml")
	env := []string{"BUCKETSEAL_SERVICE_SECRET=" + secretText, "ALICE_SECRET=" + secretText, "MINIO_KES_API_KEY=kes:v1:x"}
	c, err := Parse("bucketseal.example.yml", []byte(example), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckServer(); err != nil {
		t.Error(err)
	}
	plain, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Address != plain.Address || c.Limits != plain.Limits || c.SmallObject != plain.SmallObject || c.ListingCache != plain.ListingCache || c.Log != plain.Log ||
		c.AutoEncryption != plain.AutoEncryption || c.SSES3.Key != plain.SSES3.Key || c.SSES3.ETag != plain.SSES3.ETag || c.SystemBucket != plain.SystemBucket ||
		c.Deployment != plain.Deployment || c.Upstream.Endpoint.String() != plain.Upstream.Endpoint.String() {
		t.Error("the example does not hold the defaults")
	}
	for _, s := range Settings() {
		name := s.Path[strings.LastIndexByte(s.Path, '.')+1:]
		remoteExtra := strings.HasPrefix(s.Path, "kms.remote.") && !strings.HasSuffix(s.Path, "endpoints")
		if !remoteExtra && !strings.Contains(example, name+":") {
			t.Errorf("the example does not have %s", s.Path)
		}
	}
}

func readRepo(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
