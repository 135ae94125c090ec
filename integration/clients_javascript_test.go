package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJavaScriptClients runs the AWS SDK for JavaScript and minio-js. Their
// packages are installed once, beside the binary under test.
func TestJavaScriptClients(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node.js is not installed")
	}
	dir := javaScriptPackages(t)
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "clients.mjs")
	cmd.Dir = dir
	cmd.Env = baseEnv("ENDPOINT="+c.endpoint, "BUCKET="+bucket, "ACCESS_KEY="+rootUser, "SECRET_KEY="+rootPassword)
	var warnings strings.Builder
	cmd.Stderr = &warnings
	if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v\n%s%s", err, out, &warnings)
	}
}

// javaScriptPackages returns a folder with the script and what it imports.
func javaScriptPackages(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(program), "js")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	installed, _ := os.ReadFile(filepath.Join(dir, "installed.json"))
	wanted := readRepo(t, "integration/testdata/js/package.json")
	writeFile(t, dir, "clients.mjs", []byte(readRepo(t, "integration/testdata/js/clients.mjs")))
	if string(installed) == wanted {
		return dir
	}
	writeFile(t, dir, "package.json", []byte(wanted))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error",
		"--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000", "--fetch-timeout=30000")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the clients: %v\n%s", err, out)
	}
	writeFile(t, dir, "installed.json", []byte(wanted))
	return dir
}
