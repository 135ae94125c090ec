package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// restart starts the proxy again, where it was and on the same data.
func (s *stack) restart(t *testing.T) {
	t.Helper()
	seal, err := startSeal(s.dir, s.seal.addr, s.seal.upstream, s.seal.args...)
	if err != nil {
		t.Fatal(err)
	}
	s.seal = seal
}

func TestEverythingSurvivesAKill(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(2*packageSize+3, 70)
	c.putEncryption(t, bucket, encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "kms", data, nil).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "s3", data, sseModes()[0].put).wantStatus(t, http.StatusOK)
	for range 3 {
		s.seal.kill()
		s.restart(t)
		c.get(t, bucket, "kms", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, sseModes()[1].want)
		c.get(t, bucket, "s3", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, sseModes()[0].want)
		c.bucketEncryption(t, http.MethodGet, bucket).wantStatus(t, http.StatusOK)
		c.put(t, bucket, "again", data, nil).wantStatus(t, http.StatusOK).wantHeader(t, sseModes()[1].want)
	}
}

func TestKillDuringWritesLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	for round := range 3 {
		var acknowledged sync.Map
		var wg sync.WaitGroup
		var stop atomic.Bool
		for writer := range 4 {
			wg.Go(func() {
				for i := 0; !stop.Load(); i++ {
					key := fmt.Sprintf("%d/%d/%d", round, writer, i)
					size := []int{100, packageSize + 1, 9 << 20}[i%3]
					a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: key, body: testData(size, uint64(i))})
					if err != nil {
						return
					}
					if a.status == http.StatusOK {
						acknowledged.Store(key, testData(size, uint64(i)))
					}
				}
			})
		}
		time.Sleep(400 * time.Millisecond)
		s.seal.kill()
		stop.Store(true)
		wg.Wait()
		s.restart(t)
		count := 0
		acknowledged.Range(func(key, value any) bool {
			count++
			c.get(t, bucket, key.(string), nil).wantStatus(t, http.StatusOK).wantBody(t, value.([]byte))
			return true
		})
		if count == 0 {
			t.Error("nothing was acknowledged before the kill")
		}
		// What was not acknowledged is there in full or not at all.
		for _, o := range c.list(t, bucket, "list-type", "2", "prefix", fmt.Sprintf("%d/", round)).Contents {
			a := c.get(t, bucket, o.Key, nil).wantStatus(t, http.StatusOK)
			if int64(len(a.body)) != o.Size {
				t.Errorf("%s: %d bytes, listed as %d", o.Key, len(a.body), o.Size)
			}
		}
	}
}

func TestShutdownLetsRunningTransfersFinish(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	const size = 24 << 20
	slow := &slowReader{generator: newGenerator(size), delay: 50 * time.Millisecond, started: make(chan struct{})}
	result := make(chan error, 1)
	go func() {
		a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: "slow", stream: slow, size: size})
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("status %d %s", a.status, a.code)
		}
		result <- err
	}()
	<-slow.started
	if err := s.seal.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("the running upload: %v", err)
	}
	select {
	case <-s.seal.done:
		if s.seal.waitErr != nil {
			t.Errorf("exit: %v", s.seal.waitErr)
		}
	case <-time.After(15 * time.Second):
		t.Error("still running 15 s after the last transfer")
	}
	if n := s.raw().head(t, bucket, "slow", nil).wantStatus(t, http.StatusOK).size(t); n != size+size/packageSize*packageOverhead {
		t.Errorf("%d bytes in MinIO", n)
	}
}

// TestALoadBalancerHasTimeToNoticeTheEnd: after SIGTERM readiness is 503 at once,
// while new connections are served for limits.drain.
func TestALoadBalancerHasTimeToNoticeTheEnd(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	file := writeFile(t, dir, "drain.yml", []byte("limits: {drain: 3s}\n"))
	s := newStack(t, stackOptions{args: []string{"--config", file}})
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	status := func(path string) int {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := client.Get(s.seal.endpoint() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := status("/minio/health/ready"); got != http.StatusOK {
		t.Errorf("ready: %d", got)
	}
	asked := time.Now()
	if err := s.seal.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for status("/minio/health/ready") == http.StatusOK {
		if time.Since(asked) > 2*time.Second {
			t.Fatal("still ready")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := status("/minio/health/live"); got != http.StatusOK {
		t.Errorf("live: %d", got)
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	select {
	case <-s.seal.done:
		if ran := time.Since(asked); ran < 2900*time.Millisecond || s.seal.waitErr != nil {
			t.Errorf("ended after %v: %v", ran, s.seal.waitErr)
		}
	case <-time.After(15 * time.Second):
		t.Error("still running")
	}
}

// slowReader pauses before every MiB.
type slowReader struct {
	*generator
	delay   time.Duration
	started chan struct{}
	once    sync.Once
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.offset > 4<<20 {
		s.once.Do(func() { close(s.started) })
	}
	const step = 1 << 20
	if s.offset%step == 0 {
		time.Sleep(s.delay)
	}
	return s.generator.Read(p[:min(int64(len(p)), step-s.offset%step)])
}

func TestServerRefusesToStartOnBadSettings(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unknown := filepath.Join(dir, "unknown.yml")
	if err := os.WriteFile(unknown, []byte("address: 127.0.0.1:0\nno_such_setting: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword}
	for name, tc := range map[string]struct {
		env  []string
		args []string
		says string
	}{
		"unknown flag":         {good, []string{"--no-such-flag"}, "no-such-flag"},
		"unknown setting":      {good, []string{"--config", unknown}, "no_such_setting"},
		"no credential":        {nil, nil, "BUCKETSEAL_ROOT_USER"},
		"bad address":          {good, []string{"--address", "nowhere"}, "address"},
		"bad upstream":         {good, []string{"--upstream", "127.0.0.1:9000"}, "upstream"},
		"certs that are not":   {good, []string{"--certs-dir", dir}, "public.crt"},
		"configuration absent": {good, []string{"--config", filepath.Join(dir, "none.yml")}, "none.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"server", "--data-dir", filepath.Join(dir, "data")}, tc.args...)
			if !strings.Contains(strings.Join(tc.args, " "), "--address") {
				args = append(args, "--address", "127.0.0.1:0")
			}
			cmd := exec.Command(program, args...)
			cmd.Env = baseEnv(tc.env...)
			timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
				t.Errorf("ended with %v, want an exit status other than 0", err)
			}
			if !strings.Contains(string(out), tc.says) {
				t.Errorf("does not mention %q: %s", tc.says, out)
			}
		})
	}
}
