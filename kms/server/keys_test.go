package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
)

const (
	tooLong     = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	invalidName = "key name '%s' is empty, too long or contains invalid characters"
)

var zeroKey = base64.StdEncoding.EncodeToString(make([]byte, 32))

func TestKeyLifeCycle(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	if a := k.do(c, "POST", "/v1/key/create/my-key", ""); a.StatusCode != 200 || a.body != "" {
		t.Fatalf("create: %d %q", a.StatusCode, a.body)
	}
	k.expect(k.do(c, "PUT", "/v1/key/create/my-key", ""), 400, "key already exists")

	var info struct {
		Name, Algorithm string
		CreatedAt       time.Time `json:"created_at"`
	}
	k.do(c, "GET", "/v1/key/describe/my-key", "").into(t, &info)
	if info.Name != "my-key" || (info.Algorithm != "AES256" && info.Algorithm != "ChaCha20") || time.Since(info.CreatedAt) > time.Minute {
		t.Errorf("%+v", info)
	}
	var dek struct{ Plaintext, Ciphertext []byte }
	k.do(c, "POST", "/v1/key/generate/my-key", `{"context":"e30="}`).into(t, &dek)
	if len(dek.Plaintext) != 32 || len(dek.Ciphertext) != 76 {
		t.Fatalf("DEK of %d and %d bytes", len(dek.Plaintext), len(dek.Ciphertext))
	}
	var plain struct{ Plaintext []byte }
	k.do(c, "PUT", "/v1/key/decrypt/my-key", fmt.Sprintf(`{"ciphertext":%q,"context":"e30=","version":"v1"}`, base64.StdEncoding.EncodeToString(dek.Ciphertext))).into(t, &plain)
	if !bytes.Equal(plain.Plaintext, dek.Plaintext) {
		t.Error("decrypt gives another DEK")
	}
	// generate without any body, as without context
	k.do(c, "POST", "/v1/key/generate/my-key", "").into(t, &dek)
	k.do(c, "POST", "/v1/key/decrypt/my-key", fmt.Sprintf(`{"ciphertext":%q}`, base64.StdEncoding.EncodeToString(dek.Ciphertext))).into(t, &plain)
	if !bytes.Equal(plain.Plaintext, dek.Plaintext) {
		t.Error("decrypt gives another DEK")
	}
	var sealed struct{ Ciphertext []byte }
	k.do(c, "POST", "/v1/key/encrypt/my-key", `{"plaintext":"aGVsbG8="}`).into(t, &sealed)
	k.do(c, "POST", "/v1/key/decrypt/my-key", fmt.Sprintf(`{"ciphertext":%q}`, base64.StdEncoding.EncodeToString(sealed.Ciphertext))).into(t, &plain)
	if string(plain.Plaintext) != "hello" {
		t.Errorf("decrypted %q", plain.Plaintext)
	}
	var one, two struct{ HMAC []byte }
	k.do(c, "PUT", "/v1/key/hmac/my-key", `{"message":"aGVsbG8="}`).into(t, &one)
	k.do(c, "POST", "/v1/key/hmac/my-key", `{"message":"aGVsbG8="}`).into(t, &two)
	if len(one.HMAC) != 32 || !bytes.Equal(one.HMAC, two.HMAC) {
		t.Errorf("%x, %x", one.HMAC, two.HMAC)
	}
	if a := k.do(c, "DELETE", "/v1/key/delete/my-key", ""); a.StatusCode != 200 || a.body != "" {
		t.Errorf("delete: %d %q", a.StatusCode, a.body)
	}
	k.expect(k.do(c, "DELETE", "/v1/key/delete/my-key", ""), 404, "key does not exist")
}

func TestImport(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	for i, cipher := range []string{"AES256", "AES256-GCM_SHA256", "ChaCha20", "XCHACHA20-POLY1305"} {
		name := fmt.Sprintf("k%d", i)
		if a := k.do(c, "POST", "/v1/key/import/"+name, fmt.Sprintf(`{"key":%q,"cipher":%q}`, zeroKey, cipher)); a.StatusCode != 200 || a.body != "" {
			t.Errorf("%s: %d %s", cipher, a.StatusCode, a.body)
		}
		var info struct{ Algorithm string }
		k.do(c, "GET", "/v1/key/describe/"+name, "").into(t, &info)
		if want := []string{"AES256", "AES256", "ChaCha20", "ChaCha20"}[i]; info.Algorithm != want {
			t.Errorf("%s became %s", cipher, info.Algorithm)
		}
	}
	for _, test := range []struct {
		name, body string
		code       int
	}{
		{"unknown cipher", fmt.Sprintf(`{"key":%q,"cipher":"DES"}`, zeroKey), 406},
		{"no cipher", fmt.Sprintf(`{"key":%q}`, zeroKey), 406},
		{"short key", `{"key":"AAAA","cipher":"AES256"}`, 406},
		{"no key", `{"cipher":"AES256"}`, 406},
		{"long key", fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, base64.StdEncoding.EncodeToString(make([]byte, 33))), 406},
		{"no body", "", 400},
		{"exists", fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, zeroKey), 400},
	} {
		name := "new"
		if test.name == "exists" {
			name = "k0"
		}
		if a := k.do(c, "POST", "/v1/key/import/"+name, test.body); a.StatusCode != test.code || a.message() == "" {
			t.Errorf("%s: %d %s", test.name, a.StatusCode, a.body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	k.do(c, "POST", "/v1/key/create/my-key", "")
	k.do(c, "POST", "/v1/key/create/other", "")
	var dek struct{ Ciphertext []byte }
	k.do(c, "POST", "/v1/key/generate/my-key", `{"context":"e30="}`).into(t, &dek)
	sealed := base64.StdEncoding.EncodeToString(dek.Ciphertext)
	const notAuthentic = "decryption failed: ciphertext is not authentic"
	exactly := func(n int) string { // a valid body of n bytes
		s := `{"plaintext":""}`
		return s[:1] + strings.Repeat(" ", n-len(s)) + s[1:]
	}
	for _, test := range []struct {
		method, path, body string
		code               int
		message            string
	}{
		{"POST", "/v1/key/create/", "", 400, fmt.Sprintf(invalidName, "")},
		{"POST", "/v1/key/create/a%20b", "", 400, fmt.Sprintf(invalidName, "a b")},
		{"POST", "/v1/key/create/a/b", "", 400, fmt.Sprintf(invalidName, "a/b")},
		{"POST", "/v1/key/create/..%2F..%2Fetc", "", 400, fmt.Sprintf(invalidName, "../../etc")},
		{"POST", "/v1/key/create/-a", "", 400, fmt.Sprintf(invalidName, "-a")},
		{"POST", "/v1/key/create/_", "", 400, fmt.Sprintf(invalidName, "_")},
		{"POST", "/v1/key/create/" + tooLong, "", 400, fmt.Sprintf(invalidName, tooLong)},
		{"POST", "/v1/key/import/a*", "{}", 400, fmt.Sprintf(invalidName, "a*")},
		{"GET", "/v1/key/describe/", "", 400, fmt.Sprintf(invalidName, "")},
		{"DELETE", "/v1/key/delete/a.b", "", 400, fmt.Sprintf(invalidName, "a.b")},
		{"POST", "/v1/key/generate/", "", 400, fmt.Sprintf(invalidName, "")},
		{"POST", "/v1/key/encrypt/", "{}", 400, fmt.Sprintf(invalidName, "")},
		{"POST", "/v1/key/decrypt/", "{}", 400, fmt.Sprintf(invalidName, "")},
		{"POST", "/v1/key/hmac/", "{}", 400, fmt.Sprintf(invalidName, "")},
		{"GET", "/v1/key/list/my-", "", 400, "listing pattern 'my-' is empty, too long or is invalid"},
		{"GET", "/v1/key/list/a**", "", 400, "listing pattern 'a**' is empty, too long or is invalid"},
		{"GET", "/v1/key/list/*a", "", 400, "listing pattern '*a' is empty, too long or is invalid"},
		{"GET", "/v1/policy/list/a%20b", "", 400, "listing pattern 'a b' is empty, too long or is invalid"},
		{"GET", "/v1/key/create/x", "", 405, "received method 'GET' expected 'PUT'"},
		{"POST", "/v1/key/describe/x", "", 405, "received method 'POST' expected 'GET'"},
		{"GET", "/v1/key/delete/x", "", 405, "received method 'GET' expected 'DELETE'"},
		{"GET", "/v1/key/describe/none", "", 404, "key does not exist"},
		{"POST", "/v1/key/generate/none", "", 404, "key does not exist"},
		{"POST", "/v1/key/encrypt/none", `{"plaintext":""}`, 404, "key does not exist"},
		{"POST", "/v1/key/decrypt/none", `{"ciphertext":""}`, 404, "key does not exist"},
		{"PUT", "/v1/key/hmac/none", `{"message":""}`, 404, "key does not exist"},
		{"GET", "/v1/policy/describe/none", "", 404, "policy does not exist"},
		{"GET", "/v1/policy/read/", "", 400, "policy name '' is empty, too long or contains invalid characters"},
		{"GET", "/v1/policy/read/a%20b", "", 400, "policy name 'a b' is empty, too long or contains invalid characters"},
		{"GET", "/v1/policy/describe/-a", "", 400, "policy name '-a' is empty, too long or contains invalid characters"},
		{"GET", "/v1/policy/describe/a.b", "", 400, "policy name 'a.b' is empty, too long or contains invalid characters"},
		{"GET", "/v1/identity/describe/", "", 400, "identity '' is empty, too long or contains invalid characters"},
		{"GET", "/v1/identity/describe/a*", "", 400, "identity 'a*' is empty, too long or contains invalid characters"},
		{"GET", "/v1/identity/describe/none", "", 404, "identity does not exist"},
		{"POST", "/v1/key/decrypt/my-key", `{"ciphertext":""}`, 400, notAuthentic},
		{"POST", "/v1/key/decrypt/my-key", fmt.Sprintf(`{"ciphertext":%q}`, sealed), 400, notAuthentic},
		{"POST", "/v1/key/decrypt/other", fmt.Sprintf(`{"ciphertext":%q,"context":"e30="}`, sealed), 400, notAuthentic},
		{"POST", "/v1/key/decrypt/my-key", "", 400, "invalid request body"},
		{"POST", "/v1/key/encrypt/my-key", "", 400, "invalid request body"},
		{"POST", "/v1/key/generate/my-key", "x", 400, "invalid request body"},
		{"POST", "/v1/key/generate/my-key", `{"context":"%"}`, 400, "invalid request body"},
		{"POST", "/v1/key/generate/my-key", `{"context":1}`, 400, "invalid request body"},
		{"POST", "/v1/key/generate/my-key", `[]`, 400, "invalid request body"},
		{"POST", "/v1/key/encrypt/my-key", exactly(1_000_001), 400, "invalid request body"},
		{"POST", "/v1/key/encrypt/my-key", exactly(3_000_000), 400, "invalid request body"},
	} {
		k.expect(k.do(c, test.method, test.path, test.body), test.code, test.message)
	}
	if a := k.do(c, "POST", "/v1/key/encrypt/my-key", exactly(1_000_000)); a.StatusCode != 200 {
		t.Errorf("a body of exactly the limit: %d %s", a.StatusCode, a.body)
	}
	if a := k.do(c, "GET", "/v1/key/create/x", ""); a.Header.Get("Accept") != "PUT" {
		t.Errorf("405 with Accept %q", a.Header.Get("Accept"))
	}
	if a := k.do(c, "GET", "/v1/nothing", ""); a.StatusCode != 404 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("unknown path: %d %s", a.StatusCode, a.Header)
	}
	if a := k.do(c, "GET", "/v1/key/list?x=y", ""); a.StatusCode != 307 || a.Header.Get("Location") != "/v1/key/list/?x=y" {
		t.Errorf("path without its slash: %d %s", a.StatusCode, a.Header)
	}
}

func TestBodyOfUnknownLengthOverTheLimit(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	k.do(c, "POST", "/v1/key/create/my-key", "")
	for _, size := range []int{1_000_001, 1 << 20} {
		body := struct{ *strings.Reader }{strings.NewReader(strings.Repeat(" ", size))}
		req, err := http.NewRequest("POST", k.url+"/v1/key/encrypt/my-key", struct{ ioReader }{body})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%d bytes: %d", size, resp.StatusCode)
		}
	}
}

type ioReader interface{ Read([]byte) (int, error) }

func TestListingIsCompleteAndNeverNull(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	if a := k.do(c, "GET", "/v1/key/list/", ""); a.body != "{\"names\":[]}\n" {
		t.Errorf("empty store: %s", a.body)
	}
	var want []string
	for i := range 1100 {
		name := fmt.Sprintf("key-%04d", i)
		want = append(want, name)
		if err := k.service.CreateKey(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.service.CreateKey(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/key/list/key", "/v1/key/list/key*"} {
		a := k.do(c, "GET", path, "")
		var list struct {
			Names      []string
			ContinueAt string `json:"continue_at"`
		}
		a.into(t, &list)
		if !slices.Equal(list.Names, want) || list.ContinueAt != "" || strings.Contains(a.body, "continue_at") {
			t.Errorf("%s: %d names", path, len(list.Names))
		}
	}
	for path, n := range map[string]int{"/v1/key/list/": 1101, "/v1/key/list/*": 1101, "/v1/key/list/x*": 0, "/v1/key/list/key-000*": 10} {
		var list struct{ Names []string }
		k.do(c, "GET", path, "").into(t, &list)
		if len(list.Names) != n {
			t.Errorf("%s: %d names", path, len(list.Names))
		}
	}
}

func TestFailingStore(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	k.do(c, "POST", "/v1/key/create/my-key", "")
	calls := []struct{ method, path, body, message string }{
		{"POST", "/v1/key/create/k", "", "failed to create key"},
		{"POST", "/v1/key/import/k", fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, zeroKey), "failed to create key"},
		{"GET", "/v1/key/describe/my-key", "", "failed to read key"},
		{"GET", "/v1/key/list/", "", "failed to list key"},
		{"DELETE", "/v1/key/delete/my-key", "", "failed to delete key"},
		{"POST", "/v1/key/generate/my-key", "", "failed to read key"},
		{"POST", "/v1/key/encrypt/my-key", `{"plaintext":""}`, "failed to read key"},
		{"POST", "/v1/key/decrypt/my-key", `{"ciphertext":""}`, "failed to read key"},
		{"PUT", "/v1/key/hmac/my-key", `{"message":""}`, "failed to read key"},
	}
	for _, failure := range []error{
		kms.ErrUnavailable, kms.ErrCorruptKey, errors.New("secret-detail"),
		fmt.Errorf("store: %w", context.DeadlineExceeded),
	} {
		k.service.fail(failure)
		for _, call := range calls {
			a := k.do(c, call.method, call.path, call.body)
			k.expect(a, 502, call.message)
			if strings.Contains(a.body, "secret-detail") {
				t.Errorf("internal detail reached the client: %s", a.body)
			}
		}
	}
	k.errors.line(t, "level=ERROR", "request failed", "/v1/key/describe/my-key", "secret-detail", k.admin.Identity().String())

	// A refusal does not pass: it must not look like a server that is down.
	k.service.fail(fmt.Errorf("secret-detail: %w", kms.ErrNotPermitted))
	for _, call := range calls {
		k.expect(k.do(c, call.method, call.path, call.body), 403, forbidden)
		k.errors.line(t, "level=ERROR", "request failed", call.path, "code=403", "secret-detail: not authorized")
		k.audits.line(t, "request failed", call.path, "res.code=403", "secret-detail")
	}
}

func TestKeyWithoutHMAC(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.service.fail(fmt.Errorf("hmac: %w", kms.ErrNotSupported))
	k.expect(k.do(k.asKey(k.admin), "PUT", "/v1/key/hmac/k", `{"message":""}`), 501, "key does not support HMAC")
}

func TestSlowStoreEndsInAnError(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.API = map[string]config.Endpoint{
			"/v1/key/generate/": {Timeout: 50 * time.Millisecond}, "/v1/ready": {Timeout: 50 * time.Millisecond}, "/v1/status": {Timeout: 50 * time.Millisecond},
		}
	})
	k.service.slow(10 * time.Second)
	c := k.asKey(k.admin)
	k.expect(k.do(c, "POST", "/v1/key/generate/k", ""), 502, "failed to read key")
	k.expect(k.do(c, "GET", "/v1/ready", ""), 504, "key store is not reachable")
	var st struct {
		Unavailable bool `json:"keystore_unavailable"`
		Unreachable bool `json:"keystore_unreachable"`
	}
	k.do(c, "GET", "/v1/status", "").into(t, &st)
	if !st.Unavailable || !st.Unreachable {
		t.Errorf("%+v", st)
	}
}

func TestPanicIsAnInternalErrorAndIsLogged(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.service.panics(true)
	c := k.asKey(k.admin)
	k.expect(k.do(c, "GET", "/v1/key/describe/k", ""), 500, "internal error")
	k.errors.line(t, "level=ERROR", "panic: a bug", "keys.go")
	k.service.panics(false)
	k.expect(k.do(c, "GET", "/v1/key/describe/k", ""), 404, "key does not exist")
}

// noting is a key service that is told who creates keys.
type noting struct {
	*faulty
	mu sync.Mutex
	by []string
}

func (n *noting) CreateKeyAs(ctx context.Context, name, createdBy string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.by = append(n.by, createdBy)
	return n.CreateKey(ctx, name)
}

func (n *noting) ImportKeyAs(ctx context.Context, name string, key [kms.DEKSize]byte, a kms.Algorithm, createdBy string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.by = append(n.by, createdBy)
	return n.ImportKey(ctx, name, key, a)
}

func TestServiceIsToldWhoCreatesAKey(t *testing.T) {
	t.Parallel()
	var service *noting
	k := start(t, func(k *kit, _ *config.Config, o *server.Options) {
		service = &noting{faulty: k.service}
		o.Service = service
	})
	k.do(k.asKey(k.user), "POST", "/v1/key/create/one", "")
	k.do(k.asKey(k.admin), "POST", "/v1/key/import/two", fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, zeroKey))
	service.mu.Lock()
	defer service.mu.Unlock()
	if want := []string{k.user.Identity().String(), k.admin.Identity().String()}; !slices.Equal(service.by, want) {
		t.Errorf("got %q, want %q", service.by, want)
	}
}

func TestBodyThatNeverComesEndsInAnError(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.API = map[string]config.Endpoint{"/v1/key/encrypt/": {Timeout: 100 * time.Millisecond}, "/v1/key/delete/": {Timeout: 100 * time.Millisecond}}
	})
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/k", "")
	conn, err := tls.Dial("tcp", strings.TrimPrefix(k.url, "https://"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certOf(t, k.admin)}}) //nolint:gosec // see kit.as
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "POST /v1/key/encrypt/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 400 ") {
		t.Errorf("%q, %v", line, err)
	}
	// So does one that nobody wants, but net/http waits for.
	long, err := tls.Dial("tcp", strings.TrimPrefix(k.url, "https://"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certOf(t, k.admin)}}) //nolint:gosec // see kit.as
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	_ = long.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(long, "DELETE /v1/key/delete/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(long).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 ") {
		t.Errorf("%q, %v", line, err)
	}
}
