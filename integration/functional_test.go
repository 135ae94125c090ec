package integration

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// functionalDifferences are tests of minio-go that pass at a MinIO and not here,
// with the reason; names are regular expressions.
func functionalDifferences() map[string]string {
	return map[string]string{
		"^testListMultipartUpload$": "as at AWS, uploads have an owner and a class, and a key marker leaves out its own key",
	}
}

// TestMinioGosFunctionalTestsPassAsAtMinIO builds minio-go's own functional
// tests, runs them against the proxy and against a MinIO with a KMS, and
// compares. It takes minutes: it runs only if BUCKETSEAL_FUNCTIONAL is set.
func TestMinioGosFunctionalTestsPassAsAtMinIO(t *testing.T) {
	if os.Getenv("BUCKETSEAL_FUNCTIONAL") == "" {
		t.Skip("takes minutes; set BUCKETSEAL_FUNCTIONAL=1 to run it")
	}
	shared := sharedPair(t)
	p := &pair{certs: shared.certs, pool: shared.pool}
	t.Cleanup(p.stop)
	behind, err := startMinIO(t.TempDir(), "", false)
	if err != nil {
		t.Fatal(err)
	}
	p.servers = append(p.servers, behind.process)
	// Some of its tests sign by version 2, which is off unless it is asked for.
	if err := p.startSeal(t, t.TempDir(), behind.endpoint(), "sse-s3", "BUCKETSEAL_SIGNATURE_V2=true"); err != nil {
		t.Fatal(err)
	}
	program := buildFunctionalTests(t)
	want := make(chan map[string][]string, 1)
	go func() { want <- runFunctionalTests(t, program, shared.reference.endpoint) }()
	got := runFunctionalTests(t, program, p.seal.endpoint)
	reference := <-want
	if len(got) < 50 || len(reference) < 50 {
		t.Fatalf("only %d and %d tests ran", len(got), len(reference))
	}
	t.Logf("%d tests ran, %d at the reference", len(got), len(reference))
	for _, name := range slices.Sorted(maps.Keys(reference)) {
		failures, ran := got[name]
		if known := functionalReason(name); known != "" {
			t.Logf("%s: %d failures: %s", name, len(failures), known)
		} else if !ran || len(failures) > len(reference[name]) {
			t.Errorf("%s: ran %t, fails with %q\na MinIO: %q", name, ran, failures, reference[name])
		}
	}
}

func functionalReason(name string) string {
	for pattern, reason := range functionalDifferences() {
		if regexp.MustCompile(pattern).MatchString(name) {
			return reason
		}
	}
	return ""
}

// buildFunctionalTests builds the program as a module of its own that requires
// what this one does.
func buildFunctionalTests(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/minio/minio-go/v7").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "functional_tests.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(source), "\n") // without its build constraint
	writeFile(t, dir, "main.go", []byte(program))
	writeFile(t, dir, "go.sum", []byte(readRepo(t, "go.sum")))
	writeFile(t, dir, "go.mod", []byte(regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(readRepo(t, "go.mod"), "module functional")))
	build := exec.Command("go", "build", "-mod=mod", "-buildvcs=false", "-o", "functional", ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build minio-go's functional tests: %v\n%s", err, out)
	}
	return filepath.Join(dir, "functional")
}

// runFunctionalTests returns the failures of each test that ran.
func runFunctionalTests(t *testing.T, program, endpoint string) map[string][]string {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Dir = t.TempDir()
	cmd.Env = baseEnv("SERVER_ENDPOINT="+strings.TrimPrefix(endpoint, "https://"), "ACCESS_KEY="+rootUser, "SECRET_KEY="+rootPassword,
		"ENABLE_HTTPS=1", "ENABLE_KMS=1", "SKIP_CERT_VALIDATION=1", "MINT_MODE=full", "RUN_ON_FAIL=1")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return nil
	}
	limit := time.AfterFunc(7*time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	results := map[string][]string{}
	lines := bufio.NewScanner(pipe)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct{ Name, Status, Message, Error string }
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Name == "" {
			continue
		}
		name := strings.TrimPrefix(line.Name, "minio-go: ")
		results[name] = slices.Clip(results[name])
		if line.Status == "FAIL" {
			results[name] = append(results[name], line.Message+": "+line.Error)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Logf("minio-go's functional tests at %s: %v", endpoint, err)
	}
	return results
}
