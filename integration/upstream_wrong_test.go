package integration

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startedKMS is a MinIO with a KMS of its own, and a proxy in front of it that was
// started when raw had been prepared.
func startedKMS(t *testing.T, prepare func(raw *client), extra ...string) (*stack, *client) {
	t.Helper()
	needsSeal(t)
	dir := t.TempDir()
	m, err := startMinIO(dir, "", true, extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	s := &stack{dir: dir, minio: m}
	raw := s.raw()
	prepare(raw)
	if s.seal, err = startSealWith(dir, m.endpoint(), writeFile(t, dir, "bucketseal.yml", []byte("data_dir: keys\n"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.seal.kill)
	s.dumpOnFailure(t)
	return s, raw
}

const sseS3Rule = `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`

func (s *stack) logs(t *testing.T, text string) {
	t.Helper()
	waitFor(t, 15*time.Second, "the log to say: "+text, func() bool { return strings.Contains(s.seal.logSince(0), text) })
}

// A KMS at MinIO is found at the start, with the buckets whose rules use it, by
// changes of rules, and by writes.
func TestUpstreamWithAKMSIsFound(t *testing.T) {
	t.Parallel()
	rule := func(c *client, bucket string) answer {
		a, err := c.try(request{method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(sseS3Rule), header: map[string]string{"Content-Md5": contentMD5([]byte(sseS3Rule))}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	s, raw := startedKMS(t, func(raw *client) {
		for _, bucket := range []string{"ruled", "free", "later"} {
			raw.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
		}
		if a := rule(raw, "ruled"); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
	waitFor(t, startLimit, "the proxy to be ready", s.seal.isReady)
	s.logs(t, "MinIO has a KMS of its own")
	s.logs(t, "buckets=1 named=ruled")

	// A change of a rule is refused, and makes no rule at MinIO.
	c := s.client()
	if a := rule(c, "free"); a.status != http.StatusBadGateway || !strings.Contains(string(a.body), "key service of its own") {
		t.Errorf("a rule: %d %s", a.status, a.body)
	}
	raw.do(t, request{method: http.MethodGet, bucket: "free", query: "encryption="}).wantStatus(t, http.StatusNotFound)

	// A rule that MinIO got later shows in the next write.
	rule(raw, "later")
	for range 3 {
		c.put(t, "later", "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
		c.put(t, "free", "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	}
	s.logs(t, "encrypted once more what was written to a bucket")
	if log := s.seal.logSince(0); strings.Count(log, "encrypted once more") != 1 || !strings.Contains(log, "bucket=later") {
		t.Errorf("the log does not name the one bucket once: %s", log)
	}
}

func TestUpstreamThatEncryptsEverythingIsNotServed(t *testing.T) {
	t.Parallel()
	s, _ := startedKMS(t, func(*client) {}, "MINIO_KMS_AUTO_ENCRYPTION=on")
	s.client().do(t, request{method: http.MethodPut, bucket: "bucket"}).wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", unfitMessage)
	s.logs(t, "take MINIO_KMS_AUTO_ENCRYPTION")
	if s.seal.isReady() {
		t.Error("the proxy is ready")
	}
}

// A proxy whose upstream is a proxy, or itself, says so at once.
func TestUpstreamThatIsABucketsealIsNamed(t *testing.T) {
	t.Parallel()
	s := newStack(t, stackOptions{})
	needsSeal(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := l.Addr().String()
	l.Close()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, up := range map[string]string{"itself": own, "another": s.seal.addr} {
		dir := t.TempDir()
		address := own
		if name == "another" {
			address = "127.0.0.1:0"
		}
		p, err := startProcess("bucketseal", filepath.Join(dir, "log"), baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword),
			program, "server", "--address", address, "--upstream", "http://"+up, "--data-dir", filepath.Join(dir, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, 15*time.Second, name+" to be named", func() bool {
			return strings.Contains(p.logSince(0), "the upstream is no MinIO, but a bucketseal")
		})
		if name == "itself" {
			for _, r := range []request{{method: http.MethodGet, bucket: "b", key: "k"}, {method: http.MethodPut, bucket: "b", key: "k", body: []byte("x")}, {method: http.MethodGet, path: "/"}} {
				began := time.Now()
				a := newClient("http://"+own, rootUser, rootPassword).do(t, r)
				if took := time.Since(began); a.status < 400 || took > 10*time.Second {
					t.Errorf("%s: %d after %v", r.method, a.status, took)
				}
			}
		}
		p.kill()
	}
}

// The system bucket of another installation gets no new keys beside it.
func TestKeysOfAnotherInstallationAreNamed(t *testing.T) {
	t.Parallel()
	s := newStack(t, stackOptions{})
	needsSeal(t)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	run := func(data string) (*process, *client) {
		at, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		p, err := startProcess("bucketseal", filepath.Join(filepath.Dir(data), "log"), baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword),
			program, "server", "--address", at, "--upstream", s.minio.endpoint(), "--data-dir", data)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		if err := p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/live"); err != nil {
			t.Fatal(err)
		}
		return p, newClient("http://"+at, rootUser, rootPassword)
	}
	// An empty place: nothing is made and nothing served.
	empty := filepath.Join(t.TempDir(), "data")
	p, c := run(empty)
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		c.do(t, request{method: method, bucket: "bucket", key: "k"}).wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", "")
	}
	c.do(t, request{method: http.MethodGet, path: "/minio/health/ready"}).wantStatus(t, http.StatusServiceUnavailable)
	if log := p.logSince(0); !strings.Contains(log, "belongs to an installation whose keys are not here") || !strings.Contains(log, empty) {
		t.Errorf("the log does not name it: %s", log)
	}
	if entries, _ := os.ReadDir(filepath.Join(empty, "keys")); len(visible(entries)) > 0 {
		t.Errorf("keys were made: %v", entries)
	}

	// Keys of one that has been at work elsewhere.
	m, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	other := t.TempDir()
	seal, err := startSeal(other, "", m.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	p, _ = run(seal.dataDir)
	waitFor(t, 15*time.Second, "it to be named", func() bool {
		return strings.Contains(p.logSince(0), "not ready: the system bucket was written with other keys than these, or under another deployment name")
	})
}

func visible(entries []os.DirEntry) (names []string) {
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}
