package integration

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patient is a proxy with an address for its operators.
type patient struct {
	*stack
	metrics string
}

// startPatient starts a proxy with the configuration in dir on m, whose own credential
// and only client is user.
func startPatient(t *testing.T, m *minioServer, dir, user, yaml string) *patient {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{stack: &stack{dir: dir, minio: m}}
	var addr string
	for _, a := range []*string{&addr, &p.metrics} {
		if *a, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	process, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"),
		baseEnv("BUCKETSEAL_ROOT_USER="+user, "BUCKETSEAL_ROOT_PASSWORD="+user+"-secret", "BUCKETSEAL_METRICS_ADDRESS="+p.metrics),
		program, "server", "--address", addr, "--upstream", m.endpoint(), "--config", writeFile(t, dir, "bucketseal.yml", []byte(yaml)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.kill)
	p.seal = &sealServer{process: process, addr: addr, upstream: m.endpoint()}
	p.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", p.seal.isReady)
	return p
}

// sick waits until the proxy is not ready, and wants to be told why once in the log
// and by bucketseal health, and not by the S3 address.
func (p *patient) sick(t *testing.T, why string) {
	t.Helper()
	waitFor(t, 15*time.Second, "the proxy to be not ready: "+why, func() bool { return !p.seal.isReady() })
	waitFor(t, 5*time.Second, "the log to say why", func() bool { return strings.Contains(p.seal.logSince(0), "not ready: "+why) })
	time.Sleep(2 * time.Second) // it is asked again meanwhile
	if n := strings.Count(p.seal.logSince(0), "not ready: "+why); n != 1 {
		t.Errorf("the log says %d times: %s", n, why)
	}
	refusedSeal(t, "not ready: "+why, nil, "", "health", "--address", p.metrics)
	refusedSeal(t, "not ready: "+why, []string{"BUCKETSEAL_METRICS_ADDRESS=" + p.metrics}, "", "health", "--address", p.seal.addr)
	a := newClient(p.seal.endpoint(), "", "").do(t, request{method: http.MethodGet, path: "/minio/health/ready"})
	a.wantStatus(t, http.StatusServiceUnavailable)
	if len(a.body) != 0 {
		t.Errorf("strangers are told: %q", a.body)
	}
}

// healed waits until the proxy is ready again, and wants the log to end with that.
func (p *patient) healed(t *testing.T) {
	t.Helper()
	waitFor(t, 15*time.Second, "the proxy to be ready again", p.seal.isReady)
	log := p.seal.logSince(0)
	if n := strings.Count(log, "ready again: "); n != 1 || strings.LastIndex(log, "ready again: ") < strings.LastIndex(log, "level=ERROR") {
		t.Errorf("the log does not end with being ready again (%d times): %s", n, log)
	}
	if out := mustSeal(t, nil, "", "health", "--address", p.metrics); out != "ready\n" {
		t.Errorf("health: %q", out)
	}
}

// What MinIO withdraws from the proxy itself makes it not ready, and what it gives
// back makes it ready again.
func TestReadinessFollowsWhatMinIOLetsTheProxyDo(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	m, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	mc := newMC(t, &stack{minio: m})
	text, _ := documentedPolicy(t)
	for name, test := range map[string]struct {
		hurt, heal []string
		why        string
	}{
		"secret": {
			[]string{"admin", "user", "add", "raw", "NAME", "another-secret"},
			[]string{"admin", "user", "add", "raw", "NAME", "NAME-secret"},
			"MinIO refuses the proxy's own credential",
		},
		"rights": {
			[]string{"admin", "policy", "detach", "raw", "NAME-policy", "--user", "NAME"},
			[]string{"admin", "policy", "attach", "raw", "NAME-policy", "--user", "NAME"},
			"MinIO does not let the proxy's own credential do what it must",
		},
		"right-to-write": {
			[]string{"admin", "policy", "create", "raw", "NAME-policy", "READONLY"},
			[]string{"admin", "policy", "create", "raw", "NAME-policy", "POLICY"},
			"MinIO does not let the proxy's own credential do what it must",
		},
		"bucket": {[]string{"rb", "--force", "raw/NAME-system"}, nil, "the system bucket is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name = "ready-" + name
			dir := t.TempDir()
			own := strings.ReplaceAll(text, systemBucket, name+"-system")
			args := strings.NewReplacer("NAME", name, "POLICY", writeFile(t, dir, "policy.json", []byte(own)),
				"READONLY", writeFile(t, dir, "readonly.json", []byte(strings.Replace(own, `"s3:PutObject", `, "", 1))))
			run := func(command ...string) {
				t.Helper()
				for i := range command {
					command[i] = args.Replace(command[i])
				}
				mc.must(t, command...)
			}
			run("admin", "policy", "create", "raw", "NAME-policy", "POLICY")
			run("admin", "user", "add", "raw", "NAME", "NAME-secret")
			run("admin", "policy", "attach", "raw", "NAME-policy", "--user", "NAME")
			p := startPatient(t, m, dir, name, "data_dir: keys\nsystem_bucket: "+name+"-system\n")
			run(test.hurt...)
			p.sick(t, test.why)
			if test.heal != nil {
				run(test.heal...)
				p.healed(t)
			}
		})
	}
}

// A key server that no longer lets the proxy use reserved contexts, or is away, makes
// the proxy not ready, unless its operator wants cached reads to go on.
func TestReadinessFollowsTheKeyServer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	m, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	proxy := newAPIKey(t)
	k := startKMS(t, kesYAML+proxyPolicy+"keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n", "PROXY="+proxy.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	mc := newMC(t, &stack{minio: m})
	mc.must(t, "admin", "user", "add", "raw", "proxy", "proxy-secret")
	mc.must(t, "admin", "policy", "attach", "raw", "consoleAdmin", "--user", "proxy")
	start := func(more string) *patient {
		dir := t.TempDir()
		return startPatient(t, m, dir, "proxy", string(readFile(t, k.remoteYAML(t, dir, proxy, more))))
	}
	counts, ignores := start(""), start("readiness: {key_service: false}\n")
	c := newClient(ignores.seal.endpoint(), "proxy", "proxy-secret")
	bucket := newBucket(t, c)
	data := testData(1000, 1)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)

	config := readFile(t, filepath.Join(k.dir, "kes.yml"))
	writeFile(t, k.dir, "kes.yml", []byte(strings.Replace(string(config), "bucketseal: true", "bucketseal: false", 1)))
	counts.sick(t, "the key service refuses the proxy")
	if !ignores.seal.isReady() {
		t.Error("the other proxy is not ready")
	}
	writeFile(t, k.dir, "kes.yml", config)
	counts.healed(t)
	if err := k.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if counts.seal.isReady() || !ignores.seal.isReady() {
		t.Errorf("ready without the key server: %v and, where it does not count, %v", counts.seal.isReady(), ignores.seal.isReady())
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	waitFor(t, 5*time.Second, "the log to say that the key server is away", func() bool {
		return strings.Contains(ignores.seal.logSince(0), "ready without the key service, as readiness.key_service says: the key service does not answer")
	})
	if out := mustSeal(t, nil, "", "health", "--address", ignores.metrics); !strings.Contains(out, "ready without the key service") {
		t.Errorf("health: %q", out)
	}
}
