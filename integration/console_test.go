package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const reportsSecret = "reports-secret-0"

const invoice = `Invoice 4711

Dear Ms Example,
your order of 27 November has left our warehouse in Hamburg. Please pay
129.00 EUR to DE02 1203 0000 0000 2020 51 by 11 December.

Kind regards, your Example Ltd
`

// consoleStack is a stack with a console, and with things in it that are worth a look.
func consoleStack(t *testing.T) (s *stack, address string) {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := writeFile(t, dir, "console.yml", fmt.Appendf(nil, `console: {address: %q}
credentials:
- {access_key: %s, secret_key: %s}
- {access_key: reports, secret_key: %s}
usage_scan: {interval: 1m}
doctor: {interval: 1s}
plain_read: [archive]
audit: {file: {path: audit.log}}
access:
  rules:
  - {access_keys: [%s], buckets: ["*"], keys: ["*"]}
  - {access_keys: [reports], buckets: [invoices], keys: ["bucketseal-default"], uses: [decrypt]}
`, address, rootUser, rootPassword, reportsSecret, rootUser))
	s = startConsole(t, dir, config)
	c, raw := s.client(), s.raw()
	for _, bucket := range []string{"invoices", "archive", "photos", "patients"} {
		c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	}
	c.put(t, "invoices", "2026/november/4711.txt", []byte(invoice), map[string]string{"Content-Type": "text/plain", "X-Amz-Meta-Customer": "4711"}).wantStatus(t, http.StatusOK)
	c.put(t, "invoices", "2026/november/4712.txt", []byte(invoice), nil).wantStatus(t, http.StatusOK)
	c.put(t, "invoices", "<script>document.title='run'</script>", []byte("x"), nil).wantStatus(t, http.StatusOK)
	c.do(t, request{
		method: http.MethodPut, bucket: "patients", query: "encryption",
		body: []byte(`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>bucketseal-default</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`),
	}).wantStatus(t, http.StatusOK)
	for i := range 3 {
		c.put(t, "photos", fmt.Sprintf("holiday-%d.jpg", i), testData(50_000, uint64(i)), nil).wantStatus(t, http.StatusOK)
	}
	c.put(t, "patients", "chart.xml", []byte("<chart/>"), nil).wantStatus(t, http.StatusOK)
	raw.put(t, "archive", "from-before.txt", []byte(invoice), nil).wantStatus(t, http.StatusOK)
	c.put(t, "archive", "since.txt", []byte(invoice), nil).wantStatus(t, http.StatusOK)
	// Somebody changes a byte on the disk, and reads with a wrong secret.
	stored := raw.get(t, "patients", "chart.xml", nil).wantStatus(t, http.StatusOK)
	stored.body[len(stored.body)-1] ^= 1
	raw.put(t, "patients", "chart.xml", stored.body, map[string]string{"X-Amz-Meta-Bucketseal": stored.header.Get("X-Amz-Meta-Bucketseal")}).wantStatus(t, http.StatusOK)
	if a := c.get(t, "patients", "chart.xml", nil); a.status == http.StatusOK {
		t.Fatal("a changed object is served")
	}
	c.as(rootUser, "a-wrong-secret").get(t, "patients", "chart.xml", nil).wantStatus(t, http.StatusForbidden)
	c.anonymous().get(t, "invoices", "2026/november/4711.txt", nil).wantStatus(t, http.StatusForbidden)
	return s, address
}

// startConsole starts MinIO and a proxy whose doctor looks at once.
func startConsole(t *testing.T, dir, config string) *stack {
	t.Helper()
	m, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	env := baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword, "BUCKETSEAL_DOCTOR_INTERVAL=1s")
	seal := &sealServer{addr: addr, upstream: m.endpoint(), dataDir: filepath.Join(dir, "bucketseal"), args: []string{"--config", config}}
	seal.process, err = startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), env, program,
		"server", "--address", addr, "--upstream", seal.upstream, "--data-dir", seal.dataDir, "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	seal.dumpOnFailure(t)
	if err := seal.waitReady(http.DefaultClient, seal.endpoint()+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}
	return &stack{dir: dir, minio: m, seal: seal}
}

// A browser does with the console what people do: with the keyboard alone, without a script, and
// without a word to another site.
func TestTheConsoleInABrowser(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	needsTime(t)
	b := openTab(t)
	s, address := consoleStack(t)
	home := "http://" + address
	docs := os.Getenv("BUCKETSEAL_WRITE_DOCS") != ""
	shoot := func(name, scheme string, height int) {
		b.eval(`(w => { for (let n; n = w.nextNode();) n.data = n.data.replaceAll(` + quoted(s.seal.dataDir) + `, "/var/lib/bucketseal") })(document.createTreeWalker(document.body, 4))`)
		data := b.picture(scheme, 1280, height)
		if len(data) > 150<<10 {
			data = fewerColours(t, data)
		}
		if len(data) > 150<<10 {
			t.Errorf("the screenshot %s has %d bytes", name, len(data))
		}
		if docs {
			if err := os.WriteFile(filepath.Join(repoRoot(), "docs", "images", "console-"+name+".png"), data, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
	// Log in by keyboard: wrong, then right.
	b.open(home + "/")
	b.accessible("login")
	for _, secret := range []string{"wrong-secret", rootPassword} {
		b.tabTo("#access_key")
		b.eval("document.activeElement.select()")
		b.write(rootUser)
		b.tabTo("#secret_key")
		b.write(secret)
		b.eval("window.old = true")
		b.press("Enter")
		b.until("window.old !== true && document.readyState === 'complete'")
	}
	if at := b.eval("location.pathname"); at != "/" {
		t.Fatalf("the login leads to %s: %s", at, b.eval("document.body.innerText"))
	}
	b.complaints() // of the answer 403 to the wrong secret
	scan := consoleCommand(t, s, "key", "usage", "--scan")
	if !strings.Contains(scan, "bucketseal-default") {
		t.Errorf("key usage --scan: %s", scan)
	}
	object := "/object?bucket=invoices&key=" + url.QueryEscape("2026/november/4711.txt")
	for _, page := range []struct {
		path, picture string
		height        int
		has           []string
	}{
		{"/", "buckets", 410, []string{"invoices", "100 %", "50 %", "Objects were counted"}},
		{"/bucket?name=invoices", "", 0, []string{"<script>document.title='run'</", "2026/"}},
		{object, "object", 1130, []string{"Invoice 4711", "What lies on MinIO's disk", "sealed", "bucketseal-default, version 1"}},
		{"/object?bucket=archive&key=from-before.txt", "", 0, []string{"Not encrypted by this proxy"}},
		{"/object?bucket=patients&key=chart.xml", "", 0, []string{"Encrypted"}},
		{"/keys", "keys", 400, []string{"bucketseal-default", "Last sealed"}},
		{"/identities", "", 0, []string{rootUser, "generate, decrypt with * in *"}},
		{"/health", "health", 560, []string{"usable", "What the doctor says", "warning"}},
		{"/refusals", "refusals", 560, []string{"chart.xml", "SignatureDoesNotMatch", "not authentic", "anonymous"}},
		{"/audit?bucket=invoices&object=" + url.QueryEscape("2026/november/4711*"), "audit", 560, []string{"PutObject", "kms:GenerateDEK"}},
		{"/configuration", "", 0, []string{"audit.file.path", "[redacted]"}},
	} {
		text := b.open(home + page.path)
		for deadline := time.Now().Add(15 * time.Second); strings.Contains(text, "It has not looked yet") && time.Now().Before(deadline); text = b.open(home + page.path) {
			time.Sleep(100 * time.Millisecond)
		}
		for _, want := range page.has {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not show %q:\n%s", page.path, want, text)
			}
		}
		if strings.Contains(text, rootPassword) || b.eval("document.title") == "run" {
			t.Errorf("%s shows a secret, or runs a script", page.path)
		}
		b.accessible(page.path)
		if page.picture != "" {
			shoot(page.picture, "light", page.height)
		}
		if page.picture == "object" {
			shoot("object-dark", "dark", page.height)
		}
		if said := b.complaints(); len(said) > 0 {
			t.Errorf("%s: the browser says %s", page.path, said)
		}
	}
	actsInABrowser(t, b, s, home)
	// A script that got into a page would not run.
	b.eval(`(e => { e.textContent = "document.title = 'run'"; document.body.append(e) })(document.createElement("script"))`)
	if b.eval("document.title") == "run" || len(b.complaints()) == 0 {
		t.Error("a script runs")
	}
}

// actsInABrowser uploads, sets a rule, makes a key, downloads, and logs out.
func actsInABrowser(t *testing.T, b *tab, s *stack, home string) {
	t.Helper()
	c := s.client()
	submit := func(selector string) {
		t.Helper()
		b.eval("window.old = true")
		b.tabTo(selector)
		b.press("Enter")
		b.until("window.old !== true && document.readyState === 'complete'")
	}
	large := testData(9<<20, 7)
	file := writeFile(t, t.TempDir(), "häß lich.bin", large)
	b.open(home + "/bucket?name=photos&prefix=new/")
	var document struct{ Root struct{ NodeID int } }
	b.call("DOM.getDocument", nil, &document)
	var input struct{ NodeID int }
	b.call("DOM.querySelector", map[string]any{"nodeId": document.Root.NodeID, "selector": "input[type=file]"}, &input)
	b.call("DOM.setFileInputFiles", map[string]any{"nodeId": input.NodeID, "files": []string{file}}, nil)
	submit("form[action='/bucket/upload'] button")
	if text := b.eval("document.body.innerText"); !strings.Contains(text, "The file was uploaded") || !strings.Contains(text, "häß lich.bin") {
		t.Errorf("after the upload: %s", text)
	}
	c.get(t, "photos", "new/häß lich.bin", nil).wantStatus(t, http.StatusOK).wantBody(t, large)
	if raw := s.raw().get(t, "photos", "new/häß lich.bin", nil).wantStatus(t, http.StatusOK); bytes.Contains(raw.body, large[:64]) {
		t.Error("MinIO has the plaintext")
	}
	if got := b.eval(`(x => (x.open("GET", "/download?bucket=photos&key=" + encodeURIComponent("new/häß lich.bin"), false), x.send(), x.status))(new XMLHttpRequest())`); got == "200" {
		t.Error("a page may fetch by script") // connect-src is none
	}
	b.complaints()

	b.open(home + "/keys")
	b.tabTo("form[action='/keys/create'] input[name=name]")
	b.write("tenant-a")
	b.eval("window.old = true")
	b.press("Enter")
	b.until("window.old !== true && document.readyState === 'complete'")
	if text := b.eval("document.body.innerText"); !strings.Contains(text, "tenant-a") || !strings.Contains(text, "The KMS key was created") {
		t.Errorf("after a key was made: %s", text)
	}
	b.open(home + "/bucket?name=photos")
	b.tabTo("form[action='/bucket/rule'] input[value=kms], form[action='/bucket/rule'] input[value=none]")
	b.eval("document.querySelector('input[value=kms]').focus()")
	b.press("Space")
	b.tabTo("form[action='/bucket/rule'] input[name=key]")
	b.write("tenant-a")
	submit("form[action='/bucket/rule'] button")
	c.put(t, "photos", "by-rule", []byte("x"), nil).wantStatus(t, http.StatusOK)
	c.head(t, "photos", "by-rule", nil).wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:tenant-a"})
	b.complaints()
	b.open(home + "/")
	submit("form[action='/logout'] button")
	if at := b.eval("location.pathname"); at != "/login" {
		t.Errorf("the logout leads to %s", at)
	}
	b.open(home + "/health")
	if at := b.eval("location.pathname"); at != "/login" {
		t.Errorf("after the logout: %s", at)
	}
}

// consoleCommand runs a command of bucketseal beside the server.
func consoleCommand(t *testing.T, s *stack, args ...string) string {
	t.Helper()
	at := time.Now()
	out, err := s.command(t, args...)
	if err != nil {
		t.Fatalf("%v after %v: %v: %s", args, time.Since(at), err, out)
	}
	return out
}

// visitor is somebody with a browser that has no window.
type visitor struct {
	t    *testing.T
	home string
	http *http.Client
}

func newVisitor(t *testing.T, address, accessKey, secret string) (v *visitor, status int) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v = &visitor{t: t, home: "http://" + address, http: &http.Client{Jar: jar, Timeout: 20 * time.Second}}
	status, _ = v.post("/login", url.Values{"access_key": {accessKey}, "secret_key": {secret}})
	return v, status
}

func (v *visitor) answer(resp *http.Response, err error) (int, string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if resp.Request.URL.Path == "/login" && resp.Request.Method == http.MethodGet {
		return http.StatusUnauthorized, string(text) // sent there
	}
	return resp.StatusCode, string(text)
}

func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	return v.answer(v.http.Get(v.home + path))
}

func (v *visitor) post(path string, form url.Values) (int, string) {
	v.t.Helper()
	return v.answer(v.http.PostForm(v.home+path, form))
}

// The console shows each what MinIO and the proxy let them see, and no more: it asks as they.
func TestTheConsoleHasNoRightOfItsOwn(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, address := consoleStack(t)
	mc := newMC(t, &stack{minio: s.minio})
	policy := writeFile(t, s.dir, "reports.json", []byte(`{"Version": "2012-10-17", "Statement": [
{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"], "Resource": ["arn:aws:s3:::invoices*", "arn:aws:s3:::patients*"]},
{"Effect": "Allow", "Action": ["admin:ServerInfo"]}, {"Effect": "Allow", "Action": ["kms:*"], "Resource": ["arn:minio:kms:::*"]}]}`))
	mc.must(t, "admin", "policy", "create", "raw", "reports", policy)
	mc.must(t, "admin", "user", "add", "raw", "reports", reportsSecret)
	mc.must(t, "admin", "policy", "attach", "raw", "reports", "--user", "reports")
	if _, status := newVisitor(t, address, "reports", "another-secret-0"); status != http.StatusForbidden {
		t.Errorf("a wrong secret: %d", status)
	}
	reports, status := newVisitor(t, address, "reports", reportsSecret)
	if status != http.StatusOK {
		t.Fatalf("login: %d", status)
	}
	object := "bucket=invoices&key=" + url.QueryEscape("2026/november/4711.txt")
	for path, want := range map[string]int{
		"/": http.StatusOK, "/bucket?name=invoices": http.StatusOK, "/object?" + object: http.StatusOK, "/download?" + object: http.StatusOK,
		"/bucket?name=photos": http.StatusForbidden, "/object?bucket=photos&key=holiday-1.jpg": http.StatusForbidden, "/download?bucket=photos&key=holiday-1.jpg": http.StatusForbidden,
		// MinIO lets it, and access.rules do not.
		"/download?bucket=patients&key=chart.xml": http.StatusForbidden, "/object?bucket=patients&key=chart.xml": http.StatusForbidden,
		// MinIO would: the configuration names no such operator.
		"/health": http.StatusForbidden, "/configuration": http.StatusForbidden, "/audit?bucket=invoices": http.StatusForbidden,
		"/identities": http.StatusForbidden, "/refusals": http.StatusForbidden, "/keys": http.StatusForbidden,
	} {
		if got, text := reports.get(path); got != want {
			t.Errorf("%s: %d, not %d: %s", path, got, want, text)
		}
	}
	if _, text := reports.get("/"); strings.Contains(text, "photos") || !strings.Contains(text, "invoices") {
		t.Errorf("it sees %s", text)
	}
	root, status := newVisitor(t, address, rootUser, rootPassword)
	if status != http.StatusOK {
		t.Fatalf("login: %d", status)
	}
	for _, path := range []string{"/bucket?name=bucketseal-system", "/object?bucket=bucketseal-system&key=rules", "/download?bucket=bucketseal-system&key=rules"} {
		if got, text := root.get(path); got == http.StatusOK {
			t.Errorf("%s: %s", path, text)
		}
	}
	if _, text := root.get("/download?" + object); text != invoice {
		t.Errorf("downloaded %q", text)
	}
	// What was changed on the disk is no file, and its record can be looked at.
	if got, text := root.get("/download?bucket=patients&key=chart.xml"); got != http.StatusInternalServerError || strings.Contains(text, "<chart/>") {
		t.Errorf("%d %s", got, text)
	}
	if got, text := root.get("/object?bucket=patients&key=chart.xml"); got != http.StatusOK || !strings.Contains(text, "bucketseal-default, version 1") {
		t.Errorf("%d %s", got, text)
	}
	// Whom MinIO knows no more has no session.
	mc.must(t, "admin", "user", "rm", "raw", "reports")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if got, text := reports.get("/"); got == http.StatusUnauthorized {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after the user was removed: %d %s", got, text)
		}
	}
	wantLog(t, s, "a session of the console ended")
}

func wantLog(t *testing.T, s *stack, want string) {
	t.Helper()
	text := s.seal.logSince(0)
	if !strings.Contains(text, want) || strings.Contains(text, rootPassword) || strings.Contains(text, reportsSecret) {
		t.Errorf("the log says %s", text)
	}
}
