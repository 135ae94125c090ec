package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// servesAlready is what a process says that another one has taken over from, and that is asked once
// more.
const servesAlready = "another process serves already"

// handTo has a process hand over, and returns the number of the next one. Meanwhile and afterwards
// the process is asked once more, which changes nothing.
func handTo(t *testing.T, p *process, pid int) (next int) {
	t.Helper()
	at := p.logSize()
	ask := func() {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	waitLog(t, p, at, "starting the program anew")
	ask()
	for deadline := time.Now().Add(60 * time.Second); next == 0; time.Sleep(50 * time.Millisecond) {
		if m := handedTo.FindStringSubmatch(p.logSince(at)); m != nil {
			next, _ = strconv.Atoi(m[1])
		} else if time.Now().After(deadline) || strings.Contains(p.logSince(at), "does not take over") {
			t.Fatalf("not handed over:\n%s", p.logSince(at))
		}
	}
	waitLog(t, p, at, servesAlready)
	at = p.logSize()
	ask()
	waitLog(t, p, at, servesAlready)
	return next
}

// waitSigned waits until an audit log has a key, which those who take over go on with.
func waitSigned(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(path + ".head"); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the audit log has no head")
		}
	}
}

// endNext ends a process that another one has started.
func endNext(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(50 * time.Millisecond) {
		if state, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat")); err == nil && strings.Contains(string(state), ") Z ") {
			return // it waits for its parent, which has ended
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
	}
}

func TestHandOverWithARequiredAuditLogLosesNoRequestAndNoLine(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, l, yaml := newAudited(t, t.TempDir(), "  required: true\n")
	bucket := newBucket(t, s.client())
	load := startSteadyLoad(t, s.seal.endpoint(), bucket)
	pid := s.seal.pid()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	waitSigned(t, l.path)
	for range 2 {
		pid = handTo(t, s.seal.process, pid)
		time.Sleep(time.Second)
	}
	load.end(t)
	select { // its lines are written to the end
	case <-s.seal.done:
	case <-time.After(60 * time.Second):
		t.Error("the first process did not end")
	}
	time.Sleep(2 * time.Second) // so does the second one
	endNext(t, pid)
	root := []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword, "BUCKETSEAL_DATA_DIR=" + s.seal.dataDir}
	if out := mustSeal(t, root, "", "audit", "verify", "--config", yaml); !strings.Contains(out, "in 3 chains") || strings.Count(out, "public key: ") != 1 {
		t.Errorf("audit verify says\n%s", out)
	}
	found := mustSeal(t, root, "", "audit", "search", "--config", yaml, "--bucket", bucket, "--kind", "request", "--limit", "1000000")
	if lines := int64(strings.Count(found, "\n")); lines < load.served.Load() {
		t.Errorf("%d requests of the load have %d lines", load.served.Load(), lines)
	}
	former, err := filepath.Glob(l.path + ".2*Z")
	if err != nil || len(former) != 2 {
		t.Fatalf("%v, %v", former, err)
	}
	// A whole chain is taken away.
	if err := os.Remove(former[1]); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(former[1] + ".head")
	refusedSeal(t, "is missing: this one began after it", root, "", "audit", "verify", "--config", yaml)
}
