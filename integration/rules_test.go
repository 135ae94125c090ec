package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ownStack is a MinIO and a proxy of a test's own.
func ownStack(t *testing.T) *stack {
	t.Helper()
	needsSeal(t)
	dir := t.TempDir()
	m, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	s := &stack{dir: dir, minio: m}
	if s.seal, err = startSeal(dir, "", m.endpoint()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.seal.kill() })
	s.dumpOnFailure(t)
	return s
}

// restartAfter ends the proxy, calls f, and starts it again.
func (s *stack) restartAfter(t *testing.T, f func()) {
	t.Helper()
	if err := s.seal.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	f()
	var err error
	if s.seal, err = startSeal(s.dir, "", s.minio.endpoint()); err != nil {
		t.Fatal(err)
	}
}

// resets wants a reset to say what is lost, to do nothing without consent, and to do
// it with.
func (s *stack) resets(t *testing.T, says ...string) {
	t.Helper()
	out, err := s.sealCommand(t, "", "rules", "reset")
	if err == nil || !strings.Contains(out, "nothing was done") {
		t.Errorf("a reset without consent: %v\n%s", err, out)
	}
	for _, text := range append(says, "bucket rules:        all are lost; a bucket that had one gets auto_encryption: sse-s3") {
		if !strings.Contains(out, text) {
			t.Errorf("the reset does not say %q:\n%s", text, out)
		}
	}
	if out, err := s.sealCommand(t, "", "rules", "reset", "--accept-loss"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// The rules of buckets go out and in again, and a reset forgets them only where they
// are lost and somebody takes the loss.
func TestBucketRulesAreExportedResetAndImported(t *testing.T) {
	t.Parallel()
	s := ownStack(t)
	c := s.client()
	for _, bucket := range []string{"kms", "gone"} {
		c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	}
	c.putEncryption(t, "kms", encryptionRule("aws:kms", defaultKey)).wantStatus(t, http.StatusOK)
	c.putEncryption(t, "gone", encryptionRule("AES256", "")).wantStatus(t, http.StatusOK)
	key := func(args ...string) (string, error) {
		_, all, err := runSeal(t, []string{"BUCKETSEAL_UPSTREAM=" + s.minio.endpoint(), "BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword},
			"", append([]string{"key", "rm", "--data-dir", s.seal.dataDir}, args...)...)
		return all, err
	}
	ask, err := key(defaultKey)
	for _, text := range []string{s.seal.dataDir, "default_key", "sse_s3.key", "the rules of 2 buckets use it: gone, kms"} {
		if err == nil || !strings.Contains(ask, text) {
			t.Errorf("key rm does not say %q: %v\n%s", text, err, ask)
		}
	}

	file := filepath.Join(t.TempDir(), "rules.json")
	out, all, err := s.commandWith(t, "", "rules", "export")
	if err != nil || !strings.Contains(out, `"kms_key_id": "`+defaultKey+`"`) {
		t.Fatalf("export: %v %s", err, all)
	}
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.sealCommand(t, "", "rules", "reset", "--accept-loss"); err == nil || !strings.Contains(out, "the bucket rules can be read") {
		t.Errorf("a reset of what is whole: %v %s", err, out)
	}
	if out, err := key("--force", "bucketseal-system-ready"); err == nil || !strings.Contains(out, "rules reset") {
		t.Errorf("the key that says that there are rules: %v %s", err, out)
	}

	for name, lose := range map[string]struct {
		how  func()
		says string
	}{
		"index":  {func() { s.raw().do(t, request{method: http.MethodDelete, bucket: systemBucket, key: "rules/index"}) }, "the index of bucket rules is gone"},
		"bucket": {func() { newMC(t, &stack{minio: s.minio}).must(t, "rb", "--force", "raw/"+systemBucket) }, "manifests:           all are gone"},
	} {
		s.restartAfter(t, func() {
			lose.how()
			s.resets(t, lose.says)
		})
		c = s.client()
		c.bucketEncryption(t, http.MethodGet, "kms").wantStatus(t, http.StatusNotFound)
		c.do(t, request{method: http.MethodDelete, bucket: "gone"})
		if out, err := s.sealCommand(t, "", "rules", "import", file); err != nil || !strings.Contains(out, "1 rules set, 1 of buckets that do not exist left out") {
			t.Errorf("%s: import: %v %s", name, err, out)
		}
		c.put(t, "kms", "k", []byte("x"), nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"})
	}
	refused := strings.Replace(out, defaultKey, "no-such-key", 1)
	if out, err := s.sealCommand(t, refused, "rules", "import"); err == nil || !strings.Contains(out, "no-such-key") {
		t.Errorf("a rule with a key that does not exist: %v %s", err, out)
	}
}

// What is no loss is not reset: a wrong secret of the proxy's own says so.
func TestAWrongOwnSecretIsNoLossOfRules(t *testing.T) {
	t.Parallel()
	s := ownStack(t)
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD=another-secret")
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	_, out, err := runWith(t, env, "", "", program, "rules", "reset", "--accept-loss", "--upstream", s.minio.endpoint(), "--data-dir", s.seal.dataDir)
	if err == nil || !strings.Contains(out, "nothing is lost; MinIO refuses the proxy's own credential") {
		t.Errorf("%v %s", err, out)
	}
	newBucket(t, s.client())
}
