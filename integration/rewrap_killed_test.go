package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A re-wrap that is killed every moment, so that no run lists everything, comes to its end, and
// nothing is left.
func TestRewrapThatIsKilledEachMoment(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	n, moment := 1000, 700*time.Millisecond
	if text := os.Getenv("BUCKETSEAL_OBJECTS"); text != "" {
		n, _ = strconv.Atoi(text)
		moment = time.Second
	}
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	s.mustKey(t, "create", "old")
	bucket := newBucket(t, c)
	var wait sync.WaitGroup
	for worker := range 12 {
		wait.Go(func() {
			for i := worker; i < n; i += 12 {
				a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: fmt.Sprintf("%06d", i), body: []byte("data"), header: kmsWith("old")})
				if err != nil || a.status != http.StatusOK {
					t.Errorf("PUT %d: %d %s, %v", i, a.status, a.code, err)
					return
				}
			}
		})
	}
	wait.Wait()
	s.mustKey(t, "rotate", "old")
	kills := s.killedEach(t, moment, "--key", "old")
	out, err := s.command(t, "key", "usage", "old", "--scan", "--json")
	var usage struct {
		Counts []struct {
			Version uint32 `json:"kms_key_version"`
			Objects int
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &usage)
	}
	if err != nil || len(usage.Counts) != 1 || usage.Counts[0].Version != 2 || usage.Counts[0].Objects != n {
		t.Errorf("killed %d times: %v, %v", kills, err, usage)
	}
	s.mustKey(t, "retire", "--force", "old", "1")
	for i := 0; i < n; i += 101 {
		c.get(t, bucket, fmt.Sprintf("%06d", i), nil).wantStatus(t, http.StatusOK)
	}
	if kills < 3 {
		t.Errorf("it was killed only %d times", kills)
	}
	if left, _ := filepath.Glob(filepath.Join(s.minio.dir, systemBucket, "rewrap", "*")); len(left) > 0 {
		t.Errorf("cursors are left: %q", left)
	}
}

// killedEach kills re-wraps again and again, until one has ended. It returns how many were killed.
func (s *stack) killedEach(t *testing.T, moment time.Duration, args ...string) (kills int) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for ; kills < 300; kills++ {
		cmd := exec.Command(program, append([]string{"key", "rewrap", "--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir}, args...)...) //nolint:noctx // it is killed
		cmd.Env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kills%40 == 39 {
			moment += moment / 2 // a busy machine does nothing in a moment
		}
		kill := time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		if err == nil {
			t.Logf("killed %d times, %v", kills, time.Since(began).Round(time.Second))
			return kills
		}
		if cmd.ProcessState.Exited() {
			t.Fatalf("key rewrap, killed %d times: %v\n%s", kills, err, out.String())
		}
	}
	t.Fatalf("no run has ended by itself after %d were killed", kills)
	return kills
}
