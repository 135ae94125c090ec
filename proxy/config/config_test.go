package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/operator/collector"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

const secretText = "hidden-secret-0001"

// full sets everything that may stand in one file.
const full = `
address: 127.0.0.1:9443
region: eu-central-1
domain: [S3.example.com, localhost]
cors_allow_origin: ["https://*.example.com"]
trusted_proxies: [10.0.0.0/8, "fd00::/8", 192.0.2.7]
forwarded_header: forwarded
upstream:
  endpoint: https://minio.example:9000/
  region: eu-west-1
  ca: ca.pem
  cert: up/cert.pem
  key: up/key.pem
  credentials: {access_key: proxy, secret_key: "${OWN}"}
credentials:
  - access_key: alice
    secret_key: hidden-secret-0001
  - {access_key: bob, secret_key: 'hidden-secret-0002'}
auto_encryption: off
default_key: main
sse_s3:
  key: s3
  former_keys: [old-1, old-2]
  etag: opaque
  md5_etag: [shared-*]
allow_anonymous: [public-*, "www?"]
plain_read:
  - legacy
customer_keys_over_http: true
system_bucket: seal-system
deployment: prod-1
tls: {cert: /tls/cert.pem, key: tls/key.pem, min_version: "1.3", client_auth: require, client_ca: clients}
small_object: {size: 1MiB, budget: 64MB}
listing_cache: 5MiB
usage_scan: {interval: 6h, rate: 0}
console: {address: "127.0.0.1:9091", plain_http: true, session: 20m}
limits:
  drain: 10s
  shutdown: 1m
  read_header: 5s
  idle: 2m
  max_header: 131072
  max_clock_skew: 5m
  upstream_header: 30s
  rule_lease: 500ms
  max_requests: 300
  queue_wait: 2s
  max_connections: 5000
  max_connections_per_client: 100
  stall: 20s
metrics: {address: "127.0.0.1:9100", profiling: true}
tracing: {endpoint: "https://traces.example/otlp/v1/traces", sample_ratio: 0.25, headers: ["X-Key=one=two"], ca: ca.pem, service_name: seal}
readiness: {key_service: false}
log: {level: debug, format: json}
audit:
  required: true
  file: {path: audit.log, max_size: 1MiB, max_age: 1h, keep: 7, keep_for: 720h}
  stdout: true
  syslog: {address: "tls://log.example:6514", ca: syslog.pem}
  webhook: {url: "https://hook.example/x", token: hidden-token-0001, ca: hook.pem, queue: queue, queue_size: 2MiB}
data_dir: /var/lib/bucketseal
master_key_file: ../master.key
`

func TestEverySettingOfAFileIsRead(t *testing.T) {
	t.Parallel()
	c, err := Parse("/etc/seal/seal.yml", []byte(full), []string{"OWN=own-secret-1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Upstream.Endpoint.String(); got != "https://minio.example:9000" {
		t.Errorf("endpoint %q", got)
	}
	if got := c.Tracing.Endpoint.String(); got != "https://traces.example/otlp/v1/traces" {
		t.Errorf("collector %q", got)
	}
	c.Upstream.Endpoint, c.Tracing.Endpoint, c.origin, c.given = nil, nil, nil, nil
	want := &Config{
		File: "/etc/seal/seal.yml", Address: "127.0.0.1:9443", Region: "eu-central-1", Domains: []string{"s3.example.com", "localhost"}, AllowOrigin: []string{"https://*.example.com"},
		TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.0.2.7/32")},
		ForwardedHeader: "forwarded",
		Upstream:        Upstream{Region: "eu-west-1", CA: "/etc/seal/ca.pem", Cert: "/etc/seal/up/cert.pem", Key: "/etc/seal/up/key.pem", Credentials: Credential{AccessKey: "proxy", SecretKey: NewSecret("own-secret-1")}},
		Credentials: []Credential{
			{AccessKey: "alice", SecretKey: NewSecret(secretText)},
			{AccessKey: "bob", SecretKey: NewSecret("hidden-secret-0002")},
		},
		AutoEncryption: Off, DefaultKey: "main", SSES3: SSES3Settings{
			Key: "s3", FormerKeys: []string{"old-1", "old-2"}, ETag: ETagOpaque, OpaqueETag: []string{"*"}, MD5ETag: []string{"shared-*"},
		},
		AllowAnonymous: []string{"public-*", "www?"}, PlainRead: []string{"legacy"}, CustomerKeysOverHTTP: true,
		SystemBucket: "seal-system", Deployment: "prod-1",
		TLS: TLS{
			Cert: "/tls/cert.pem", Key: "/etc/seal/tls/key.pem", MinVersion: "1.3", ClientAuth: ClientAuthRequire, ClientCA: "/etc/seal/clients",
		},
		SmallObject: SmallObject{Size: 1 << 20, Budget: 64e6}, ListingCache: 5 << 20, UsageScan: UsageScan{Interval: 6 * time.Hour},
		Limits: Limits{
			Drain: 10 * time.Second, Shutdown: time.Minute, ReadHeader: 5 * time.Second, Idle: 2 * time.Minute, MaxHeader: 128 << 10,
			MaxClockSkew: 5 * time.Minute, UpstreamHeader: 30 * time.Second, RuleLease: 500 * time.Millisecond,
			MaxRequests: 300, QueueWait: 2 * time.Second, MaxConnections: 5000, MaxConnectionsPerClient: 100, Stall: 20 * time.Second,
		},
		Audit: Audit{
			Required: true, File: AuditFile{Path: "/etc/seal/audit.log", MaxSize: 1 << 20, MaxAge: time.Hour, Keep: 7, KeepFor: 720 * time.Hour}, Stdout: true,
			Syslog: "tls://log.example:6514", SyslogCA: "/etc/seal/syslog.pem",
			Webhook: AuditWebhook{URL: "https://hook.example/x", Token: NewSecret("hidden-token-0001"), CA: "/etc/seal/hook.pem", Queue: "/etc/seal/queue", QueueSize: 2 << 20},
		},
		Log: Log{Level: slog.LevelDebug, Format: "json"}, MetricsAddress: "127.0.0.1:9100", Profiling: true,
		Console: Console{Address: "127.0.0.1:9091", PlainHTTP: true, Session: 20 * time.Minute},
		Tracing: collector.Settings{SampleRatio: 0.25, Headers: []collector.Header{collector.NewHeader("X-Key", "one=two")}, CA: "/etc/seal/ca.pem", Service: "seal"}, Access: identity.Access{Unrestricted: true}, DataDir: "/var/lib/bucketseal", MasterKeyFile: "/etc/master.key",
		DoctorInterval: 5 * time.Minute, holdsSecret: true,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestNoFileAndNoEnvironmentGiveTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Address != ":8080" || c.Upstream.Endpoint.String() != "http://127.0.0.1:9000" || c.Upstream.Region != "us-east-1" ||
		c.AutoEncryption != SSES3 || c.DefaultKey != "bucketseal-default" || c.SSES3.Key != "bucketseal-default" || c.SSES3.ETag != ETagMD5 || c.SSES3.OpaqueETag != nil ||
		c.SystemBucket != "bucketseal-system" || c.SmallObject != (SmallObject{8 << 20, 128 << 20}) || c.Limits.Shutdown != 30*time.Second {
		t.Errorf("%+v", c)
	}
	err = c.CheckServer()
	for _, part := range []string{"credentials", "upstream.credentials", "data_dir"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("CheckServer does not ask for %s: %v", part, err)
		}
	}
}

func TestEnvironmentAndFlagsAloneAreEnoughForAServer(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{
		Environ: []string{"BUCKETSEAL_ROOT_USER=root", "BUCKETSEAL_ROOT_PASSWORD=" + secretText},
		Flags: map[string][]string{
			"address": {"127.0.0.1:0"}, "upstream": {"http://127.0.0.1:9001"}, "data-dir": {t.TempDir()},
			"allow-anonymous": {"a*", "b"}, "plain-read": {"old"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckServer(); err != nil {
		t.Fatal(err)
	}
	root := Credential{AccessKey: "root", SecretKey: NewSecret(secretText)}
	if !slices.Equal(c.Credentials, []Credential{root}) || c.Upstream.Credentials != root {
		t.Errorf("credentials %+v, upstream %+v", c.Credentials, c.Upstream.Credentials)
	}
	if !slices.Equal(c.AllowAnonymous, []string{"a*", "b"}) || !slices.Equal(c.PlainRead, []string{"old"}) {
		t.Errorf("patterns %v %v", c.AllowAnonymous, c.PlainRead)
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yml")
	writeFile(t, file, "address: :1\nplain_read: [file]\ntls: {cert: c, key: k}\ndata_dir: rel\n", 0o600)
	env := []string{"BUCKETSEAL_CONFIG=" + file, "BUCKETSEAL_ADDRESS=:2", "BUCKETSEAL_PLAIN_READ=env1, env2", "BUCKETSEAL_LOG_LEVEL="}
	c, err := Load(Sources{Environ: env})
	if err != nil {
		t.Fatal(err)
	}
	if c.Address != ":2" || !slices.Equal(c.PlainRead, []string{"env1", "env2"}) || c.Log.Level != slog.LevelInfo {
		t.Errorf("environment over file: %q %v %v", c.Address, c.PlainRead, c.Log.Level)
	}
	if want := filepath.Join(filepath.Dir(file), "rel"); c.DataDir != want {
		t.Errorf("data_dir %q, want it in the file's folder: %q", c.DataDir, want)
	}
	c, err = Load(Sources{Environ: env, Flags: map[string][]string{"address": {":3"}, "plain-read": {"flag"}, "certs-dir": {"certs"}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Address != ":3" || !slices.Equal(c.PlainRead, []string{"flag"}) || c.TLS != (TLS{CertsDir: "certs", MinVersion: "1.2", ClientAuth: ClientAuthOff}) {
		t.Errorf("flags over environment: %q %v %+v", c.Address, c.PlainRead, c.TLS)
	}
}

func TestRootPairFillsOnlyWhatTheFileLeavesOut(t *testing.T) {
	t.Parallel()
	env := []string{"BUCKETSEAL_ROOT_USER=root", "BUCKETSEAL_ROOT_PASSWORD=" + secretText}
	same := "{access_key: root, secret_key: " + secretText + "}"
	other := "{access_key: other, secret_key: other-secret}"
	rootAgain := "{access_key: root, secret_key: other-secret}"
	for name, tc := range map[string]struct{ yaml, conflict string }{
		"nothing in the file":        {"", ""},
		"the same pair in both":      {"upstream: {credentials: " + same + "}\ncredentials: [" + same + "]\n", ""},
		"the pair among others":      {"credentials: [" + other + ", " + same + "]\n", ""},
		"another upstream pair":      {"upstream: {credentials: " + other + "}\n", "f.yml:1:12: upstream.credentials: this is not the credential of"},
		"another upstream secret":    {"upstream: {credentials: " + rootAgain + "}\n", "f.yml:1:12: upstream.credentials: this is not"},
		"the pair not in the list":   {"credentials: [" + other + "]\n", "f.yml:1:1: credentials: the credential of"},
		"an empty list in the file":  {"credentials: []\n", ""},
		"client with another secret": {"credentials: [" + rootAgain + "]\n", "f.yml:1:1: credentials: the credential of"},
	} {
		c, err := Parse("f.yml", []byte(tc.yaml), env)
		switch {
		case tc.conflict == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.conflict == "" && (c.Upstream.Credentials.AccessKey != "root" || len(c.Credentials) == 0):
			t.Errorf("%s: %+v", name, c)
		case tc.conflict != "" && (err == nil || !strings.Contains(err.Error(), tc.conflict)):
			t.Errorf("%s: error %v, want %q", name, err, tc.conflict)
		}
	}
}

func TestFileThatNamesItsSecretsMayBeReadByAll(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "c.yml")
	for yaml, warns := range map[string]bool{
		"credentials: [{access_key: one, secret_key: \"${SECRET}\"}]\nupstream:\n  credentials:\n    access_key: two\n    secret_key: ${SECRET}\n": false,
		"credentials: [{access_key: one, secret_key: " + secretText + "}]\n":                                                                       true,
		"upstream: {credentials: {access_key: two, secret_key: " + secretText + "}}\n":                                                             true,
		"kms: {remote: {endpoints: [\"https://k:1\"], api_key: \"kes:v1:" + secretText + "\"}}\n":                                                  true,
	} {
		writeFile(t, name, yaml, 0o644)
		c, err := Parse(name, []byte(yaml), []string{"SECRET=" + secretText})
		if err != nil {
			t.Fatal(err)
		}
		if warned := len(c.Warnings) == 1 && strings.Contains(c.Warnings[0], "may read "+name); warned != warns {
			t.Errorf("%s: warnings %q", yaml, c.Warnings)
		}
	}
}

func TestSecretsComeFromFilesToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), secretText+"\n", 0o600)
	writeFile(t, filepath.Join(dir, "open"), secretText+"\r\n", 0o644)
	writeFile(t, filepath.Join(dir, "empty"), "\n", 0o600)
	name := filepath.Join(dir, "c.yml")
	c, err := Parse(name, []byte("credentials:\n- {access_key: one, secret_key_file: secret}\nupstream: {credentials: {access_key: two, secret_key_file: open}}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Credentials[0].SecretKey.Reveal() != secretText || c.Upstream.Credentials.SecretKey.Reveal() != secretText {
		t.Errorf("secrets %q %q", c.Credentials[0].SecretKey.Reveal(), c.Upstream.Credentials.SecretKey.Reveal())
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], filepath.Join(dir, "open")) {
		t.Errorf("warnings %q, want one about the file that everybody may read", c.Warnings)
	}
	for yaml, want := range map[string]string{
		"credentials: [{access_key: one, secret_key_file: none}]":                          "no such file",
		"credentials: [{access_key: one, secret_key_file: empty}]":                         "is empty",
		"credentials: [{access_key: one, secret_key_file: secret, secret_key: 12345678a}]": "both secret_key and its file",
	} {
		if _, err := Parse(name, []byte(yaml), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "c.yml:1:15") {
			t.Errorf("%s: %v, want %q", yaml, err, want)
		}
	}
	c, err = Load(Sources{Environ: []string{"BUCKETSEAL_ROOT_USER=root", "BUCKETSEAL_ROOT_PASSWORD_FILE=" + filepath.Join(dir, "secret")}})
	if err != nil || c.Root.SecretKey.Reveal() != secretText {
		t.Errorf("password file: %v, %v", c, err)
	}
}

func TestAConfigurationPrintsNoSecret(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yml", []byte(full+"# "), []string{
		"OWN=" + secretText, "BUCKETSEAL_MASTER_KEY=" + secretText,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.KMS.Section = &Section{YAML: []byte(secretText)}
	c.KMS.Remote = &RemoteKMS{APIKey: NewSecret(secretText), KeyPassword: NewSecret(secretText)}
	hex := fmt.Sprintf("%x", secretText)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{c, *c, c.Credentials, c.Upstream, c.MasterKey, c.KMS.Section, *c.KMS.Remote} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, secretText) || strings.Contains(text, hex) {
				t.Errorf("%s of %T shows a secret: %s", format, v, text)
			}
		}
	}
	data, err := json.Marshal(struct{ A, B any }{c.Credentials, c.MasterKey})
	if err != nil || strings.Contains(string(data), secretText) || !strings.Contains(string(data), redacted) {
		t.Errorf("JSON: %s, %v", data, err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.MasterKey, "credential", c.Credentials[0])
	if strings.Contains(log.String(), secretText) {
		t.Errorf("log: %s", log.String())
	}
}

func TestAFileWithSecretsThatEverybodyMayReadIsAWarning(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yml")
	for _, tc := range []struct {
		text string
		mode os.FileMode
		want int
	}{
		{"credentials: [{access_key: one, secret_key: 12345678a}]\n", 0o644, 1},
		{"credentials: [{access_key: one, secret_key: 12345678a}]\n", 0o640, 0},
		{"address: :1\n", 0o644, 0},
	} {
		writeFile(t, file, tc.text, tc.mode)
		c, err := Load(Sources{File: file})
		if err != nil || len(c.Warnings) != tc.want {
			t.Errorf("mode %v: %v, %v; want %d warnings", tc.mode, c.Warnings, err, tc.want)
		}
	}
}

func TestVariablesThatMeanNothingAreAWarning(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{Environ: []string{"BUCKETSEAL_ADRESS=:1", "BUCKETSEAL_PORT=tcp://10.0.0.1:80", "BUCKETSEAL_SERVICE_HOST=x", "OTHER=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "BUCKETSEAL_ADRESS") || !strings.Contains(c.Warnings[0], "BUCKETSEAL_ADDRESS?") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestAMissingFileIsUnreadable(t *testing.T) {
	t.Parallel()
	_, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.yml")})
	if !errors.Is(err, ErrUnreadable) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err = Load(Sources{File: "/dev/zero"}); !errors.Is(err, ErrUnreadable) {
		t.Errorf("endless file: %v", err)
	}
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
