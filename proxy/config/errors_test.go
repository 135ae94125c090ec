package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

func TestMistakesAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ yaml, want string }{
		"unknown":                  {"address: :1\nadress: :2\n", "f.yml:2:1: adress: unknown setting; do you mean address?"},
		"unknown in a section":     {"limits:\n  idel: 1s\n", "f.yml:2:3: limits.idel: unknown setting; do you mean idle?"},
		"unknown, nothing near":    {"log:\n  colour: x\n", "f.yml:2:3: log.colour: unknown setting; possible here: format, level"},
		"unknown in a credential":  {"credentials:\n  - user: x\n", "f.yml:2:5: credentials.user: unknown setting; a credential has"},
		"given twice":              {"address: :1\naddress: :2\n", "f.yml:2:1: not YAML: mapping key \"address\" already defined at [1:1]"},
		"given twice, quoted":      {"address: :1\n\"address\": :2\n", "f.yml:2:1: "},
		"twice in a section":       {"log: {level: info, level: warn}\n", "f.yml:1:20: "},
		"list for text":            {"address: [a]\n", "f.yml:1:10: address: this is a list; it must be text"},
		"section for text":         {"address: {a: b}\n", "f.yml:1:10: address: this is a section; it must be text"},
		"block section for text":   {"address:\n  a: b\n", "f.yml:2:3: address: this is a section"},
		"text for a section":       {"upstream: http://x\n", "f.yml:1:11: upstream: this is text; it must be a section"},
		"text for a list":          {"plain_read: x\n", "f.yml:1:13: plain_read: this is text; it must be a list"},
		"number in a list":         {"plain_read: [a, 1]\n", "f.yml:1:17: plain_read: this is a number; it must be text: put quotes around it"},
		"number for a secret":      {"credentials: [{access_key: abc, secret_key: 12345678}]\n", "f.yml:1:45: credentials.secret_key: this is a number"},
		"boolean for text":         {"deployment: true\n", "f.yml:1:13: deployment: this is a boolean; it must be text: put quotes"},
		"text for a boolean":       {"customer_keys_over_http: yes\n", `f.yml:1:26: customer_keys_over_http: "yes" is neither true nor false`},
		"number for a boolean":     {"customer_keys_over_http: 1\n", "f.yml:1:26: customer_keys_over_http: this is a number; it must be true or false"},
		"nothing for text":         {"address:\nregion: x\n", "f.yml:1:9: address: there is no value"},
		"credentials as section":   {"credentials: {access_key: a}\n", "f.yml:1:14: credentials: this is a section; it must be a list"},
		"credential as text":       {"credentials: [a]\n", "f.yml:1:15: credentials: this is text; it must be a section"},
		"list as document":         {"- a\n", "f.yml:1:1: the file holds a list; it must hold settings"},
		"two documents":            {"address: :1\n---\nregion: x\n", "f.yml:3:1: the file holds a second YAML document"},
		"anchor":                   {"address: &a :1\n", "f.yml:1:10: address: this is an anchor or alias, which is not supported"},
		"tag":                      {"address: !!str :1\n", "f.yml:1:10: address: this is a tagged value"},
		"merge":                    {"<<: {address: :1}\n", "f.yml:1:1: this is no setting's name"},
		"complex key":              {"? a\n: b\n", "f.yml:1:1: this is no setting's name"},
		"not YAML":                 {"address: 'x\n", "f.yml:1:10: not YAML: could not find end character"},
		"variable in flow":         {"upstream: {ca: ${CA}}\n", `put quotes around a variable: "${NAME}"`},
		"variable not set":         {"address: :1\nregion: ${NOT_SET}\n", "f.yml:2:9: region: the variable NOT_SET is not set"},
		"address without port":     {"address: localhost\n", `f.yml:1:10: address: "localhost" is no address; write HOST:PORT`},
		"port too large":           {"address: :65536\n", "f.yml:1:10: address:"},
		"endpoint without scheme":  {"upstream: {endpoint: \"minio:9000\"}\n", "f.yml:1:22: upstream.endpoint:"},
		"endpoint with path":       {"upstream: {endpoint: http://m/b}\n", "has more than scheme, host and port"},
		"endpoint with password":   {"upstream: {endpoint: http://u:hidden-secret-0001@m}\n", "f.yml:1:22: upstream.endpoint: the URL holds a user or password"},
		"bad endpoint":             {"upstream: {endpoint: \"http://u:hidden-secret-0001@m:x%\"}\n", "f.yml:1:22: upstream.endpoint: this is no URL"},
		"short access key":         {"credentials: [{access_key: ab, secret_key: 12345678a}]\n", "f.yml:1:28: credentials.access_key: the access key has 2 characters"},
		"short secret":             {"credentials: [{access_key: abc, secret_key: abcdefg}]\n", "f.yml:1:45: credentials.secret_key: the secret key has fewer than 8"},
		"no secret":                {"credentials: [{access_key: abc}]\n", `f.yml:1:15: credentials: access key "abc" has no secret`},
		"no access key":            {"credentials: [{secret_key: 12345678a}]\n", "f.yml:1:15: credentials: this credential has no access_key"},
		"access key twice":         {"credentials:\n- {access_key: abc, secret_key: 12345678a}\n- {access_key: abc, secret_key: 12345678b}\n", `f.yml:3:3: credentials: access key "abc" is listed twice, first in line 2`},
		"two secrets of one key":   {"credentials: [{access_key: abc, secret_key: 12345678a}]\nupstream:\n  credentials: {access_key: abc, secret_key: 12345678b}\n", "f.yml:3:3: upstream.credentials: access key \"abc\" has another secret"},
		"two secrets at MinIO":     {"credentials:\n- {access_key: abc, secret_key: 12345678a}\n- {access_key: def, secret_key: 12345678b, upstream: {access_key: abc, secret_key: 12345678c}}\n", `f.yml:1:1: credentials: access key "abc" has two secrets at MinIO`},
		"two pairs, one key":       {"credentials:\n- {access_key: abc, secret_key: 12345678a, upstream: {access_key: all, secret_key: 12345678c}}\n- {access_key: def, secret_key: 12345678b, upstream: {access_key: all, secret_key: 12345678d}}\n", `f.yml:1:1: credentials: access key "all" has two secrets at MinIO`},
		"the same secret at MinIO": {"credentials: [{access_key: abc, secret_key: 12345678a, upstream: {access_key: def, secret_key: 12345678a}}]\n", `f.yml:1:1: credentials: access key "abc" has the same secret in upstream`},
		"the proxy's own pair":     {"upstream: {credentials: {access_key: own, secret_key: 12345678o}}\ncredentials: [{access_key: abc, secret_key: 12345678a, upstream: {access_key: own, secret_key: 12345678o}}]\n", `f.yml:2:1: credentials: access key "abc" has the proxy's own access key as upstream`},
		"the proxy's own key":      {"upstream: {credentials: {access_key: own, secret_key: 12345678o}}\ncredentials: [{access_key: own, secret_key: 12345678o, upstream: {access_key: abc, secret_key: 12345678a}}]\n", `f.yml:2:1: credentials: access key "own" is the proxy's own`},
		"a pair without a secret":  {"credentials: [{access_key: abc, secret_key: 12345678a, upstream: {access_key: def}}]\n", `f.yml:1:66: credentials.upstream: access key "def" has no secret`},
		"a pair without a key":     {"credentials: [{access_key: abc, secret_key: 12345678a, upstream: {secret_key: 12345678b}}]\n", "f.yml:1:66: credentials.upstream: this credential has no access_key"},
		"a pair of a pair":         {"credentials: [{access_key: abc, secret_key: 12345678a, upstream: {access_key: def, secret_key: 12345678b, upstream: {}}}]\n", "f.yml:1:107: credentials.upstream.upstream: unknown setting"},
		"a pair as text":           {"credentials: [{access_key: abc, secret_key: 12345678a, upstream: def}]\n", "f.yml:1:66: credentials.upstream: this is text; it must be a section"},
		"upstream without secret":  {"upstream:\n  credentials: {access_key: abc}\n", "f.yml:2:3: upstream.credentials: access key \"abc\" has no secret"},
		"secret without key":       {"upstream:\n  credentials: {secret_key: 12345678a}\n", "f.yml:2:3: upstream.credentials: there is a secret without an access_key"},
		"auto encryption":          {"auto_encryption: sse-kms\n", `f.yml:1:18: auto_encryption: "sse-kms" is not possible; it may be sse-s3 or off`},
		"key name":                 {"default_key: a/b\n", "f.yml:1:14: default_key:"},
		"reserved key":             {"default_key: bucketseal-system\n", "is reserved"},
		"current as former":        {"sse_s3: {key: a, former_keys: [b, a]}\n", `sse_s3.former_keys: "a" is the current SSE-S3 key`},
		"MD5s that are MD5s":       {"sse_s3: {md5_etag: [a]}\n", "sse_s3.md5_etag: sse_s3.etag is md5 for every bucket"},
		"opaque in any case":       {"sse_s3: {etag: opaque, opaque_etag: [a]}\n", "sse_s3.opaque_etag: sse_s3.etag is opaque for every bucket"},
		"another kind of ETag":     {"sse_s3: {etag: sha256}\n", "md5 or opaque"},
		"former twice":             {"sse_s3: {former_keys: [b, b]}\n", `"b" is listed twice`},
		"pattern":                  {"plain_read: [a/b]\n", "f.yml:1:13: plain_read: \"a/b\" is no pattern"},
		"system bucket":            {"system_bucket: UPPER\n", "f.yml:1:16: system_bucket:"},
		"bucket like an address":   {"system_bucket: 127.0.0.1\n", "f.yml:1:16: system_bucket:"},
		"duration without unit":    {"limits: {idle: 30}\n", `f.yml:1:16: limits.idle: "30" is no duration; write a number and its unit`},
		"duration too long":        {"limits: {idle: 1000h}\n", "f.yml:1:16: limits.idle: 1000h0m0s is out of range; it may be 1s to 24h0m0s"},
		"negative duration":        {"limits: {shutdown: -1s}\n", "out of range"},
		"size":                     {"small_object: {size: 8 megs}\n", `f.yml:1:22: small_object.size: "8 megs" is no size`},
		"size that overflows":      {"small_object: {size: 99999999999TiB}\n", "is no size"},
		"size out of range":        {"small_object: {size: 1}\n", "1 is out of range; it may be 1KiB to 1GiB"},
		"budget below size":        {"small_object: {size: 8MiB, budget: 4MiB}\n", "f.yml:1:1: small_object: the budget is smaller"},
		"log level":                {"log: {level: loud}\n", `f.yml:1:14: log.level: "loud" is not possible`},
		"certs dir and cert":       {"tls: {certs_dir: a, cert: b, key: c}\n", "f.yml:1:1: tls: both certs_dir and cert or key"},
		"cert without key":         {"tls: {cert: b}\n", "f.yml:1:1: tls: cert is given without key"},
		"no number":                {"limits: {max_requests: many}\n", `f.yml:1:24: limits.max_requests: "many" is no whole number`},
		"no requests":              {"limits: {max_requests: 0}\n", "limits.max_requests: 0 is out of range; it may be 1 to 1048576"},
		"auto where 0 is none":     {"limits: {max_connections_per_client: auto}\n", `"auto" is no whole number`},
		"list for a number":        {"limits: {max_requests: [1]}\n", "this is a list; it must be a whole number"},
		"metrics address":          {"metrics: {address: x}\n", `f.yml:1:20: metrics.address: "x" is no address`},
		"origin with a path":       {"cors_allow_origin: ['https://a.example/b']\n", "is no origin"},
		"origin without a scheme":  {"cors_allow_origin: [a.example]\n", "is no origin"},
		"domain with a port":       {"domain: [s3.example.com:9000]\n", `f.yml:1:9: domain: "s3.example.com:9000" is no host name`},
		"domain, an address":       {"domain: [127.0.0.1]\n", "is no host name"},
		"domain with a wildcard":   {"domain: ['*.example.com']\n", "is no host name"},
		"domain with a last dot":   {"domain: [example.com.]\n", "is no host name"},
		"trusted proxy":            {"trusted_proxies: [10.0.0]\n", `f.yml:1:18: trusted_proxies: "10.0.0" is neither an address nor a network`},
		"trusted, not a network":   {"trusted_proxies: [10.0.0.1/8]\n", "write 10.0.0.0/8"},
		"trusting everybody":       {"trusted_proxies: [0.0.0.0/0]\n", "is everybody"},
		"forwarded header":         {"forwarded_header: via\n", `f.yml:1:19: forwarded_header: "via" is not possible`},
		"client auth, no TLS":      {"tls: {client_auth: request}\n", "f.yml:1:1: tls: client_auth is given, but the server has no certificate"},
		"client auth, no CA":       {"tls: {cert: b, key: c, client_auth: require}\n", "f.yml:1:1: tls: client_auth needs client_ca"},
		"client CA, no auth":       {"tls: {certs_dir: b, client_ca: c}\n", "f.yml:1:1: tls: client_ca is given, but client_auth is off"},
		"TLS version":              {"tls: {min_version: \"1.1\"}\n", `f.yml:1:20: tls.min_version: "1.1" is not possible; it may be 1.2 or 1.3`},
		"upstream cert, no key":    {"upstream: {endpoint: https://m, cert: c}\n", "f.yml:1:1: upstream: a client certificate needs both cert and key"},
		"upstream cert, no TLS":    {"upstream: {cert: c, key: k}\n", "f.yml:1:1: upstream: a client certificate is given, but endpoint is plain http"},
		"key without cert":         {"tls: {key: b}\n", "f.yml:1:1: tls: key is given without cert"},
		"kms of two kinds":         {"kms:\n  config: a\n  remote: {}\n", "f.yml:2:3: kms.config: kms takes one of"},
		"kms in flow style":        {"{kms: {keystore: {}}}\n", "f.yml:1:2: kms: write this section in block style"},
		"kms as text":              {"kms: a\n", "f.yml:1:6: kms: this is text; it must be a section"},
		"remote without endpoint":  {"kms:\n  remote: {api_key: x}\n", "f.yml:2:3: kms.remote: there are no endpoints"},
		"remote by HTTP":           {"kms:\n  remote: {endpoints: [\"http://h:1\"], api_key: x}\n", "kms.remote.endpoints: this is no key server"},
		"remote without identity":  {"kms:\n  remote: {endpoints: [\"https://h:1\"]}\n", "nothing says who we are"},
		"remote with two":          {"kms:\n  remote: {endpoints: [\"https://h:1\"], api_key: x, cert: a, key: b}\n", "both an API key and a certificate"},
		"remote with half a pair":  {"kms:\n  remote: {endpoints: [\"https://h:1\"], cert: a}\n", "needs both cert and key"},
		"too long":                 {strings.Repeat("# x\n", 1<<19), "a configuration has at most"},
		"nested beyond all reason": {strings.Repeat("[", 2000), "f.yml:"},
	} {
		_, err := Parse("f.yml", []byte(tc.yaml), nil)
		switch {
		case err == nil:
			t.Errorf("%s: accepted", name)
		case !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%s:\n got %v\nwant %s", name, err, tc.want)
		case strings.Contains(err.Error(), secretText) || strings.Contains(err.Error(), "12345678"):
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}

func TestMistakesOfEnvironmentAndFlagsNameThem(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		env  []string
		flag map[string][]string
		want string
	}{
		{[]string{"BUCKETSEAL_ADDRESS=x"}, nil, `BUCKETSEAL_ADDRESS: "x" is no address`},
		{nil, map[string][]string{"upstream": {"x"}}, `--upstream: "x" is not the URL of a server`},
		{nil, map[string][]string{"plain-read": {"a", "a/b"}}, `--plain-read: "a/b" is no pattern`},
		{nil, map[string][]string{"data-dir": {""}}, "--data-dir: the value is empty"},
		{[]string{"BUCKETSEAL_ROOT_USER=abc"}, nil, "BUCKETSEAL_ROOT_USER: it is set without BUCKETSEAL_ROOT_PASSWORD"},
		{[]string{"BUCKETSEAL_ROOT_PASSWORD=" + secretText}, nil, "BUCKETSEAL_ROOT_PASSWORD: it is set without BUCKETSEAL_ROOT_USER"},
		{[]string{"BUCKETSEAL_ROOT_USER=abc", "BUCKETSEAL_ROOT_PASSWORD=short"}, nil, "BUCKETSEAL_ROOT_PASSWORD: the secret key has fewer"},
		{[]string{"BUCKETSEAL_ROOT_USER=ab", "BUCKETSEAL_ROOT_PASSWORD=" + secretText}, nil, "BUCKETSEAL_ROOT_USER: the access key has 2"},
	} {
		_, err := Load(Sources{Environ: tc.env, Flags: tc.flag})
		if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%v %v: %v, want %q", tc.env, tc.flag, err, tc.want)
		}
	}
}

func TestAllMistakesAreReportedAtOnceInOrder(t *testing.T) {
	t.Parallel()
	_, err := Parse("f.yml", []byte("address: x\nlog:\n  level: loud\n  format: xml\nnonsense: 1\n"), nil)
	all, ok := errors.AsType[yamlfile.Problems](err)
	if !ok || len(all) != 4 {
		t.Fatalf("%v", err)
	}
	for i, line := range []int{1, 3, 4, 5} {
		if all[i].Line != line {
			t.Errorf("error %d is of line %d, want %d", i, all[i].Line, line)
		}
	}
}

func TestVariablesStandForWholeScalarsOnly(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yml", []byte("deployment: ${A}\nplain_read: [\"${B}\", c]\nlimits: {idle: \" ${D} \"}\n"), []string{"A=x", "B=b*", "D=7s"})
	if err != nil || c.Deployment != "x" || c.PlainRead[0] != "b*" || c.Limits.Idle.Seconds() != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Parse("f.yml", []byte("deployment: a-${A}\n"), []string{"A=x"}); err == nil || !strings.Contains(err.Error(), `"a-${A}" is no deployment name`) {
		t.Errorf("a part of a scalar: %v", err)
	}
}
