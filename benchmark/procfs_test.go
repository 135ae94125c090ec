package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 75 13 14 20"
	for _, command := range []string{"(minio)", "(a b)", "(x) y) 1 2 (z)"} {
		got, err := parseStat([]byte("4242 " + command + rest))
		if err != nil || got != 3.25 {
			t.Errorf("%s: %v, %v, want 3.25", command, got, err)
		}
	}
	for _, bad := range []string{"", "4242 minio S", "4242 (minio) S 1 2", "4242 (minio)" + strings.Replace(rest, "250", "x", 1), "4242 (minio)" + strings.Replace(rest, "75", "-1", 1)} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %v, want an error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const status = "Name:\tVmHWM: 5 kB\nVmPeak:\t  100 kB\nVmHWM:\t   1234 kB\nVmRSS:\t 7 kB\n"
	for name, want := range map[string]int64{"VmHWM": 1234 << 10, "VmRSS": 7 << 10} {
		if got, err := parseStatus([]byte(status), name); err != nil || got != want {
			t.Errorf("%s = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, bad := range []string{"", "VmHWM: 12\n", "VmHWM: x kB\n", "VmHWM: 12 MB\n"} {
		if got, err := parseStatus([]byte(bad), "VmHWM"); err == nil {
			t.Errorf("%q: %d, want an error", bad, got)
		}
	}
}

// What was parsed is compared with what this process did.
func TestProcessorSecondsAndPeakOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	before, err := processorSeconds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 100*time.Millisecond; { //nolint:revive // works on purpose
	}
	after, err := processorSeconds(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("processor seconds went from %v to %v, %v", before, after, err)
	}
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	// The file counts hundredths.
	if parsed, err := parseStat(data); err != nil || parsed < after-0.05 || parsed > after+1 {
		t.Errorf("/proc/self/stat says %v, %v, the clock %v", parsed, err, after)
	}
	if peak, err := memoryOf(os.Getpid(), "VmHWM"); err != nil || peak < 1<<20 {
		t.Errorf("VmHWM = %d, %v", peak, err)
	}
}
