package integration

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// systemKey seals what proxies keep for themselves.
const systemKey = "bucketseal-system"

// systemUnder returns how many system objects `key usage` counts under each version of the
// system key.
func (s *stack) systemUnder(t *testing.T) map[uint32]int {
	t.Helper()
	out, err := s.command(t, "key", "usage", systemKey, "--scan", "--json")
	var usage struct {
		Counts []struct{ Mode string }
		System []struct {
			Version uint32 `json:"kms_key_version"`
			Objects int
		}
		Unknown []struct{ Key, Error string }
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &usage)
	}
	if err != nil || len(usage.Unknown) > 0 {
		t.Fatal(err, out)
	}
	under := make(map[uint32]int)
	for _, n := range usage.Counts {
		t.Errorf("an object of mode %s lies under %s", n.Mode, systemKey)
	}
	for _, n := range usage.System {
		under[n.Version] += n.Objects
	}
	return under
}

// Everything that proxies keep for themselves leaves a version of their own key, which is
// destroyed then: rules, identities, sessions, uploads under way, manifests, pins and wraps
// still work, in the proxy that ran through it all and in one that was just started.
func TestSystemObjectsLeaveAVersionOfTheirKey(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	bucket := newBucket(t, c)
	s.mustKey(t, "create", "leaving")
	s.mustKey(t, "create", "next")
	small, parts, late := []byte("small"), [][]byte{partData(minPart+1, 1), partData(77, 2)}, testData(9<<20, 3)
	c.put(t, bucket, "wrapped", small, kmsWith("leaving")).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "late", late, nil).wantStatus(t, http.StatusOK)
	u := c.createUpload(t, bucket, "parts", nil)
	for i, p := range parts {
		u.put(t, i+1, p)
	}
	u.complete(t)
	if out, err := s.command(t, "key", "rewrap", "--key", "leaving", "--to", "next"); err != nil {
		t.Fatal(err, out)
	}
	s.mustKey(t, "rm", "--force", "leaving")
	rule := `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>next</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`
	c.do(t, request{method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(rule)}).wantStatus(t, http.StatusOK)
	mc := newMC(t, s)
	mc.must(t, "admin", "user", "add", "seal", "learned", "learned-secret")
	mc.must(t, "admin", "policy", "attach", "seal", "readwrite", "--user", "learned")
	learned := newClient(s.seal.endpoint(), "learned", "learned-secret")
	temporary := assumeRole(t, learned)
	running := c.createUpload(t, bucket, "running", nil)
	running.put(t, 1, parts[0])
	s.sweepNow(t)

	works := func(what string) {
		t.Helper()
		c, learned := s.client(), newClient(s.seal.endpoint(), "learned", "learned-secret")
		c.get(t, bucket, "wrapped", nil).wantStatus(t, http.StatusOK).wantBody(t, small)
		c.get(t, bucket, "late", nil).wantStatus(t, http.StatusOK).wantBody(t, late)
		learned.get(t, bucket, "parts", nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(parts, nil))
		c.put(t, bucket, "ruled", small, nil).wantStatus(t, http.StatusOK)
		if key := c.head(t, bucket, "ruled", nil).header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"); !strings.HasSuffix(key, "next") {
			t.Errorf("%s: the bucket's rule gives the key %q", what, key)
		}
		session := newClient(s.seal.endpoint(), temporary.AccessKey, temporary.SecretKey)
		session.do(t, request{method: http.MethodGet, bucket: bucket, key: "wrapped", token: temporary.Token}).wantStatus(t, http.StatusOK).wantBody(t, small)
	}
	works("before")
	before := s.systemUnder(t)
	if len(before) != 1 || before[1] < 9 { // rules, identities, session, sweep, pins, manifests, wrap, upload, part
		t.Fatalf("system objects: %v", before)
	}
	s.mustKey(t, "rotate", systemKey)
	time.Sleep(3 * time.Second) // the proxy learns of it
	out, err := s.command(t, "key", "rewrap", "--json")
	if err != nil || strings.Count(out, `"system":true`) < 9 || strings.Count(out, `"from_kms_key_version":1`) != strings.Count(out, `"to_kms_key_version":2`) {
		t.Fatal(err, out)
	}
	if after := s.systemUnder(t); after[1] != 0 || after[2] < before[1] {
		t.Errorf("system objects: %v, before %v", after, before)
	}
	if out, err = s.command(t, "key", "rewrap", "--key", systemKey); err != nil || !strings.Contains(out, "sealed anew 0 of ") {
		t.Errorf("once more: %v %s", err, out)
	}
	works("sealed anew")
	s.mustKey(t, "retire", systemKey, "1", "--force", "--accept-loss")
	works("retired")
	mustSeal(t, nil, "unknown\n", "key", "destroy", systemKey, "1", "--force", "--accept-loss", "--now", "--data-dir", s.seal.dataDir)
	s.seal.kill()
	s.restart(t)
	works("destroyed")
	running.c = s.client()
	running.put(t, 2, parts[1])
	running.complete(t)
	s.client().get(t, bucket, "running", nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(parts, nil))
	s.sweepNow(t)
}

// A re-wrap of system objects that is killed again and again, while the proxy writes some and
// removes others, is done in the end.
func TestRewrapOfSystemObjectsThatIsKilled(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	needsTime(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	bucket := newBucket(t, c)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	data := [][]byte{partData(minPart, 1), partData(99, 2)}
	write := func(key string) {
		u := c.createUpload(t, bucket, key, nil)
		for i, p := range data {
			u.put(t, i+1, p)
		}
		u.complete(t)
	}
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for _, key := range keys {
		write(key)
	}
	s.mustKey(t, "rotate", systemKey)
	time.Sleep(3 * time.Second)
	for try := range 6 {
		cmd := exec.Command(program, "key", "rewrap", "--key", systemKey, "--rate", "8", //nolint:noctx // it is killed
			"--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir)
		cmd.Env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		write(keys[try] + "-again")
		time.Sleep(300*time.Millisecond + time.Duration(try)*70*time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if out, err := s.command(t, "key", "rewrap", "--key", systemKey); err != nil {
		t.Fatal(err, out)
	}
	if under := s.systemUnder(t); under[1] != 0 {
		t.Errorf("system objects: %v", under)
	}
	s.mustKey(t, "retire", systemKey, "1", "--force", "--accept-loss")
	mustSeal(t, nil, "unknown\n", "key", "destroy", systemKey, "1", "--force", "--accept-loss", "--now", "--data-dir", s.seal.dataDir)
	s.seal.kill()
	s.restart(t)
	c = s.client()
	for i, key := range keys {
		c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(data, nil))
		if i < 6 {
			c.get(t, bucket, key+"-again", nil).wantStatus(t, http.StatusOK).wantBody(t, bytes.Join(data, nil))
		}
	}
}
