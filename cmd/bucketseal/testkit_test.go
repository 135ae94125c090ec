package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	testUser   = "test-user"
	testSecret = "hidden-secret-0123456789"
)

func rootEnv(extra ...string) []string {
	return append([]string{"BUCKETSEAL_ROOT_USER=" + testUser, "BUCKETSEAL_ROOT_PASSWORD=" + testSecret}, extra...)
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// command runs one command line to its end.
func command(t *testing.T, env []string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr, env)
	return result{code, stdout.String(), stderr.String()}
}

// ok runs a command that must succeed and returns its output.
func ok(t *testing.T, env []string, stdin string, args ...string) string {
	t.Helper()
	r := command(t, env, stdin, args...)
	if r.code != 0 {
		t.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// fails runs a command that must fail with a message.
func fails(t *testing.T, code int, message string, env []string, stdin string, args ...string) {
	t.Helper()
	r := command(t, env, stdin, args...)
	if r.code != code || !strings.Contains(r.stderr, message) {
		t.Errorf("%v: exit code %d, want %d; message %q, want %q", args, r.code, code, r.stderr, message)
	}
	if strings.Contains(r.stdout+r.stderr, testSecret) {
		t.Errorf("%v shows a secret", args)
	}
}

// output is a buffer that one goroutine writes and others read.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// daemon is a command that runs until it is told to stop.
type daemon struct {
	stdout, stderr output
	cancel         context.CancelFunc
	done           chan struct{}
	code           int
}

// start runs a command in the background. The test stops it at its end.
func start(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.code = run(ctx, args, strings.NewReader(""), &d.stdout, &d.stderr, env)
	}()
	t.Cleanup(func() { d.stop(t) })
	return d
}

// stop ends the command as a signal would, and returns its exit code.
func (d *daemon) stop(t *testing.T) int {
	t.Helper()
	d.cancel()
	select {
	case <-d.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("still running 30 s after it was asked to end:\n%s", d.stderr.String())
	}
	return d.code
}

// waitLog waits for a log line and returns what the pattern's group matched.
func (d *daemon) waitLog(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if m := re.FindStringSubmatch(d.stderr.String()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-d.done:
			t.Fatalf("ended with %d before it logged %s:\n%s", d.code, pattern, d.stderr.String())
		default:
		}
	}
	t.Fatalf("did not log %s:\n%s", pattern, d.stderr.String())
	return ""
}

// address waits until the server listens and says where.
func (d *daemon) address(t *testing.T) string {
	t.Helper()
	return d.waitLog(t, `msg="bucketseal server".* address=(\S+)`)
}

// ready waits until the server has set everything up: what it does in the
// background would else go on in folders that the test's end removes.
func (d *daemon) ready(t *testing.T, args ...string) (address string) {
	t.Helper()
	address = d.address(t)
	waitFor(t, "the server is ready", func() bool {
		return command(t, nil, "", append([]string{"health", "--address", address}, args...)...).code == 0
	})
	return address
}

// get asks an URL and returns the status, 0 if there is no answer.
func get(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// waitFor waits until something is the case.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hangup sends SIGHUP to this process, in which a server runs that expects it.
func hangup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// newCerts makes public.crt and private.key for 127.0.0.1 and returns the folder.
func newCerts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	renewCerts(t, dir)
	return dir
}

func renewCerts(t *testing.T, dir string) {
	t.Helper()
	ok(t, nil, "", "identity", "new", "--force", "--ip", "127.0.0.1", "--dns", "localhost",
		"--key", filepath.Join(dir, "private.key"), "--cert", filepath.Join(dir, "public.crt"), "localhost")
}

// servedKey returns the identity of the certificate that a server shows.
func servedKey(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		return "protocol " + p
	}
	return string(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
}
