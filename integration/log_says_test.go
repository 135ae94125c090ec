package integration

import (
	"net/http"
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
