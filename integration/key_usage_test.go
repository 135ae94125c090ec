package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A version of a KMS key is retired and destroyed without --force, by what a scan counted: not
// before it is free, and over restarts.
func TestAVersionGoesWhenAScanCountsNothingUnderIt(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--config", usageConfig(t, "1h")}})
	c := s.client()
	bucket := newBucket(t, c)
	data := map[string][]byte{"kms": testData(5000, 1), "s3": testData(70_000, 2), "streamed": testData(9<<20, 3)}
	header := map[string]map[string]string{"kms": kmsWith(defaultKey), "s3": nil, "streamed": nil}
	for key, content := range data {
		c.put(t, bucket, key, content, header[key]).wantStatus(t, http.StatusOK)
	}
	running := c.createUpload(t, bucket, "running", kmsWith(defaultKey))
	running.put(t, 1, []byte("part"))
	listing := func() string {
		return string(c.do(t, request{method: http.MethodGet, bucket: bucket, query: "list-type=2"}).wantStatus(t, http.StatusOK).body)
	}
	var before string
	read := func(what string) {
		t.Helper()
		if after := listing(); after != before {
			t.Errorf("%s: the listing changed:\n%s\n%s", what, before, after)
		}
		for key, content := range data {
			if a := c.get(t, bucket, key, nil); a.status != http.StatusOK || !bytes.Equal(a.body, content) {
				t.Errorf("%s: GET %s: %d, %d bytes", what, key, a.status, len(a.body))
			}
		}
	}
	restart := func() {
		t.Helper()
		s.seal.kill()
		s.restart(t)
		c = s.client()
	}
	// refused wants a command to do nothing, and say why.
	refused := func(says string, args ...string) {
		t.Helper()
		if out, err := s.command(t, append([]string{"key"}, args...)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("key %v: %v %s, want %q", args, err, out, says)
		}
	}
	if out, err := s.command(t, "key", "usage"); err != nil || !strings.Contains(out, defaultKey) { // there is no scan: one is made, and remembered
		t.Fatal(err, out)
	}
	s.mustKey(t, "rotate", defaultKey)
	long := os.Getenv("BUCKETSEAL_LONG") != ""
	if long {
		overtaken(t, s, bucket)
	}
	before = listing()
	refused("3 objects with", "retire", defaultKey, "1")
	refused("1 uploads under way", "destroy", defaultKey, "1", "--now")
	if out, err := s.command(t, "key", "rewrap"); err != nil {
		t.Fatal(err, out)
	}
	restart()
	refused("SSE-KMS: 2", "retire", defaultKey, "1") // the scan of before counts
	began := time.Now()
	out, err := s.command(t, "key", "usage", defaultKey, "--scan", "--json")
	if err != nil || strings.Contains(out, `"kms_key_version":1,"bucket"`) || strings.Count(out, `"kms_key_version":2,"bucket"`) != 2 {
		t.Fatal(err, out)
	}
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("servers may seal under version 1 for seconds, and the scan began at once: it took %v", took)
	}
	if out, err := s.command(t, "key", "retire", defaultKey, "1"); err != nil {
		t.Fatal(err, out)
	}
	restart()
	read("retired")
	if out, err := s.command(t, "key", "usage", defaultKey); err != nil || !strings.Contains(out, " ago)") {
		t.Errorf("%v %s", err, out)
	}
	if _, all, err := s.commandWith(t, "3\n", "key", "destroy", defaultKey, "1", "--now"); err == nil {
		t.Errorf("the count was 0: %s", all)
	}
	if _, all, err := s.commandWith(t, "0\n", "key", "destroy", defaultKey, "1", "--now"); err != nil {
		t.Fatal(err, all)
	}
	restart()
	read("destroyed")
	running.c = c
	running.complete(t)
	c.get(t, bucket, "running", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("part"))
	// A write that a rotation overtook is under the version before, whatever a scan says that
	// may not have seen it.
	if long {
		refused("a write under version 1 ended", "retire", "late", "1")
	}
	refused("3 objects with", "rm", defaultKey)
	if _, all, err := s.commandWith(t, "", "key", "rm", defaultKey, "--force"); err != nil || !strings.Contains(all, "3 objects with") {
		t.Errorf("what is lost is not said: %v %s", err, all)
	}
}

// overtaken writes an object under the KMS key "late", which is rotated meanwhile.
func overtaken(t *testing.T, s *stack, bucket string) {
	t.Helper()
	s.mustKey(t, "create", "late")
	in, out := io.Pipe()
	data := testData(9<<20, 4)
	done := make(chan answer, 1)
	c := s.client()
	go func() {
		done <- c.do(t, request{method: http.MethodPut, bucket: bucket, key: "late", header: kmsWith("late"), stream: in, size: int64(len(data))})
	}()
	half := len(data) / 2
	if _, err := out.Write(data[:half]); err != nil {
		t.Fatal(err)
	}
	s.mustKey(t, "rotate", "late")
	time.Sleep(5 * time.Second) // until the server has noticed
	if _, err := out.Write(data[half:]); err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	a := <-done
	a.wantStatus(t, http.StatusOK)
}

// usageConfig is a file that makes a server scan without a bound, so often.
func usageConfig(t *testing.T, interval string) string {
	t.Helper()
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "usage.yml")
	text := "usage_scan: {interval: " + interval + ", rate: 0}\nmetrics: {address: \"" + metrics + "\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// metricsOf returns what a server with the file of usageConfig shows.
func metricsOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, at, _ := strings.Cut(string(text), "address: \"")
	at, _, _ = strings.Cut(at, "\"")
	resp, err := http.Get("http://" + at + "/metrics") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Two proxies scan in the background, one for both, while buckets come and go; each knows
// what was found.
func TestTwoProxiesShareTheScansOfTheBackground(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	files := []string{usageConfig(t, "2s"), usageConfig(t, "2s")}
	s := newStack(t, stackOptions{args: []string{"--config", files[0]}})
	second, err := startSeal(s.dir, "", s.minio.endpoint(), "--config", files[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	c := s.client()
	kept := newBucket(t, c)
	for _, key := range []string{"a", "b", "c"} {
		c.put(t, kept, key, []byte("data"), nil).wantStatus(t, http.StatusOK)
	}
	start := time.Now()
	began := make(map[time.Time]bool)
	for time.Since(start) < 7*time.Second || len(began) < 2 && time.Since(start) < patience*10*time.Second {
		gone := newBucket(t, c)
		c.put(t, gone, "x", []byte("data"), nil).wantStatus(t, http.StatusOK)
		out, err := s.command(t, "key", "usage", "--json")
		var usage struct {
			Began  time.Time
			Counts []struct {
				Bucket  string
				Objects int
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &usage)
		}
		if err != nil {
			t.Fatal(err, out)
		}
		began[usage.Began] = true
		c.do(t, request{method: http.MethodDelete, bucket: gone, key: "x"}).wantStatus(t, http.StatusNoContent)
		c.do(t, request{method: http.MethodDelete, bucket: gone}).wantStatus(t, http.StatusNoContent)
	}
	if took := time.Since(start); len(began) < 2 || len(began) > 3+int(took/(2*time.Second)) {
		t.Errorf("%d scans in %v, by two proxies that scan every two seconds", len(began), took)
	}
	lines := []string{`bucketseal_key_objects{key="` + defaultKey + `",mode="SSE-S3",version="1"}`, "bucketseal_key_scan_age_seconds "}
	showsAll(t, files[0], append(lines, "bucketseal_key_last_use_timestamp_seconds")...)
	showsAll(t, files[1], lines...)
}

// showsAll waits until the metrics of a server with the file of usageConfig have all of some lines: it
// reads what was found when a scan is due, by whomever.
func showsAll(t *testing.T, file string, lines ...string) {
	t.Helper()
	lacking := func() (line string) {
		shown := metricsOf(t, file)
		for _, line := range lines {
			if !strings.Contains(shown, line) {
				return line
			}
		}
		return ""
	}
	for end := time.Now().Add(patience * 10 * time.Second); lacking() != "" && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	if line := lacking(); line != "" {
		t.Errorf("the metrics do not have %s", line)
	}
}

// A scan that is killed leaves nothing but a claim that ends by itself.
func TestAScanThatIsKilled(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	if os.Getenv("BUCKETSEAL_LONG") == "" {
		t.Skip("waits for the claim of a dead process; set BUCKETSEAL_LONG=1")
	}
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		c.put(t, bucket, key, []byte("data"), kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	}
	remembered := func(n string) {
		t.Helper()
		if out, err := s.command(t, "key", "usage", defaultKey, "--json"); err != nil || !strings.Contains(out, `"objects":`+n+",") {
			t.Errorf("%v %s", err, out)
		}
	}
	wantUsage(t, s, defaultKey, 8, 0)
	c.put(t, bucket, "i", []byte("data"), kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cmd := exec.Command(program, "key", "usage", "--scan", "--rate", "1", "--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir) //nolint:noctx // it is killed
		cmd.Env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		remembered("8")
	}
	began := time.Now()
	if out, err := s.command(t, "key", "usage", "--scan"); err != nil {
		t.Fatal(err, out)
	}
	remembered("9")
	t.Logf("the next scan took %v", time.Since(began))
}

// A version of the system key that seals a key of the audit log is not taken for free: without it
// nobody could verify the log from the key service.
func TestAVersionThatTheAuditLogNeedsIsKept(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	log := filepath.Join(t.TempDir(), "audit.log")
	file := writeFile(t, t.TempDir(), "audit.yml", []byte("audit: {file: {path: "+log+"}}\n"))
	s := newStack(t, stackOptions{args: []string{"--config", file}})
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	for deadline := time.Now().Add(startLimit); !bytes.Contains(readFile(t, log), []byte(`"kind":"signer"`)); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the log is not signed")
		}
	}
	s.mustKey(t, "rotate", systemKey)
	time.Sleep(8 * time.Second) // until the server has noticed
	if out, err := s.command(t, "key", "rewrap", "--key", systemKey); err != nil {
		t.Fatal(err, out)
	}
	if out, err := s.command(t, "key", "usage", "--scan"); err != nil {
		t.Fatal(err, out)
	}
	for _, args := range [][]string{{"retire", systemKey, "1"}, {"destroy", systemKey, "1"}, {"retire", systemKey, "1", "--force"}} {
		if out, err := s.command(t, append([]string{"key"}, args...)...); err == nil || !strings.Contains(err.Error(), "signed the audit log") {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	if out, err := s.command(t, "audit", "verify"); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// A proxy that ends stores what it used since the last time, which nobody else knows.
func TestUsesAreStoredAtTheEnd(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	c.put(t, newBucket(t, c), "object", []byte("data"), nil).wantStatus(t, http.StatusOK)
	const uses = "usage/uses"
	s.raw().head(t, systemBucket, uses, nil).wantStatus(t, http.StatusNotFound)
	if err := s.seal.stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	s.raw().head(t, systemBucket, uses, nil).wantStatus(t, http.StatusOK)
}
