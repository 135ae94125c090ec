package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// secureMC is mc with the pair's proxy, over TLS, as "seal".
func secureMC(t *testing.T, p *pair) *mcRunner {
	t.Helper()
	program, err := tool("MC_BIN", "mc")
	if err != nil {
		t.Fatal(err)
	}
	m := &mcRunner{program: program, config: t.TempDir()}
	cas := filepath.Join(m.config, "certs", "CAs")
	if err := os.MkdirAll(cas, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cas, "public.crt"), p.certificate(t), 0o600); err != nil {
		t.Fatal(err)
	}
	m.must(t, "alias", "set", "seal", p.seal.endpoint, rootUser, rootPassword)
	return m
}

func (p *pair) certificate(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.certs, "public.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantCiphertext checks that what lies behind the proxy is none of the plaintext.
func (p *pair) wantCiphertext(t *testing.T, bucket, key string, plain []byte) {
	t.Helper()
	a := p.behind.get(t, bucket, key, nil).wantStatus(t, http.StatusOK)
	if int64(len(a.body)) != cipherSize(len(plain)) {
		t.Errorf("%s: %d bytes in MinIO, want %d", key, len(a.body), cipherSize(len(plain)))
	}
	wantNoPlaintext(t, key, a.body, plain)
}

func TestMCWithEveryKindOfEncryption(t *testing.T) {
	t.Parallel()
	p := sharedPair(t)
	mc := secureMC(t, p)
	bucket := bucketName(t)
	at := "seal/" + bucket
	mc.must(t, "mb", at)
	dir := t.TempDir()
	data := testData(3*packageSize+5, 120)
	path := writeFile(t, dir, "file", data)
	customer := at + "/=" + base64.RawStdEncoding.EncodeToString(keyOne)
	for name, tc := range map[string]struct {
		put, get []string
		stat     string
	}{
		"s3":  {[]string{"--enc-s3", at + "/"}, nil, "SSE-S3"},
		"kms": {[]string{"--enc-kms", at + "/=" + defaultKey}, nil, "SSE-KMS (arn:aws:kms:" + defaultKey + ")"},
		"c":   {[]string{"--enc-c", customer}, []string{"--enc-c", customer}, "SSE-C"},
	} {
		target := at + "/" + name
		mc.must(t, append(append([]string{"cp"}, tc.put...), path, target)...)
		if out := mc.must(t, append(append([]string{"cat"}, tc.get...), target)...); out != string(data) {
			t.Errorf("mc cat %s: %d bytes, want %d", name, len(out), len(data))
		}
		if out := mc.must(t, append(append([]string{"stat"}, tc.get...), target)...); !strings.Contains(out, tc.stat) {
			t.Errorf("mc stat %s does not say %s: %s", name, tc.stat, out)
		}
		p.wantCiphertext(t, bucket, name, data)
		if name == "c" {
			if out, _, err := mc.run(t, "cat", target); err == nil || len(out) > 0 {
				t.Errorf("mc cat without the customer key: %d bytes, %v", len(out), err)
			}
		}
		// From one object to another, and back to a file.
		mc.must(t, append(append([]string{"cp"}, tc.put...), target, target+"-copy")...)
		back := filepath.Join(dir, "back-"+name)
		mc.must(t, append(append([]string{"cp"}, tc.get...), target+"-copy", back)...)
		wantFile(t, back, data)
		p.wantCiphertext(t, bucket, name+"-copy", data)
	}
	ls := mc.must(t, "ls", "--json", at)
	if n := strings.Count(ls, fmt.Sprintf(`"size":%d,`, len(data))); n != 6 {
		t.Errorf("mc ls shows %d objects of %d bytes, want 6:\n%s", n, len(data), ls)
	}
}

// tree writes files of many sizes and names and returns their contents by path.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for i, size := range append(borderSizes(), 1<<20) {
		name := fmt.Sprintf("d%d/ü file %d", i%3, size)
		files[name] = testData(size, uint64(130+i))
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, dir, name, files[name])
	}
	return files
}

func wantTree(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		wantFile(t, filepath.Join(dir, name), data)
	}
}

func TestMCMirrorsBothWays(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	at := "seal/" + bucket
	mc.must(t, "mb", at)
	from, back := t.TempDir(), t.TempDir()
	files := tree(t, from)
	mc.must(t, "mirror", from, at)
	mc.must(t, "mirror", at, back)
	wantTree(t, back, files)
	for name, data := range files {
		wantSealed(t, s, bucket, name, data)
	}
	if out := mc.must(t, "diff", from, at); strings.TrimSpace(out) != "" {
		t.Errorf("mc diff after mirror: %s", out)
	}
	// A second run finds nothing to do, and --remove only what is gone.
	if out := mc.must(t, "mirror", "--json", "--overwrite", "--remove", from, at); strings.Contains(out, `"source"`) && strings.Contains(out, `"size":`) {
		t.Logf("second mirror: %s", out)
	}
	for name := range files {
		if err := os.Remove(filepath.Join(from, name)); err != nil {
			t.Fatal(err)
		}
		delete(files, name)
		break
	}
	mc.must(t, "mirror", "--overwrite", "--remove", from, at)
	if out := mc.must(t, "ls", "--recursive", "--json", at); strings.Count(out, `"key"`) != len(files) {
		t.Errorf("after mirror --remove: %s", out)
	}
}

func TestMCVersionsTagsAndRetention(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := bucketName(t)
	at := "seal/" + bucket
	mc.must(t, "mb", "--with-lock", at)
	dir := t.TempDir()
	for i := range 3 {
		mc.must(t, "cp", writeFile(t, dir, "file", testData(1000+i, 121)), at+"/file")
	}
	if out := mc.must(t, "version", "info", at); !strings.Contains(out, "enabled") {
		t.Errorf("version info: %s", out)
	}
	ls := mc.must(t, "ls", "--versions", "--json", at)
	var ids []string
	for line := range strings.Lines(ls) {
		var v struct {
			Size      int64
			VersionID string `json:"versionId"`
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if want := int64(1002 - len(ids)); v.Size != want {
			t.Errorf("version %d has size %d, want %d", len(ids), v.Size, want)
		}
		ids = append(ids, v.VersionID)
	}
	if len(ids) != 3 {
		t.Fatalf("%d versions: %s", len(ids), ls)
	}
	if out := mc.must(t, "cat", "--version-id", ids[2], at+"/file"); out != string(testData(1000, 121)) {
		t.Errorf("oldest version: %d bytes", len(out))
	}
	mc.must(t, "tag", "set", at+"/file", "a=b&c=d")
	if out := mc.must(t, "tag", "list", "--json", at+"/file"); !strings.Contains(out, `"a":"b"`) || !strings.Contains(out, `"c":"d"`) {
		t.Errorf("tag list: %s", out)
	}
	mc.must(t, "tag", "remove", at+"/file")
	mc.must(t, "retention", "set", "governance", "1d", at+"/file")
	if out := mc.must(t, "retention", "info", at+"/file"); !strings.Contains(out, "GOVERNANCE") {
		t.Errorf("retention info: %s", out)
	}
	if out, all, err := mc.run(t, "rm", "--version-id", ids[0], at+"/file"); err == nil {
		t.Errorf("a retained version was removed: %s %s", out, all)
	}
	mc.must(t, "legalhold", "set", at+"/file")
	if out := mc.must(t, "legalhold", "info", at+"/file"); !strings.Contains(out, "ON") {
		t.Errorf("legalhold info: %s", out)
	}
	mc.must(t, "legalhold", "clear", at+"/file")
	mc.must(t, "retention", "clear", at+"/file")
	mc.must(t, "rm", at+"/file")
	mc.must(t, "undo", "--force", at+"/file")
	if out := mc.must(t, "cat", at+"/file"); out != string(testData(1002, 121)) {
		t.Errorf("after undo: %d bytes", len(out))
	}
	mc.must(t, "rm", "--recursive", "--versions", "--force", at)
	if out := mc.must(t, "ls", "--versions", at); strings.TrimSpace(out) != "" {
		t.Errorf("after rm --versions: %s", out)
	}
	mc.must(t, "rb", at)
}

func TestAWSSyncWithEveryKindOfEncryption(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("aws-cli is not installed")
	}
	p := sharedPair(t)
	bucket := newBucket(t, p.seal)
	from := t.TempDir()
	files := tree(t, from)
	keyFile := writeFile(t, t.TempDir(), "key", keyOne)
	env := append(awsEnv(t, realHome(), p.seal.endpoint), "AWS_CA_BUNDLE="+filepath.Join(p.certs, "public.crt"))
	aws := func(args ...string) string {
		t.Helper()
		out, all, err := run(t, env, from, program, args...)
		if err != nil {
			t.Fatalf("aws %v: %v\n%s", args, err, all)
		}
		return out
	}
	for name, flags := range map[string][]string{
		"s3":     {"--sse", "AES256"},
		"kms id": {"--sse", "aws:kms", "--sse-kms-key-id", defaultKey},
		"c":      {"--sse-c", "AES256", "--sse-c-key", "fileb://" + keyFile},
	} {
		target, back := "s3://"+bucket+"/"+name, t.TempDir()
		aws(append([]string{"s3", "sync", "--no-progress", from, target}, flags...)...)
		var read []string
		if name == "c" {
			read = flags
		}
		aws(append([]string{"s3", "sync", "--no-progress", target, back}, read...)...)
		wantTree(t, back, files)
		// What is there already is not sent again: sizes and dates are the files'.
		if out := aws(append([]string{"s3", "sync", "--no-progress", from, target}, flags...)...); strings.TrimSpace(out) != "" {
			t.Errorf("%s: second sync sends %s", name, out)
		}
		for file, data := range files {
			p.wantCiphertext(t, bucket, name+"/"+file, data)
		}
		if name != "kms id" { // a copy from one mode to another; TestCopiesBetweenAllModesAnswerAsMinIO has all
			continue
		}
		aws("s3", "cp", "--no-progress", "--recursive", "--sse", "AES256", target, target+"-copy")
		aws("s3", "sync", "--no-progress", target+"-copy", filepath.Join(back, "copy"))
		wantTree(t, filepath.Join(back, "copy"), files)
	}
}
