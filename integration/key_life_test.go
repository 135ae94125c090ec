package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// life is an installation whose default key is taken through its whole life, with the commands
// of docs/keys.md.
type life struct {
	*disaster
	yaml    string
	written int
}

// newLife starts MinIO and a proxy. settings say where its keys are.
func newLife(t *testing.T, settings string) *life {
	t.Helper()
	needsSeal(t)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{disaster: &disaster{stack: &stack{dir: dir, minio: minio}, files: make(map[string][]byte)}}
	t.Cleanup(func() { _ = l.stop() })
	l.yaml = writeFile(t, dir, "bucketseal.yml", []byte("upstream: {endpoint: \""+minio.endpoint()+"\"}\n"+strings.ReplaceAll(settings, "DIR", dir)))
	if l.seal, err = startSealWith(dir, minio.endpoint(), l.yaml); err != nil {
		t.Fatal(err)
	}
	l.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", l.seal.isReady)
	l.bucket = newBucket(t, l.client())
	l.versioned = l.bucket + "-v"
	l.client().do(t, request{method: http.MethodPut, bucket: l.versioned}).wantStatus(t, http.StatusOK)
	l.client().do(t, request{
		method: http.MethodPut, bucket: l.versioned, query: "versioning=",
		body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
	}).wantStatus(t, http.StatusOK)
	return l
}

// again kills the proxy and starts it anew.
func (l *life) again(t *testing.T) {
	t.Helper()
	l.seal.kill()
	seal, err := startSealWith(l.dir, l.minio.endpoint(), l.yaml)
	if err != nil {
		t.Fatal(err)
	}
	l.seal = seal
	waitFor(t, startLimit, "the proxy to be ready again", seal.isReady)
}

var lifeEnv = []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword}

// must runs a command with the proxy's configuration.
func (l *life) must(t *testing.T, args ...string) string {
	t.Helper()
	return mustSeal(t, lifeEnv, "", append(args, "--config", l.yaml)...)
}

// writeAll writes objects of every form, under names of a generation's.
func (l *life) writeAll(t *testing.T, generation string) {
	t.Helper()
	c := l.client()
	put := func(bucket, key string, data []byte, header map[string]string) {
		t.Helper()
		c.put(t, bucket, key, data, header).wantStatus(t, http.StatusOK)
		l.files[bucket+"/"+key] = data
		l.written++
	}
	put(l.bucket, generation+"/s3", testData(70_000, 1), nil)
	put(l.bucket, generation+"/kms", testData(5000, 2), kmsWith(defaultKey))
	put(l.bucket, generation+"/empty", nil, kmsWith(defaultKey))
	put(l.bucket, generation+"/streamed", testData(9<<20, 3), nil)
	put(l.versioned, generation, []byte("older"), kmsWith(defaultKey))
	put(l.versioned, generation, []byte("newer"), nil)
	for _, key := range []string{generation + "/parts", generation + "/" + strings.Repeat("k", 230)} { // the latter's notes have hashed names
		u := c.createUpload(t, l.bucket, key, kmsWith(defaultKey))
		parts := [][]byte{partData(minPart+1, 4), partData(77, 5)}
		for i, part := range parts {
			u.put(t, i+1, part)
		}
		u.complete(t)
		l.files[l.bucket+"/"+key] = bytes.Join(parts, nil)
		l.written++
	}
}

func (l *life) readAll(t *testing.T, what string) {
	t.Helper()
	c := l.client()
	for name, data := range l.files {
		bucket, key, _ := strings.Cut(name, "/")
		if a := c.get(t, bucket, key, nil); a.status != http.StatusOK || !bytes.Equal(a.body, data) {
			t.Errorf("%s: GET %s: %d %s, %d bytes", what, name, a.status, a.code, len(a.body))
		}
	}
}

// used counts by a scan what lies under each version of the default key.
func (l *life) used(t *testing.T) map[int]int {
	t.Helper()
	var usage struct {
		Counts []struct {
			KMSKey  string `json:"kms_key"`
			Version int    `json:"kms_key_version"`
			Objects int
		}
	}
	out := l.must(t, "key", "usage", defaultKey, "--scan", "--json")
	if err := json.Unmarshal([]byte(out), &usage); err != nil {
		t.Fatal(err, out)
	}
	found := map[int]int{}
	for _, n := range usage.Counts {
		found[n.Version] += n.Objects
	}
	return found
}

func (l *life) wantUsed(t *testing.T, what string, version, want int) {
	t.Helper()
	if used := l.used(t); used[version] != want {
		t.Errorf("%s: %v objects lie under the versions, want %d under version %d", what, used, want, version)
	}
}

// rewrapKilled starts the re-wrap and kills it, again and again, until one comes to its end by
// itself: each second, or, where that would take long, after three objects.
func (l *life) rewrapKilled(t *testing.T) (kills int) {
	t.Helper()
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	rate, long := "8", os.Getenv("BUCKETSEAL_LONG") != ""
	if long {
		rate = "2"
	}
	for ; ; kills++ {
		cmd := exec.Command(program, "key", "rewrap", "--key", defaultKey, "--rate", rate, "--json", "--config", l.yaml) //nolint:noctx // it is killed
		cmd.Env = baseEnv(lifeEnv...)
		var totals bytes.Buffer
		cmd.Stderr = &totals
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		killed := false
		began := time.Now()
		lines := bufio.NewScanner(out)
		for n := 1; lines.Scan(); n++ {
			if !killed && (long && time.Since(began) > time.Second || !long && n == 3) {
				killed = true
				_ = cmd.Process.Kill()
			}
		}
		err = cmd.Wait()
		if err == nil && strings.Contains(totals.String(), "failed 0") {
			return kills
		}
		if !killed || kills == 100 {
			t.Fatalf("key rewrap, killed %d times: %v\n%s", kills, err, totals.String())
		}
	}
}

// race rotates the key by several commands at once.
func (l *life) race(t *testing.T) {
	t.Helper()
	before := readKeyState(t, l.must(t, "key", "info", defaultKey, "--json"))
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, all, err := runSeal(t, lifeEnv, "", "key", "rotate", defaultKey, "--config", l.yaml); err != nil {
				t.Errorf("one of four rotations at once: %v\n%s", err, all)
			}
		})
	}
	wait.Wait()
	after := readKeyState(t, l.must(t, "key", "info", defaultKey, "--json"))
	if n := after.Version - before.Version; n < 1 || n > 4 || len(after.Versions) != int(after.Version) || !strings.HasSuffix(after.states(), "active") || strings.Count(after.states(), "active") != 1 {
		t.Errorf("after four rotations at once: version %d, before %d: %s", after.Version, before.Version, after.states())
	}
}

// end retires or destroys a version of which a scan has shown that nothing uses it: without
// --force, and with the count that it asks for.
func (l *life) end(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"key", args[0], defaultKey}, append(args[1:], "--config", l.yaml)...)
	_, all, err := runSeal(t, lifeEnv, "0\n", args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, all)
	}
}

// run walks through the life of the key, with a restart after each step.
func (l *life) run(t *testing.T) {
	l.writeAll(t, "v1")
	ofFirst := l.written
	l.must(t, "key", "rotate", defaultKey)
	l.again(t)
	l.writeAll(t, "v2")
	l.again(t)
	l.readAll(t, "rotated")
	if used := l.used(t); used[1] != ofFirst || used[2] != l.written-ofFirst {
		t.Errorf("%d objects lie under version 1 and %d under version 2, want %d and %d", used[1], used[2], ofFirst, l.written-ofFirst)
	}
	for _, command := range []string{"retire", "destroy"} {
		_, all, err := runSeal(t, lifeEnv, "", "key", command, defaultKey, "1", "--config", l.yaml)
		if err == nil || !strings.Contains(all, fmt.Sprintf("it is used: %d objects", ofFirst)) {
			t.Errorf("key %s while objects lie under the version: %v %s", command, err, all)
		}
	}
	l.readAll(t, "not retired")

	if kills := l.rewrapKilled(t); kills < 2 {
		t.Errorf("the re-wrap was killed %d times", kills)
	}
	l.again(t)
	l.readAll(t, "re-wrapped")
	l.wantUsed(t, "re-wrapped", 1, 0)
	l.wantUsed(t, "re-wrapped", 2, l.written)

	l.end(t, "retire", "1")
	l.again(t)
	l.readAll(t, "retired")
	l.end(t, "destroy", "1", "--now")
	l.again(t)
	l.readAll(t, "destroyed")
	if state := readKeyState(t, l.must(t, "key", "info", defaultKey, "--json")); state.states() != "destroyed, active" {
		t.Errorf("states: %s", state.states())
	}

	l.race(t)
	l.again(t)
	l.writeAll(t, "v3")
	l.readAll(t, "rotated by four at once")
}

// lose leaves nothing but copies of the raw buckets and an age file, and reads every byte.
func (l *life) lose(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	var recipient string
	l.identity, recipient = newAgeIdentity(t)
	l.backup, l.mirror, l.heads = filepath.Join(dir, "keys.age"), filepath.Join(dir, "mirror"), filepath.Join(dir, "heads.jsonl")
	l.must(t, "key", "backup", "--recipient", recipient, "--output", l.backup)
	mc := newMC(t, l.stack)
	for _, b := range []string{l.bucket, l.versioned, systemBucket} {
		mc.must(t, "mirror", "raw/"+b, filepath.Join(l.mirror, b))
	}
	saveFile(t, l.heads, []byte(mc.must(t, "stat", "--recursive", "--json", "raw")))
	for _, p := range []*process{l.seal.process, l.minio.process} {
		p.kill()
	}
	for _, gone := range []string{"bucketseal.yml", "keys", "data"} {
		if err := os.RemoveAll(filepath.Join(l.dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	out, all, err := l.decrypt(t, "--from", l.mirror, "--heads", l.heads)
	if err != nil {
		t.Errorf("from the mirror: %v\n%s", err, all)
	}
	l.wantFiles(t, out, false, nothing)
}

// A key is rotated, objects are re-wrapped by a command that is killed again and again, the old
// version is retired and destroyed, and the machine is lost: every byte is read all the time.
func TestLifeOfAKeyInAFolder(t *testing.T) {
	t.Parallel()
	l := newLife(t, "data_dir: DIR/keys\n")
	l.run(t)
	l.lose(t)
}

// The same with the keys in AWS Secrets Manager, whose copies in memory are looked at every four
// seconds.
func TestLifeOfAKeyInSecretsManager(t *testing.T) {
	t.Parallel()
	needsTime(t)
	addr := moto(t)
	const region = "eu-west-3"
	store := writeFile(t, t.TempDir(), "kes.yml", []byte(secretsStore("http://"+addr, region, "kmskey: "+motoKey(t, addr, region), "prefix: life/")))
	l := newLife(t, "kms: {config: "+store+"}\n")
	l.run(t)
	l.lose(t)
}
