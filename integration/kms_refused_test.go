package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	notPermitted = "not authorized: insufficient permissions"
	noSuchKey    = "key does not exist"
	notAuthentic = "decryption failed: ciphertext is not authentic"
	badBody      = "invalid request body"
)

func badName(name string) string {
	return "key name '" + name + "' is empty, too long or contains invalid characters"
}

// TestRefusedRequestsOfTheKeyServer holds the server to KES's codes and texts:
// clients compare both.
func TestRefusedRequestsOfTheKeyServer(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+"keys: [{name: one}, {name: two}]\n"+memStore)
	c := k.clientOf(t, k.admin)
	_, sealed, err := c.generate("one", []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	of := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type fields map[string]any
	long := strings.Repeat("a", 81)
	large := of(fields{"plaintext": make([]byte, 1_000_000)})
	key := make([]byte, 32)
	for _, call := range []struct {
		method, path string
		body         []byte
		status       int
		message      string
	}{
		{"POST", "/v1/key/create/", nil, 400, badName("")},
		{"POST", "/v1/key/create/-a", nil, 400, badName("-a")},
		{"POST", "/v1/key/create/a.b", nil, 400, badName("a.b")},
		{"POST", "/v1/key/create/_", nil, 400, badName("_")},
		{"POST", "/v1/key/create/a%2Fb", nil, 400, badName("a/b")},
		{"POST", "/v1/key/create/..%2F..%2Fetc", nil, 400, badName("../../etc")},
		{"POST", "/v1/key/create/" + long, nil, 400, badName(long)},
		{"POST", "/v1/key/create/one", nil, 400, "key already exists"},
		{"PUT", "/v1/key/create/one", nil, 400, "key already exists"},
		{"POST", "/v1/key/generate/none", nil, 404, noSuchKey},
		{"GET", "/v1/key/describe/none", nil, 404, noSuchKey},
		{"DELETE", "/v1/key/delete/none", nil, 404, noSuchKey},
		{"GET", "/v1/key/list/my-", nil, 400, "listing pattern 'my-' is empty, too long or is invalid"},
		{"GET", "/v1/key/list/a*b", nil, 400, "listing pattern 'a*b' is empty, too long or is invalid"},
		{"GET", "/v1/policy/read/none", nil, 404, "policy does not exist"},
		{"GET", "/v1/identity/describe/none", nil, 404, "identity does not exist"},

		{"POST", "/v1/key/decrypt/one", of(fields{"ciphertext": sealed}), 400, notAuthentic},
		{"POST", "/v1/key/decrypt/one", of(fields{"ciphertext": sealed, "context": []byte("other")}), 400, notAuthentic},
		{"POST", "/v1/key/decrypt/two", of(fields{"ciphertext": sealed, "context": []byte("context")}), 400, notAuthentic},
		{"POST", "/v1/key/decrypt/one", of(fields{"ciphertext": sealed[1:], "context": []byte("context")}), 400, notAuthentic},
		{"POST", "/v1/key/decrypt/one", of(fields{"ciphertext": []byte{}}), 400, notAuthentic},

		{"POST", "/v1/key/decrypt/one", nil, 400, badBody},
		{"POST", "/v1/key/encrypt/one", []byte(`{"plaintext":`), 400, badBody},
		{"POST", "/v1/key/encrypt/one", []byte(`{"plaintext":"not base64"}`), 400, badBody},
		{"POST", "/v1/key/encrypt/one", []byte(`[]`), 400, badBody},
		{"POST", "/v1/key/encrypt/one", large, 400, badBody},
		{"POST", "/v1/key/generate/one", large, 400, badBody},
		{"POST", "/v1/key/import/large", large, 400, badBody},

		{"POST", "/v1/key/import/k", of(fields{"key": key, "cipher": "DES"}), 406, "the cipher is not supported: use AES256 or ChaCha20"},
		{"POST", "/v1/key/import/k", of(fields{"key": key[1:], "cipher": "AES256"}), 406, "the key has not 32 bytes"},

		{"GET", "/v1/key/create/k", nil, 405, "received method 'GET' expected 'PUT'"},
		{"POST", "/v1/key/delete/one", nil, 405, "received method 'POST' expected 'DELETE'"},
		{"POST", "/v1/status", nil, 405, "received method 'POST' expected 'GET'"},
		{"DELETE", "/v1/key/generate/one", nil, 405, "received method 'DELETE' expected 'PUT'"},

		// The admin is no proxy.
		{"POST", "/v1/key/generate/one", of(fields{"context": []byte(`{"bucketseal:use":"sse-s3"}`)}), 403, notPermitted},
		{"POST", "/v1/key/encrypt/one", of(fields{"plaintext": key, "context": []byte(`{"a":1,"BUCKETSEAL:x":[]}`)}), 403, notPermitted},
		{"POST", "/v1/key/decrypt/one", of(fields{"ciphertext": sealed, "context": []byte(`{"\u0062ucketseal:use":"system"}`)}), 403, notPermitted},
	} {
		a, err := c.try(call.method, call.path, call.body)
		if err != nil {
			t.Errorf("%s %s: %v", call.method, call.path, err)
			continue
		}
		if a.status != call.status || a.message() != call.message || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s, want %d %q", call.method, call.path, a.status, a.body, call.status, call.message)
		}
		if call.status == 405 && a.header.Get("Accept") == "" {
			t.Errorf("%s %s: no Accept header", call.method, call.path)
		}
	}
	if a := c.do(t, "GET", "/v1/nothing", nil); a.status != 404 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("an unknown path: %d %s", a.status, a.body)
	}
	if a := c.do(t, "POST", "/v1/key/create", nil); a.status != 307 || a.header.Get("Location") != "/v1/key/create/" {
		t.Errorf("a missing slash: %d to %s", a.status, a.header.Get("Location"))
	}
	// None of it did anything.
	var list struct{ Names []string }
	if err := unmarshal(c.do(t, "GET", "/v1/key/list/", nil), &list); err != nil || fmt.Sprint(list.Names) != "[one two]" {
		t.Errorf("keys after all that: %v %v", list.Names, err)
	}
	if log := k.logSince(0); strings.Contains(log, "panic") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the clients' faults are errors of the server:\n%s", k.logTail(0))
	}
}

func TestCallersThatTheKeyServerRefuses(t *testing.T) {
	t.Parallel()
	k := startKMS(t, kesYAML+"keys: [{name: one}]\n"+memStore)
	// No certificate: the handshake fails, on every path.
	if a, err := k.client(t).try(http.MethodGet, "/version", nil); err == nil {
		t.Errorf("without a certificate: %d %s", a.status, a.body)
	}
	// Two, neither of which is a CA's.
	two := k.minio.certificate(t)
	two.Certificate = append(two.Certificate, k.admin.certificate(t).Certificate...)
	if a := k.client(t, two).do(t, http.MethodGet, "/version", nil); a.status != 400 || a.message() != "tls: received more than one client certificate" {
		t.Errorf("two certificates: %d %s", a.status, a.body)
	}
	// One that nobody signed, of nobody known: an identity without a policy.
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger := k.client(t, selfSigned(t, private))
	if a := stranger.do(t, http.MethodGet, "/version", nil); a.status != 200 {
		t.Errorf("/version: %d %s", a.status, a.body)
	}
	from := k.logSize()
	for _, path := range []string{"/v1/status", "/v1/ready", "/v1/metrics", "/v1/key/list/", "/v1/key/describe/one", "/v1/log/audit", "/v1/policy/list/"} {
		if a := stranger.do(t, http.MethodGet, path, nil); a.status != 403 || a.message() != notPermitted {
			t.Errorf("a stranger's GET %s: %d %s", path, a.status, a.body)
		}
		if log := k.logSince(from); !strings.Contains(log, "path="+path) || !strings.Contains(log, `reason="no policy names this identity"`) {
			t.Errorf("no line about %s:\n%s", path, log)
		}
	}

	// The wrong policy: the log says who, which path, which policy, and why.
	user := k.clientOf(t, k.minio)
	for path, reason := range map[string]string{
		"/v1/key/create/internal-1": `the policy denies \"/v1/key/create/internal*\"`,
		"/v1/key/import/one":        "the policy does not allow this path",
	} {
		if a := user.do(t, http.MethodPost, path, nil); a.status != 403 || a.message() != notPermitted {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		line := lineWith(k.logSince(from), `msg="request refused"`, "level=WARN", "path="+path)
		for _, want := range []string{"identity=" + k.minio.id, "policy=minio", "method=POST", "code=403", reason, "ip=127.0.0.1"} {
			if !strings.Contains(line, want) {
				t.Errorf("no %s in %q", want, line)
			}
		}
	}
	// Plain HTTP, and TLS of long ago.
	if resp, err := http.Get("http://" + k.addr + "/version"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("plain HTTP is served")
		}
	}
	old := &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true, Certificates: []tls.Certificate{k.minio.certificate(t)}} //nolint:gosec // that it is refused is what is tested
	if conn, err := tls.Dial("tcp", k.addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is served")
	}
}

// lineWith returns the first line with all of the words.
func lineWith(log string, words ...string) string {
lines:
	for line := range strings.Lines(log) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		return line
	}
	return ""
}

func TestBodiesThatNeverComeDoNotHoldTheKeyServer(t *testing.T) {
	t.Parallel()
	k := startKMS(t, strings.Replace(kesYAML, "policy:", "api: {/v1/key/encrypt/: {timeout: 1s}}\npolicy:", 1)+"keys: [{name: one}]\n"+memStore)
	conn, err := tls.Dial("tcp", k.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{k.admin.certificate(t)}}) //nolint:gosec // the server's certificate is not what is tested
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /v1/key/encrypt/one HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\n{", k.addr); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(conn); err != nil {
		t.Errorf("the connection stays: %v", err)
	}
	if !strings.HasPrefix(answer.String(), "HTTP/1.1 400 ") || !strings.Contains(answer.String(), badBody) {
		t.Errorf("answer %q", answer.String())
	}
}
