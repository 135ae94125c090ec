package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// takeOver runs `bucketseal object encrypt` and fails the test unless it ends with the
// verdict that nothing readable is left.
func (s *stack) takeOver(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.command(t, append([]string{"object", "encrypt"}, args...)...)
	if err != nil || !strings.Contains(out, "nothing readable is left in") {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}

// versionsOf lists a bucket's versions and markers, as the storage orders them.
func versionsOf(t *testing.T, c *client, bucket string) string {
	t.Helper()
	body := string(c.do(t, request{method: http.MethodGet, bucket: bucket, query: "versions="}).wantStatus(t, http.StatusOK).body)
	var out strings.Builder
	for _, part := range strings.SplitAfter(body, ">") {
		for _, name := range []string{"Key", "VersionId", "IsLatest", "LastModified"} {
			if text, ok := strings.CutSuffix(part, "</"+name+">"); ok {
				fmt.Fprintf(&out, "%s=%s ", name, text)
			}
		}
		if part == "</Version>" || part == "</DeleteMarker>" {
			out.WriteString(part + "\n")
		}
	}
	return out.String()
}

// without starts the proxy again without a setting and its value.
func (s *stack) without(t *testing.T, flag string) {
	t.Helper()
	for i, arg := range s.seal.args {
		if arg == flag {
			s.seal.args = append(append([]string(nil), s.seal.args[:i]...), s.seal.args[i+2:]...)
		}
	}
	s.seal.kill()
	s.restart(t)
}

func TestTakeOverKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--plain-read", "*"}})
	raw := s.raw()
	plain, old, locked := "plain-bucket", "old-bucket", "lock-bucket"
	raw.do(t, request{method: http.MethodPut, bucket: plain}).wantStatus(t, http.StatusOK)
	raw.do(t, request{method: http.MethodPut, bucket: old}).wantStatus(t, http.StatusOK)
	raw.do(t, request{method: http.MethodPut, bucket: locked, header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}}).wantStatus(t, http.StatusOK)
	meta := map[string]string{
		"X-Amz-Meta-Colour": "blue", "X-Amz-Meta-Name": "M=C3=BCller", "Content-Type": "text/x", "Cache-Control": "no-cache", "Content-Disposition": "inline",
		"Content-Language": "de", "X-Amz-Tagging": "a=b&c=d%20e", "Expires": "Thu, 01 Dec 2044 16:00:00 GMT", "X-Amz-Checksum-Algorithm": "SHA256",
	}
	delete(meta, "X-Amz-Checksum-Algorithm")
	kept := []string{"Etag", "Last-Modified", "X-Amz-Meta-Colour", "X-Amz-Meta-Name", "Content-Type", "Cache-Control", "Content-Disposition", "Content-Language", "Expires", "X-Amz-Tagging-Count", "X-Amz-Version-Id"}
	type one struct {
		bucket, key, version string
		data                 []byte
		was                  http.Header
	}
	var all []one
	add := func(bucket, key string, data []byte, a answer) {
		t.Helper()
		version := a.header.Get("X-Amz-Version-Id")
		r := request{method: http.MethodHead, bucket: bucket, key: key}
		if version != "" {
			r.query = "versionId=" + version
		}
		all = append(all, one{bucket, key, version, data, raw.do(t, r).wantStatus(t, http.StatusOK).header})
	}
	for _, size := range []int{0, 1, packageSize, packageSize + 1, 9<<20 + 7} {
		data, key := testData(size, uint64(size)), fmt.Sprintf("dir/ä %d", size)
		add(plain, key, data, raw.put(t, plain, key, data, meta).wantStatus(t, http.StatusOK))
	}
	parts := [][]byte{partData(minPart+1, 1), partData(minPart+packageSize, 2), partData(77, 3)}
	u := raw.createUpload(t, plain, "parts", meta)
	for i, part := range parts {
		u.put(t, 2*i+1, part)
	}
	u.complete(t)
	add(plain, "parts", bytes.Join(parts, nil), answer{header: http.Header{}})

	add(old, "k", []byte("null"), raw.put(t, old, "k", []byte("null"), meta).wantStatus(t, http.StatusOK))
	all[len(all)-1].version = "null"
	raw.do(t, request{method: http.MethodPut, bucket: old, query: "versioning=", body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)}).wantStatus(t, http.StatusOK)
	for i := range 5 {
		data := testData(1000+i, uint64(i))
		if i == 2 {
			data = testData(10<<20, 2)
		}
		add(old, "k", data, raw.put(t, old, "k", data, meta).wantStatus(t, http.StatusOK))
	}
	raw.do(t, request{method: http.MethodDelete, bucket: old, key: "k"}).wantStatus(t, http.StatusNoContent)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		raw.put(t, locked, mode, []byte(mode), map[string]string{"X-Amz-Object-Lock-Mode": mode, "X-Amz-Object-Lock-Retain-Until-Date": until}).wantStatus(t, http.StatusOK)
	}
	before := versionsOf(t, raw, old)
	if !strings.Contains(before, "DeleteMarker") {
		t.Fatalf("versions: %s", before)
	}

	if out := s.encrypts(t, "--bucket", "*", "--dry-run"); !strings.Contains(out, "found 6 plain") || !strings.Contains(out, "2 locked") {
		t.Errorf("dry run: %s", out)
	}
	time.Sleep(1100 * time.Millisecond) // Last-Modified would differ
	s.takeOver(t, "--bucket", plain, "--bucket", old)
	if out, err := s.command(t, "object", "encrypt", "--bucket", locked); err == nil || !strings.Contains(out, "COMPLIANCE until") {
		t.Errorf("locked objects: %v %s", err, out)
	}
	if out, err := s.command(t, "object", "encrypt", "--bucket", locked, "--bypass-governance"); err == nil || !strings.Contains(out, "taken over 1") {
		t.Errorf("locked objects: %v %s", err, out)
	}

	if after := versionsOf(t, raw, old); after != before {
		t.Errorf("versions were\n%s and are\n%s", before, after)
	}
	s.without(t, "--plain-read")
	c := s.client()
	for _, o := range all {
		r := request{method: http.MethodGet, bucket: o.bucket, key: o.key}
		if o.version != "" {
			r.query = "versionId=" + o.version
		}
		a := c.do(t, r).wantStatus(t, http.StatusOK).wantBody(t, o.data)
		want := map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}
		for _, name := range kept {
			want[name] = o.was.Get(name)
		}
		a.wantHeader(t, want)
		r.query = query(append([]string{"tagging", ""}, versionPair(o.version)...)...)
		if tags := c.do(t, r).wantStatus(t, http.StatusOK); !strings.Contains(string(tags.body), "<Value>d e</Value>") {
			t.Errorf("%s: tags %s", o.key, tags.body)
		}
		if o.version == "" && o.key != "parts" && len(o.data) > 16 {
			wantSealed(t, s, o.bucket, o.key, o.data)
		}
	}
	c.get(t, locked, "GOVERNANCE", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("GOVERNANCE")).wantHeader(t, map[string]string{"X-Amz-Object-Lock-Mode": "GOVERNANCE"})
	if a := c.get(t, locked, "COMPLIANCE", nil); a.status != http.StatusForbidden {
		t.Errorf("a plain object: %d", a.status)
	}
}

func versionPair(version string) []string {
	if version == "" {
		return nil
	}
	return []string{"versionId", version}
}

// encrypts runs the command, which must succeed.
func (s *stack) encrypts(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.command(t, append([]string{"object", "encrypt"}, args...)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}

// TestTakeOverLosesNoConcurrentWrite writes keys again and again, beside the proxy and through
// it, and deletes them, while they are taken over.
func TestTakeOverLosesNoConcurrentWrite(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--plain-read", "*"}})
	raw, c := s.raw(), s.client()
	for _, bucket := range []string{"unversioned", "versioned"} {
		raw.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	}
	raw.do(t, request{method: http.MethodPut, bucket: "versioned", query: "versioning=", body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)}).wantStatus(t, http.StatusOK)
	const keys = 6
	var stop atomic.Bool
	var wg sync.WaitGroup
	type last struct {
		data    []byte
		deleted bool
		err     error
		// versions are all that were acknowledged, by their ids.
		versions map[string][]byte
		writes   int
	}
	var lasts [2][keys]last
	for b, bucket := range []string{"unversioned", "versioned"} {
		for k := range keys {
			l := &lasts[b][k]
			l.versions = map[string][]byte{}
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(b), uint64(k)))
				key := fmt.Sprint("k", k)
				for !stop.Load() {
					by := raw
					if rnd.IntN(4) == 0 {
						by = c
					}
					size := []int{10, 5000, 200_000}[rnd.IntN(3)]
					data := testData(size, rnd.Uint64())
					r := request{method: http.MethodPut, bucket: bucket, key: key, body: data}
					if rnd.IntN(10) == 0 {
						r = request{method: http.MethodDelete, bucket: bucket, key: key}
					}
					a, err := by.try(r)
					if err != nil || a.status >= 300 {
						l.err = fmt.Errorf("%d %w", a.status, err)
						return
					}
					l.data, l.deleted = data, r.method == http.MethodDelete
					l.writes++
					if id := a.header.Get("X-Amz-Version-Id"); id != "" && !l.deleted {
						l.versions[id] = data
					}
					time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
				}
			})
		}
	}
	time.AfterFunc(8*time.Second, func() { stop.Store(true) })
	for !stop.Load() {
		out, err := s.command(t, "object", "encrypt", "--bucket", "*")
		if err != nil && !strings.Contains(err.Error(), "stay readable") {
			t.Errorf("%v: %s", err, out)
		}
	}
	wg.Wait()
	s.takeOver(t, "--bucket", "*")
	s.without(t, "--plain-read")
	for b, bucket := range []string{"unversioned", "versioned"} {
		for k := range keys {
			l, key := &lasts[b][k], fmt.Sprint("k", k)
			if l.err != nil || l.writes < 20 {
				t.Fatalf("%s/%s: %d writes, %v", bucket, key, l.writes, l.err)
			}
			if l.deleted {
				c.get(t, bucket, key, nil).wantStatus(t, http.StatusNotFound)
			} else {
				c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, l.data)
			}
			for id, data := range l.versions {
				c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: "versionId=" + id}).wantStatus(t, http.StatusOK).wantBody(t, data)
			}
		}
	}
}

// TestTakeOverGoesOnAfterEachKill kills the command until it has come to its end.
func TestTakeOverGoesOnAfterEachKill(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--plain-read", "*"}})
	raw := s.raw()
	raw.do(t, request{method: http.MethodPut, bucket: "bucket"}).wantStatus(t, http.StatusOK)
	const objects = 400
	size := func(i int) int { return []int{0, 10, 70_000, 9 << 20}[min(i%40, 3)] % (9<<20 + 1) }
	for i := range objects {
		n := size(i)
		if i%40 > 3 {
			n = 1000
		}
		raw.put(t, "bucket", fmt.Sprint("k", i), testData(n, uint64(i)), map[string]string{"X-Amz-Meta-N": fmt.Sprint(i)}).wantStatus(t, http.StatusOK)
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"object", "encrypt", "--bucket", "*", "--rate", "150/s", "--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir}, s.seal.args...)
	kills := 0
	for {
		p, err := startProcess("encrypt", filepath.Join(s.dir, "encrypt.log"), baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword), program, args...)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = p.cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(time.Duration(200+rand.IntN(500)) * time.Millisecond):
			_ = p.cmd.Process.Kill()
			<-ended
			kills++
			if kills < 200 {
				continue
			}
		}
		break
	}
	s.takeOver(t, "--bucket", "*")
	t.Logf("%d kills", kills)
	if kills < 3 {
		t.Errorf("only %d kills", kills)
	}
	s.without(t, "--plain-read")
	c := s.client()
	for i := range objects {
		n := size(i)
		if i%40 > 3 {
			n = 1000
		}
		data := testData(n, uint64(i))
		c.get(t, "bucket", fmt.Sprint("k", i), nil).wantStatus(t, http.StatusOK).wantBody(t, data).
			wantHeader(t, map[string]string{"X-Amz-Meta-N": fmt.Sprint(i), "Etag": md5ETag(data), "X-Amz-Server-Side-Encryption": "AES256"})
	}
}

// TestTakeOverOfAMinIOThatEncryptedItself takes objects over by way of MinIO's own KMS, and
// reads them from a MinIO that has none any more.
func TestTakeOverOfAMinIOThatEncryptedItself(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{dir: dir, minio: minio}
	t.Cleanup(func() { _ = s.stop() })
	raw := s.raw()
	raw.do(t, request{method: http.MethodPut, bucket: "bucket"}).wantStatus(t, http.StatusOK)
	parts := [][]byte{partData(minPart+1, 1), partData(77, 3)}
	etags, data := map[string]string{}, map[string][]byte{}
	for name, header := range map[string]map[string]string{
		"s3": {"X-Amz-Server-Side-Encryption": "AES256"}, "kms": {"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": defaultKey}, "plain": {},
	} {
		header["X-Amz-Meta-N"] = name
		data[name] = testData(100_000, 5)
		etags[name] = raw.put(t, "bucket", name, data[name], header).wantStatus(t, http.StatusOK).header.Get("Etag")
		u := raw.createUpload(t, "bucket", name+"-parts", header)
		for i, part := range parts {
			u.put(t, i+1, part)
		}
		etags[name+"-parts"], data[name+"-parts"] = u.complete(t), bytes.Join(parts, nil)
	}
	raw.putEncryption(t, "bucket", encryptionRule("AES256", "")).wantStatus(t, http.StatusOK)
	if s.seal, err = startSeal(dir, "", minio.endpoint(), "--plain-read", "*"); err != nil {
		t.Fatal(err)
	}
	s.dumpOnFailure(t)
	if out, err := s.command(t, "object", "encrypt", "--bucket", "*"); err == nil || !strings.Contains(out, "rule-at-minio") {
		t.Errorf("a bucket with a rule at MinIO: %v %s", err, out)
	}
	raw.bucketEncryption(t, http.MethodDelete, "bucket").wantStatus(t, http.StatusNoContent)
	if out := s.takeOver(t, "--bucket", "*"); !strings.Contains(out, "2 plain and 4 encrypted by MinIO") {
		t.Errorf("taken over: %s", out)
	}
	s.seal.kill()
	if err := minio.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if s.minio, err = startMinIO(dir, minio.addr, false); err != nil {
		t.Fatal(err)
	}
	s.without(t, "--plain-read")
	c := s.client()
	for name, want := range data {
		a := c.get(t, "bucket", name, nil).wantStatus(t, http.StatusOK).wantBody(t, want)
		a.wantHeader(t, map[string]string{"X-Amz-Meta-N": strings.TrimSuffix(name, "-parts")})
		if !strings.HasPrefix(name, "kms") {
			a.wantHeader(t, map[string]string{"Etag": etags[name]})
		}
	}
}

// TestVerifyFindsWhatIsWrongAndNothingElse damages objects where they lie.
func TestVerifyFindsWhatIsWrongAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	data := testData(200_000, 3)
	keys := []string{"good", "flipped", "cut", "swapped", "other"}
	for _, key := range keys {
		h.root.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK)
	}
	for _, key := range []string{"parts", "lost"} {
		u := h.root.createUpload(t, bucket, key, nil)
		u.put(t, 1, partData(minPart+1, 1))
		u.put(t, 3, partData(77, 2))
		u.complete(t)
	}
	out, err := h.stack.command(t, "object", "verify", "--bucket", bucket)
	if err != nil || !strings.Contains(out, `"verified":7`) || strings.Count(out, "\n") != 1 {
		t.Fatalf("where nothing is wrong: %v %s", err, out)
	}
	raw := h.stack.raw()
	// again stores an object's ciphertext anew, changed, with the record of another one.
	again := func(key, recordOf string, change func([]byte) []byte) {
		t.Helper()
		body := raw.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).body
		record := raw.head(t, bucket, recordOf, nil).wantStatus(t, http.StatusOK).header.Get("X-Amz-Meta-Bucketseal")
		raw.put(t, bucket, key, change(body), map[string]string{"X-Amz-Meta-Bucketseal": record}).wantStatus(t, http.StatusOK)
	}
	again("flipped", "flipped", func(b []byte) []byte { b[100_000] ^= 1; return b })
	again("cut", "cut", func(b []byte) []byte { return b[:len(b)-1] })
	again("swapped", "other", func(b []byte) []byte { return b })
	h.loseManifest(t, bucket, "lost")
	out, err = h.stack.command(t, "object", "verify", "--bucket", bucket)
	if err == nil || !strings.Contains(err.Error(), "4 objects and versions are not as they should be") {
		t.Errorf("where something is wrong: %v", err)
	}
	for key, kind := range map[string]string{"flipped": "data", "cut": "data", "swapped": "record", "lost": "manifest"} {
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.Contains(line, `"key":"`+key+`"`) && strings.Contains(line, `"kind":"`+kind+`"`)
		}
		if !found {
			t.Errorf("%s is not found: %s", key, out)
		}
	}
	if strings.Count(out, "\n") != 5 || !strings.Contains(out, `"verified":3`) {
		t.Errorf("found: %s", out)
	}
}
