package integration

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyState is what `bucketseal key info --json` says.
type keyState struct {
	Version  uint32
	Versions []struct {
		Version      uint32
		State        string
		LastGenerate time.Time `json:"last_generate"`
		LastDecrypt  time.Time `json:"last_decrypt"`
	}
}

func readKeyState(t *testing.T, text string) (s keyState) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil || len(s.Versions) == 0 {
		t.Fatalf("%q: %+v, %v", text, s, err)
	}
	return s
}

func (s keyState) states() string {
	var all []string
	for _, v := range s.Versions {
		all = append(all, v.State)
	}
	return strings.Join(all, ", ")
}

const newestRefused = "it is the newest version of the key; rotate the key first"

// A proxy with a key store of its own: what each version sealed opens until the version
// is retired, and again when it is restored, also after restarts.
func TestVersionsOfAKeyOfAnEmbeddedStore(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	old, parts, fresh := testData(5000, 1), testData(9<<20, 2), testData(70_000, 3)
	c.put(t, bucket, "old", old, nil).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "old-kms", old, kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "old-large", parts, nil).wantStatus(t, http.StatusOK)

	if out := s.mustKey(t, "rotate", defaultKey); !strings.Contains(out, "version 2") {
		t.Errorf("key rotate: %q", out)
	}
	c.put(t, bucket, "fresh", fresh, nil).wantStatus(t, http.StatusOK)
	read := func(key string, data []byte) {
		t.Helper()
		c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
	readAll := func() {
		t.Helper()
		read("old", old)
		read("old-kms", old)
		read("old-large", parts)
		read("fresh", fresh)
	}
	readAll()

	for _, command := range []string{"retire", "destroy"} {
		if out, err := s.key(t, command, defaultKey, "1"); err == nil || !strings.Contains(out, "not known what still uses") || !strings.Contains(out, "--force") {
			t.Errorf("key %s without --force: %v, %s", command, err, out)
		}
		if out, err := s.key(t, command, defaultKey, "2", "--force"); err == nil || !strings.Contains(out, newestRefused) {
			t.Errorf("key %s of the newest version: %v, %s", command, err, out)
		}
		if out, err := s.key(t, command, "bucketseal-system", "1", "--force"); err == nil || !strings.Contains(out, "seals the bucket rules") {
			t.Errorf("key %s of the system's key: %v, %s", command, err, out)
		}
	}
	readAll()

	s.mustKey(t, "retire", defaultKey, "1", "--force")
	refused := func(text string, status int, code string) {
		t.Helper()
		for _, key := range []string{"old", "old-kms", "old-large"} {
			a := c.get(t, bucket, key, nil)
			if a.status != status || a.code != code || !strings.Contains(string(a.body), text) {
				t.Errorf("GET %s: %d %s %.300s", key, a.status, a.code, a.body)
			}
		}
		read("fresh", fresh)
		if l := c.list(t, bucket, "list-type", "2"); len(l.Contents) != 4 {
			t.Errorf("listing: %+v", l)
		}
	}
	refused("version 1 of its KMS key, which is retired", http.StatusForbidden, "KMS.DisabledException")
	s.restart(t)
	refused("version 1 of its KMS key, which is retired", http.StatusForbidden, "KMS.DisabledException")

	s.mustKey(t, "reinstate", defaultKey, "1")
	readAll()
	if got := readKeyState(t, s.mustKey(t, "info", "--json", defaultKey)); got.states() != "decrypt-only, active" {
		t.Errorf("states: %s", got.states())
	}

	s.mustKey(t, "destroy", defaultKey, "1", "--force", "--after", "7d")
	refused("is retired", http.StatusForbidden, "KMS.DisabledException")
	s.mustKey(t, "reinstate", defaultKey, "1")
	readAll()
	if out, err := s.key(t, "destroy", defaultKey, "1", "--force", "--now"); err == nil || !strings.Contains(out, "not confirmed") {
		t.Errorf("key destroy --now without an answer: %v, %s", err, out)
	}
	readAll()
	mustSeal(t, nil, "unknown\n", "key", "destroy", defaultKey, "1", "--force", "--now", "--data-dir", s.seal.dataDir)
	refused("version 1 of its KMS key, which is destroyed", http.StatusGone, "KMS.KMSInvalidStateException")
	s.restart(t)
	refused("version 1 of its KMS key, which is destroyed", http.StatusGone, "KMS.KMSInvalidStateException")
	if files, err := filepath.Glob(filepath.Join(s.seal.dataDir, "keys", defaultKey+".key")); err != nil || len(files) != 0 {
		t.Errorf("the record of version 1 is still there: %v, %v", files, err)
	}
	if out, err := s.key(t, "create", defaultKey); err == nil {
		t.Errorf("the name of a key without its first version was free: %s", out)
	}
	s.mustKey(t, "rotate", defaultKey)
	c.put(t, bucket, "third", old, nil).wantStatus(t, http.StatusOK)
	read("third", old)
	read("fresh", fresh)
}

// mc sees what a rotation and a retirement mean.
func TestMCReadsAcrossARotation(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	mc := newMC(t, s)
	at := "seal/" + bucketName(t)
	mc.must(t, "mb", at)
	data := testData(200_000, 5)
	path := writeFile(t, t.TempDir(), "file", data)
	mc.must(t, "cp", path, at+"/v1")
	s.mustKey(t, "rotate", defaultKey)
	mc.must(t, "cp", path, at+"/v2")
	mc.must(t, "cp", at+"/v1", at+"/copy") // it is written anew, under version 2
	s.mustKey(t, "retire", defaultKey, "1", "--force")
	if _, all, err := mc.run(t, "cat", at+"/v1"); err == nil || !strings.Contains(all, "retired") {
		t.Errorf("mc cat of what a retired version sealed: %v, %s", err, all)
	}
	for _, name := range []string{"v2", "copy"} {
		if out := mc.must(t, "cat", at+"/"+name); out != string(data) {
			t.Errorf("mc cat %s: %d bytes", name, len(out))
		}
	}
	s.mustKey(t, "reinstate", defaultKey, "1")
	if out := mc.must(t, "cat", at+"/v1"); out != string(data) {
		t.Errorf("mc cat after the restoration: %d bytes", len(out))
	}
}

// Two proxies of one key server take a new version, and notice the end of one, within
// seconds, though both remember DEKs for minutes.
func TestTwoProxiesNoticeWhatIsDoneToAVersion(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	k := s.keys
	bucket := newBucket(t, s.clients[0])
	data := testData(5000, 7)
	put := func(i int, key string) {
		t.Helper()
		s.clients[i].put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK)
	}
	status := func(i int, key string) int { return s.clients[i].get(t, bucket, key, nil).status }
	put(0, "a")
	put(1, "b")
	admin := func(args ...string) string {
		return mustSeal(t, k.as(k.admin), "", append([]string{"key"}, args...)...)
	}
	admin("rotate", defaultKey)
	time.Sleep(8 * time.Second)
	put(0, "c")
	put(1, "d")
	admin("retire", "--force", defaultKey, "1")
	refused := time.Now()
	for i := range s.clients {
		waitFor(t, 15*time.Second, "a retired version to end", func() bool { return status(i, "a") == http.StatusForbidden && status(i, "b") == http.StatusForbidden })
		t.Logf("proxy %d refuses version 1 after %v", i, time.Since(refused).Round(100*time.Millisecond))
		for _, key := range []string{"c", "d"} {
			if got := status(i, key); got != http.StatusOK {
				t.Errorf("proxy %d: GET %s, written after the rotation: %d", i, key, got)
			}
		}
	}
	put(0, "e")
	seen := readKeyState(t, admin("info", "--json", defaultKey))
	if seen.states() != "retired, active" || seen.Version != 2 {
		t.Errorf("key info: %+v", seen)
	}
	admin("reinstate", defaultKey, "1")
	for i := range s.clients {
		waitFor(t, 15*time.Second, "the version to be back", func() bool { return status(i, "a") == http.StatusOK && status(i, "b") == http.StatusOK })
	}
	// A proxy that starts now pins both versions.
	late := newClient(s.proxy(t).endpoint(), rootUser, rootPassword)
	for _, key := range []string{"a", "c", "e"} {
		late.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	}
	// A key that was replaced is refused, whatever number its version has.
	admin("rm", "--force", defaultKey)
	admin("create", defaultKey)
	admin("rotate", defaultKey)
	waitFor(t, 15*time.Second, "the replaced key to be refused", func() bool {
		return s.clients[0].put(t, bucket, "f", data, nil).status == http.StatusBadRequest
	})
}
