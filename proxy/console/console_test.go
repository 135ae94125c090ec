package console_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/trail"
	"github.com/bucketseal/bucketseal/proxy/console"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

const (
	evil    = `<script>alert("x")</script>`
	escaped = "&lt;script&gt;alert("
	region  = "eu-test-1"
)

// fakeProxy judges signatures, and has a bucket. root is an operator, alice is not.
type fakeProxy struct {
	verifier *sigv4.Verifier

	mu      sync.Mutex
	secrets map[string]string
	stored  map[string]string
	asked   []string
	down    bool // MinIO says no to admin:ServerInfo
}

func (f *fakeProxy) Secret(_ context.Context, accessKey string) (string, error) {
	if secret, ok := f.secrets[accessKey]; ok {
		return secret, nil
	}
	return "", sigv4.ErrInvalidAccessKeyID
}

func (f *fakeProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	}
	auth, err := f.verifier.Verify(r)
	if err != nil {
		fail(http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	body, _ := io.ReadAll(r.Body)
	what := r.Method + " " + r.URL.Path
	f.asked = append(f.asked, auth.AccessKey+" "+what+" from "+r.RemoteAddr)
	switch {
	case what == "GET /":
		fmt.Fprintf(w, "<R><Buckets><Bucket><Name>%s</Name><CreationDate>2026-11-27T00:00:00Z</CreationDate></Bucket></Buckets></R>", html.EscapeString(evil))
	case what == "GET /minio/admin/v3/info":
		if auth.AccessKey != "root" || f.down {
			fail(http.StatusForbidden, "AccessDenied")
		}
	case what == "GET /minio/kms/v1/key/list":
		if auth.AccessKey != "root" {
			fail(http.StatusForbidden, "AccessDenied")
			return
		}
		_, _ = io.WriteString(w, `[{"name":"`+strings.ReplaceAll(evil, `"`, `\"`)+`"}]`)
	case r.Method == http.MethodGet && r.URL.Query().Has("encryption"):
		fail(http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError")
	case r.Method == http.MethodGet && r.URL.Query().Has("list-type"):
		fmt.Fprintf(w, "<R><Contents><Key>%s</Key><Size>3</Size></Contents></R>", url.QueryEscape(evil))
	case r.Method == http.MethodPut:
		f.stored[r.URL.Path+"?"+r.URL.RawQuery] = string(body)
		w.Header().Set("ETag", `"e"`)
	case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
		_, _ = io.WriteString(w, "<R><UploadId>u</UploadId></R>")
	case r.Method == http.MethodPost:
		f.stored[r.URL.Path] = string(body)
	case r.Method == http.MethodDelete:
		f.stored["deleted "+r.URL.Path] = ""
	default:
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Set-Cookie", "planted=1")
		w.Header().Set("Content-Length", fmt.Sprint(len(evil)))
		_, _ = io.WriteString(w, evil)
	}
}

// facts are the proxy's, each with a name that is a script.
type facts struct{}

func (facts) IsOperator(_ context.Context, accessKey string) bool { return accessKey == "root" }
func (facts) Scan(context.Context) (*console.Scan, error) {
	return &console.Scan{Began: time.Now(), Buckets: map[string]console.Share{evil: {Encrypted: 99, Plain: 1, Bytes: 1 << 20}}}, nil
}

func (facts) Keys(_ context.Context, names []string) []console.Key {
	return []console.Key{{Name: names[0], CreatedBy: evil, Created: time.Now(), Version: 1}}
}

func (facts) Identities(context.Context) ([]console.Identity, error) {
	return []console.Identity{{AccessKey: evil, Kind: "user", By: []string{evil}, Uses: []string{evil}}}, nil
}
func (facts) State() console.State { return console.State{Storage: true, Words: evil} }
func (facts) Findings() *console.Findings {
	return &console.Findings{All: []console.Finding{{ID: "x", Severity: "error", What: evil, Why: evil, Do: evil}}, Unknown: []string{evil}}
}

func (facts) Settings() []console.Setting {
	return []console.Setting{{Path: "x", Source: evil, Values: []string{evil}}}
}

func (facts) Search(context.Context, trail.Query) ([]*trail.Line, bool, error) {
	return []*trail.Line{{Kind: "request", Bucket: evil, Object: evil, Target: evil, AccessKey: evil, Reason: evil}}, true, nil
}

// browser has cookies, an address, and an origin.
type browser struct {
	t       testing.TB
	handler http.Handler
	proxy   *fakeProxy
	recent  *console.Recent
	now     *time.Time
	log     *bytes.Buffer
	cookie  *http.Cookie
	from    string
	header  http.Header
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	b := &browser{t: t, from: "192.0.2.1:1", header: make(http.Header), log: new(bytes.Buffer), recent: console.NewRecent(nil)}
	now := time.Now()
	b.now = &now
	b.proxy = &fakeProxy{secrets: map[string]string{"root": "root-secret", "alice": "alice-secret"}, stored: make(map[string]string)}
	var err error
	if b.proxy.verifier, err = sigv4.New(sigv4.Options{Credentials: b.proxy}); err != nil {
		t.Fatal(err)
	}
	b.handler, err = console.New(console.Options{
		Proxy: b.proxy, Region: region, Facts: facts{}, Recent: b.recent, Life: time.Hour, Secure: true,
		Stored: func(context.Context, console.Credential, netip.Addr, console.Object) (*console.Stored, error) {
			return &console.Stored{
				Size: 5, First: []byte(evil), Header: []console.Field{{Name: evil, Value: evil}},
				Record: []console.Field{{Name: evil, Value: evil, Means: evil}}, Problem: evil,
			}, nil
		},
		Origin: func(r *http.Request) netip.Addr { return netip.MustParseAddrPort(r.RemoteAddr).Addr() },
		Logger: slog.New(slog.NewTextHandler(b.log, nil)), Now: func() time.Time { return *b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) do(method, target, contentType string, body io.Reader) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(method, "https://console.example"+target, body)
	r.RemoteAddr = b.from
	for name, values := range b.header {
		r.Header[name] = values
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	resp := w.Result()
	for _, c := range resp.Cookies() {
		if b.cookie = c; c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return resp
}

func (b *browser) get(target string) (int, string) {
	b.t.Helper()
	resp := b.do(http.MethodGet, target, "", nil)
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func (b *browser) post(target string, form url.Values) (int, string) {
	b.t.Helper()
	resp := b.do(http.MethodPost, target, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func (b *browser) login(accessKey string) *browser {
	b.t.Helper()
	status, text := b.post("/login", url.Values{"access_key": {accessKey}, "secret_key": {accessKey + "-secret"}})
	if status != http.StatusSeeOther || b.cookie == nil {
		b.t.Fatalf("login: %d %s", status, text)
	}
	return b
}

// token returns that of the form on a page that sends to action.
func (b *browser) token(page, action string) string {
	b.t.Helper()
	_, text := b.get(page)
	m := regexp.MustCompile(`action="` + regexp.QuoteMeta(action) + `"[^>]*>\s*<input type="hidden" name="token" value="([^"]+)"`).FindStringSubmatch(text)
	if m == nil {
		b.t.Fatalf("no form that sends to %s in %s", action, text)
	}
	return m[1]
}

func pages() []string {
	return []string{
		"/", "/bucket?name=b", "/object?bucket=b&key=k", "/keys", "/identities", "/health", "/refusals", "/configuration", "/audit?bucket=b",
	}
}

// Whatever names and texts hold, no page has a script of theirs, and none may run one.
func TestNoPageShowsForeignMarkup(t *testing.T) {
	t.Parallel()
	b := newBrowser(t).login("root")
	for _, damage := range []string{"", "data"} {
		e := &audit.Event{
			Kind: audit.Request, AccessKey: evil, Claims: evil, Bucket: evil, Object: evil, Operation: evil, Reason: evil, Code: evil,
			Outcome: audit.Refused, Damage: damage,
		}
		if err := b.recent.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range append(pages(), "/bucket?name=b&prefix="+url.QueryEscape(evil), "/object?bucket=b&key="+url.QueryEscape(evil),
		"/keys?prefix="+url.QueryEscape(evil), "/audit?bucket="+url.QueryEscape(evil)+"&since="+url.QueryEscape(evil)) {
		resp := b.do(http.MethodGet, page, "", nil)
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", page, resp.StatusCode, text)
		}
		if strings.Contains(string(text), "<script") || page != "/configuration" && page != "/health" && !strings.Contains(string(text), escaped) {
			t.Errorf("%s shows %s", page, text)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") || !strings.Contains(csp, "frame-ancestors 'none'") ||
			resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", page, resp.Header)
		}
	}
}

// A file is saved, whatever it is, and the proxy's other headers do not get to the browser.
func TestADownloadIsNoPage(t *testing.T) {
	t.Parallel()
	b := newBrowser(t).login("alice")
	resp := b.do(http.MethodGet, "/download?bucket=b&key="+url.QueryEscape("a/b\r\n\"x;.html"), "", nil)
	text, _ := io.ReadAll(resp.Body)
	h := resp.Header
	if string(text) != evil || h.Get("Content-Type") != "application/octet-stream" || h.Get("Content-Disposition") != "attachment; filename*=UTF-8''b%0D%0A%22x%3B.html" ||
		!strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") || len(h.Values("Set-Cookie")) != 0 {
		t.Errorf("%s %v", text, h)
	}
}

// Who has not logged in sees the login alone, and cookies are for this site and no script.
func TestNothingIsShownWithoutALogin(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for _, page := range append(pages(), "/download?bucket=b&key=k") {
		if resp := b.do(http.MethodGet, page, "", nil); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/login" {
			t.Errorf("%s: %d %v", page, resp.StatusCode, resp.Header)
		}
	}
	if status, _ := b.post("/login", url.Values{"access_key": {"root"}, "secret_key": {"wrong-secret"}}); status != http.StatusForbidden || b.cookie != nil {
		t.Errorf("wrong secret: %d", status)
	}
	if len(b.proxy.asked) != 0 {
		t.Errorf("the proxy was asked %v", b.proxy.asked)
	}
	b.login("root")
	if c := b.cookie; c.SameSite != http.SameSiteStrictMode || !c.HttpOnly || !c.Secure || c.Path != "/" || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("cookie %v", c)
	}
	if !strings.Contains(b.log.String(), "failed login") || strings.Contains(b.log.String(), "-secret") {
		t.Errorf("the log says %s", b.log)
	}
	if want := "root GET / from 192.0.2.1:0"; b.proxy.asked[0] != want {
		t.Errorf("asked %v, not %q", b.proxy.asked, want)
	}
}

// A form counts only with the token that its own session has for it, from this site.
func TestAForgedFormChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBrowser(t).login("root")
	rule := url.Values{"bucket": {"b"}, "mode": {"s3"}}
	other := newBrowser(t).login("root").token("/bucket?name=b", "/bucket/rule")
	for what, token := range map[string]string{"none": "", "of another session": other, "of another form": b.token("/bucket?name=b", "/bucket/upload")} {
		rule.Set("token", token)
		if status, text := b.post("/bucket/rule", rule); status != http.StatusForbidden || !strings.Contains(text, "Nothing was changed") {
			t.Errorf("token %s: %d", what, status)
		}
		if what == "of another form" {
			token = b.token("/bucket?name=b", "/bucket/rule")
		}
		if status := b.uploadFile(token, "x", []byte("x")); status != http.StatusForbidden {
			t.Errorf("upload with token %s: %d", what, status)
		}
	}
	rule.Set("token", b.token("/bucket?name=b", "/bucket/rule"))
	for name, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
		b.header = http.Header{name: {value}}
		if status, _ := b.post("/bucket/rule", rule); status != http.StatusForbidden {
			t.Errorf("%s: %s: %d", name, value, status)
		}
		if status, _ := b.post("/login", url.Values{"access_key": {"alice"}, "secret_key": {"alice-secret"}}); status != http.StatusForbidden {
			t.Errorf("login from another site: %d", status)
		}
	}
	b.header = http.Header{"Origin": {"https://console.example"}, "Sec-Fetch-Site": {"same-origin"}}
	if len(b.proxy.stored) != 0 {
		t.Fatalf("stored %v", b.proxy.stored)
	}
	if status, text := b.post("/bucket/rule", rule); status != http.StatusSeeOther {
		t.Errorf("%d %s", status, text)
	}
	if !strings.Contains(b.proxy.stored["/b?encryption="], "AES256") {
		t.Errorf("stored %v", b.proxy.stored)
	}
	b.header = make(http.Header)
	if status, _ := b.get("/bucket/rule"); status != http.StatusMethodNotAllowed && status != http.StatusNotFound {
		t.Errorf("a GET changes: %d", status)
	}
}

// A session's cookie is of no use at another address, after its time, after a logout, and
// once its credential is not valid any more.
func TestAStolenSessionIsOfNoUse(t *testing.T) {
	t.Parallel()
	for what, steal := range map[string]func(b *browser){
		"elsewhere":     func(b *browser) { b.from = "198.51.100.7:1" },
		"rested":        func(b *browser) { *b.now = b.now.Add(11 * time.Minute) },
		"revoked":       func(b *browser) { delete(b.proxy.secrets, "root") },
		"other secret":  func(b *browser) { b.proxy.secrets["root"] = "another-secret" },
		"another value": func(b *browser) { b.cookie.Value += "x" },
		"logged out": func(b *browser) {
			stolen := *b.cookie
			b.post("/logout", url.Values{"token": {b.token("/", "/logout")}})
			b.cookie = &stolen
		},
		"old": func(b *browser) {
			for range 8 {
				b.get("/")
				*b.now = b.now.Add(8 * time.Minute)
			}
		},
	} {
		b := newBrowser(t).login("root")
		stolen := b.cookie
		steal(b)
		for _, page := range []string{"/health", "/"} {
			if status, _ := b.get(page); status != http.StatusSeeOther {
				t.Errorf("%s: %s: %d", what, page, status)
			}
		}
		if what == "elsewhere" { // it has ended for all
			b.from, b.cookie = "192.0.2.1:1", stolen
			if status, _ := b.get("/"); status != http.StatusSeeOther || !strings.Contains(b.log.String(), "was its cookie stolen") {
				t.Errorf("it goes on: %d, %s", status, b.log)
			}
		}
	}
}

// Guesses are counted by address and by access key; who logs in is not counted.
func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	guess := func(from, accessKey string) int {
		b.from = from
		status, _ := b.post("/login", url.Values{"access_key": {accessKey}, "secret_key": {"guess"}})
		return status
	}
	for range 20 {
		b.login("root")
	}
	for range 10 {
		if status := guess("192.0.2.1:1", "nobody"); status != http.StatusForbidden {
			t.Fatal(status)
		}
	}
	if status := guess("192.0.2.1:1", "root"); status != http.StatusTooManyRequests {
		t.Errorf("the eleventh guess of an address: %d", status)
	}
	if status := guess("192.0.2.2:1", "other"); status != http.StatusForbidden {
		t.Errorf("another address: %d", status)
	}
	for i := range 30 {
		guess(fmt.Sprintf("198.51.100.%d:1", i), "alice")
	}
	if status := guess("198.51.100.99:1", "alice"); status != http.StatusTooManyRequests {
		t.Errorf("guesses from everywhere: %d", status)
	}
	*b.now = b.now.Add(6 * time.Minute)
	b.login("alice")
}

// Operators are whom the configuration names and MinIO does not deny.
func TestOnlyOperatorsSeeTheirPages(t *testing.T) {
	t.Parallel()
	alice := newBrowser(t).login("alice")
	denied := newBrowser(t).login("root")
	denied.proxy.down = true
	for _, page := range []string{"/identities", "/health", "/refusals", "/configuration", "/audit?bucket=b"} {
		for who, b := range map[string]*browser{"alice": alice, "denied by MinIO": denied} {
			if status, text := b.get(page); status != http.StatusForbidden || !strings.Contains(text, "Only operators") {
				t.Errorf("%s: %s: %d", page, who, status)
			}
		}
	}
	if status, _ := alice.get("/keys"); status != http.StatusForbidden {
		t.Errorf("keys: %d", status)
	}
	if _, text := alice.get("/"); strings.Contains(text, "/configuration") || strings.Contains(text, "99 %") {
		t.Errorf("alice sees %s", text)
	}
	if _, text := denied.get("/"); !strings.Contains(text, "99 %") {
		t.Errorf("root sees %s", text)
	}
}

func (b *browser) uploadFile(token, name string, data []byte) int {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for field, value := range map[string]string{"token": token, "bucket": "b", "prefix": "p/"} {
		_ = form.WriteField(field, value)
	}
	part, _ := form.CreateFormFile("file", name)
	_, _ = part.Write(data)
	_ = form.Close()
	return b.do(http.MethodPost, "/bucket/upload", form.FormDataContentType(), &body).StatusCode
}

// The name of a bucket makes no path of another API.
func TestABucketIsNoPath(t *testing.T) {
	t.Parallel()
	b := newBrowser(t).login("root")
	asked := len(b.proxy.asked)
	for _, name := range []string{"minio", "minio/admin/v3", "b/k", ""} {
		q := url.QueryEscape(name)
		for _, page := range []string{"/bucket?name=" + q, "/object?key=info&bucket=" + q, "/download?key=info&bucket=" + q} {
			if status, _ := b.get(page); status != http.StatusNotFound {
				t.Errorf("%s: %d", page, status)
			}
		}
	}
	if len(b.proxy.asked) != asked {
		t.Errorf("asked %v", b.proxy.asked[asked:])
	}
}

// A file is stored whole: in one piece, or in parts of 8 MiB.
func TestAFileIsUploaded(t *testing.T) {
	t.Parallel()
	b := newBrowser(t).login("alice")
	token := b.token("/bucket?name=b", "/bucket/upload")
	for _, size := range []int{0, 1, 8<<20 - 1, 8 << 20, 8<<20 + 1} {
		clear(b.proxy.stored)
		data := bytes.Repeat([]byte("x"), size)
		if status := b.uploadFile(token, "ü x.txt", data); status != http.StatusSeeOther {
			t.Fatalf("%d bytes: %d", size, status)
		}
		path := "/b/p/ü x.txt"
		got, one := b.proxy.stored[path+"?"]
		if size > 8<<20 && one {
			t.Errorf("%d bytes are in one piece", size)
		}
		if !one {
			got = b.proxy.stored[path+"?partNumber=1&uploadId=u"] + b.proxy.stored[path+"?partNumber=2&uploadId=u"]
			if !strings.Contains(b.proxy.stored[path], "<PartNumber>1</PartNumber>") {
				t.Errorf("%d bytes: completed with %q", size, b.proxy.stored[path])
			}
		}
		if got != string(data) {
			t.Errorf("%d bytes: %d are stored", size, len(got))
		}
	}
}

// What breaks off stores nothing, in one piece or in parts.
func TestAnUploadThatBreaksOffStoresNothing(t *testing.T) {
	t.Parallel()
	b := newBrowser(t).login("alice")
	token := b.token("/bucket?name=b", "/bucket/upload")
	for _, size := range []int{100, 9 << 20} {
		clear(b.proxy.stored)
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		_ = form.WriteField("token", token)
		_ = form.WriteField("bucket", "b")
		part, _ := form.CreateFormFile("file", "f")
		_, _ = part.Write(make([]byte, size)) // and no end
		resp := b.do(http.MethodPost, "/bucket/upload", form.FormDataContentType(), &body)
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%d bytes: %d", size, resp.StatusCode)
		}
		if _, done := b.proxy.stored["/b/f"]; done || b.proxy.stored["/b/f?"] != "" {
			t.Errorf("%d bytes: stored", size)
		}
		if _, aborted := b.proxy.stored["deleted /b/f"]; aborted != (size > 8<<20) {
			t.Errorf("%d bytes: aborted: %t", size, aborted)
		}
	}
}

// The last refusals are kept, and a flood of them does not hide damage.
func TestRecentKeepsTheLastOnes(t *testing.T) {
	t.Parallel()
	r := console.NewRecent(nil)
	r.Note(&audit.Event{Kind: audit.Request, Outcome: audit.Failed, Damage: "data", Object: "o"})
	for i := range 250 {
		r.Note(&audit.Event{Kind: audit.Request, Outcome: audit.Refused, Object: fmt.Sprint(i)})
		r.Note(&audit.Event{Kind: audit.Request, Outcome: audit.OK, Object: "fine"})
	}
	refusals := r.Refusals()
	if len(refusals) != 100 || refusals[0].Object != "249" || refusals[99].Object != "150" || refusals[0].Time.IsZero() {
		t.Errorf("%v", refusals)
	}
	if d := r.Damage(); len(d) != 1 || d[0].Object != "o" || d[0].Time.IsZero() {
		t.Errorf("%v", d)
	}
}
