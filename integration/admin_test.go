package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// denies runs mc and wants it to fail with a text.
func (m *mcRunner) denies(t *testing.T, text string, args ...string) {
	t.Helper()
	if _, all, err := m.run(t, args...); err == nil || !strings.Contains(all, text) {
		t.Errorf("mc %s: %v, want a failure with %q\n%s", strings.Join(args, " "), err, text, all)
	}
}

// says runs mc and wants a text in what it prints.
func (m *mcRunner) says(t *testing.T, text string, args ...string) {
	t.Helper()
	if out := m.must(t, args...); !strings.Contains(out, text) {
		t.Errorf("mc %s does not say %q:\n%s", strings.Join(args, " "), text, out)
	}
}

func TestMCAdministersKeys(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	mc := newMC(t, s)
	key, at := "admin-k2", "seal/"+bucketName(t)
	mc.must(t, "admin", "kms", "key", "create", "seal", key)
	mc.denies(t, "already exits", "admin", "kms", "key", "create", "seal", key)
	mc.says(t, "Encryption ✔", "admin", "kms", "key", "status", "seal", key)
	mc.says(t, "Decryption ✔", "admin", "kms", "key", "status", "seal")
	mc.says(t, "does not exist", "admin", "kms", "key", "status", "seal", "admin-none")
	if list := mc.must(t, "admin", "kms", "key", "list", "seal", "--json"); !strings.Contains(list, key) || strings.Contains(list, "bucketseal-system") {
		t.Errorf("key list: %s", list)
	}
	mc.denies(t, "insufficient permissions", "admin", "kms", "key", "create", "seal", "bucketseal-system-x")
	mc.denies(t, "insufficient permissions", "admin", "kms", "key", "status", "seal", "bucketseal-system")

	mc.must(t, "mb", at)
	mc.must(t, "encrypt", "set", "sse-kms", key, at)
	data := testData(100_000, 7)
	mc.must(t, "cp", writeFile(t, t.TempDir(), "f", data), at+"/f")
	mc.says(t, "SSE-KMS (arn:aws:kms:"+key+")", "stat", at+"/f")
	if out := mc.must(t, "cat", at+"/f"); out != string(data) {
		t.Errorf("cat: %d bytes", len(out))
	}
	// MinIO itself has no KMS, and no such key.
	mc.denies(t, "KMS is not configured", "admin", "kms", "key", "status", "raw", key)
}

func TestLegacyKMSPaths(t *testing.T) {
	needsSeal(t)
	c := sharedStack(t).client()
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	ask := func(method, path, query string) answer {
		return c.do(t, request{method: method, path: path, query: query, payload: empty})
	}
	ask(http.MethodPost, "/minio/admin/v3/kms/key/create", "key-id=legacy-key").wantStatus(t, http.StatusOK)
	for _, path := range []string{"/minio/admin/v3/kms/key/status", "/minio/kms/v1/key/status"} {
		if a := ask(http.MethodGet, path, "key-id=legacy-key").wantStatus(t, http.StatusOK); strings.TrimSpace(string(a.body)) != `{"key-id":"legacy-key"}` {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for path, method := range map[string]string{"/minio/admin/v3/kms/status": http.MethodPost, "/minio/kms/v1/status": http.MethodGet} {
		var status struct {
			DefaultKey string `json:"default-key-id"`
			Endpoints  map[string]string
			State      struct{ KeyStoreReachable bool }
		}
		a := ask(method, path, "").wantStatus(t, http.StatusOK)
		if err := json.Unmarshal(a.body, &status); err != nil || status.DefaultKey != defaultKey || len(status.Endpoints) != 1 || !status.State.KeyStoreReachable {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if a := ask(http.MethodDelete, "/minio/kms/v1/key/delete", "key-id=legacy-key"); a.status != http.StatusNotImplemented {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}

func TestMCAdminSession(t *testing.T) {
	s := sharedStack(t)
	mc := newMC(t, s)
	bucket := newBucket(t, s.client())
	at := "seal/" + bucket
	mc.says(t, "1 drive online", "admin", "info", "seal")
	mc.says(t, `"status":"ok`, "ping", "seal", "--count", "1", "--json")
	mc.must(t, "ready", "seal")

	mc.must(t, "admin", "user", "add", "seal", "admin-user", "admin-user-secret")
	mc.says(t, "admin-user", "admin", "user", "ls", "seal")
	mc.must(t, "admin", "user", "disable", "seal", "admin-user")
	mc.says(t, "disabled", "admin", "user", "info", "seal", "admin-user")
	mc.must(t, "admin", "user", "enable", "seal", "admin-user")
	policy := writeFile(t, t.TempDir(), "p.json", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::`+bucket+`/*"]}]}`))
	mc.must(t, "admin", "policy", "create", "seal", "admin-policy", policy)
	mc.says(t, "admin-policy", "admin", "policy", "ls", "seal")
	mc.must(t, "admin", "policy", "attach", "seal", "admin-policy", "--user", "admin-user")
	mc.says(t, "admin-user", "admin", "policy", "entities", "seal", "--policy", "admin-policy")
	mc.must(t, "admin", "group", "add", "seal", "admin-group", "admin-user")
	mc.says(t, "admin-user", "admin", "group", "info", "seal", "admin-group")
	mc.must(t, "admin", "user", "svcacct", "add", "seal", "admin-user", "--access-key", "admin-svcacct", "--secret-key", "admin-svcacct-secret")
	mc.says(t, "admin-svcacct", "admin", "user", "svcacct", "ls", "seal", "admin-user")
	mc.must(t, "admin", "user", "svcacct", "edit", "seal", "admin-svcacct", "--secret-key", "another-secret-123")
	mc.says(t, "admin-user", "admin", "user", "svcacct", "info", "seal", "admin-svcacct")
	mc.says(t, "admin-svcacct", "admin", "accesskey", "ls", "seal", "admin-user")
	mc.must(t, "admin", "user", "svcacct", "rm", "seal", "admin-svcacct")
	mc.must(t, "admin", "policy", "detach", "seal", "admin-policy", "--user", "admin-user")
	mc.must(t, "admin", "group", "rm", "seal", "admin-group", "admin-user")
	mc.must(t, "admin", "group", "rm", "seal", "admin-group")
	mc.must(t, "admin", "policy", "rm", "seal", "admin-policy")
	mc.must(t, "admin", "user", "rm", "seal", "admin-user")

	mc.must(t, "quota", "set", at, "--size", "1GiB")
	mc.says(t, "1.0 GiB", "quota", "info", at)
	mc.must(t, "quota", "clear", at)
	mc.says(t, "requests_max", "admin", "config", "get", "seal", "api")
	mc.must(t, "ilm", "tier", "ls", "seal")
}

func TestMCAdminRefusedByName(t *testing.T) {
	needsSeal(t)
	s := watchedStack(t)
	mc := newMC(t, s)
	mark := s.liar.mark()
	dir := t.TempDir()
	job := writeFile(t, dir, "job.yml", []byte("expire:\n  apiVersion: v1\n  bucket: b\n"))
	mc.denies(t, "batch jobs of the kind expire: they would copy or delete objects past the proxy", "batch", "start", "seal", job)
	mc.denies(t, "replication would copy ciphertext", "admin", "replicate", "add", "seal", "raw")
	mc.denies(t, "does not exist", "quota", "set", "seal/"+systemBucket, "--size", "1KiB")
	a := s.client().do(t, request{method: http.MethodGet, path: "/minio/admin/v3/inspect-data", query: query("volume", systemBucket, "file", "rules/index")})
	if a.status != http.StatusNotImplemented || !strings.Contains(string(a.body), "the proxy's own bucket") {
		t.Errorf("inspect-data: %d %s", a.status, a.body)
	}
	for _, seen := range s.liar.since(mark, "/minio/admin/v3/") {
		for _, refused := range []string{"site-replication/add", "set-bucket-quota", "inspect-data"} {
			if strings.HasSuffix(seen.path, refused) {
				t.Errorf("%s reached MinIO", seen.path)
			}
		}
	}
}

// Who is not the configured root credential does nothing with keys, whatever
// MinIO says of it.
func TestUpstreamThatSaysYesMakesNobodyAKeyAdministrator(t *testing.T) {
	const name, secret = "keyless-user", "keyless-secret-0123456789"
	h := newHostile(t, "credentials:\n  - {access_key: "+rootUser+", secret_key: "+rootPassword+"}\n  - {access_key: "+name+", secret_key: "+secret+"}\n")
	mc := newMC(t, h.stack)
	mc.must(t, "admin", "user", "add", "raw", name, secret)
	mc.must(t, "admin", "policy", "attach", "raw", "consoleAdmin", "--user", name)
	mc.must(t, "alias", "set", "user", h.root.endpoint, name, secret)
	mc.says(t, "1 drive online", "admin", "info", "user") // a MinIO administrator it is
	yes := func(r *http.Request) *http.Response {
		if !strings.HasPrefix(r.URL.Path, "/minio/kms/") {
			return nil
		}
		const body = `{"Code":"NotImplemented","Message":"Server side encryption specified but KMS is not configured"}`
		return &http.Response{StatusCode: http.StatusNotImplemented, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}
	}
	for _, l := range []lie{{}, {answer: yes}} {
		h.up.tell(l)
		mc.denies(t, "Access Denied", "admin", "kms", "key", "create", "user", "planted")
		mc.denies(t, "Access Denied", "admin", "kms", "key", "status", "user", defaultKey)
		mc.denies(t, "Access Denied", "admin", "kms", "key", "list", "user")
	}
	h.up.honest()
	if list := mc.must(t, "admin", "kms", "key", "list", "seal", "--json"); strings.Contains(list, "planted") {
		t.Errorf("a key was planted: %s", list)
	}
}

func TestMetricsOfMinIO(t *testing.T) {
	s := sharedStack(t)
	mc := newMC(t, s)
	mc.says(t, "minio_", "admin", "prometheus", "metrics", "seal")
	mc.says(t, "minio_", "admin", "prometheus", "metrics", "seal", "cluster", "--api-version", "v3")
	_, token, ok := strings.Cut(mc.must(t, "admin", "prometheus", "generate", "seal"), "bearer_token: ")
	if !ok {
		t.Fatal("mc generates no bearer token")
	}
	token, _, _ = strings.Cut(token, "\n")
	anonymous := s.client().anonymous()
	for _, path := range []string{"/minio/v2/metrics/cluster", "/minio/v2/metrics/node", "/minio/metrics/v3/api/requests", "/minio/prometheus/metrics"} {
		get := func(token string) answer {
			return anonymous.do(t, request{method: http.MethodGet, path: path, header: map[string]string{"Authorization": "Bearer " + token}})
		}
		if a := get(token).wantStatus(t, http.StatusOK); !strings.Contains(string(a.body), "minio_") {
			t.Errorf("%s: %.200s", path, a.body)
		}
		if a := get(token[:len(token)-4] + "AAAA"); a.status != http.StatusForbidden {
			t.Errorf("%s with a forged token: %d", path, a.status)
		}
		if a := anonymous.do(t, request{method: http.MethodGet, path: path}); a.status != http.StatusForbidden {
			t.Errorf("%s without a token: %d", path, a.status)
		}
	}
}

func TestHealthPathsAnswerAsMinIO(t *testing.T) {
	s := sharedStack(t)
	for _, path := range []string{"live", "ready", "cluster", "cluster/read"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, q := range []string{"", "maintenance=true"} {
				r := request{method: method, path: "/minio/health/" + path, query: q}
				got, want := s.client().anonymous().do(t, r), s.raw().anonymous().do(t, r)
				if got.status != want.status || len(got.body) != 0 {
					t.Errorf("%s: %d, MinIO %d", got.what, got.status, want.status)
				}
				for name := range want.header {
					if strings.HasPrefix(name, "X-Minio-") && got.header.Get(name) != want.header.Get(name) {
						t.Errorf("%s: %s is %q, at MinIO %q", got.what, name, got.header.Get(name), want.header.Get(name))
					}
				}
			}
		}
	}
}

// access.key_admins names who may; MinIO narrows it.
func TestKeyAdministratorsNeedMinIOsPermissionToo(t *testing.T) {
	const name, secret = "key-operator", "key-operator-secret"
	h := newHostile(t, "credentials:\n  - {access_key: "+rootUser+", secret_key: "+rootPassword+"}\n  - {access_key: "+name+", secret_key: "+secret+"}\n"+
		"access:\n  key_admins: ["+name+"]\n")
	mc := newMC(t, h.stack)
	mc.must(t, "admin", "user", "add", "seal", name, secret)
	mc.must(t, "alias", "set", "user", h.root.endpoint, name, secret)
	mc.denies(t, "Access Denied", "admin", "kms", "key", "create", "user", "operators-key") // MinIO says no
	mc.denies(t, "Access Denied", "admin", "kms", "key", "create", "seal", "operators-key") // the configuration says no
	policy := writeFile(t, t.TempDir(), "p.json", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:CreateKey"]}]}`))
	mc.must(t, "admin", "policy", "create", "seal", "key-makers", policy)
	mc.must(t, "admin", "policy", "attach", "seal", "key-makers", "--user", name)
	mc.must(t, "admin", "kms", "key", "create", "user", "operators-key")
	mc.denies(t, "Access Denied", "admin", "kms", "key", "list", "user")
	mc.must(t, "admin", "policy", "attach", "seal", "consoleAdmin", "--user", name)
	mc.says(t, "operators-key", "admin", "kms", "key", "list", "user", "--json")
}

// A trace has no end: what MinIO sees is handed on as it comes.
func TestTraceStreams(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	req, err := c.build(request{method: http.MethodGet, path: "/minio/admin/v3/trace", query: "s3=true&threshold=0s"})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("trace: %v %v", resp, err)
	}
	defer resp.Body.Close()
	found := make(chan string, 1)
	go func() {
		var all []byte
		buffer := make([]byte, 4096)
		for !strings.Contains(string(all), "s3.HeadBucket") {
			n, err := resp.Body.Read(buffer)
			all = append(all, buffer[:n]...)
			if err != nil {
				break
			}
		}
		found <- string(all)
	}()
	bucket := bucketName(t)
	deadline := time.After(20 * time.Second)
	for {
		_ = c.head(t, bucket, "", nil)
		select {
		case all := <-found:
			if !strings.Contains(all, "s3.HeadBucket") {
				t.Errorf("the trace ended with %q", all)
			}
			return
		case <-deadline:
			t.Fatal("nothing came in 20 s")
		case <-time.After(200 * time.Millisecond):
		}
	}
}
