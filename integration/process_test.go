package integration

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startLimit is how long a server may take until it is ready. Builds of other
// packages run beside the tests on a small machine.
const startLimit = 40 * time.Second

// patience is how many times longer tests wait than a machine needs that does nothing else:
// builds, unit tests and other tests run beside them.
const patience = 3

// process is a server that a test started. Its output goes to a file.
type process struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	// done is closed when the process has ended; waitErr is valid then.
	done    chan struct{}
	waitErr error
}

// startProcess runs a program with exactly the environment given. The program
// dies with the test binary, also when that is killed.
func startProcess(name, logPath string, env []string, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	p := &process{name: name, logPath: logPath, cmd: cmd, done: make(chan struct{})}

	started := make(chan error)
	go func() {
		// The parent-death signal is tied to the thread that starts the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.waitErr = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// waitReady polls url until it answers 200.
func (p *process) waitReady(client *http.Client, url string) error {
	deadline := time.Now().Add(startLimit)
	last := errors.New("not asked")
	for time.Now().Before(deadline) {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %v\n%s", p.name, p.waitErr, p.logTail(0))
		default:
		}
		resp, err := client.Get(url)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		last = err
		time.Sleep(30 * time.Millisecond)
	}
	return fmt.Errorf("%s is not ready after %v: %v\n%s", p.name, startLimit, last, p.logTail(0))
}

// stop asks the process to end, as an init system does, and returns how it
// ended. It is killed if it takes longer than limit.
func (p *process) stop(limit time.Duration) error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.waitErr
	case <-time.After(limit):
		p.kill()
		return fmt.Errorf("%s was still running %v after SIGTERM", p.name, limit)
	}
}

// kill ends the process at once, as a power cut would.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// logSize is how much the process has logged so far.
func (p *process) logSize() int64 {
	info, err := os.Stat(p.logPath)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince returns the log from an offset on.
func (p *process) logSince(offset int64) string {
	data, err := os.ReadFile(p.logPath)
	if err != nil || offset > int64(len(data)) {
		return ""
	}
	return string(data[offset:])
}

// logTail returns the last lines of the log after an offset.
func (p *process) logTail(offset int64) string {
	const lines = 60
	all := strings.Split(strings.TrimRight(p.logSince(offset), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// dumpOnFailure prints what the process logged from now on if the test fails.
func (p *process) dumpOnFailure(t *testing.T) {
	t.Helper()
	from := p.logSize()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.logTail(from))
		}
	})
}

// Ports that freeAddress gives away: below those of outgoing connections, which could take one
// between two uses of it.
const (
	firstPort = 10_000
	portCount = 20_000
)

// nextPort is what freeAddress tries next. Each run begins elsewhere, and gives no port twice.
var nextPort atomic.Uint32

// freeAddress returns a loopback address nobody listens on. Another process can
// take it before it is used; the caller starts again then.
func freeAddress() (string, error) {
	nextPort.CompareAndSwap(0, 1+rand.Uint32N(portCount))
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort.Add(1)%portCount)
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", err
}

// repoRoot is the directory above this one.
func repoRoot() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		return ".."
	}
	return dir
}

// tool returns the path of a program that `make tools` installs.
func tool(variable, name string) (string, error) {
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join(repoRoot(), ".bin", name)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing: run \"make tools\", or set %s", path, variable)
	}
	return path, nil
}

// sealBinary returns the path of the bucketseal binary: BUCKETSEAL_BIN, or one
// built on first use.
var sealBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BUCKETSEAL_BIN"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("BUCKETSEAL_BIN: %w", err)
		}
		return filepath.Abs(path)
	}
	path := filepath.Join(runDir, "bucketseal")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/bucketseal")
	build.Dir = repoRoot()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/bucketseal: %w\n%s", err, out)
	}
	return path, nil
})

// baseEnv is a small, clean environment for started programs: nothing of the
// developer's AWS or MinIO settings gets in.
func baseEnv(extra ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8",
		"BUCKETSEAL_DOCTOR_INTERVAL=0s", // tests that count requests would count the doctor's
	}
	return append(env, extra...)
}
