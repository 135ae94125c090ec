package integration

import (
	"os/exec"
	"strings"
	"testing"
)

// The binary says in which FIPS mode it runs, and does not start in the one in which it
// could not encrypt.
func TestBinarySaysItsFIPSMode(t *testing.T) {
	t.Parallel()
	program, err := sealBinary()
	if err != nil {
		t.Skip(err)
	}
	for mode, want := range map[string]string{"off": `"fips":"off"`, "on": `"fips":"on"`, "only": "use fips140=on"} {
		cmd := exec.Command(program, "version", "--json")
		cmd.Env = []string{"GODEBUG=fips140=" + mode}
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || (err == nil) != (mode != "only") {
			t.Errorf("%s: %v: %s", mode, err, out)
		}
	}
}
