package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// another returns a value of a setting that is not its default, in YAML.
func another(s Setting) string {
	switch s.Path {
	case "log.level":
		return "debug"
	case "log.format":
		return "json"
	case "forwarded_header":
		return "forwarded"
	case "trusted_proxies":
		return "[10.0.0.0/8]"
	case "cors_allow_origin":
		return "[\"https://a.example.com\"]"
	case "domain":
		return "[s3.example.com]"
	case "sse_s3.etag":
		return "opaque"
	case "sse_s3.md5_etag":
		return "" // it needs etag: opaque
	case "auto_encryption":
		return "off"
	case "tls.min_version":
		return `"1.3"`
	case "tls.client_auth", "tls.cert", "tls.key", "tls.client_ca", "upstream.cert", "upstream.key", "metrics.profiling":
		return "" // they need others
	case "upstream.endpoint":
		return "https://minio.example:9000"
	case "limits.max_header":
		return "128KiB"
	case "audit.required", "audit.webhook.url", "audit.webhook.token", "audit.webhook.token_file", "audit.webhook.queue", "audit.webhook.ca", "audit.syslog.ca":
		return "" // they need others
	case "audit.syslog.address":
		return "udp://log.example:514"
	case "tracing.endpoint":
		return "http://collector.example:4318"
	case "tracing.headers":
		return "[\"X-Key=one\"]"
	case "tracing.sample_ratio":
		return "0.5"
	case "console.session":
		return "2m"
	case "address", "metrics.address", "console.address":
		return "127.0.0.1:9999"
	}
	if strings.HasPrefix(s.Path, "kms.") || strings.HasPrefix(s.Path, "upstream.credentials.") {
		return ""
	}
	switch s.Type {
	case TypeList:
		return "[another]"
	case TypeBool:
		return map[string]string{"true": "false", "false": "true"}[s.Default]
	case TypeSize:
		return "16MiB"
	case TypeDuration:
		return "3s"
	case TypeNumber:
		return "77"
	}
	return "another"
}

// yamlOf writes a setting as a file has it.
func yamlOf(path, value string) string {
	var b strings.Builder
	names := strings.Split(path, ".")
	for depth, name := range names {
		b.WriteString(strings.Repeat("  ", depth) + name + ":")
		if depth == len(names)-1 {
			b.WriteString(" " + value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func parsed(t *testing.T, source string) *Config {
	t.Helper()
	c, err := Parse("f.yml", []byte(source), nil)
	if err != nil {
		t.Fatalf("%q: %v", source, err)
	}
	return c
}

// bare is a configuration without what says where it comes from.
func bare(c *Config) Config {
	n := *c
	n.origin, n.given, n.Warnings, n.holdsSecret = nil, nil, nil, false
	return n
}

// A running server takes exactly what Live says, and whoever asks for the difference is told
// of each setting, and whether it waits for a restart.
func TestALiveSettingIsTakenAndNoOther(t *testing.T) {
	t.Parallel()
	before := parsed(t, "")
	for _, s := range Settings() {
		value := another(s)
		if value == "" {
			continue
		}
		fresh := parsed(t, yamlOf(s.Path, value))
		want := bare(before)
		if Live(s.Path) {
			want = bare(fresh)
		}
		taken := before.TakeLive(fresh)
		if !reflect.DeepEqual(bare(taken), want) {
			t.Errorf("%s, live %v: the server has\n%+v, want\n%+v", s.Path, Live(s.Path), bare(taken), want)
		}
		named := false
		for _, change := range Changes(before.Effective(nil), fresh.Effective(nil)) {
			named = named || change.Path == s.Path && change.Restart != Live(s.Path)
		}
		if !named {
			t.Errorf("%s: the changes are %+v", s.Path, Changes(before.Effective(nil), fresh.Effective(nil)))
		}
		waits := Changes(taken.Effective(nil), fresh.Effective(nil))
		if Live(s.Path) && len(waits) > 0 {
			t.Errorf("%s is live, and %+v waits", s.Path, waits)
		}
	}
	for _, path := range livePaths() {
		if path != "access.rules" && !hasSetting(path) {
			t.Errorf("%s is live, and no setting", path)
		}
	}
}

func hasSetting(path string) bool {
	for _, s := range Settings() {
		if s.Path == path {
			return true
		}
	}
	return false
}

func TestAKeyThatFollowsFromTheDefaultKeyWaitsWithIt(t *testing.T) {
	t.Parallel()
	before := parsed(t, "")
	if taken := before.TakeLive(parsed(t, "default_key: another\n")); taken.SSES3.Key != "bucketseal-default" {
		t.Errorf("the key of SSE-S3 is %q", taken.SSES3.Key)
	}
	if taken := before.TakeLive(parsed(t, "sse_s3: {key: another}\n")); taken.SSES3.Key != "another" {
		t.Errorf("the key of SSE-S3 is %q", taken.SSES3.Key)
	}
}

func TestEffectiveValuesHoldNoSecretAndSayWhereTheyAreFrom(t *testing.T) {
	t.Parallel()
	source := "region: eu-central-1\ncredentials:\n  - {access_key: alice, secret_key: hidden-secret-0001}\nlimits: {stall: 120s}\n"
	c, err := Parse("f.yml", []byte(source), []string{"BUCKETSEAL_LOG_LEVEL=debug", "BUCKETSEAL_MASTER_KEY=hidden-master", "KEY=x"})
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]Value)
	for _, v := range c.Effective([]byte("key")) {
		values[v.Path] = v
		if text := strings.Join(v.Values, ",") + v.Source + v.Tag; strings.Contains(text, "hidden") {
			t.Errorf("%s shows a secret: %+v", v.Path, v)
		}
	}
	for path, want := range map[string]Value{
		"region":          {Values: []string{"eu-central-1"}, Source: "f.yml:1:9"},
		"upstream.region": {Values: []string{"eu-central-1"}, Source: "region"},
		"log.level":       {Values: []string{"debug"}, Source: "BUCKETSEAL_LOG_LEVEL", Live: true},
		"limits.stall":    {Values: []string{"2m0s"}, Source: "f.yml:4:17", Live: true},
		"limits.idle":     {Values: []string{"1m30s"}, Source: "default"},
	} {
		got := values[path]
		got.Path = ""
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	if values["credentials.alice"].Tag == "" || values[EnvMasterKey].Tag == "" {
		t.Errorf("secrets have no tag: %+v, %+v", values["credentials.alice"], values[EnvMasterKey])
	}
	other := parsed(t, strings.Replace(source, "0001", "0002", 1))
	mine := parsed(t, source)
	if changes := Changes(mine.Effective([]byte("key")), other.Effective([]byte("key"))); len(changes) != 1 || changes[0].Path != "credentials.alice" || changes[0].Restart {
		t.Errorf("another secret: %+v", changes)
	}
}

func TestTheCheckedInSchemaIsThatOfTheSettings(t *testing.T) {
	t.Parallel()
	const name = "../../deploy/bucketseal.schema.json"
	want := string(Schema())
	if os.Getenv("BUCKETSEAL_WRITE_SCHEMA") != "" {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := readRepo(t, "deploy/bucketseal.schema.json"); got != want {
		t.Error("deploy/bucketseal.schema.json is not what `bucketseal config schema` prints")
	}
}
