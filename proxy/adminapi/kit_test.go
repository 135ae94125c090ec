package adminapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	testRoot, testRootSecret   = "root-user", "root-secret-0123456789"
	testOther, testOtherSecret = "other-user", "other-secret-0123456789"
	noKMS                      = `{"Code":"NotImplemented","Message":"Server side encryption specified but KMS is not configured"}`
	denied                     = `{"Code":"AccessDenied","Message":"Access Denied."}`
)

func testCredentials() map[string]string {
	return map[string]string{testRoot: testRootSecret, testOther: testOtherSecret}
}

// adminStage is a Server in front of a MinIO that a test plays.
type adminStage struct {
	server *proxy.Server
	keys   *kms.Local

	mu    sync.Mutex
	seen  []*http.Request
	reply func(w http.ResponseWriter, r *http.Request)
}

func newAdminStage(t *testing.T, reply func(http.ResponseWriter, *http.Request)) *adminStage {
	t.Helper()
	stage := &adminStage{reply: reply}
	up := httptest.NewServer(stage)
	t.Cleanup(up.Close)
	endpoint, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	stage.keys, err = kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stage.keys.Close)
	if err := stage.keys.CreateKey(t.Context(), "default-key"); err != nil {
		t.Fatal(err)
	}
	stage.server, err = proxy.New(proxy.Options{
		Upstream: client, Service: storage.Credential{AccessKey: testRoot, SecretKey: testRootSecret},
		Identities: identity.Settings{Credentials: testCredentials(), Access: identity.Access{Unrestricted: true, KeyAdmins: []string{testRoot}}},
		KMS:        stage.keys, DefaultKey: "default-key", AutoEncryption: sse.ModeS3, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return stage
}

// ServeHTTP plays MinIO.
func (a *adminStage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/bucketseal-system") { // in which nothing is yet
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	sealed := strings.HasSuffix(r.URL.Path, "/add-user") || strings.HasSuffix(r.URL.Path, "/update-service-account") ||
		strings.HasPrefix(r.URL.Path, "/minio/admin/v3/idp/builtin/policy/")
	if sealed && len(body) == 0 { // as MinIO answers who may send one
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"Code":"XMinioAdminConfigBadJSON"}`)
		return
	}
	a.mu.Lock()
	a.seen = append(a.seen, r)
	a.mu.Unlock()
	a.reply(w, r)
}

func (a *adminStage) requests() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

// ask sends a request signed by one of the callers, or by nobody.
func (a *adminStage) ask(accessKey, method, target string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://proxy.example"+target, bytes.NewReader(body))
	if secret, ok := testCredentials()[accessKey]; ok {
		r.Header.Set("X-Amz-Content-Sha256", sha256Hex(body))
		r = signer.SignV4(*r, accessKey, secret, "", "")
	}
	w := httptest.NewRecorder()
	a.server.ServeHTTP(w, r)
	return w
}

func wantAdminError(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var e struct{ Code, Message, Resource, RequestID string }
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != status || e.Code != code {
		t.Errorf("answer %d %s, want %d %s in JSON (%v)", w.Code, w.Body, status, code, err)
	}
	if e.Message == "" || !strings.HasPrefix(e.Resource, "/minio/") || e.RequestID == "" {
		t.Errorf("the error says too little: %s", w.Body)
	}
}

// answering plays a MinIO that always says the same.
func answering(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}
