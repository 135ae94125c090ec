package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// run runs a program to its end.
func run(t *testing.T, env []string, dir string, program string, args ...string) (stdout, all string, err error) {
	t.Helper()
	return runWith(t, env, dir, "", program, args...)
}

// runWith is run with something on the standard input.
func runWith(t *testing.T, env []string, dir, input, program string, args ...string) (stdout, all string, err error) {
	t.Helper()
	var out, both bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = env, dir, strings.NewReader(input)
	lock := &lockedWriter{w: &both}
	cmd.Stdout = writers{&out, lock}
	cmd.Stderr = lock
	limit := 3 * time.Minute
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		limit = time.Hour
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Run()
	return out.String(), both.String(), err
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

type writers []interface{ Write([]byte) (int, error) }

func (w writers) Write(p []byte) (int, error) {
	for _, one := range w {
		if n, err := one.Write(p); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// mcRunner runs mc with a configuration of the test's own: "seal" is the system
// under test, "raw" the MinIO behind it.
type mcRunner struct {
	program, config string
}

func newMC(t *testing.T, s *stack) *mcRunner {
	t.Helper()
	program, err := tool("MC_BIN", "mc")
	if err != nil {
		t.Fatal(err)
	}
	m := &mcRunner{program: program, config: t.TempDir()}
	m.must(t, "alias", "set", "seal", s.client().endpoint, rootUser, rootPassword)
	m.must(t, "alias", "set", "raw", s.minio.endpoint(), rootUser, rootPassword)
	return m
}

func (m *mcRunner) run(t *testing.T, args ...string) (string, string, error) {
	t.Helper()
	env := baseEnv("HOME="+m.config, "MC_CONFIG_DIR="+m.config)
	return run(t, env, m.config, m.program, append([]string{"--quiet", "--no-color"}, args...)...)
}

func (m *mcRunner) must(t *testing.T, args ...string) string {
	t.Helper()
	out, all, err := m.run(t, args...)
	if err != nil {
		t.Fatalf("mc %s: %v\n%s", strings.Join(args, " "), err, all)
	}
	return out
}

// awsEnv is the environment of aws-cli and boto3.
func awsEnv(t *testing.T, home, endpoint string) []string {
	t.Helper()
	return baseEnv("HOME="+home, "AWS_ACCESS_KEY_ID="+rootUser, "AWS_SECRET_ACCESS_KEY="+rootPassword, "AWS_DEFAULT_REGION="+region,
		"AWS_ENDPOINT_URL="+endpoint, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+filepath.Join(home, "none"),
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "none"), "AWS_PAGER=",
		"PYENV_ROOT="+os.Getenv("PYENV_ROOT"), "PYENV_VERSION="+os.Getenv("PYENV_VERSION"),
		// boto3 otherwise waits a second for a 100 Continue that has no headers.
		"BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE=true")
}

// realHome is where a version manager's shims look for themselves.
func realHome() string { return os.Getenv("HOME") }

// aws runs aws-cli, or skips the test where there is none.
func aws(t *testing.T, endpoint, dir string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("aws-cli is not installed")
	}
	out, all, err := run(t, awsEnv(t, realHome(), endpoint), dir, program, args...)
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, all)
	}
	return out
}

// python runs a script with boto3, or skips the test where there is none.
func python(t *testing.T, endpoint, script string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	env := awsEnv(t, realHome(), endpoint)
	if _, _, err := run(t, env, "", program, "-c", "import boto3"); err != nil {
		t.Skip("boto3 is not installed")
	}
	out, all, err := run(t, env, t.TempDir(), program, append([]string{"-c", script}, args...)...)
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, all)
	}
	return out
}

// writeFile writes a file of the test's own and returns its path.
func writeFile(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// exitCode is that of a program that was run; -1 if it was not.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func wantFile(t *testing.T, path string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes differ from the %d expected at %d", path, len(got), len(data), firstDifference(got, data))
	}
}
