package integration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startSealWith starts the proxy with a configuration file that says where its
// keys are.
func startSealWith(dir, upstream, yaml string, env ...string) (*sealServer, error) {
	program, err := sealBinary()
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		addr, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"),
			baseEnv(append(env, "BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)...),
			program, "server", "--address", addr, "--upstream", upstream, "--config", yaml)
		if err != nil {
			return nil, err
		}
		if err = p.waitReady(http.DefaultClient, "http://"+addr+"/minio/health/live"); err == nil {
			return &sealServer{process: p, addr: addr, upstream: upstream}, nil
		}
		p.kill()
		if attempt == 2 {
			return nil, err
		}
	}
}

func (s *sealServer) isReady() bool {
	a, err := newClient(s.endpoint(), rootUser, rootPassword).try(request{method: http.MethodGet, path: "/minio/health/ready"})
	return err == nil && a.status == http.StatusOK
}

// proxyPolicy is what documentation tells to give to a proxy.
const proxyPolicy = `  proxies:
    bucketseal: true
    allow:
    - /v1/key/create/*
    - /v1/key/describe/*
    - /v1/key/generate/*
    - /v1/key/decrypt/*
    - /v1/ready
    identities:
    - ${PROXY}
`

// remoteYAML makes a proxy take its keys from a key server.
func (k *kmsServer) remoteYAML(t *testing.T, dir string, key apiKey, more string) string {
	t.Helper()
	writeFile(t, dir, "proxy.key", []byte(key.key+"\n"))
	return string(writeFile(t, dir, "bucketseal.yml", fmt.Appendf(nil,
		"%skms:\n  remote:\n    endpoints: [\"%s\"]\n    api_key_file: proxy.key\n    ca: %s\n", more, k.url(), k.caFile())))
}

// useProxy writes and reads under both modes; old names objects to be read that
// were written before. It returns what it wrote.
func useProxy(t *testing.T, s *stack, bucket, kmsKey string, seed uint64, old map[string][]byte) map[string][]byte {
	t.Helper()
	c := s.client()
	written := map[string][]byte{}
	for _, size := range []int{0, 1, packageSize, 2*packageSize + 1} {
		data := testData(size, seed)
		s3, sealed := fmt.Sprintf("s3-%d-%d", seed, size), fmt.Sprintf("kms-%d-%d", seed, size)
		c.put(t, bucket, s3, data, nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"})
		c.put(t, bucket, sealed, data, kmsWith(kmsKey)).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{
			"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:" + kmsKey,
		})
		written[s3], written[sealed] = data, data
		wantSealed(t, s, bucket, s3, data)
		wantSealed(t, s, bucket, sealed, data)
	}
	l := c.list(t, bucket, "list-type", "2")
	sizes := map[string]int64{}
	for _, o := range l.Contents {
		sizes[o.Key] = o.Size
	}
	for _, objects := range []map[string][]byte{old, written} {
		for key, data := range objects {
			c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
			if size, ok := sizes[key]; !ok || size != int64(len(data)) {
				t.Errorf("the listing shows %s with %d bytes, want %d", key, size, len(data))
			}
		}
	}
	return written
}

func TestProxyUsesAKeyServerAndThenItsKeysDirectly(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	k, minio, proxy := startKeysAndMinIO(t, proxyPolicy)
	dir := minio.dir
	s := &stack{dir: dir, minio: minio}
	var err error
	if s.seal, err = startSealWith(dir, minio.endpoint(), k.remoteYAML(t, dir, proxy, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.seal.kill() })
	s.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", s.seal.isReady)

	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", nil, kmsWith("reports")).wantError(t, http.StatusNotFound, "kms:KeyNotFound", "key with given key ID does not exist")
	mustSeal(t, k.as(k.admin), "", "key", "create", "reports")
	waitFor(t, 5*time.Second, "the proxy to see the new key", func() bool { return c.put(t, bucket, "k", nil, kmsWith("reports")).status == http.StatusOK })
	written := useProxy(t, s, bucket, "reports", 310, nil)
	if out := mustSeal(t, k.as(k.admin), "", "key", "ls"); out != "bucketseal-default\nbucketseal-system\nbucketseal-system-ready\nreports\n" {
		t.Errorf("keys: %q", out)
	}

	// The key server restarts under the proxy.
	if err := k.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if s.seal.isReady() {
		t.Error("the proxy says that it is ready while its key server is down")
	}
	c.put(t, bucket, "down", testData(10, 1), kmsWith("reports")).wantStatus(t, http.StatusServiceUnavailable)
	k.start(t)
	waitFor(t, startLimit, "the proxy to be ready again", s.seal.isReady)
	for key, data := range useProxy(t, s, bucket, "reports", 311, written) {
		written[key] = data
	}
	if err := s.seal.stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	if err := k.stop(10 * time.Second); err != nil {
		t.Error(err)
	}

	// The same YAML embedded: the same keys and objects, and the same API for
	// others, from the proxy's own process.
	yaml := strings.Replace(string(readFile(t, k.config())), "127.0.0.1:7373", k.addr, 1)
	writeFile(t, k.dir, "kes.yml", []byte(yaml))
	embedded := writeFile(t, dir, "embedded.yml", []byte("kms: {config: "+k.config()+"}\n"))
	if s.seal, err = startSealWith(dir, minio.endpoint(), embedded, k.env...); err != nil {
		t.Fatal(err)
	}
	s.seal.dumpOnFailure(t)
	waitFor(t, startLimit, "the embedding proxy to be ready", s.seal.isReady)
	useProxy(t, s, bucket, "reports", 312, written)
	mustSeal(t, k.as(k.admin), "", "key", "create", "embedded")
	useProxy(t, s, bucket, "embedded", 313, nil)
	refusedSeal(t, "not authorized: insufficient permissions", k.as(k.admin), "", "key", "dek", "reports", "--context", `{"bucketseal:use":"sse-kms"}`)
	for _, key := range []string{k.admin.key, proxy.key} {
		if strings.Contains(s.seal.logSince(0)+k.logSince(0), strings.TrimPrefix(key, "kes:v1:")) {
			t.Error("a log holds an API key")
		}
	}
}

func TestProxyWithoutARightToReservedContextsIsNotReady(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	proxy := newAPIKey(t)
	k := startKMS(t, kesYAML+strings.Replace(proxyPolicy, "bucketseal: true", "bucketseal: false", 1)+"keystore: {mem: {}}\n", "PROXY="+proxy.id)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	seal, err := startSealWith(dir, minio.endpoint(), k.remoteYAML(t, dir, proxy, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	seal.dumpOnFailure(t)
	waitFor(t, 10*time.Second, "both logs to say why", func() bool {
		return strings.Contains(k.logSince(0), "bucketseal: true") && strings.Contains(seal.logSince(0), "bucketseal: true")
	})
	if seal.isReady() {
		t.Error("the proxy says that it is ready")
	}
	// It is when the policy is changed, without a restart of either.
	writeFile(t, k.dir, "kes.yml", []byte(strings.Replace(string(readFile(t, k.config())), "bucketseal: false", "bucketseal: true", 1)))
	waitFor(t, 20*time.Second, "the proxy to be ready", seal.isReady)
}

func TestProxyThatMayNotCreateKeysUsesThoseMadeForIt(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	proxy := newAPIKey(t)
	k := startKMS(t, kesYAML+strings.Replace(proxyPolicy, "    - /v1/key/create/*\n", "", 1)+
		"keys: [{name: bucketseal-default}, {name: bucketseal-system}]\n"+memStore, "PROXY="+proxy.id)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	s := &stack{dir: dir, minio: minio}
	if s.seal, err = startSealWith(dir, minio.endpoint(), k.remoteYAML(t, dir, proxy, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.seal.kill)
	s.dumpOnFailure(t)
	waitFor(t, 10*time.Second, "the proxy to say which key is missing", func() bool {
		return strings.Contains(s.seal.logSince(0), `bucketseal-system-ready`)
	})
	mustSeal(t, k.as(k.admin), "", "key", "create", "bucketseal-system-ready")
	waitFor(t, 20*time.Second, "the proxy to be ready", s.seal.isReady)
	useProxy(t, s, newBucket(t, s.client()), defaultKey, 320, nil)
}
