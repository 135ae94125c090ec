package integration

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain removes what outlives single tests: the shared servers and the
// directory they live in. A run of all tests also fails if the list of
// differences has entries that are not true any more.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bucketseal-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		os.Exit(1)
	}
	runDir = dir
	code := m.Run()
	if ranAll() && !targetIsMinIO() && code == 0 {
		for _, entry := range staleDifferences() {
			fmt.Fprintln(os.Stderr, "differences_test.go: no answer differs any more, remove:", entry)
			code = 1
		}
	}
	shared.stop()
	if os.Getenv("BUCKETSEAL_KEEP") == "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// ranAll says whether every test ran: none was left out, and the run was not
// only to list them.
func ranAll() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return flag.Lookup("test.count").Value.String() != "0"
}

// runDir is the directory of this test run, removed at its end.
var runDir string
