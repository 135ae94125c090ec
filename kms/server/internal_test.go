package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func TestEveryKeyServiceSentinelHasAnAnswer(t *testing.T) {
	t.Parallel()
	for err, code := range map[error]int{
		kms.ErrKeyNotFound: 404, kms.ErrKeyExists: 400, kms.ErrInvalidKeyName: 400, kms.ErrDecrypt: 400, kms.ErrInvalidContext: 400,
		kms.ErrNotPermitted: 403, kms.ErrUnavailable: 502, kms.ErrCorruptKey: 502, kms.ErrNotSupported: 501,
	} {
		got, message := answer(keyFailure("read", fmt.Errorf("store: %w", err)))
		if got != code || strings.Contains(message, "store:") {
			t.Errorf("%v: %d %q", err, got, message)
		}
		if code < 500 && message != err.Error() {
			t.Errorf("%v: %q", err, message)
		}
	}
	if code, message := answer(errors.New("odd detail")); code != 500 || message != "internal error" {
		t.Errorf("%d %q", code, message)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"/v1/status", "/v1/status", true},
		{"/v1/status", "/v1/status/", false},
		{"/v1/status", "/v1/statu", false},
		{"/v1/key/*", "/v1/key/a/b/c", true}, // * crosses /
		{"/v1/key/*", "/v1/key/", true},
		{"/v1/key/*", "/v1/key", false},
		{"*", "/anything", true},
		{"/v1/key/*/*", "/v1/key/create/x", false}, // the first * stands for itself
		{"/v1/key/*/*", "/v1/key/*/x", true},
		{"/v1/key/create/my?key", "/v1/key/create/my-key", false},
		{"/v1/key/create/[a-z]", "/v1/key/create/a", false},
		{"", "", true},
	} {
		if got := matches(test.pattern, test.path); got != test.want {
			t.Errorf("%q matches %q: %t", test.pattern, test.path, got)
		}
	}
}

func TestFindRoute(t *testing.T) {
	t.Parallel()
	all := routes()
	for path, want := range map[string]string{
		"/version": "/version|", "/v1/key/create/a/b": "/v1/key/create/|a/b", "/v1/key/list/": "/v1/key/list/|",
		"/v1/identity/self/describe": "/v1/identity/self/describe|", "/v1/identity/describe/x": "/v1/identity/describe/|x",
		"/v1/key/create": "slash", "/v1/identity/self/describe/": "none", "/version/x": "none", "/": "none", "": "none", "//v1/ready": "none",
	} {
		r, name, slash := find(all, path)
		got := "none"
		switch {
		case r != nil:
			got = r.path + "|" + name
		case slash:
			got = "slash"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// fuzzServer serves without TLS; requests say who calls.
func fuzzServer(tb testing.TB, key identity.APIKey) (*Server, *tls.ConnectionState) {
	tb.Helper()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(local.Close)
	if err := local.CreateKey(tb.Context(), "k"); err != nil {
		tb.Fatal(err)
	}
	s := &Server{
		opts: Options{Now: time.Now, ErrorLog: io.Discard, AuditLog: io.Discard}, service: local, started: time.Now(),
		metrics: newMetrics(time.Now(), time.Now), errorHub: newHub(), auditHub: newHub(), closing: make(chan struct{}),
	}
	s.setLimits()
	s.endStreams()
	c := &config.Config{Admin: key.Identity(), Log: config.Log{Error: slog.LevelDebug, Audit: slog.LevelDebug}}
	st := &state{config: c, routes: configured(nil), since: time.Now()}
	st.assigned, st.proxies = newPolicies(c)
	st.errors, st.audits = s.newLoggers(c.Log)
	s.state.Store(st)
	cert, err := key.Certificate()
	if err != nil {
		tb.Fatal(err)
	}
	return s, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}
}

func FuzzRequest(f *testing.F) {
	s, state := fuzzServer(f, identity.New())
	for _, r := range routes() {
		f.Add(r.method, r.path+"k", []byte(`{"context":"e30=","plaintext":"aGk=","ciphertext":"aGk=","message":"","key":"AA==","cipher":"AES256"}`))
	}
	f.Add("POST", "/v1/key/create/%zz", []byte("["))
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := &http.Request{
			Method: method, URL: u, Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{}, RemoteAddr: "127.0.0.1:1", TLS: state,
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: -1,
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code >= 500 && w.Code != 501 {
			t.Fatalf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Code != 404 && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d with %s", w.Code, w.Body)
		}
	})
}

func FuzzOpenKey(f *testing.F) {
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHs\n-----END ENCRYPTED PRIVATE KEY-----\n"), "pw")
	f.Add(encryptedKeyPEM(), "hunter2")
	f.Fuzz(func(t *testing.T, text []byte, password string) {
		out, err := openKey(text, password)
		if err != nil && !errors.Is(err, errScheme) && !errors.Is(err, errPassword) && !errors.Is(err, errEncrypted) {
			t.Fatalf("err = %v", err)
		}
		if err == nil && len(out) == 0 && len(text) > 0 {
			t.Fatal("the key is gone")
		}
	})
}

// encryptedKeyPEM is an Ed25519 key that openssl encrypted with "hunter2". It is
// put together here so that scanners do not take it for one that matters.
func encryptedKeyPEM() []byte {
	der, err := base64.StdEncoding.DecodeString("MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjN5/qDfq3uiAICA+gwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEIIQ7zecfdKq6VnBlG2m3w8EQPBhZCvygiYFaZyz4m91rIvK6KCHVAy1caReZ0Ll7mIR/fsZHsy795Vyjz+2zsXhtqsQbhiaikGlpUe0+oeQRzw=")
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
}

func TestOpenKeyOfOpenSSL(t *testing.T) {
	t.Parallel()
	out, err := openKey(encryptedKeyPEM(), "hunter2")
	if err != nil || !strings.HasPrefix(string(out), "-----BEGIN PRIVATE KEY-----") {
		t.Errorf("%v", err)
	}
	if _, err := openKey(encryptedKeyPEM(), "hunter3"); !errors.Is(err, errPassword) {
		t.Errorf("wrong password: %v", err)
	}
}

// BenchmarkHandler is the service without transport: routing, policy, JSON and
// metrics around the key service.
func BenchmarkHandler(b *testing.B) {
	s, state := fuzzServer(b, identity.New())
	quiet := *s.state.Load()
	quiet.errors, quiet.audits = s.newLoggers(config.Log{})
	s.state.Store(&quiet)
	body := []byte(`{"context":"eyJidWNrZXQiOiJidWNrZXQvb2JqZWN0In0="}`)
	b.ReportAllocs()
	for b.Loop() {
		r := &http.Request{
			Method: "POST", URL: &url.URL{Path: "/v1/key/generate/k"}, Header: http.Header{}, RemoteAddr: "127.0.0.1:1", TLS: state,
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
