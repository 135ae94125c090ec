package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// startLimit is how long a server may take until it is ready.
const startLimit = 40 * time.Second

// process is a program that was started. Its output goes to a file.
type process struct {
	name, logPath string
	cmd           *exec.Cmd
	// done is closed when it has ended; waitErr is valid then.
	done    chan struct{}
	waitErr error
}

// startProcess runs a program with the environment given and little else. It dies
// with the benchmark.
func startProcess(name, logPath string, env []string, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8"}, env...)
	for _, name := range []string{"GOMAXPROCS", "GODEBUG"} {
		if v := os.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	p := &process{name: name, logPath: logPath, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal at the parent's death is tied to the thread that starts the process.
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

// wait asks until ready says nil, for as long as the process lives and startLimit.
func (p *process) wait(ctx context.Context, ready func() error) error {
	deadline := time.Now().Add(startLimit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return &endedError{p.name, p.waitErr, p.logTail()}
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", p.name, startLimit, err, p.logTail())
		}
	}
}

// endedError is a server that ended before it was ready.
type endedError struct {
	name string
	err  error
	log  string
}

func (e *endedError) Error() string {
	return fmt.Sprintf("%s ended before it was ready: %v\n%s", e.name, e.err, e.log)
}

// refused says that a program ended by itself instead of starting: an older
// binary does not know a newer setting.
func refused(err error) bool {
	ended := (*endedError)(nil)
	return errors.As(err, &ended)
}

// stop asks it to end, as an init system does, and kills it after a while.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// logTail returns the last lines that it said.
func (p *process) logTail() string {
	data, err := os.ReadFile(p.logPath)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// freeAddress returns a loopback address where nobody listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
