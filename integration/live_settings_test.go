package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Most settings change while the server runs, a half-written file changes nothing, and what
// waits for a restart is named.
func TestSettingsChangeWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	c := newClinic(t)
	healthy := string(readFile(t, c.config))
	raw, seal := c.raw(), newClient(c.seal.endpoint(), rootUser, rootPassword)
	raw.do(t, request{method: http.MethodPut, bucket: "legacy"}).wantStatus(t, http.StatusOK)
	raw.do(t, request{method: http.MethodPut, bucket: "legacy", key: "k", body: []byte("plain")}).wantStatus(t, http.StatusOK)
	read := request{method: http.MethodGet, bucket: "legacy", key: "k"}
	if a := seal.do(t, read); a.status == http.StatusOK {
		t.Fatal("a plain object can be read")
	}
	change := func(text, want string) {
		t.Helper()
		at := c.seal.logSize()
		writeFile(t, c.dir, "healthy.yml", []byte(text))
		c.seal.hangup(t)
		waitLog(t, c.seal.process, at, want)
	}
	// Half of the file: not taken, and said.
	change(healthy[:len(healthy)/2], "the old one stays")
	seal.do(t, request{method: http.MethodGet}).wantStatus(t, http.StatusOK)

	more := healthy + "plain_read: [legacy]\nlog: {level: debug}\nlimits: {max_requests: 7, stall: 2s, idle: 33s}\nauto_encryption: off\n"
	change(more, "read like this again in 4s")
	if a := seal.do(t, read); a.status == http.StatusOK {
		t.Error("taken with the first reading")
	}
	out := c.mustRun(t, "config", "diff", c.config)
	for _, want := range []string{"live     plain_read", "restart  auto_encryption", "restart  limits.idle", "live     limits.max_requests"} {
		if !strings.Contains(out, want) {
			t.Errorf("config diff does not say %q:\n%s", want, out)
		}
	}
	time.Sleep(4100 * time.Millisecond)
	at := c.seal.logSize()
	c.seal.hangup(t)
	waitLog(t, c.seal.process, at, "settings=auto_encryption,limits.idle")
	becomes(t, seal, read, http.StatusOK)
	waitLog(t, c.seal.process, at, "level=DEBUG")
	if text := c.page(t, "/metrics"); !strings.Contains(text, "bucketseal_s3_requests_limit 7\n") {
		t.Error("the limit of requests is not 7")
	}
	if out := c.mustRun(t, "config", "diff", c.config); strings.Contains(out, "live") || !strings.Contains(out, "auto_encryption  sse-s3 -> off") {
		t.Errorf("config diff after all was taken:\n%s", out)
	}
	if out := c.mustRun(t, "config", "print", c.config); !strings.Contains(out, "[redacted]") || strings.Contains(out, clinicSecret) {
		t.Errorf("config print:\n%s", out)
	}
	resp, err := http.Get("http://" + c.metrics + "/bucketseal/config")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a stranger is told the configuration: %d", resp.StatusCode)
	}
	wrong := c.broken(t, "stranger", clinicSecret, "another-secret-0")
	if _, all, err := c.bucketseal(t, "config", "diff", wrong); err == nil || !strings.Contains(all, "other upstream.credentials") {
		t.Errorf("with another credential: %v, %s", err, all)
	}
}
