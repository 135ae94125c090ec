package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// illness is something that is broken on purpose, and what the doctor is to say of it.
type illness struct {
	want string
	code int
	// bring breaks something, and returns the configuration to look at and what mends it.
	bring func() (config string, mend func())
}

func TestTheDoctorFindsNothingInAHealthyInstallationAndNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	c := newClinic(t)
	c.mc.must(t, "mb", "raw/data")
	if d, _ := c.look(t, c.config); !slices.Equal(d.ids(), []string{"keys.backup"}) {
		t.Errorf("before the first backup: %+v", d)
	}
	c.mustRun(t, "key", "backup", "--config", c.config, "--recipient", c.recipient(t), "--output", filepath.Join(c.dir, "keys.age"))
	d, code := c.look(t, c.config)
	if len(d.ids()) > 0 || code != 0 {
		t.Fatalf("healthy, exit code %d: %+v", code, d)
	}
	for _, text := range d.Unknown {
		if !strings.Contains(text, "the server's own process") { // which may not have looked yet
			t.Errorf("not looked at: %s", text)
		}
	}
	for _, i := range slices.Concat(c.illnessesOfMinIO(t), c.illnessesOfSettings(t)) {
		config, mend := i.bring()
		d, code := c.look(t, config)
		mend()
		if !slices.Equal(d.ids(), []string{i.want}) || code != i.code {
			t.Errorf("%s: found %v, exit code %d\n%+v", i.want, d.ids(), code, d)
		}
		for _, f := range d.Findings {
			if f.What == "" || f.Why == "" || f.Do == "" || strings.Contains(fmt.Sprint(f), clinicSecret) {
				t.Errorf("%s: %+v", i.want, f)
			}
		}
	}
	c.missesRights(t)
	c.hasAKMS(t)
	c.serverSays(t)
	out, _, _ := c.bucketseal(t, "doctor", "--config", c.broken(t, "wide", "data_dir:", "plain_read: [\"*\"]\ndata_dir:"))
	if !strings.Contains(out, "WARNING access.plain-read: plain_read has [\"*\"]") || !strings.Contains(out, "do:  list the buckets") {
		t.Errorf("for people:\n%s", out)
	}
}

// illnessesOfMinIO are at MinIO, or on the way to it.
func (c *clinic) illnessesOfMinIO(t *testing.T) []illness {
	bucket, nothing := "raw/"+systemBucket, func() {}
	// by mc, with what mends it.
	by := func(bring, mend []string) func() (string, func()) {
		return func() (string, func()) {
			c.mc.must(t, bring...)
			return c.config, func() { c.mc.must(t, mend...) }
		}
	}
	lies := func(l lie) func() (string, func()) {
		return func() (string, func()) {
			c.liar.tell(l)
			return c.config, func() { c.liar.tell(lie{}) }
		}
	}
	differs := func(name, old, replacement string) func() (string, func()) {
		return func() (string, func()) { return c.broken(t, name, old, replacement), nothing }
	}
	return []illness{
		{"upstream.readonly", 1, lies(lie{answer: readOnly})},
		{"upstream.clock", 1, lies(lie{alter: func(_ *http.Request, resp *http.Response) {
			resp.Header.Set("Date", time.Now().Add(20*time.Minute).UTC().Format(http.TimeFormat))
		}})},
		{"upstream.unreachable", 1, differs("away", c.liar.endpoint(), "http://127.0.0.1:9")},
		{"upstream.credential", 1, differs("secret", clinicSecret, "another-secret-0")},
		{"upstream.region", 1, lies(lie{answer: anotherRegion})},
		{"system.missing", 1, differs("lost", "data_dir:", "system_bucket: lost-bucket\ndata_dir:")},
		{"system.lifecycle", 1, by([]string{"ilm", "rule", "add", bucket, "--expire-days", "30"}, []string{"ilm", "rule", "rm", "--all", "--force", bucket})},
		{"system.versioning", 1, by([]string{"version", "suspend", bucket}, []string{"version", "enable", bucket})},
		{"system.policy", 1, by([]string{"anonymous", "set", "download", bucket}, []string{"anonymous", "set", "none", bucket})},
	}
}

// illnessesOfSettings are in the configuration, or in files of this machine.
func (c *clinic) illnessesOfSettings(t *testing.T) []illness {
	nothing := func() {}
	with := func(name, line string) func() (string, func()) {
		return func() (string, func()) { return c.broken(t, name, "data_dir:", line+"\ndata_dir:"), nothing }
	}
	certified := func(left time.Duration) func() (string, func()) {
		cert, key := c.certificate(t, left)
		return with("certified", fmt.Sprintf("tls: {cert: %s, key: %s}", cert, key))
	}
	return []illness{
		{"credential.unknown", 1, func() (string, func()) {
			return c.broken(t, "nobody", "\ncredentials:\n- ", "\ncredentials:\n- {access_key: nobody, secret_key: nobody-secret}\n- "), nothing
		}},
		{"access.plain-read", 0, with("wide", `plain_read: [legacy, "*"]`)},
		{"access.anonymous", 0, with("open", `allow_anonymous: ["*"]`)},
		{"files.permissions", 1, func() (string, func()) {
			files, err := filepath.Glob(filepath.Join(c.keys, "keys", "*"))
			if err != nil || len(files) == 0 {
				t.Fatal("no keys", err)
			}
			file := files[0]
			chmod(t, file, 0o644)
			return c.config, func() { chmod(t, file, 0o600) }
		}},
		{"tls.expiry", 0, certified(48 * time.Hour)},
		{"tls.certificate", 1, certified(-time.Hour)},
		{"keys.unusable", 1, func() (string, func()) {
			return c.broken(t, "nokeys", "data_dir: "+c.keys, "data_dir: "+filepath.Join(c.dir, "elsewhere")), nothing
		}},
	}
}

// missesRights takes each right of the documented policy away, and has the doctor name it.
func (c *clinic) missesRights(t *testing.T) {
	_, policy := documentedPolicy(t)
	actions := []string{
		"s3:PutObject", "s3:GetObject",
		"s3:CreateBucket", "s3:PutBucketVersioning", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketPolicy", "s3:ListMultipartUploadParts",
	}
	if os.Getenv("BUCKETSEAL_LONG") == "" {
		actions = actions[:2]
	}
	for i, action := range actions {
		began := time.Now()
		user := fmt.Sprintf("clinic-user-%d", i)
		c.user(t, user, policy.edit(func(a, resource string) string {
			if a == action {
				return ""
			}
			return resource
		}))
		d, code := c.look(t, c.broken(t, user, "access_key: "+clinicUser, "access_key: "+user))
		t.Logf("without %s: %v", action, time.Since(began))
		ids := slices.Compact(d.ids())
		if !slices.Equal(ids, []string{"right.missing"}) || code != 1 || !strings.Contains(d.Findings[0].What, action) {
			t.Errorf("without %s: %+v", action, d)
		}
	}
}

// hasAKMS looks at a MinIO that encrypts by itself.
func (c *clinic) hasAKMS(t *testing.T) {
	m, err := startMinIO(t.TempDir(), "", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	raw := newClient(m.endpoint(), rootUser, rootPassword)
	for _, r := range []request{
		{method: http.MethodPut, bucket: systemBucket},
		{method: http.MethodPut, bucket: systemBucket, query: "versioning=", body: []byte("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")},
		{method: http.MethodPut, bucket: "ruled"},
	} {
		raw.do(t, r).wantStatus(t, http.StatusOK)
	}
	raw.putEncryption(t, "ruled", encryptionRule("AES256", "")).wantStatus(t, http.StatusOK)
	config := c.broken(t, "kms", c.liar.endpoint(), m.endpoint())
	text := string(readFile(t, config))
	text = strings.Replace(text, "access_key: "+clinicUser+", secret_key: "+clinicSecret, "access_key: "+rootUser+", secret_key: "+rootPassword, 1)
	writeFile(t, c.dir, "kms.yml", []byte(text))
	if d, code := c.look(t, config); !slices.Equal(d.ids(), []string{"upstream.kms", "upstream.rule"}) || code != 1 {
		t.Errorf("a KMS of MinIO's own: %+v", d)
	}
}

// serverSays has the running server notice by itself.
func (c *clinic) serverSays(t *testing.T) {
	metric := func() string {
		return regexp.MustCompile(`bucketseal_findings\{id="system.lifecycle",severity="error"\} (\d)`).FindString(c.page(t, "/metrics"))
	}
	waits := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.HasSuffix(metric(), want); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the metric is %q, want %s", metric(), want)
			}
		}
	}
	waits(" 0")
	at := c.seal.logSize()
	c.mc.must(t, "ilm", "rule", "add", "raw/"+systemBucket, "--expire-days", "30")
	waits(" 1")
	c.mc.must(t, "ilm", "rule", "rm", "--all", "--force", "raw/"+systemBucket)
	waits(" 0")
	if log := c.seal.logSince(at); strings.Count(log, "id=system.lifecycle") != 2 || !strings.Contains(log, "has lifecycle rules") {
		t.Errorf("the log has %d lines of it", strings.Count(log, "id=system.lifecycle"))
	}
	if d, _ := c.look(t, c.config); len(d.Unknown) > 0 {
		t.Errorf("the server did not tell: %v", d.Unknown)
	}
}

// readOnly refuses all writes to the system bucket, as a MinIO with full drives does.
func readOnly(r *http.Request) *http.Response {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method == http.MethodGet || r.Method == http.MethodHead || key == "" {
		return nil
	}
	const body = `<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold.</Message></Error>`
	return &http.Response{
		StatusCode: http.StatusInsufficientStorage, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// anotherRegion refuses signed requests as a MinIO does that was started with another region.
func anotherRegion(r *http.Request) *http.Response {
	if r.Header.Get("Authorization") == "" {
		return nil
	}
	const body = `<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region is wrong; expecting 'eu-north-1'.</Message></Error>`
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}
