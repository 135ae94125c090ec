package integration

import (
	"fmt"
	"os"
	"testing"
)

// TestMain only removes what outlives single tests: the shared servers and the
// directory they live in.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bucketseal-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		os.Exit(1)
	}
	runDir = dir
	code := m.Run()
	shared.stop()
	if os.Getenv("BUCKETSEAL_KEEP") == "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// runDir is the directory of this test run, removed at its end.
var runDir string
