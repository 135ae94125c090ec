package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// disaster is what is left of an installation: copies, and what they are to give back.
type disaster struct {
	*stack
	bucket, versioned string
	// files are the plaintexts by the files that object decrypt makes of them.
	files map[string][]byte
	// drive, mirror and heads are copies of the raw buckets; attributed is one by rclone,
	// "" where that is not installed.
	drive, mirror, heads        string
	attributed                  string
	backup, identity, customers string
}

// newAgeIdentity makes an age identity and returns its file and its recipient.
func newAgeIdentity(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, id.Recipient().String()
}

// newDisaster writes objects of every kind, backs the keys up, copies the raw buckets, and
// ends with the proxy's keys deleted and nothing running.
func newDisaster(t *testing.T) *disaster {
	t.Helper()
	needsSeal(t)
	config := filepath.Join(t.TempDir(), "config.yml")
	saveFile(t, config, []byte("customer_keys_over_http: true\n"))
	d := &disaster{stack: newStack(t, stackOptions{args: []string{"--config", config}}), files: make(map[string][]byte)}
	c := d.client()
	d.bucket = newBucket(t, c)
	d.versioned = d.bucket + "-v"
	c.do(t, request{method: http.MethodPut, bucket: d.versioned}).wantStatus(t, http.StatusOK)
	c.do(t, request{
		method: http.MethodPut, bucket: d.versioned, query: "versioning=",
		body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`),
	}).wantStatus(t, http.StatusOK)
	d.write(t, c)

	dir := t.TempDir()
	var recipient string
	d.identity, recipient = newAgeIdentity(t)
	d.backup, d.mirror, d.heads, d.drive = filepath.Join(dir, "keys.age"), filepath.Join(dir, "mirror"), filepath.Join(dir, "heads.jsonl"), filepath.Join(d.minio.dir, "data")
	d.customers = filepath.Join(dir, "customer")
	saveFile(t, d.customers, []byte(base64Std(testData(32, 6))))
	d.mustKey(t, "backup", "--recipient", recipient, "--output", d.backup)

	mc := newMC(t, d.stack)
	for _, b := range []string{d.bucket, d.versioned, systemBucket} {
		mc.must(t, "mirror", "raw/"+b, filepath.Join(d.mirror, b))
	}
	saveFile(t, d.heads, []byte(mc.must(t, "stat", "--recursive", "--json", "raw")))
	d.copyByRclone(t, filepath.Join(dir, "attributed"))
	for _, p := range []*process{d.seal.process, d.minio.process} {
		p.kill()
	}
	if err := os.RemoveAll(d.seal.dataDir); err != nil {
		t.Fatal(err)
	}
	return d
}

// copyByRclone copies the raw buckets with their metadata as attributes of files.
func (d *disaster) copyByRclone(t *testing.T, to string) {
	t.Helper()
	program, err := exec.LookPath("rclone")
	if err != nil {
		return
	}
	env := baseEnv("RCLONE_CONFIG="+filepath.Join(t.TempDir(), "none"), "RCLONE_CONFIG_RAW_TYPE=s3", "RCLONE_CONFIG_RAW_PROVIDER=Minio",
		"RCLONE_CONFIG_RAW_ENDPOINT="+d.minio.endpoint(), "RCLONE_CONFIG_RAW_ACCESS_KEY_ID="+rootUser, "RCLONE_CONFIG_RAW_SECRET_ACCESS_KEY="+rootPassword)
	for _, b := range []string{d.bucket, d.versioned, systemBucket} {
		_, all, err := run(t, env, t.TempDir(), program, "copy", "--metadata", "raw:"+b, filepath.Join(to, b))
		if strings.Contains(all, "xattr") { // this file system has none
			t.Logf("no attributes of files: %.300s", all)
			return
		}
		if err != nil {
			t.Fatalf("rclone: %v\n%s", err, all)
		}
	}
	d.attributed = to
}

func saveFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// write writes objects of every mode and form.
func (d *disaster) write(t *testing.T, c *client) {
	t.Helper()
	modes := sseModes()
	modes = append(modes, sseMode{name: "c", put: customerKey(6)})
	for i, m := range modes {
		at := fmt.Sprintf("m%d/", i)
		for _, size := range []int{0, 1, packageSize - 1, packageSize, packageSize + 1, 2*packageSize + 1, 9<<20 + 7} {
			data := testData(size, uint64(size+i)) //nolint:gosec // not negative
			key := fmt.Sprint(at, "size ", size)
			c.put(t, d.bucket, key, data, m.put).wantStatus(t, http.StatusOK)
			d.files[d.bucket+"/"+key] = data
		}
		read := map[string]string(nil)
		if m.name == "c" {
			read = m.put
		}
		for _, key := range []string{at + "parts", at + strings.Repeat("k", 230)} { // the latter's manifest has a hashed name
			o, _ := uploadRestored(t, c, d.bucket, key, m.put, read, uint64(10*i)) //nolint:gosec // not negative
			d.files[d.bucket+"/"+key] = bytes.Join(o.parts, nil)
		}
	}
	c.do(t, request{method: http.MethodPut, bucket: d.bucket, key: "copy", header: map[string]string{"X-Amz-Copy-Source": d.bucket + "/m0/parts"}}).wantStatus(t, http.StatusOK)
	d.files[d.bucket+"/copy"] = d.files[d.bucket+"/m0/parts"]
	c.put(t, d.bucket, "folder/", nil, nil).wantStatus(t, http.StatusOK)
	older := c.put(t, d.versioned, "k", []byte("older"), nil).wantStatus(t, http.StatusOK)
	gone := c.put(t, d.versioned, "gone", testData(300_000, 3), nil).wantStatus(t, http.StatusOK)
	c.put(t, d.versioned, "k", []byte("newer"), nil).wantStatus(t, http.StatusOK)
	c.do(t, request{method: http.MethodDelete, bucket: d.versioned, key: "gone"}).wantStatus(t, http.StatusNoContent)
	d.files[d.versioned+"/k"] = []byte("newer")
	d.files[d.versioned+"@versions/k/"+older.header.Get("X-Amz-Version-Id")] = []byte("older")
	d.files[d.versioned+"@versions/gone/"+gone.header.Get("X-Amz-Version-Id")] = testData(300_000, 3)
}

// decrypt runs object decrypt and returns the folder it wrote to.
func (d *disaster) decrypt(t *testing.T, args ...string) (dir, all string, err error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "out")
	_, all, err = runSeal(t, nil, "", append([]string{"object", "decrypt", "--backup", d.backup, "--identity", d.identity, "--output", dir}, args...)...)
	return dir, all, err
}

// wantFiles compares every byte below a folder. Of what lost names, no file may be there.
func (d *disaster) wantFiles(t *testing.T, dir string, versions bool, lost func(name string) bool) {
	t.Helper()
	found := make(map[string]bool)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		found[name] = true
		data, err := os.ReadFile(path)
		if want, ok := d.files[name]; !ok || lost(name) || !bytes.Equal(data, want) {
			t.Errorf("%s: %d bytes, and there should be %d (%v)", name, len(data), len(want), ok)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range d.files {
		if !found[name] && !lost(name) && (versions || !strings.Contains(name, "@versions")) {
			t.Errorf("%s is not there", name)
		}
	}
}

func nothing(string) bool { return false }

// Everything is gone but the copies of the raw buckets and the age file.
func TestEveryByteComesBackFromCopiesAndTheKeyBackup(t *testing.T) {
	t.Parallel()
	d := newDisaster(t)
	customer := []string{"--customer-key-file", d.customers}

	dir, all, err := d.decrypt(t, append(customer, "--from", d.drive, "--all-versions")...)
	if err != nil {
		t.Errorf("from the drive: %v\n%s", err, all)
	}
	d.wantFiles(t, dir, true, nothing)

	dir, all, err = d.decrypt(t, append(customer, "--from", d.mirror, "--heads", d.heads)...)
	if err != nil {
		t.Errorf("from the mirror: %v\n%s", err, all)
	}
	d.wantFiles(t, dir, false, nothing)

	if d.attributed != "" {
		dir, all, err = d.decrypt(t, append(customer, "--from", d.attributed)...)
		if err != nil {
			t.Errorf("from rclone's copy: %v\n%s", err, all)
		}
		d.wantFiles(t, dir, false, nothing)
	}

	// Without metadata nothing is readable, and nothing is passed off as data.
	dir, all, err = d.decrypt(t, "--from", d.mirror)
	if exitCode(err) != 1 || !strings.Contains(all, "lacks its metadata") {
		t.Errorf("without metadata: %v\n%.500s", err, all)
	}
	d.wantFiles(t, dir, false, func(string) bool { return true })

	// Without the customer's key all others are.
	ofC := fmt.Sprintf("/m%d/", len(sseModes()))
	dir, all, err = d.decrypt(t, "--from", d.drive)
	if exitCode(err) != 1 || !strings.Contains(all, "without their customer key") {
		t.Errorf("without the customer's key: %v\n%.500s", err, all)
	}
	d.wantFiles(t, dir, false, func(name string) bool { return strings.Contains(name, ofC) })

	d.oneObject(t)
	d.withKeyStore(t)
}

// oneObject decrypts an object whose HEAD lies beside it.
func (d *disaster) oneObject(t *testing.T) {
	t.Helper()
	alone := filepath.Join(t.TempDir(), "alone")
	for _, name := range []string{d.bucket, systemBucket} {
		if err := os.CopyFS(filepath.Join(alone, name), os.DirFS(filepath.Join(d.mirror, name))); err != nil {
			t.Fatal(err)
		}
	}
	list, err := os.ReadFile(d.heads)
	if err != nil {
		t.Fatal(err)
	}
	system := filepath.Join(t.TempDir(), "system.jsonl")
	var ofSystem []byte
	for line := range bytes.Lines(list) {
		switch {
		case bytes.Contains(line, []byte(`"`+systemBucket+`/`)):
			ofSystem = append(ofSystem, line...)
		case bytes.Contains(line, []byte(`"`+d.bucket+`/m0/parts"`)):
			saveFile(t, filepath.Join(alone, d.bucket, "m0", "parts.head.json"), line)
		}
	}
	saveFile(t, system, ofSystem)
	file := filepath.Join(t.TempDir(), "restored")
	args := []string{"object", "decrypt", "--backup", d.backup, "--identity", d.identity, "--from", alone, "--heads", system, "--output-file", file, "--json"}
	out := mustSeal(t, nil, "", append(args, d.bucket+"/m0/parts")...)
	data, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(data, d.files[d.bucket+"/m0/parts"]) {
		t.Errorf("one object: %d bytes, %v", len(data), err)
	}
	var line struct {
		Status, Mode, ETag, KMSKey string
		Size                       int64
	}
	if err := json.Unmarshal([]byte(out[:strings.IndexByte(out, '\n')]), &line); err != nil || line.Status != "ok" || line.Mode != "SSE-S3" || line.Size != int64(len(data)) || !strings.HasSuffix(line.ETag, "-3") {
		t.Errorf("%s", out)
	}
	refusedSeal(t, "is there already", nil, "", append(args, d.bucket+"/m0/parts")...)
	refusedSeal(t, "not in the copy", nil, "", append(args, d.bucket+"/none")...)
}

// withKeyStore restores the keys, reads with them, and serves with them.
func (d *disaster) withKeyStore(t *testing.T) {
	t.Helper()
	mustSeal(t, nil, "", "key", "restore", d.backup, "--identity", d.identity, "--init", "--data-dir", d.seal.dataDir)
	dir := filepath.Join(t.TempDir(), "out")
	mustSeal(t, nil, "", "object", "decrypt", "--from", d.drive, "--output", dir, "--all-versions", "--customer-key-file", d.customers, "--data-dir", d.seal.dataDir)
	d.wantFiles(t, dir, true, nothing)

	again, err := startMinIO(d.minio.dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.kill)
	seal, err := startSeal(d.dir, "", again.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	newClient(seal.endpoint(), rootUser, rootPassword).get(t, d.bucket, "m0/parts", nil).wantStatus(t, http.StatusOK).wantBody(t, d.files[d.bucket+"/m0/parts"])
}

func TestDamagedCopiesGiveBackTheRest(t *testing.T) {
	t.Parallel()
	d := newDisaster(t)
	key := func(name string) string { return d.bucket + "/" + name }
	at := func(name string) string { return filepath.Join(d.drive, d.bucket, name) }
	lost := map[string]bool{key("m1/size 65537"): true, key("m1/size 131073"): true}

	// A bit of a part, a part that is cut off, one that is gone, records that changed places,
	// and an xl.meta of which a half is left.
	lost[key("m0/parts")], lost[key("m1/parts")], lost[key("copy")], lost[key("m0/size 65536")] = true, true, true, true
	damage(t, at("m0/parts/*/part.4"), func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
	damage(t, at("m1/parts/*/part.6"), func(data []byte) []byte { return data[:len(data)-1] })
	damage(t, at("copy/*/part.1"), func([]byte) []byte { return nil })
	damage(t, at("m0/size 65536/xl.meta"), func(data []byte) []byte { return data[:len(data)/2] })
	for _, names := range [][2]string{{"m1/size 65537", "x"}, {"m1/size 131073", "m1/size 65537"}, {"x", "m1/size 131073"}} {
		if err := os.Rename(at(names[0]), at(names[1])); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--from", d.drive, "--customer-key-file", d.customers}
	dir, all, err := d.decrypt(t, args...)
	if exitCode(err) != 1 || !strings.Contains(all, fmt.Sprintf("%d failed", len(lost))) {
		t.Errorf("%v\n%s", err, all)
	}
	d.wantFiles(t, dir, false, func(name string) bool { return lost[name] })

	// Without the system bucket: objects of parts are lost, unless they are taken unproven.
	if err := os.RemoveAll(filepath.Join(d.drive, systemBucket)); err != nil {
		t.Fatal(err)
	}
	ofParts := func(name string) bool {
		return lost[name] || strings.HasSuffix(name, "/parts") || strings.HasSuffix(name, "kkk") || strings.HasSuffix(name, "/copy")
	}
	dir, all, err = d.decrypt(t, args...)
	if exitCode(err) != 1 || !strings.Contains(all, "manifest is missing") {
		t.Errorf("without manifests: %v\n%s", err, all)
	}
	d.wantFiles(t, dir, false, ofParts)
	dir, all, err = d.decrypt(t, append(args, "--unproven")...)
	if exitCode(err) != 1 || !strings.Contains(all, "of them unproven") {
		t.Errorf("unproven: %v\n%s", err, all)
	}
	d.wantFiles(t, dir, false, func(name string) bool { return lost[name] })

	// Another identity, and a backup that is cut off.
	wrong, _ := newAgeIdentity(t)
	whole, err := os.ReadFile(d.backup)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.age")
	saveFile(t, cut, whole[:len(whole)-20])
	refusedSeal(t, "not encrypted to this identity", nil, "", "object", "decrypt", "--from", d.drive, "--backup", d.backup, "-i", wrong, "-o", t.TempDir())
	refusedSeal(t, "no whole key backup", nil, "", "object", "decrypt", "--from", d.drive, "--backup", cut, "-i", d.identity, "-o", t.TempDir())
}

// damage changes the one file that a pattern names; nil removes it.
func damage(t *testing.T, pattern string, change func([]byte) []byte) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if data = change(data); data == nil {
		err = os.Remove(names[0])
	} else {
		err = os.WriteFile(names[0], data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestABackupIsProvenToOpenWhatMinIOHas(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	identity, recipient := newAgeIdentity(t)
	backup := filepath.Join(t.TempDir(), "keys.age")
	s.mustKey(t, "create", "first", "second")
	for i := range 30 {
		c.put(t, bucket, fmt.Sprint("k", i), testData(100, uint64(i)), kmsWith("first")).wantStatus(t, http.StatusOK) //nolint:gosec // not negative
	}
	uploadRestored(t, c, bucket, "parts", nil, nil, 5)
	s.mustKey(t, "backup", "-r", recipient, "-o", backup)
	env := []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword}
	verify := []string{"key", "backup", "--verify", backup, "-i", identity, "--upstream", s.minio.endpoint()}
	var found struct{ Opened int }
	if out := mustSeal(t, env, "", verify...); !strings.Contains(out, "of 31 objects and older versions 31 were opened") {
		t.Errorf("%s", out)
	}
	if out := mustSeal(t, env, "", append(verify, "--sample", "10", "--bucket", bucket)...); !strings.Contains(out, "of 31 objects and older versions 10 were opened") {
		t.Errorf("%s", out)
	}
	if out := mustSeal(t, nil, "", "key", "backup", "--verify", backup, "-i", identity, "--from", filepath.Join(s.minio.dir, "data"), "--json"); json.Unmarshal([]byte(out), &found) != nil || found.Opened != 31 {
		t.Errorf("%s", out)
	}
	// What came later is not in the backup.
	s.mustKey(t, "create", "third")
	c.put(t, bucket, "later", []byte("x"), kmsWith("third")).wantStatus(t, http.StatusOK)
	refusedSeal(t, `"third"`, env, "", append(verify, "--sample", "all")...)
	refusedSeal(t, "1 objects do not open", env, "", append(verify, "--sample", "all")...)
	wrong, _ := newAgeIdentity(t)
	refusedSeal(t, "not encrypted to this identity", env, "", "key", "backup", "--verify", backup, "-i", wrong, "--upstream", s.minio.endpoint())
}

// A backup from stores that AWS seals opens where there is no AWS, and the other way.
func TestKeyBackupsGoFromAnyKindOfStoreToAnyOther(t *testing.T) {
	t.Parallel()
	addr := moto(t)
	const region = "eu-north-1"
	dir := t.TempDir()
	kesFolder(t, filepath.Join(dir, "kes"), "alpha", "beta", "Gamma")
	key := motoKey(t, addr, region)
	kes := writeFile(t, dir, "kes.yml", []byte("keystore: {fs: {path: "+dir+"/kes}}\n"))
	secrets := writeFile(t, dir, "secrets.yml", []byte(secretsStore("http://"+addr, region, "kmskey: "+key)))
	envelope := writeFile(t, dir, "envelope.yml", []byte("keystore:\n  aws:\n    kms:\n      path: "+dir+"/envelope\n      key: "+key+
		"\n      endpoint: http://"+addr+"\n      region: "+region+"\n      credentials: {accesskey: AK, secretkey: SK}\n"))
	identity, recipient := newAgeIdentity(t)
	backup := func(store string) string {
		file := filepath.Join(t.TempDir(), "keys.age")
		mustSeal(t, nil, "", "key", "backup", "-r", recipient, "-o", file, "--keystore", store)
		return file
	}
	restore := func(file, store string) {
		t.Helper()
		for _, want := range []string{"3 keys restored and read back, 0 there already", "0 keys restored and read back, 3 there already"} {
			if out := mustSeal(t, nil, "", "key", "restore", file, "-i", identity, "--init", "--keystore", store); !strings.Contains(out, want) {
				t.Errorf("%s: %q, want %q", filepath.Base(store), out, want)
			}
		}
	}
	before := folder(t, filepath.Join(dir, "kes"))
	restore(backup(kes), secrets)
	restore(backup(secrets), envelope)
	sealed := folder(t, filepath.Join(dir, "envelope"))
	back := writeFile(t, dir, "back.yml", []byte("keystore: {fs: {path: "+dir+"/back}}\n"))
	restore(backup(envelope), back)
	after := folder(t, filepath.Join(dir, "back"))
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%s came back as %q, was %q", name, after[name], value)
		}
		if s, ok := motoSecret(t, addr, region, name); !ok || s.SecretString != value {
			t.Errorf("secret %s is %q", name, s.SecretString)
		}
		for file, content := range sealed {
			if strings.Contains(content, value) {
				t.Errorf("the key in %s can be read", file)
			}
		}
	}
	if len(after) != 3 || len(sealed) != 3 {
		t.Errorf("%d keys came back of %d", len(after), len(sealed))
	}
}
