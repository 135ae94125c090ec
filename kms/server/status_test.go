package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
)

func TestVersionAndReady(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	if a := k.do(c, "GET", "/version", ""); a.body != `{"version":"v1.2.3","commit":"abc"}`+"\n" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s", a.Header, a.body)
	}
	if a := k.do(c, "GET", "/v1/ready", ""); a.StatusCode != 200 || a.body != "" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	k.service.fail(fmt.Errorf("store: %w", kms.ErrUnavailable))
	k.expect(k.do(c, "GET", "/v1/ready", ""), 504, "key store is not reachable")
	for _, err := range []error{kms.ErrNotPermitted, errors.New("odd")} {
		k.service.fail(err)
		k.expect(k.do(c, "GET", "/v1/ready", ""), 502, "key store is unavailable")
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	var st map[string]any
	k.do(c, "GET", "/v1/status", "").into(t, &st)
	for _, name := range []string{"uptime", "num_cpu", "num_cpu_used", "mem_heap_used", "mem_stack_used"} {
		if _, ok := st[name].(float64); !ok {
			t.Errorf("%s is %v", name, st[name])
		}
	}
	if st["version"] != "v1.2.3" || st["os"] != runtime.GOOS || st["arch"] != runtime.GOARCH || st["keystore_latency"] != float64(24*time.Millisecond) {
		t.Errorf("%v", st)
	}
	for _, name := range []string{"keystore_unavailable", "keystore_unreachable"} {
		if _, there := st[name]; there {
			t.Errorf("%s of a store in order", name)
		}
	}
	for _, test := range []struct {
		err         error
		unreachable any
	}{{kms.ErrUnavailable, true}, {kms.ErrNotPermitted, nil}} {
		k.service.fail(test.err)
		st = nil
		k.do(c, "GET", "/v1/status", "").into(t, &st)
		if st["keystore_unavailable"] != true || st["keystore_unreachable"] != test.unreachable || st["keystore_latency"] != nil {
			t.Errorf("%v: %v", test.err, st)
		}
	}
}

func TestListOfAPIs(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.API = map[string]config.Endpoint{"/v1/ready": {Timeout: time.Minute}}
	})
	var apis []struct {
		Method, Path string
		MaxBody      int64 `json:"max_body"`
		Timeout      int64
	}
	k.do(k.asKey(k.admin), "GET", "/v1/api", "").into(t, &apis)
	var paths []string
	for _, a := range apis {
		paths = append(paths, a.Path)
		switch a.Path {
		case "/v1/key/generate/":
			if a.Method != "PUT" || a.MaxBody != 1_000_000 || a.Timeout != 15 {
				t.Errorf("%+v", a)
			}
		case "/v1/ready":
			if a.Method != "GET" || a.MaxBody != 0 || a.Timeout != 60 {
				t.Errorf("%+v", a)
			}
		case "/v1/log/audit":
			if a.Timeout != 0 {
				t.Errorf("%+v", a)
			}
		}
	}
	slices.Sort(paths)
	if want := slices.Sorted(slices.Values(config.APIPaths())); len(paths) != 22 || !slices.Equal(paths, want) {
		t.Errorf("%d: %q\nwant %q", len(paths), paths, want)
	}
}

func TestPoliciesAndIdentitiesCanBeRead(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	admin, user := k.admin.Identity().String(), k.user.Identity().String()

	var info map[string]any
	read := func(path string, key ...string) map[string]any {
		t.Helper()
		info = nil
		client := c
		if len(key) > 0 {
			client = k.asKey(k.user)
		}
		k.do(client, "GET", path, "").into(t, &info)
		return info
	}
	set := func(patterns ...string) map[string]any {
		m := map[string]any{}
		for _, p := range patterns {
			m[p] = map[string]any{}
		}
		return m
	}
	allow := set("/v1/key/create/*", "/v1/key/generate/my-*", "/v1/key/decrypt/my-*", "/v1/key/encrypt/my-*", "/v1/status")
	deny := set("/v1/key/create/internal*")

	read("/v1/policy/describe/minio")
	if info["name"] != "minio" || info["created_by"] != admin || info["allow"] != nil {
		t.Errorf("%v", info)
	}
	if at, err := time.Parse(time.RFC3339, info["created_at"].(string)); err != nil || time.Since(at) > time.Minute {
		t.Errorf("created at %v", info["created_at"])
	}
	if read("/v1/policy/read/minio"); !reflect.DeepEqual(info["allow"], allow) || !reflect.DeepEqual(info["deny"], deny) {
		t.Errorf("%v", info)
	}
	if read("/v1/policy/read/empty"); !reflect.DeepEqual(info["allow"], set()) || !reflect.DeepEqual(info["deny"], set()) {
		t.Errorf("%v", info)
	}
	if read("/v1/policy/list/"); !reflect.DeepEqual(info["names"], []any{"empty", "minio"}) {
		t.Errorf("%v", info)
	}
	if read("/v1/policy/list/mi*"); !reflect.DeepEqual(info["names"], []any{"minio"}) {
		t.Errorf("%v", info)
	}
	if read("/v1/identity/describe/" + user); info["policy"] != "minio" || info["admin"] != nil || info["created_by"] != admin {
		t.Errorf("%v", info)
	}
	if read("/v1/identity/describe/" + admin); info["admin"] != true || info["policy"] != nil || info["created_by"] != nil {
		t.Errorf("%v", info)
	}
	want := []any{admin, user}
	slices.SortFunc(want, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	if read("/v1/identity/list/"); !reflect.DeepEqual(info["identities"], want) {
		t.Errorf("%v", info)
	}
	if read("/v1/identity/list/" + user[:60] + "*"); !reflect.DeepEqual(info["identities"], []any{user}) {
		t.Errorf("%v", info)
	}
	if read("/v1/identity/self/describe", "user"); info["identity"] != user || info["policy"] != "minio" || !reflect.DeepEqual(info["allow"], allow) || !reflect.DeepEqual(info["deny"], deny) {
		t.Errorf("%v", info)
	}
	if read("/v1/identity/self/describe"); info["identity"] != admin || info["admin"] != true {
		t.Errorf("%v", info)
	}
	k.expect(k.do(k.asKey(k.stranger), "GET", "/v1/identity/self/describe", ""), 404, "identity does not exist")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	k.do(c, "POST", "/v1/key/create/k", "")
	k.do(c, "GET", "/v1/key/describe/none", "")
	k.do(k.asKey(k.stranger), "POST", "/v1/key/create/k", "")
	k.do(k.asKey(k.stranger), "POST", "/v1/key/create/k", "")
	k.service.fail(kms.ErrUnavailable)
	k.do(c, "GET", "/v1/ready", "")
	a := k.do(c, "GET", "/v1/metrics", "")
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s", a.Header)
	}
	for _, line := range []string{
		`kes_http_request_success{code="200"} 1`, `kes_http_request_error{code="404"} 1`, `kes_http_request_error{code="403"} 2`,
		`kes_http_request_failure{code="504"} 1`, "kes_http_request_active 1", "kes_http_response_time_count 5",
		"kes_log_error_events 3", "kes_log_audit_events 4",
		"# TYPE kes_http_request_success counter", "# TYPE kes_http_request_active gauge", "# TYPE kes_http_response_time histogram",
		"# TYPE kes_log_error_events counter", "# TYPE kes_log_audit_events counter",
		"# TYPE kes_system_up_time gauge", "# TYPE kes_system_num_cpu gauge", "# TYPE kes_system_num_cpu_used gauge",
		"# TYPE kes_system_num_threads gauge", "# TYPE kes_system_mem_heap_used gauge", "# TYPE kes_system_mem_heap_objects gauge", "# TYPE kes_system_mem_stack_used gauge",
	} {
		if !strings.Contains(a.body, line+"\n") {
			t.Errorf("no %q in\n%s", line, a.body)
		}
	}
	for _, le := range []string{"0.01", "0.05", "0.1", "0.25", "0.5", "1", "1.5", "3", "5", "10", "+Inf"} {
		if !strings.Contains(a.body, fmt.Sprintf(`kes_http_response_time_bucket{le=%q}`, le)) {
			t.Errorf("no bucket %s", le)
		}
	}
	for line := range strings.Lines(a.body) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "kes_") {
			t.Errorf("clients of KES fail on the unknown %s", line)
		}
	}
}

func TestCurlWithAnOpenSSLCertificate(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"curl", "openssl", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "c.crt"), filepath.Join(dir, "c.key")
	run := func(command string) string {
		t.Helper()
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	run(fmt.Sprintf("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=c -days 1 -addext basicConstraints=critical,CA:FALSE -keyout %s -out %s", key, crt))
	id := strings.Fields(run(fmt.Sprintf("openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum", crt)))[0]

	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		parsed, err := config.Parse("kes.yml", fmt.Appendf(nil, "admin: {identity: %s}\ntls: {key: k, cert: c}\nkeystore: {mem: {}}", id), nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Admin = parsed.Admin
	})
	curl := fmt.Sprintf("curl -sS --cacert %s --cert %s --key %s ", filepath.Join(k.dir, "server.crt"), crt, key)
	if out := run(curl + "-X POST -w '%{http_code}' " + k.url + "/v1/key/create/curl"); out != "200" {
		t.Errorf("create: %s", out)
	}
	if out := run(curl + k.url + "/v1/key/list/"); out != "{\"names\":[\"curl\"]}\n" {
		t.Errorf("list: %s", out)
	}
	var dek struct{ Plaintext, Ciphertext []byte }
	if out := run(curl + "--http1.1 --data-binary '' " + k.url + "/v1/key/generate/curl"); json.Unmarshal([]byte(out), &dek) != nil || len(dek.Plaintext) != 32 {
		t.Errorf("generate: %s", out)
	}
	if out := run(curl + k.url + "/v1/identity/self/describe"); !strings.Contains(out, `"identity":"`+id+`"`) {
		t.Errorf("self: %s", out)
	}
}
