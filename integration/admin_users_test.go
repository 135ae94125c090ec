package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// userPolicy lets its holder read one prefix of a bucket and write another.
func userPolicy(bucket string) []byte {
	return fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%[1]s/read/*","arn:aws:s3:::%[1]s/write/*"]},
		{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::%[1]s/write/*"]}]}`, bucket)
}

// minioUser is a user that mc made through the proxy, with userPolicy.
type minioUser struct {
	s            *stack
	mc           *mcRunner
	bucket       string
	name, secret string
	data         []byte
}

func newMinIOUser(t *testing.T, s *stack, name string) *minioUser {
	t.Helper()
	u := &minioUser{s: s, mc: newMC(t, s), name: name, secret: name + "-secret", data: testData(100_000, 5)}
	u.bucket = newBucket(t, s.client())
	for _, key := range []string{"read/a", "hidden/a"} {
		s.client().put(t, u.bucket, key, u.data, nil).wantStatus(t, http.StatusOK)
	}
	policy := name + "-policy"
	u.mc.must(t, "admin", "user", "add", "seal", u.name, u.secret)
	u.mc.must(t, "admin", "policy", "create", "seal", policy, writeFile(t, t.TempDir(), "p.json", userPolicy(u.bucket)))
	u.mc.must(t, "admin", "policy", "attach", "seal", policy, "--user", u.name)
	return u
}

// mayWhatThePolicySays checks that a credential reads and writes encrypted objects
// as the policy says, and nothing else.
func (u *minioUser) mayWhatThePolicySays(t *testing.T, access, secret string) {
	t.Helper()
	c := u.s.client().as(access, secret)
	c.get(t, u.bucket, "read/a", nil).wantStatus(t, http.StatusOK).wantBody(t, u.data)
	c.get(t, u.bucket, "hidden/a", nil).wantError(t, http.StatusForbidden, "AccessDenied", "")
	c.put(t, u.bucket, "read/b", u.data, nil).wantError(t, http.StatusForbidden, "AccessDenied", "")
	for name, header := range map[string]map[string]string{"default": nil, "kms": kmsWith(defaultKey)} {
		c.put(t, u.bucket, "write/"+name, u.data, header).wantStatus(t, http.StatusOK)
		c.get(t, u.bucket, "write/"+name, nil).wantStatus(t, http.StatusOK).wantBody(t, u.data)
		wantSealed(t, u.s, u.bucket, "write/"+name, u.data)
	}
	c.do(t, request{method: http.MethodGet, bucket: u.bucket, query: "list-type=2"}).wantError(t, http.StatusForbidden, "AccessDenied", "")
	c.do(t, request{method: http.MethodDelete, bucket: u.bucket, key: "read/a"}).wantError(t, http.StatusForbidden, "AccessDenied", "")
}

func (u *minioUser) isNobody(t *testing.T, access, secret string) {
	t.Helper()
	if a := u.s.client().as(access, secret).get(t, u.bucket, "read/a", nil); a.status != http.StatusForbidden || bytes.Contains(a.body, u.data[:64]) {
		t.Errorf("%s still reads: %d %s", access, a.status, a.code)
	}
}

func TestMinIOUserMadeThroughTheProxy(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	u := newMinIOUser(t, s, "learned-user")
	u.mayWhatThePolicySays(t, u.name, u.secret)
	u.isNobody(t, u.name, "another-secret")
	u.mc.must(t, "alias", "set", "user", s.client().endpoint, u.name, u.secret)
	if out := u.mc.must(t, "cat", "user/"+u.bucket+"/read/a"); out != string(u.data) {
		t.Errorf("mc cat: %d bytes", len(out))
	}
	if s.seal != nil {
		u.mc.denies(t, "Access Denied", "admin", "kms", "key", "create", "user", "planted-key")
		u.mc.denies(t, "Access Denied", "admin", "user", "add", "user", "planted-user", "planted-secret")
		u.isNobody(t, "planted-user", "planted-secret")
	}

	u.mc.must(t, "admin", "user", "disable", "seal", u.name)
	u.isNobody(t, u.name, u.secret)
	u.mc.must(t, "admin", "user", "enable", "seal", u.name)
	u.mayWhatThePolicySays(t, u.name, u.secret)

	const changed = "learned-user-other-secret"
	u.mc.must(t, "admin", "user", "add", "seal", u.name, changed)
	u.isNobody(t, u.name, u.secret)
	u.mayWhatThePolicySays(t, u.name, changed)

	u.mc.must(t, "admin", "user", "rm", "seal", u.name)
	u.isNobody(t, u.name, changed)
}

func TestServiceAccountsMadeThroughTheProxy(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	u := newMinIOUser(t, s, "svc-parent")
	u.mc.must(t, "alias", "set", "user", s.client().endpoint, u.name, u.secret)

	u.mc.must(t, "admin", "user", "svcacct", "add", "seal", u.name, "--access-key", "svc-of-root", "--secret-key", "svc-of-root-secret")
	u.mayWhatThePolicySays(t, "svc-of-root", "svc-of-root-secret")
	u.mc.must(t, "admin", "user", "svcacct", "add", "user", u.name, "--access-key", "svc-of-user", "--secret-key", "svc-of-user-secret")
	u.mayWhatThePolicySays(t, "svc-of-user", "svc-of-user-secret")

	// mc chooses the keys; a policy of its own; an end.
	narrow := writeFile(t, t.TempDir(), "n.json", fmt.Appendf(nil, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/read/*"]}]}`, u.bucket))
	access, secret := credentialsIn(t, u.mc.must(t, "admin", "accesskey", "create", "user/", "--policy", narrow, "--expiry-duration", "24h"))
	c := s.client().as(access, secret)
	c.get(t, u.bucket, "read/a", nil).wantStatus(t, http.StatusOK).wantBody(t, u.data)
	c.put(t, u.bucket, "write/x", u.data, nil).wantError(t, http.StatusForbidden, "AccessDenied", "")
	c.get(t, u.bucket, "write/default", nil).wantError(t, http.StatusForbidden, "AccessDenied", "")

	u.mc.must(t, "admin", "user", "svcacct", "edit", "seal", "svc-of-root", "--secret-key", "svc-of-root-changed")
	u.isNobody(t, "svc-of-root", "svc-of-root-secret")
	u.mayWhatThePolicySays(t, "svc-of-root", "svc-of-root-changed")
	u.mc.must(t, "admin", "user", "svcacct", "disable", "seal", "svc-of-root")
	u.isNobody(t, "svc-of-root", "svc-of-root-changed")
	u.mc.must(t, "admin", "user", "svcacct", "enable", "seal", "svc-of-root")
	u.mc.must(t, "admin", "user", "svcacct", "edit", "seal", "svc-of-root", "--expiry", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	u.mayWhatThePolicySays(t, "svc-of-root", "svc-of-root-changed")
	u.mc.must(t, "admin", "user", "svcacct", "rm", "seal", "svc-of-root")
	u.isNobody(t, "svc-of-root", "svc-of-root-changed")

	u.mc.must(t, "admin", "user", "rm", "seal", u.name)
	u.isNobody(t, "svc-of-user", "svc-of-user-secret")
	u.isNobody(t, access, secret)
}

// credentialsIn reads what mc prints of a new access key.
func credentialsIn(t *testing.T, printed string) (access, secret string) {
	t.Helper()
	for line := range strings.Lines(printed) {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "Access Key":
			access = strings.TrimSpace(value)
		case "Secret Key":
			secret = strings.TrimSpace(value)
		}
	}
	if access == "" || secret == "" {
		t.Fatalf("mc prints no access key:\n%s", printed)
	}
	return access, secret
}

// An account that was made at MinIO itself is unknown until it gets a secret
// through the proxy.
// MinIO answers 204 or 404 to callers without rights, for what is no service account
// or somebody else's; nobody loses a credential by that.
func TestNobodyMakesTheProxyForgetOthersCredentials(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	u := newMinIOUser(t, s, "keeps-access")
	u.mc.must(t, "admin", "user", "svcacct", "add", "seal", u.name, "--access-key", "svc-that-stays", "--secret-key", "svc-that-stays-secret")
	other := newMinIOUser(t, s, "tries-removal")
	attacker := s.client().as(other.name, other.secret)
	for _, accessKey := range []string{u.name, "svc-that-stays", "unknown-key"} {
		for _, call := range []string{"delete-service-account", "remove-user"} {
			attacker.do(t, request{method: http.MethodDelete, path: "/minio/admin/v3/" + call, query: "accessKey=" + accessKey})
		}
	}
	u.mayWhatThePolicySays(t, u.name, u.secret)
	u.mayWhatThePolicySays(t, "svc-that-stays", "svc-that-stays-secret")

	// A removal that was cut short after MinIO's part can be repeated.
	straight := s.raw()
	if a := straight.do(t, request{method: http.MethodDelete, path: "/minio/admin/v3/delete-service-account", query: "accessKey=svc-that-stays"}); a.status >= 300 {
		t.Fatalf("removal at MinIO: %d", a.status)
	}
	s.client().do(t, request{method: http.MethodDelete, path: "/minio/admin/v3/delete-service-account", query: "accessKey=svc-that-stays"}).wantStatus(t, http.StatusNotFound)
	u.isNobody(t, "svc-that-stays", "svc-that-stays-secret")
}

func TestAccountsMadeAtMinIOAreLearnedWithANewSecret(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := sharedStack(t)
	u := newMinIOUser(t, s, "late-parent")
	u.mc.must(t, "admin", "user", "svcacct", "add", "raw", u.name, "--access-key", "late-svc", "--secret-key", "late-svc-secret")
	u.isNobody(t, "late-svc", "late-svc-secret")
	u.mc.must(t, "admin", "user", "svcacct", "edit", "seal", "late-svc", "--secret-key", "late-svc-changed")
	u.mayWhatThePolicySays(t, "late-svc", "late-svc-changed")
}

// The credential that the configuration lists keeps its secret.
func TestConfiguredCredentialsAreNotLearnedOver(t *testing.T) {
	t.Parallel()
	const name, secret = "listed-user", "listed-user-secret"
	h := newHostile(t, "credentials:\n  - {access_key: "+rootUser+", secret_key: "+rootPassword+"}\n  - {access_key: "+name+", secret_key: "+secret+"}\n")
	mc := newMC(t, h.stack)
	mark := h.up.mark()
	mc.denies(t, "managed by the encryption gateway", "admin", "user", "add", "seal", name, "another-secret-123")
	for _, seen := range h.up.since(mark, "/minio/admin/v3/add-user") {
		if seen.sent > 0 { // without a payload it is asked for the caller's rights
			t.Errorf("MinIO was asked: %v", seen)
		}
	}
	mc.must(t, "admin", "user", "add", "seal", name, secret) // as the configuration says
	mc.must(t, "admin", "policy", "attach", "seal", "readwrite", "--user", name)
	bucket := newBucket(t, h.root)
	h.root.as(name, secret).put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	mc.denies(t, "Access Denied", "admin", "user", "disable", "seal", name)
	mc.denies(t, "Access Denied", "admin", "user", "rm", "seal", name)
	h.root.as(name, secret).get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
	mc.must(t, "admin", "user", "rm", "raw", name)
	h.root.as(name, secret).get(t, bucket, "k", nil).wantStatus(t, http.StatusForbidden)
}

// A proxy that signs as a user of MinIO stays that user.
func TestNobodyChangesTheUserThatTheProxySignsAs(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	const name, secret = "proxy-itself", "proxy-itself-secret"
	s := &stack{dir: t.TempDir()}
	var err error
	if s.minio, err = startMinIO(s.dir, "", false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.minio.kill)
	mc := newMC(t, s)
	mc.must(t, "admin", "user", "add", "raw", name, secret)
	mc.must(t, "admin", "policy", "attach", "raw", "consoleAdmin", "--user", name)
	config := "upstream:\n  credentials: {access_key: " + name + ", secret_key: " + secret + "}\n" +
		"credentials:\n  - {access_key: " + rootUser + ", secret_key: " + rootPassword + "}\n"
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	at, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("bucketseal", filepath.Join(s.dir, "bucketseal.log"), baseEnv(), program, "server", "--address", at,
		"--upstream", s.minio.endpoint(), "--data-dir", filepath.Join(s.dir, "bucketseal"), "--config", writeFile(t, s.dir, "own.yml", []byte(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := p.waitReady(http.DefaultClient, "http://"+at+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}
	s.seal = &sealServer{process: p, addr: at, upstream: s.minio.endpoint()}
	s.dumpOnFailure(t)
	mc = newMC(t, s)
	for _, args := range [][]string{
		{"user", "add", "seal", name, "another-secret-123"},
		{"user", "add", "seal", name, secret},
		{"user", "disable", "seal", name},
		{"policy", "detach", "seal", "consoleAdmin", "--user", name},
		{"policy", "attach", "seal", "readonly", "--user", name},
		{"group", "add", "seal", "staff", name},
		{"user", "svcacct", "add", "seal", name},
		{"user", "rm", "seal", name},
	} {
		mc.denies(t, "Access Denied", append([]string{"admin"}, args...)...)
	}
	bucket := newBucket(t, s.client())
	s.client().put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	s.client().as(name, secret).get(t, bucket, "k", nil).wantError(t, http.StatusForbidden, "InvalidAccessKeyId", "")
	if out := mc.must(t, "admin", "user", "info", "raw", name); !strings.Contains(out, "enabled") || !strings.Contains(out, "consoleAdmin") {
		t.Errorf("the proxy's user now: %s", out)
	}
}

// Learned users are known to every proxy, and survive a restart.
func TestLearnedUsersAreKnownToEveryProxy(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	u := newMinIOUser(t, s, "shared-user")
	second, err := startSeal(s.dir, "", s.minio.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	other := &stack{dir: s.dir, minio: s.minio, seal: second}
	there := &minioUser{s: other, bucket: u.bucket, data: u.data}
	there.mayWhatThePolicySays(t, u.name, u.secret)
	s.restart(t)
	u.mayWhatThePolicySays(t, u.name, u.secret)
	u.mc.must(t, "alias", "set", "seal", s.client().endpoint, rootUser, rootPassword)
	u.mc.must(t, "admin", "user", "rm", "seal", u.name)
	deadline := time.Now().Add(10 * time.Second)
	for {
		a := other.client().as(u.name, u.secret).get(t, u.bucket, "read/a", nil)
		if a.code == "InvalidAccessKeyId" {
			break
		}
		if a.status != http.StatusForbidden || time.Now().After(deadline) {
			t.Fatalf("a removed user at another proxy: %d %s", a.status, a.code)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Errors of the admin API, asked through the proxy and straight at the same MinIO.
func TestAdminErrorsAreMinIOs(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	at := func(c *client) func(access, secret string, r request) (int, string, string) {
		return func(access, secret string, r request) (int, string, string) {
			r.path, r.payload = "/minio/admin/v3/"+r.path, sha256Hex(r.body)
			a := c.as(access, secret).do(t, r)
			var e struct{ Code, Message string }
			_ = json.Unmarshal(a.body, &e)
			return a.status, e.Code, a.header.Get("Content-Type")
		}
	}
	proxy, minio := at(s.client()), at(s.raw())
	garbage := bytes.Repeat([]byte("g"), 100)
	for _, r := range []request{
		{method: "GET", path: "info"},
		{method: "GET", path: "user-info", query: "accessKey=nobody-at-all"},
		{method: "GET", path: "get-bucket-quota", query: "bucket=no-such-bucket-at-all"},
		{method: "GET", path: "group", query: "group=no-such-group"},
		{method: "GET", path: "info-canned-policy", query: "name=no-such-policy"},
		{method: "PUT", path: "add-user", query: "accessKey=some-user", body: garbage},
		{method: "PUT", path: "add-service-account", body: garbage},
		{method: "DELETE", path: "remove-user", query: "accessKey=nobody-at-all"},
		{method: "DELETE", path: "delete-service-account", query: "accessKey=nobody-at-all"},
		{method: "PUT", path: "set-config-kv", body: garbage},
	} {
		for _, caller := range [][2]string{{rootUser, rootPassword}, {rootUser, "another-password"}, {"nobody-at-all", "secret-secret"}, {"", ""}} {
			status, code, kind := proxy(caller[0], caller[1], r)
			wantStatus, wantCode, wantKind := minio(caller[0], caller[1], r)
			if status != wantStatus || code != wantCode || kind != wantKind {
				t.Errorf("%s %s?%s as %q: %d %s %s, MinIO %d %s %s", r.method, r.path, r.query, caller[0], status, code, kind, wantStatus, wantCode, wantKind)
			}
		}
	}
}

// A new secret leaves a user, and the access keys that it made, what they were;
// whoever changes it.
func TestChangedSecretsKeepRights(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	u := newMinIOUser(t, s, "changing-user")
	u.mc.must(t, "admin", "user", "svcacct", "add", userAlias(t, u, u.secret), u.name, "--access-key", "svc-of-changing", "--secret-key", "svc-of-changing-secret")
	u.mayWhatThePolicySays(t, "svc-of-changing", "svc-of-changing-secret")

	u.mc.must(t, "admin", "user", "add", "seal", u.name, "changed-by-root")
	u.mayWhatThePolicySays(t, u.name, "changed-by-root")
	u.mayWhatThePolicySays(t, "svc-of-changing", "svc-of-changing-secret")

	u.mc.must(t, "admin", "user", "add", userAlias(t, u, "changed-by-root"), u.name, "changed-by-itself")
	u.isNobody(t, u.name, "changed-by-root")
	u.mayWhatThePolicySays(t, u.name, "changed-by-itself")
	u.mayWhatThePolicySays(t, "svc-of-changing", "svc-of-changing-secret")
}

// userAlias sets mc's alias of a user and returns its name.
func userAlias(t *testing.T, u *minioUser, secret string) string {
	t.Helper()
	u.mc.must(t, "alias", "set", "user", u.s.client().endpoint, u.name, secret)
	return "user"
}
