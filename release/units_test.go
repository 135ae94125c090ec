package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// systemd rates how much of the system a service can reach, from 0 (least) to 10.
func TestUnitsReachNoMoreThanTheyNeed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (Debian: systemd)")
	}
	rating := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for _, unit := range units {
		if !strings.HasSuffix(unit, ".service") {
			continue
		}
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", filepath.Join("../deploy/systemd", unit)).CombinedOutput()
		if strings.Contains(string(out), "unrecognized option") {
			t.Skip("this systemd-analyze rates no files")
		}
		m := rating.FindStringSubmatch(string(out))
		if m == nil {
			t.Fatalf("%s: %v: %s", unit, err, out)
		}
		if level, err := strconv.ParseFloat(m[1], 64); err != nil || level >= 2 {
			t.Errorf("%s: exposure %s, want less than 2\n%s", unit, m[1], out)
		}
	}
}

// systemd takes every line of the units: a misspelled one is a warning there, and
// protects nothing.
func TestUnitsAreUnderstoodBySystemd(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed (Debian: systemd)")
	}
	dir := t.TempDir()
	for _, unit := range units {
		text, err := os.ReadFile(filepath.Join("../deploy/systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		// The program is not installed here.
		changed := strings.ReplaceAll(string(text), "/usr/bin/bucketseal", "/bin/true")
		if err := os.WriteFile(filepath.Join(dir, unit), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range units {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, unit)).CombinedOutput()
		for line := range strings.SplitSeq(string(out), "\n") {
			if strings.Contains(line, "bucketseal") {
				t.Errorf("%s: %v: %s", unit, err, line)
			}
		}
	}
}
