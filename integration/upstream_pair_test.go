package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The client's pair, which the proxy alone knows, and that by which MinIO knows the client.
const (
	pairClient, pairClientSecret = "app", "app-secret-at-the-proxy"
	pairMinIO, pairMinIOSecret   = "app-at-minio", "app-secret-at-minio"
)

// pairStack is a stack with a client whose pair MinIO does not know, with an audit log and a
// console.
func pairStack(t *testing.T) (s *stack, l *auditLog, config, console string) {
	t.Helper()
	console, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s, l, config = newAudited(t, t.TempDir(), fmt.Sprintf(`console: {address: %q}
credentials:
- {access_key: %s, secret_key: %s}
- access_key: %s
  secret_key: %s
  upstream: {access_key: %s, secret_key: %s}
`, console, rootUser, rootPassword, pairClient, pairClientSecret, pairMinIO, pairMinIOSecret))
	mc := newMC(t, &stack{minio: s.minio})
	mc.must(t, "admin", "user", "add", "raw", pairMinIO, pairMinIOSecret)
	for _, policy := range []string{"readwrite", "consoleAdmin"} {
		mc.must(t, "admin", "policy", "attach", "raw", policy, "--user", pairMinIO)
	}
	return s, l, config, console
}

// A client whose pair MinIO does not know does all that others do, and each of the two pairs is
// nobody's where the other one belongs.
func TestAClientWhosePairMinIODoesNotKnow(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, l, config, console := pairStack(t)
	c := s.client().as(pairClient, pairClientSecret)
	bucket := newBucket(t, c)
	data := testData(200_000, 1)
	put := c.put(t, bucket, "k", data, kmsWith(defaultKey)).wantStatus(t, http.StatusOK)
	wantSealed(t, s, bucket, "k", data)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	for query, want := range map[string]string{"list-type=2&fetch-owner=true": "<Key>k</Key>", "": "<Key>k</Key>", "versions=": "<Key>k</Key>"} {
		if a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: query}).wantStatus(t, http.StatusOK); !strings.Contains(string(a.body), want) || strings.Contains(string(a.body), pairMinIO) {
			t.Errorf("?%s: %s", query, a.body)
		}
	}
	if a := c.do(t, request{method: http.MethodGet}).wantStatus(t, http.StatusOK); !strings.Contains(string(a.body), bucket) {
		t.Errorf("its buckets: %s", a.body)
	}
	pairUpload(t, c, bucket)
	c.do(t, request{method: http.MethodPut, bucket: bucket, key: "copy", header: map[string]string{"X-Amz-Copy-Source": bucket + "/k"}}).wantStatus(t, http.StatusOK)
	pairLinks(t, c, bucket, data)
	if line := l.last(t, put, "request"); line.AccessKey != pairClient || line.Identity != "configured" {
		t.Errorf("the audit log: %+v", line)
	}

	// Neither pair is good for anything at the other end.
	newClient(s.minio.endpoint(), pairClient, pairClientSecret).get(t, bucket, "k", nil).wantError(t, 403, "InvalidAccessKeyId", "")
	s.client().as(pairMinIO, pairMinIOSecret).get(t, bucket, "k", nil).wantError(t, 403, "InvalidAccessKeyId", "")
	s.client().as(pairClient, pairMinIOSecret).get(t, bucket, "k", nil).wantError(t, 403, "SignatureDoesNotMatch", "")

	pairConsole(t, console, bucket)
	pairCommands(t, s, bucket, config)
	pairChanged(t, s, config, c, bucket)
	for _, text := range []string{s.seal.logSince(0), readAll(t, l.path)} {
		for _, secret := range []string{pairClientSecret, pairMinIOSecret, "changed-secret"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in a log", secret)
			}
		}
	}
}

// A session of such a client is MinIO's user's there, and the client's at the proxy.
func TestASessionOfAClientWhosePairMinIODoesNotKnow(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, l, _, _ := pairStack(t)
	c := s.client().as(pairClient, pairClientSecret)
	bucket := newBucket(t, c)
	data := testData(200_000, 1)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	one := assumeRole(t, c)
	inSession := c.as(one.AccessKey, one.SecretKey)
	got := inSession.do(t, request{method: http.MethodGet, bucket: bucket, key: "k", token: one.Token}).wantStatus(t, http.StatusOK).wantBody(t, data)
	inSession.do(t, request{method: http.MethodPut, bucket: bucket, key: "own", body: data, token: one.Token}).wantStatus(t, http.StatusOK)
	line := l.last(t, got, "request")
	if line.AccessKey != one.AccessKey || line.Source != "assume-role" || len(line.Via) != 1 || line.Via[0].AccessKey != pairClient {
		t.Errorf("the audit log: %+v", line)
	}
	// A policy that names MinIO's user means the client, and the session.
	s.client().do(t, request{method: http.MethodPut, bucket: bucket, query: "policy", body: fmt.Appendf(nil,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":["arn:aws:iam:::user/%s"]},"Action":["s3:PutObject"],`+
			`"Resource":["arn:aws:s3:::%s/*"],"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}}]}`, pairMinIO, bucket)}).wantStatus(t, http.StatusNoContent)
	plain := request{method: http.MethodPut, bucket: bucket, key: "denied", body: data}
	c.do(t, plain).wantError(t, 403, "AccessDenied", "")
	s.client().do(t, plain).wantStatus(t, http.StatusOK)
	plain.token = one.Token
	inSession.do(t, plain).wantError(t, 403, "AccessDenied", "")
}

// pairUpload uploads in parts.
func pairUpload(t *testing.T, c *client, bucket string) {
	t.Helper()
	u := c.createUpload(t, bucket, "parts", nil)
	first, last := partData(5<<20, 1), partData(70_000, 2)
	u.put(t, 1, first)
	u.put(t, 2, last)
	page := c.do(t, request{method: http.MethodGet, bucket: bucket, query: "uploads="}).wantStatus(t, http.StatusOK)
	if text := string(page.body); !strings.Contains(text, "<ID>"+pairClient+"</ID>") || strings.Contains(text, pairMinIO) {
		t.Errorf("uploads: %s", text)
	}
	if a := c.do(t, u.request(http.MethodGet)).wantStatus(t, http.StatusOK); strings.Contains(string(a.body), pairMinIO) {
		t.Errorf("parts: %s", a.body)
	}
	u.complete(t)
	c.get(t, bucket, "parts", nil).wantStatus(t, http.StatusOK).wantBody(t, slices.Concat(first, last))
}

// pairLinks gives links and a form to somebody without a pair.
func pairLinks(t *testing.T, c *client, bucket string, data []byte) {
	t.Helper()
	resp, err := http.Get(c.presign(http.MethodGet, bucket, "k", time.Minute)) //nolint:gosec // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(data)) {
		t.Errorf("a link: %s, %d bytes", resp.Status, resp.ContentLength)
	}
	form := postForm{fields: [][2]string{{"key", "from-a-form"}}, file: data}
	r := form.request(c, bucket)
	c.anonymous().do(t, r).wantStatus(t, http.StatusNoContent)
	c.get(t, bucket, "from-a-form", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

// pairConsole logs in, and looks at an object as it is stored.
func pairConsole(t *testing.T, address, bucket string) {
	t.Helper()
	if _, status := newVisitor(t, address, pairMinIO, pairMinIOSecret); status == http.StatusOK {
		t.Error("MinIO's pair logs in at the console")
	}
	v, status := newVisitor(t, address, pairClient, pairClientSecret)
	if status != http.StatusOK {
		t.Fatalf("login: %d", status)
	}
	if got, text := v.get("/object?" + url.Values{"bucket": {bucket}, "key": {"k"}}.Encode()); got != http.StatusOK || !strings.Contains(text, defaultKey+", version 1") {
		t.Errorf("an object as it is stored: %d %s", got, text)
	}
}

// pairCommands administers MinIO by mc, whose payloads are sealed, and runs the operator's
// commands.
func pairCommands(t *testing.T, s *stack, bucket, config string) {
	t.Helper()
	mc := newMC(t, s)
	mc.must(t, "alias", "set", "app", s.client().endpoint, pairClient, pairClientSecret)
	mc.must(t, "admin", "user", "add", "app", "made-by-app", "made-by-app-secret")
	mc.must(t, "admin", "policy", "attach", "app", "readwrite", "--user", "made-by-app")
	if out := mc.must(t, "admin", "user", "ls", "app"); !strings.Contains(out, "made-by-app") || !strings.Contains(out, pairMinIO) {
		t.Errorf("mc admin user ls: %s", out)
	}
	s.client().as("made-by-app", "made-by-app-secret").get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	mc.must(t, "admin", "accesskey", "create", "app", "--access-key", "account-of-app", "--secret-key", "account-of-app-secret")
	s.client().as("account-of-app", "account-of-app-secret").get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	mc.must(t, "admin", "config", "get", "app", "scanner")
	mc.must(t, "admin", "info", "app")
	mc.denies(t, "managed by the encryption gateway's own configuration", "admin", "user", "add", "app", pairMinIO, "another-secret-0")
	mc.denies(t, "managed by the encryption gateway's own configuration", "admin", "user", "add", "app", pairClient, pairClientSecret)
	mc.denies(t, "Access Denied", "admin", "user", "disable", "app", pairMinIO)

	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	out, all, err := runWith(t, env, s.dir, "", program, "config", "print", config)
	if err != nil || !strings.Contains(out, pairMinIO) || strings.Contains(all, pairMinIOSecret) || strings.Contains(all, pairClientSecret) {
		t.Errorf("config print: %v, %s", err, all)
	}
	if _, all, _ := s.commandWith(t, "", "doctor"); strings.Contains(all, "credential.unknown") || strings.Contains(all, pairMinIOSecret) {
		t.Errorf("doctor: %s", all)
	}
	if out, err := s.sealCommand(t, "", "credential", "ls"); err != nil || !strings.Contains(out, pairMinIO) {
		t.Errorf("credential ls: %v, %s", err, out)
	}
	if _, all, err := s.commandWith(t, "", "object", "verify", "--bucket", bucket, "--as", pairClient); err != nil {
		t.Errorf("object verify --as %s: %v, %s", pairClient, err, all)
	}
}

// pairChanged has MinIO's secret changed there, and then in the configuration.
func pairChanged(t *testing.T, s *stack, config string, c *client, bucket string) {
	t.Helper()
	get := request{method: http.MethodGet, bucket: bucket, key: "k"}
	mc := newMC(t, &stack{minio: s.minio})
	mc.must(t, "admin", "user", "add", "raw", pairMinIO, "changed-secret-at-minio")
	c.do(t, get).wantError(t, 403, "InvalidAccessKeyId", "The storage does not accept this access key any more: its secret was changed, or it was removed there.")
	text := strings.ReplaceAll(readAll(t, config), pairMinIOSecret, "changed-secret-at-minio")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.seal.hangup(t)
	becomes(t, c, get, http.StatusOK)
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
