package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The one credential of the tests: the client's, the proxy's and MinIO's root.
const (
	rootUser     = "integration-root"
	rootPassword = "integration-secret-0123456789"
)

// defaultKey is the KMS key that the proxy creates; the reference MinIO's only
// key bears the same name.
const defaultKey = "bucketseal-default"

// referenceKey is that key as MinIO takes it.
const referenceKey = defaultKey + ":YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="

// systemBucket is the proxy's own bucket, which no client may see.
const systemBucket = "bucketseal-system"

// targetIsMinIO says that the tests run against a MinIO that encrypts by itself.
func targetIsMinIO() bool { return os.Getenv("BUCKETSEAL_TEST_TARGET") == "minio" }

// needsSeal skips tests of what only the proxy does when the target is MinIO.
func needsSeal(t *testing.T) {
	t.Helper()
	if targetIsMinIO() {
		t.Skip("tests what only bucketseal does; the target is MinIO")
	}
}

// minioServer is a running MinIO.
type minioServer struct {
	*process
	dir, addr string
	// kms says that it encrypts by itself, with a static KMS key.
	kms bool
}

func (m *minioServer) endpoint() string { return "http://" + m.addr }

// startMinIO starts a MinIO on dir, again at the same address if addr is given.
// extra is added to its environment.
func startMinIO(dir, addr string, kms bool, extra ...string) (*minioServer, error) {
	program, err := tool("MINIO_BIN", "minio")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return nil, err
	}
	env := baseEnv("MINIO_ROOT_USER="+rootUser, "MINIO_ROOT_PASSWORD="+rootPassword,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on")
	if kms {
		env = append(env, "MINIO_KMS_SECRET_KEY="+referenceKey)
	}
	env = append(env, extra...)
	for attempt := 0; ; attempt++ {
		at := addr
		if at == "" {
			if at, err = freeAddress(); err != nil {
				return nil, err
			}
		}
		p, err := startProcess("minio", filepath.Join(dir, "minio.log"), env,
			program, "server", "--quiet", "--address", at, filepath.Join(dir, "data"))
		if err != nil {
			return nil, err
		}
		if err = p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/live"); err == nil {
			err = waitServing(newClient("http://"+at, rootUser, rootPassword))
		}
		if err == nil {
			return &minioServer{process: p, dir: dir, addr: at, kms: kms}, nil
		}
		p.kill()
		if attempt == 2 {
			return nil, err
		}
	}
}

// waitServing waits until signed requests are served: MinIO is alive some time
// before it knows its users.
func waitServing(c *client) error {
	deadline := time.Now().Add(startLimit)
	for {
		a, err := c.try(request{method: http.MethodGet})
		if err == nil && a.status == http.StatusOK {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not list buckets: %d %s, %w", c.endpoint, a.status, a.code, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// sealServer is a running bucketseal.
type sealServer struct {
	*process
	addr, dataDir, upstream string
	args                    []string
}

func (s *sealServer) endpoint() string { return "http://" + s.addr }

// startSeal starts the proxy on dir/bucketseal, at addr if that is given.
func startSeal(dir, addr, upstream string, args ...string) (*sealServer, error) {
	program, err := sealBinary()
	if err != nil {
		return nil, err
	}
	dataDir := filepath.Join(dir, "bucketseal")
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	for attempt := 0; ; attempt++ {
		at := addr
		if at == "" {
			if at, err = freeAddress(); err != nil {
				return nil, err
			}
		}
		all := append([]string{"server", "--address", at, "--upstream", upstream, "--data-dir", dataDir}, args...)
		p, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), env, program, all...)
		if err != nil {
			return nil, err
		}
		if err = p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/ready"); err == nil {
			return &sealServer{process: p, addr: at, dataDir: dataDir, upstream: upstream, args: args}, nil
		}
		p.kill()
		if attempt == 2 {
			return nil, err
		}
	}
}

// stack is what a test talks to: the proxy, MinIO behind it, and perhaps
// something that lies between them. With MinIO as the target there is only minio.
type stack struct {
	dir   string
	minio *minioServer
	liar  *lyingUpstream
	seal  *sealServer
}

// client speaks S3 to the system under test, as root.
func (s *stack) client() *client {
	if s.seal == nil {
		return newClient(s.minio.endpoint(), rootUser, rootPassword)
	}
	return newClient(s.seal.endpoint(), rootUser, rootPassword)
}

// raw speaks S3 straight to the MinIO that stores the objects.
func (s *stack) raw() *client { return newClient(s.minio.endpoint(), rootUser, rootPassword) }

func (s *stack) stop() error {
	err := s.seal.stopIfRunning()
	if s.liar != nil {
		s.liar.close()
	}
	if s.minio != nil {
		_ = s.minio.stop(20 * time.Second)
	}
	return err
}

func (s *sealServer) stopIfRunning() error {
	if s == nil {
		return nil
	}
	return s.stop(20 * time.Second)
}

// stackOptions say how a stack differs from the plain one.
type stackOptions struct {
	// liar puts a lyingUpstream between the proxy and MinIO.
	liar bool
	// args are added to `bucketseal server`.
	args []string
}

func startStack(dir string, o stackOptions) (*stack, error) {
	s := &stack{dir: dir}
	var err error
	if s.minio, err = startMinIO(dir, "", targetIsMinIO()); err != nil {
		return nil, err
	}
	if targetIsMinIO() {
		return s, nil
	}
	upstream := s.minio.endpoint()
	if o.liar {
		if s.liar, err = newLyingUpstream(s.minio.addr); err != nil {
			_ = s.stop()
			return nil, err
		}
		upstream = s.liar.endpoint()
	}
	if s.seal, err = startSeal(dir, "", upstream, o.args...); err != nil {
		_ = s.stop()
		return nil, err
	}
	return s, nil
}

// newStack starts a stack for one test alone.
func newStack(t *testing.T, o stackOptions) *stack {
	t.Helper()
	s, err := startStack(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.stop() })
	s.dumpOnFailure(t)
	return s
}

func (s *stack) dumpOnFailure(t *testing.T) {
	t.Helper()
	s.minio.dumpOnFailure(t)
	if s.seal != nil {
		s.seal.dumpOnFailure(t)
	}
}

// servers are started once, when a test first needs them, and shared by all
// tests that only use buckets of their own.
type servers struct {
	mu        sync.Mutex
	plain     *stack
	watched   *stack
	reference *minioServer
	pair      *pair
	err       map[string]error
}

var shared servers

// sharedStack returns the stack that most tests use.
func sharedStack(t *testing.T) *stack {
	t.Helper()
	return shared.stack(t, &shared.plain, "plain", stackOptions{})
}

// watchedStack returns a stack with a lyingUpstream, to count requests. Tests
// that make it lie use newStack.
func watchedStack(t *testing.T) *stack {
	t.Helper()
	needsSeal(t)
	return shared.stack(t, &shared.watched, "watched", stackOptions{liar: true})
}

func (s *servers) stack(t *testing.T, slot **stack, name string, o stackOptions) *stack {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if *slot == nil && s.err[name] == nil {
		st, err := startStack(filepath.Join(runDir, name), o)
		s.fail(name, err)
		*slot = st
	}
	if err := s.err[name]; err != nil {
		t.Fatal(err)
	}
	(*slot).dumpOnFailure(t)
	return *slot
}

// referenceClient speaks to a MinIO with a static KMS key: what it answers is
// what the proxy should answer.
func referenceClient(t *testing.T) *client {
	t.Helper()
	s := &shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reference == nil && s.err["reference"] == nil {
		m, err := startMinIO(filepath.Join(runDir, "reference"), "", true)
		s.fail("reference", err)
		s.reference = m
	}
	if err := s.err["reference"]; err != nil {
		t.Fatal(err)
	}
	return newClient(s.reference.endpoint(), rootUser, rootPassword)
}

func (s *servers) fail(name string, err error) {
	if s.err == nil {
		s.err = map[string]error{}
	}
	s.err[name] = err
}

func (s *servers) stop() {
	for _, st := range []*stack{s.plain, s.watched} {
		if st != nil {
			if err := st.stop(); err != nil {
				fmt.Fprintln(os.Stderr, "integration: stop:", err)
			}
		}
	}
	if s.reference != nil {
		_ = s.reference.stop(10 * time.Second)
	}
	if s.pair != nil {
		s.pair.stop()
	}
}

// bucketName makes a bucket name of the test's own from its name.
func bucketName(t *testing.T) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, strings.TrimPrefix(t.Name(), "Test"))
	if len(name) > 46 {
		name = name[:46]
	}
	return fmt.Sprintf("t-%s-%06x", strings.Trim(name, "-"), time.Now().UnixNano()&0xffffff)
}

// newBucket creates a bucket through the system under test.
func newBucket(t *testing.T, c *client) string {
	t.Helper()
	name := bucketName(t)
	c.do(t, request{method: http.MethodPut, bucket: name}).wantStatus(t, http.StatusOK)
	return name
}
