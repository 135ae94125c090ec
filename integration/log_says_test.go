package integration

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestTheLogSaysWhoIsRefusedAndBySoMuch: which access key a refused request names,
// though nobody has proven it, and by how much clocks differ.
func TestTheLogSaysWhoIsRefusedAndBySoMuch(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := sharedStack(t)
	bucket := newBucket(t, s.client())
	unknown := newClient(s.client().endpoint, "who-is-this", rootPassword)
	late := newClient(s.client().endpoint, rootUser, rootPassword)
	late.now = func() time.Time { return time.Now().Add(-17 * time.Minute) }
	for code, refused := range map[string]struct {
		c    *client
		want []string
	}{
		"InvalidAccessKeyId":   {unknown, []string{"caller=unproven", "claims=who-is-this"}},
		"RequestTimeTooSkewed": {late, []string{"caller=unproven", "claims=" + rootUser, "17m", "behind ours"}},
	} {
		key := "log-" + strings.ToLower(code)
		if a := refused.c.do(t, request{method: http.MethodGet, bucket: bucket, key: key}); a.code != code {
			t.Errorf("%d %s, want %s", a.status, a.code, code)
		}
		line := ""
		for l := range strings.Lines(s.seal.logSince(0)) {
			if strings.Contains(l, "key="+key) {
				line = l
			}
		}
		for _, want := range refused.want {
			if !strings.Contains(line, want) {
				t.Errorf("the log's line does not say %q: %s", want, line)
			}
		}
	}
}

// TestMCShowsWhyAPlainObjectIsRefused: mc has words of its own for AccessDenied.
func TestMCShowsWhyAPlainObjectIsRefused(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	mc.must(t, "mb", "seal/"+bucket)
	mc.must(t, "cp", writeFile(t, t.TempDir(), "plain", []byte("from before")), "raw/"+bucket+"/")
	mc.denies(t, "plain_read", "cat", "seal/"+bucket+"/plain")
	mc.denies(t, "plain_read", "stat", "seal/"+bucket+"/plain")
	mc.denies(t, "plain_read", "cp", "seal/"+bucket+"/plain", t.TempDir()+"/copy")
}

// TestAChangedKeyOfSSES3IsNamed: an object under the former key is not damaged, the
// configuration lacks a name.
func TestAChangedKeyOfSSES3IsNamed(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	file := writeFile(t, t.TempDir(), "s3.yml", []byte("sse_s3: {key: first}\n"))
	s := newStack(t, stackOptions{args: []string{"--config", file}})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(1000, 3)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	start := func(settings string) {
		t.Helper()
		s.seal.kill()
		if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		s.restart(t)
	}
	start("sse_s3: {key: second}\n")
	a := c.get(t, bucket, "k", nil).wantStatus(t, http.StatusInternalServerError)
	if !strings.Contains(a.message, "sse_s3.former_keys") || strings.Contains(a.message, "tampered") {
		t.Errorf("message %q", a.message)
	}
	if log := s.seal.logSince(0); !strings.Contains(log, `names the KMS key \"first\"; if sse_s3.key was that once, add it`) {
		t.Errorf("the log does not say what to do: %s", log)
	}
	start("sse_s3: {key: second, former_keys: [first]}\n")
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}
