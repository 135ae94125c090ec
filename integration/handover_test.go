package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// steadyLoad is clients that write and read without an end, and never try anything again.
type steadyLoad struct {
	stopped atomic.Bool
	done    sync.WaitGroup
	served  atomic.Int64
	mu      sync.Mutex
	failed  []string
}

func (l *steadyLoad) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf(format, args...))
}

// boto writes and reads until its time is over, without a retry.
const boto = `
import boto3, sys, time
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 0, "mode": "standard"}))
end, n = time.time() + float(sys.argv[2]), 0
while time.time() < end:
    body = str(n).encode() * 1000
    s3.put_object(Bucket=sys.argv[1], Key="boto", Body=body)
    assert s3.get_object(Bucket=sys.argv[1], Key="boto")["Body"].read() == body
    n += 1
print(n)
`

// startSteadyLoad has clients work on a bucket: some keep their connections, some do not.
func startSteadyLoad(t *testing.T, endpoint, bucket string) *steadyLoad {
	t.Helper()
	l := &steadyLoad{}
	data := testData(100_000, 3)
	for i := range 4 {
		c := newClient(endpoint, rootUser, rootPassword)
		if i%2 == 0 {
			c.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		}
		l.done.Go(func() {
			for n := 0; !l.stopped.Load(); n++ {
				key := fmt.Sprintf("%d-%d", i, n%10)
				a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: key, body: data})
				if err != nil || a.status != http.StatusOK {
					l.fail("client %d, put: %d %s, %v", i, a.status, a.code, err)
				}
				a, err = c.try(request{method: http.MethodGet, bucket: bucket, key: key})
				if err != nil || a.status != http.StatusOK || len(a.body) != len(data) {
					l.fail("client %d, get: %d %s, %d bytes, %v", i, a.status, a.code, len(a.body), err)
				}
				l.served.Add(2)
			}
		})
	}
	return l
}

// startBoto runs boto3 for a while, in the background.
func (l *steadyLoad) startBoto(t *testing.T, endpoint, bucket string, d time.Duration) {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		return
	}
	cmd := exec.Command(program, "-c", boto, bucket, strconv.FormatFloat(d.Seconds(), 'f', 1, 64))
	cmd.Env = awsEnv(t, realHome(), endpoint)
	l.done.Go(func() {
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "No module named 'boto3'") {
			l.fail("boto3: %v: %s", err, out)
		}
	})
}

// end stops the clients. None of their requests may have failed.
func (l *steadyLoad) end(t *testing.T) {
	t.Helper()
	l.stopped.Store(true)
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, text := range l.failed {
		if i < 10 {
			t.Error(text)
		}
	}
	t.Logf("%d requests, %d failed", l.served.Load(), len(l.failed))
	if l.served.Load() < 20 {
		t.Error("there was no load")
	}
}

func loadTime() time.Duration {
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		return time.Minute
	}
	return 5 * time.Second
}

var handedTo = regexp.MustCompile(`msg="the new process serves[^"]*" pid=(\d+)`)

func TestHandOverLosesNoRequestAndRefusesNoConnection(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	bucket := newBucket(t, s.client())
	l := startSteadyLoad(t, s.seal.endpoint(), bucket)
	l.startBoto(t, s.seal.endpoint(), bucket, loadTime())
	pid := s.seal.pid()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	began, rounds := time.Now(), 0
	for time.Since(began) < loadTime() {
		at := s.seal.logSize()
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if m := handedTo.FindStringSubmatch(s.seal.logSince(at)); m != nil {
				pid, _ = strconv.Atoi(m[1])
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not handed over:\n%s", s.seal.logSince(at))
			}
		}
		rounds++
		time.Sleep(500 * time.Millisecond)
	}
	l.end(t)
	t.Logf("handed over %d times", rounds)
	select {
	case <-s.seal.done:
		if s.seal.waitErr != nil {
			t.Errorf("the first process: %v", s.seal.waitErr)
		}
	case <-time.After(40 * time.Second):
		t.Error("the first process did not end")
	}
	s.client().get(t, bucket, "0-0", nil).wantStatus(t, http.StatusOK)
}

func TestASuccessorThatCannotStartLeavesTheServerServing(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	c := newClinic(t)
	healthy := readFile(t, c.config)
	writeFile(t, c.dir, "healthy.yml", append([]byte("nonsense: 1\n"), healthy...))
	at := c.seal.logSize()
	if err := syscall.Kill(c.seal.pid(), syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	waitLog(t, c.seal.process, at, "the new process does not take over; this one goes on serving")
	if a, err := newClient(c.seal.endpoint(), rootUser, rootPassword).try(request{method: http.MethodGet}); err != nil || a.status != http.StatusOK {
		t.Errorf("%d, %v", a.status, err)
	}
}

// waitLog waits until the log has a text.
func waitLog(t *testing.T, p *process, at int64, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.logSince(at), want); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not have %q:\n%s", want, p.logSince(at))
		}
	}
}

const balancer = `global
    maxconn 500
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend s3
    bind %s
    default_backend seal
backend seal
    option httpchk GET /minio/health/ready
    default-server inter 300ms fall 1 rise 1
    server one %s check
    server two %s check
`

func TestRestartsBehindABalancerLoseNoRequest(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	s := newStack(t, stackOptions{})
	bucket := newBucket(t, s.client())
	dir := t.TempDir()
	config := writeFile(t, dir, "drain.yml", []byte("limits: {drain: 2s}\n"))
	start := func(addr string) *sealServer {
		t.Helper()
		p, err := startSeal(dir, addr, s.minio.endpoint(), "--config", config, "--data-dir", s.seal.dataDir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	second := start("")
	defer func() { second.kill() }()
	front, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	cfg := writeFile(t, dir, "haproxy.cfg", fmt.Appendf(nil, balancer, front, s.seal.addr, second.addr))
	ha, err := startProcess("haproxy", filepath.Join(dir, "haproxy.log"), baseEnv(), program, "-db", "-f", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer ha.kill()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if conn, err := net.Dial("tcp", front); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("haproxy does not listen")
		}
	}
	time.Sleep(time.Second) // its first checks
	l := startSteadyLoad(t, "http://"+front, bucket)
	l.startBoto(t, "http://"+front, bucket, loadTime())
	began, rounds := time.Now(), 0
	for time.Since(began) < loadTime() {
		if err := second.stop(40 * time.Second); err != nil {
			t.Fatal(err)
		}
		second = start(second.addr)
		rounds++
		time.Sleep(time.Second) // until the balancer has seen it
	}
	l.end(t)
	t.Logf("restarted %d times", rounds)
}
