package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
)

const (
	idA = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22"
	idB = "7a9c1f38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22a"
)

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// server is a minimal server configuration with more lines added.
func server(lines ...string) string {
	return strings.Join(append([]string{
		"admin: {identity: disabled}",
		"tls: {key: k.pem, cert: c.pem}",
		"keystore: {fs: {path: /keys, masterkey: {env: MASTER}}}",
	}, lines...), "\n") + "\n"
}

func parse(t *testing.T, text string, pairs ...string) *config.Config {
	t.Helper()
	c, err := config.Parse("kes.yml", []byte(text), env(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDocumentationExampleLoadsAsItStands(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/docs-example.yml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("docs-example.yml", data, env("MINIO_IDENTITY_HASH", idA, "AWSACCESSKEY", "AK", "AWSSECRETKEY", "SK"))
	if err != nil {
		t.Fatal(err)
	}
	want := &config.AWSSecretsManager{
		Endpoint: "secretsmanager.us-east-1.amazonaws.com", Region: "us-east-1",
		Credentials: config.Credentials{AccessKey: "AK", SecretKey: "SK"},
	}
	if !reflect.DeepEqual(c.KeyStore, want) {
		t.Errorf("key store %+v", c.KeyStore)
	}
	if c.Address != "0.0.0.0:7373" || c.Admin != "" || c.TLS.Key != "/data/certs/server.key" || c.TLS.Cert != "/data/certs/server.cert" {
		t.Errorf("%+v", c)
	}
	if want := []string{"minio-encryption-key-alpha", "minio-encryption-key-baker", "minio-encryption-key-charlie"}; !reflect.DeepEqual(c.Keys, want) {
		t.Errorf("keys %q", c.Keys)
	}
	policy := config.Policy{Allow: []string{"/v1/key/create/*", "/v1/key/generate/*", "/v1/key/decrypt/*"}, Identities: []identity.Identity{idA}}
	if !reflect.DeepEqual(c.Policies, map[string]config.Policy{"minio": policy}) {
		t.Errorf("policies %+v", c.Policies)
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0].Text, "admin.identity") || !strings.Contains(c.Warnings[1].Text, "keystore.aws.secretsmanager") {
		t.Errorf("warnings %+v", c.Warnings)
	}
}

// TestTheShortHostOfTheGuideIsTakenForAWS reads the endpoint as MinIO's guide
// prints it, with only REGION replaced.
func TestTheShortHostOfTheGuideIsTakenForAWS(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"secretsmanager.eu-west-1.amazonaws":             "secretsmanager.eu-west-1.amazonaws.com",
		"https://SecretsManager.eu-west-1.AmazonAWS/":    "https://secretsmanager.eu-west-1.amazonaws.com",
		"secretsmanager.cn-north-1.amazonaws:443":        "secretsmanager.cn-north-1.amazonaws.com.cn:443",
		"secretsmanager.eu-west-1.amazonaws.com":         "",
		"http://127.0.0.1:5000":                          "",
		"secretsmanager.eu-west-1.amazonaws.example.com": "",
	} {
		c := parse(t, "admin: {identity: disabled}\ntls: {key: k.pem, cert: c.pem}\nkeystore: {aws: {secretsmanager: {endpoint: \""+in+"\", kmsendpoint: \""+in+"\"}}}\n")
		s := c.KeyStore.(*config.AWSSecretsManager)
		warnings := 2
		if want == "" {
			want, warnings = in, 0
		}
		if s.Endpoint != want || s.KMSEndpoint != want || len(c.Warnings) != warnings {
			t.Errorf("%s: %q, %q, warnings %+v", in, s.Endpoint, s.KMSEndpoint, c.Warnings)
		}
	}
}

var wholeAuditFile = config.AuditFile{Path: "audit.log", MaxSize: 1 << 20, MaxAge: time.Hour, Keep: 7, KeepFor: 720 * time.Hour}

func TestAuditFiles(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]config.AuditFile{
		"{ audit_file: a.log }": {Path: "a.log", MaxSize: 100 << 20, MaxAge: 24 * time.Hour},
		"{ audit_file: { path: a.log, max_size: 65536, max_age: 168h } }": {Path: "a.log", MaxSize: 64 << 10, MaxAge: 168 * time.Hour},
		"{ audit_file: { path: a.log, max_size: 1 TiB, keep: 3 } }":       {Path: "a.log", MaxSize: 1 << 40, MaxAge: 24 * time.Hour, Keep: 3},
		`{ audit_file: "" }`: {},
	} {
		if c := parse(t, server("log: "+in)); c.Log.AuditFile != want {
			t.Errorf("%s: %+v", in, c.Log.AuditFile)
		}
	}
	for in, want := range map[string]string{
		"{ max_size: 1MiB }":                       "log.audit_file.path: name the file",
		"{ path: a.log, max_size: 1KiB }":          "log.audit_file.max_size: write a size",
		"{ path: a.log, max_size: 9999999999TiB }": "log.audit_file.max_size: write a size",
		"{ path: a.log, max_age: 1ms }":            "log.audit_file.max_age: write a duration from 1s",
		"{ path: a.log, keep: -1 }":                "log.audit_file.keep: a whole number",
		"{ path: a.log, keep_for: 1 }":             "log.audit_file.keep_for: not a duration",
		"{ path: a.log, size: 1MiB }":              "known are keep, keep_for, max_age, max_size, path",
	} {
		_, err := config.Parse("kes.yml", []byte(server("log: { audit_file: "+in+" }")), func(string) (string, bool) { return "", false })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestWholeSchema(t *testing.T) {
	t.Parallel()
	c := parse(t, `
version: v1
address: 127.0.0.1:7373
admin:
  identity: `+strings.ToUpper(idA)+`
tls:
  key: server.key
  cert: server.crt
  password: ${PASSWORD}
  ca: ca.pem
  auth: on
  proxy:
    identities: [ `+idB+` ]
    header: { cert: X-Client }
policy:
  minio:
    allow: [ /v1/key/create/*, /v1/key/generate/my-* ]
    deny: [ /v1/key/create/internal* ]
    identities: [ "${ID}" ]
  proxies: { allow: [ "/v1/key/*" ], bucketseal: true }
cache:
  expiry: { any: 1m, unused: 10s, offline: 1h }
api:
  /v1/ready: { skip_auth: true, timeout: 3s }
  /v1/key/create: { timeout: 20s }
log: { error: WARN+1, audit: off, format: json, audit_file: { path: audit.log, max_size: 1MiB, max_age: 1h, keep: 7, keep_for: 720h }, audit_required: true }
keys: [ { name: a }, { name: b_2 } ]
keystore:
  aws:
    kms:
      region: eu-central-1
      key: alias/root
      former_keys: [ alias/old ]
      path: /keys
`, "PASSWORD", "pw", "ID", "99"+idA[2:])
	want := &config.Config{
		Name: "kes.yml", Address: "127.0.0.1:7373", Admin: idA,
		TLS: config.TLS{
			Key: "server.key", Cert: "server.crt", Password: "pw", CA: "ca.pem", Auth: true,
			Proxy: config.TLSProxy{Identities: []identity.Identity{idB}, Header: "X-Client"},
		},
		Policies: map[string]config.Policy{"minio": {
			Allow: []string{"/v1/key/create/*", "/v1/key/generate/my-*"}, Deny: []string{"/v1/key/create/internal*"},
			Identities: []identity.Identity{identity.Identity("99" + idA[2:])},
		}, "proxies": {Allow: []string{"/v1/key/*"}, Bucketseal: true}},
		Cache:    config.Cache{Any: time.Minute, Unused: 10 * time.Second, Offline: time.Hour},
		API:      map[string]config.Endpoint{"/v1/ready": {SkipAuth: true, Timeout: 3 * time.Second}, "/v1/key/create/": {Timeout: 20 * time.Second}},
		Log:      config.Log{Error: slog.LevelWarn + 1, Audit: config.LevelOff, JSON: true, AuditFile: wholeAuditFile, AuditRequired: true},
		Keys:     []string{"a", "b_2"},
		KeyStore: &config.AWSKMS{Region: "eu-central-1", Key: "alias/root", FormerKeys: []string{"alias/old"}, Path: "/keys"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, server("cache: {expiry: {any: 0s}}"))
	if c.Address != config.DefaultAddress || c.Cache != (config.Cache{Any: 5 * time.Minute, Unused: 30 * time.Second}) ||
		c.Log != (config.Log{}) || c.TLS.Auth || len(c.Warnings) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestKeyStores(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       config.KeyStore
		warning    string
	}{
		{"fs plain", "{fs: {path: /k}}", &config.FS{Path: "/k"}, "readable"},
		{"fs file", "{fs: {path: /k, masterkey: {file: /m}}}", &config.FS{Path: "/k", MasterKey: config.MasterKey{File: "/m"}}, ""},
		{"mem", "{mem: {}}", &config.Mem{}, ""},
		{"mem without braces", "\n  mem:", &config.Mem{}, ""},
		{"secrets manager", "{aws: {secretsmanager: {prefix: p/, tags: {a: b, c: 1}, recovery_days: 7, kmskey: k, kmsendpoint: e}}}", &config.AWSSecretsManager{
			Prefix: "p/", Tags: map[string]string{"a": "b", "c": "1"}, RecoveryDays: 7, KMSKey: "k", KMSEndpoint: "e",
		}, ""},
		{"purge", "{aws: {secretsmanager: {purge: on}}}", &config.AWSSecretsManager{Purge: true}, ""},
		{"old place", "{secretsmanager: {region: r}}", &config.AWSSecretsManager{Region: "r"}, "keystore.aws.secretsmanager"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := parse(t, "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: "+test.text+"\n")
			if !reflect.DeepEqual(c.KeyStore, test.want) {
				t.Errorf("got %+v", c.KeyStore)
			}
			if (test.warning == "") != (len(c.Warnings) == 0) || (test.warning != "" && !strings.Contains(c.Warnings[0].Text, test.warning)) {
				t.Errorf("warnings %+v", c.Warnings)
			}
		})
	}
}

func TestOlderShapes(t *testing.T) {
	t.Parallel()
	c := parse(t, `
root: `+idA+`
tls: {key: k, cert: c}
policy:
  old:
    paths: [ "/v1/key/*/*", "/v1/key/create/my?key" ]
    identities: [ `+idB+` ]
keys:
  fs:
    path: /keys
`)
	if c.Admin != idA || !reflect.DeepEqual(c.KeyStore, &config.FS{Path: "/keys"}) || len(c.Keys) != 0 {
		t.Errorf("%+v", c)
	}
	if got := c.Policies["old"].Allow; !reflect.DeepEqual(got, []string{"/v1/key/*/*", "/v1/key/create/my?key"}) {
		t.Errorf("allow %q", got)
	}
	for _, want := range []struct {
		line int
		text string
	}{{2, "admin.identity"}, {6, "policy.old.allow"}, {6, `"/v1/key/*/*"`}, {6, `my?key`}, {9, "keystore"}, {10, "readable"}} {
		found := false
		for _, w := range c.Warnings {
			found = found || (w.Line == want.line && strings.Contains(w.Text, want.text))
		}
		if !found {
			t.Errorf("no warning in line %d about %s in %+v", want.line, want.text, c.Warnings)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", server("tsl: {}"), `kes.yml:4:1: configuration: unknown key "tsl"`},
		{"no age", server("rotate_after: soon"), "kes.yml:4:15: rotate_after: write a number of days"},
		{"an age of hours", server("rotate_after: {a: 2h}"), "from 1d"},
		{"an age that never comes", server("rotate_after: {a: 36501d}"), "from 1d to 36500d"},
		{"no pattern", server("rotate_after: {'a*b': 3d}"), "no pattern of key names"},
		{"no pattern at all", server("rotate_after: {'': 3d}"), "no pattern of key names"},
		{"unknown nested key", server("log: {eror: on}"), `kes.yml:4:7: log: unknown key "eror"; known are audit, audit_file, audit_required, error, format`},
		{"capital letter", server("Policy: {}"), "write policy"},
		{"unset variable", server("address: ${ADDR}"), "kes.yml:4:10: environment variable ADDR is not set"},
		{"twice", server("log: {}", "log: {}"), "kes.yml:5:1: this key is there twice"},
		{"two documents", server("---", "a: b"), "second YAML document"},
		{"not YAML", "a: [", "kes.yml:1:"},
		{"empty", "", "keystore is missing"},
		{"a list", "[]", "a mapping is expected, not a list"},
		{"version", server("version: v2"), "kes.yml:4:10: version: only v1"},
		{"host name", server("address: localhost:7373"), "kes.yml:4:10: address"},
		{"port", server("address: 1.2.3.4:70000"), "address: IP:PORT"},
		{"no store", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {}", "kes.yml:3:11: keystore: no key store is configured; add one of"},
		{"two stores", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {mem: {}, fs: {path: p}}", "keystore.mem and keystore.fs are both configured"},
		{"vault", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore:\n  vault: {endpoint: https://v, approle: {id: x}}", "HashiCorp Vault is not supported by bucketseal; migrate the keys with"},
		{"fs without path", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {fs: {}}", "keystore.fs.path"},
		{"empty path", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: ''}}", "kes.yml:3:23: keystore.fs.path is empty"},
		{"masterkey of both kinds", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {fs: {path: p, masterkey: {file: a, env: b}}}", "either a file or"},
		{"half credentials", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {aws: {secretsmanager: {credentials: {accesskey: a}}}}", "accesskey and secretkey go together"},
		{"purge and recovery", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {aws: {secretsmanager: {purge: true, recovery_days: 9}}}", "purge deletes at once"},
		{"recovery days", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {aws: {secretsmanager: {recovery_days: 6}}}", "from 7 to 30"},
		{"aws.kms without key", "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {aws: {kms: {path: p}}}", "keystore.aws.kms.key"},
		{"no admin", "tls: {key: k, cert: c}\nkeystore: {mem: {}}", "admin.identity is missing"},
		{"empty admin", "admin: {identity: ''}\ntls: {key: k, cert: c}\nkeystore: {mem: {}}", "admin.identity is empty"},
		{"root and admin", server("root: " + idA), "root and admin.identity say the same thing twice"},
		{"paths and allow", server("policy: {p: {allow: [/a], paths: [/b]}}"), "keep one"},
		{"no certificate", "admin: {identity: disabled}\nkeystore: {mem: {}}", "tls.key and tls.cert are needed"},
		{"auth", server("log: {}")[:0] + "admin: {identity: disabled}\ntls: {key: k, cert: c, auth: maybe}\nkeystore: {mem: {}}", "tls.auth: write on or off"},
		{"identity twice", server("policy:", "  a: {identities: ["+idA+"]}", "  b: {identities: ["+strings.ToUpper(idA)+"]}"), `kes.yml:6:20: policy.b.identities: ` + idA + ` is in policy "a" already`},
		{"admin in policy", "admin: {identity: " + idA + "}\ntls: {key: k, cert: c}\nkeystore: {mem: {}}\npolicy: {a: {identities: [" + idA + "]}}", "is the admin"},
		{"proxy in policy", "admin: {identity: disabled}\ntls: {key: k, cert: c, proxy: {identities: [" + idA + "]}}\nkeystore: {mem: {}}\npolicy: {a: {identities: [" + idA + "]}}", "is a TLS proxy"},
		{"proxy identity", "admin: {identity: disabled}\ntls: {key: k, cert: c, proxy: {identities: [x]}}\nkeystore: {mem: {}}", "tls.proxy.identities: not an identity"},
		{"proxy header", "admin: {identity: disabled}\ntls: {key: k, cert: c, proxy: {header: {cert: 'a b'}}}\nkeystore: {mem: {}}", "not the name of an HTTP header"},
		{"empty identity", server("policy: {p: {identities: ['${X}']}}"), "identities is empty"},
		{"bucketseal", server("policy: {p: {bucketseal: maybe}}"), "policy.p.bucketseal: write true or false"},
		{"empty pattern", server("policy: {p: {allow: ['']}}"), "an empty pattern"},
		{"key name", server("keys: [{name: a b}]"), `kes.yml:4:15: keys: "a b" cannot be a key's name`},
		{"key twice", server("keys: [{name: a}, {name: a}]"), `"a" is there twice`},
		{"key without name", server("keys: [{}]"), "every entry needs a name"},
		{"key as text", server("keys: [a]"), "keys: a mapping is expected"},
		{"duration", server("cache: {expiry: {any: 5}}"), "not a duration"},
		{"negative duration", server("cache: {expiry: {any: -5s}}"), "not a duration"},
		{"level", server("log: {error: loud}"), "log.error: write on, off"},
		{"unknown API", server("api: {/v1/redy: {}}"), `there is no API "/v1/redy"`},
		{"skip_auth on keys", server("api: {/v1/key/list/: {skip_auth: true}}"), "would let anybody in without a certificate"},
		{"skip_auth on self", server("api: {/v1/identity/self/describe: {skip_auth: true}}"), "would let anybody in"},
		{"alias of nothing", server("log: *x"), "an alias of an anchor that does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("kes.yml", []byte(test.text), env("X", ""))
			if !errors.Is(err, config.ErrInvalid) {
				t.Fatalf("err = %v", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("kes.yml", []byte(server("address: nowhere", "log: {error: loud}", "x: y")), env())
	for _, line := range []string{"kes.yml:4:", "kes.yml:5:", "kes.yml:6:"} {
		if !strings.Contains(fmt.Sprint(err), line) {
			t.Errorf("nothing about %s in %v", line, err)
		}
	}
}

func TestMistakesOfFilesFromWindowsAreInTheirLines(t *testing.T) {
	t.Parallel()
	text := "\xef\xbb\xbf# a comment\n" + server("# another", "log: {eror: on}")
	_, err := config.Parse("kes.yml", []byte(strings.ReplaceAll(text, "\n", "\r\n")), env())
	if want := `kes.yml:6:7: log: unknown key "eror"; known are audit, audit_file, audit_required, error, format`; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEnvironmentVariables(t *testing.T) {
	t.Parallel()
	c := parse(t, strings.Replace(server(
		"keys: [{name: '${KEY}'}]",
		"policy: {'${P}': {allow: ['/v1/${X}', '${X}'], identities: [' ${ID} ']}}",
		"log: {error: \"${LEVEL}\"}",
	), "/keys", "'pre-${X}'", 1), "KEY", "k1", "ID", idA, "LEVEL", "off")
	if !reflect.DeepEqual(c.Keys, []string{"k1"}) || c.Log.Error != config.LevelOff {
		t.Errorf("%+v", c)
	}
	if c.KeyStore.(*config.FS).Path != "pre-${X}" {
		t.Errorf("a partial reference was expanded: %v", c.KeyStore)
	}
	if p := c.Policies["${P}"]; !reflect.DeepEqual(p.Allow, []string{"/v1/${X}", "${X}"}) || !reflect.DeepEqual(p.Identities, []identity.Identity{idA}) {
		t.Errorf("policies %+v", c.Policies)
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	t.Parallel()
	c := parse(t, server(
		"policy:",
		"  a: &a {allow: &list [/v1/status], deny: [/x]}",
		"  b: {<<: *a, deny: *list}",
	))
	if want := (config.Policy{Allow: []string{"/v1/status"}, Deny: []string{"/v1/status"}}); !reflect.DeepEqual(c.Policies["b"], want) {
		t.Errorf("%+v", c.Policies)
	}
}

func TestUnquotedOnAndOff(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"on": true, "off": false, `"on"`: true, "''": false, "true": true} {
		c := parse(t, strings.Replace(server(), "cert: c.pem", "cert: c.pem, auth: "+text, 1))
		if c.TLS.Auth != want {
			t.Errorf("auth: %s is %t", text, c.TLS.Auth)
		}
	}
	for text, want := range map[string]slog.Level{"on": 0, "off": config.LevelOff, "DEBUG": slog.LevelDebug, "error": slog.LevelError, "-4": slog.LevelDebug, "INFO+2": 2, "": 0} {
		if c := parse(t, server("log: {error: "+text+"}")); c.Log.Error != want {
			t.Errorf("error: %s is %v", text, c.Log.Error)
		}
	}
}

func TestIdentityThatNobodyHasIsLeftOutWithAWarning(t *testing.T) {
	t.Parallel()
	c := parse(t, server("policy: {p: {identities: [not-a-hash]}}"))
	if len(c.Policies["p"].Identities) != 0 || len(c.Warnings) != 1 || c.Warnings[0].Line != 4 {
		t.Errorf("%+v", c)
	}
}

func TestEmbeddedSection(t *testing.T) {
	t.Parallel()
	file := "proxy: {x: 1}\nkms:\n  keys: [{name: a}]\n  keystore: {mem: {}}\n"
	c, err := config.ParseEmbedded("bucketseal.yml", []byte(file), "kms", env())
	if err != nil {
		t.Fatal(err)
	}
	if c.Address != "" || c.Admin != "" || !reflect.DeepEqual(c.Keys, []string{"a"}) || !reflect.DeepEqual(c.KeyStore, &config.Mem{}) {
		t.Errorf("%+v", c)
	}
	if c, err := config.ParseEmbedded("a.yml", nil, "", env()); err != nil || c.KeyStore != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"kms: {keystore: {mem: {x: 1}}}":                      "a.yml:1:24",
		"kms: {address: '127.0.0.1:1', keystore: {mem: {}}}":  "admin.identity is missing",
		"kms: {address: '127.0.0.1:1', admin: {identity: _}}": "tls.key and tls.cert are needed",
		"kms: {tls: {key: ''}, keystore: {gcp: {}}}":          "Google Cloud Secret Manager is not supported",
		"other: {}": `there is no section "kms"`,
	} {
		if _, err := config.ParseEmbedded("a.yml", []byte(text), "kms", env()); !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	c := parse(t, `
admin: {identity: disabled}
tls: {key: k, cert: c, password: hunter2}
keystore: {aws: {secretsmanager: {credentials: {accesskey: AK, secretkey: hunter2, token: hunter2}}}}
`)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	store := c.KeyStore.(*config.AWSSecretsManager)
	for _, s := range []string{string(text), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%v %+v %#v %s %x", *store, *store, *store, store.Credentials, store.Credentials)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e746572") || !strings.Contains(s, "redacted") {
			t.Errorf("printed %s", s)
		}
	}
	if store.Credentials.SecretKey.Reveal() != "hunter2" {
		t.Error("the secret is lost")
	}
	_, err = config.Parse("kes.yml", []byte("tls: {password: [hunter2]}\nkeystore: {aws: {secretsmanager: {credentials: {accesskey: hunter2, token: {hunter2: x}}}}\n  hunter2"), env())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error quotes a secret: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	if data, err := os.ReadFile("testdata/docs-example.yml"); err == nil {
		f.Add(data)
	}
	f.Add([]byte(server("policy: {a: &x {allow: [/v1/*]}, b: {<<: *x}}", "keys: [{name: a}]", "log: {error: on}")))
	f.Add([]byte("a: &a [*a]\n? b\n: |\n  c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lookup := func(string) (string, bool) { return idA, true }
		c, err := config.Parse("f.yml", data, lookup)
		if err != nil {
			if !errors.Is(err, config.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			return
		}
		if c.KeyStore == nil || c.Address == "" || c.TLS.Key == "" {
			t.Fatalf("incomplete: %+v", c)
		}
		if _, err := config.ParseEmbedded("f.yml", data, "", lookup); err != nil {
			t.Fatalf("embedded refuses what a server accepts: %v", err)
		}
	})
}

func TestRotateAfter(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	if got, want := parse(t, server("rotate_after: 365d")).RotateAfter, []config.RotateAfter{{"*", 365 * day}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	got := parse(t, server("rotate_after:", "  my-key: 30d", "  my-*: 720h", "  '*': 1d")).RotateAfter
	if want := []config.RotateAfter{{"my-key", 30 * day}, {"my-*", 30 * day}, {"*", day}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
