package adminapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/adminapi"
	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/adminpayload/payloadtest"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

const testPair, testPairSecret = "other-at-minio", "secret-at-minio-0123456789"

// withPair gives testOther another pair at MinIO.
func (a *adminStage) withPair() {
	a.server.Identities().Configure(identity.Settings{
		Credentials: testCredentials(), Access: identity.Access{Unrestricted: true, KeyAdmins: []string{testRoot}},
		Upstream: map[string]identity.Pair{testOther: {AccessKey: testPair, SecretKey: testPairSecret}},
	})
}

func opened(t *testing.T, secret string, payload []byte) string {
	t.Helper()
	plain, err := adminpayload.New(1).Open(t.Context(), secret, payload)
	if err != nil {
		t.Errorf("%d bytes do not open: %v", len(payload), err)
	}
	return string(plain)
}

// MinIO does not know what such a client seals under, and the client not what MinIO does.
func TestPayloadsOfAClientWithAPairAtMinIO(t *testing.T) {
	t.Parallel()
	answer := payloadtest.Seal(t, payloadtest.ChaCha, testPairSecret, []byte(`{"alice":{"status":"enabled"}}`))
	stage := newAdminStage(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case !strings.Contains(r.Header.Get("Authorization"), "Credential="+testPair+"/"):
			w.WriteHeader(http.StatusForbidden)
		case len(body) == 0 && r.Method == http.MethodPut: // asked who may send one
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"Code":"XMinioAdminConfigBadJSON"}`)
		case r.Method == http.MethodPut:
			if got := r.Header.Get("X-Amz-Content-Sha256"); got != sha256Hex(body) {
				t.Errorf("MinIO was told the digest %s", got)
			}
			_, _ = io.WriteString(w, opened(t, testPairSecret, body))
		default:
			_, _ = w.Write(answer)
		}
	})
	stage.withPair()
	const line = "api requests_max=9"
	if w := stage.ask(testOther, "PUT", "/minio/admin/v3/set-config-kv", sealedFor(t, testOtherSecret, line)); w.Code != 200 || w.Body.String() != line {
		t.Errorf("a sealed request: %d %s", w.Code, w.Body)
	}
	w := stage.ask(testOther, "GET", "/minio/admin/v3/list-users", nil)
	if got := opened(t, testOtherSecret, w.Body.Bytes()); w.Code != 200 || got != `{"alice":{"status":"enabled"}}` {
		t.Errorf("a sealed answer: %d %s", w.Code, got)
	}
	stage.reply = answering(200, "[]")
	if w := stage.ask(testOther, "GET", "/minio/admin/v3/pools/list", nil); w.Code != 200 || w.Body.String() != "[]" {
		t.Errorf("a readable answer: %d %s", w.Code, w.Body)
	}
}

// A client's secret reaches MinIO by no request, and the pair there is changed by none.
func TestNobodyTellsMinIOTheSecretOfAClientWithAPair(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, ""))
	stage.withPair()
	for _, r := range [][3]string{
		{"PUT", "add-user?accessKey=" + testOther, `{"secretKey":"` + testOtherSecret + `","status":"enabled"}`},
		{"PUT", "add-user?accessKey=" + testPair, `{"secretKey":"new-secret-123","status":"enabled"}`},
		{"PUT", "add-service-account", `{"accessKey":"` + testOther + `","secretKey":"` + testOtherSecret + `"}`},
		{"POST", "update-service-account?accessKey=" + testPair, `{"newSecretKey":"new-secret-123"}`},
	} {
		wantAdminError(t, stage.ask(testRoot, r[0], "/minio/admin/v3/"+r[1], sealedFor(t, testRootSecret, r[2])), 403, "AccessDenied")
	}
	for _, target := range []string{"set-user-status?accessKey=" + testPair + "&status=disabled"} {
		wantAdminError(t, stage.ask(testRoot, "PUT", "/minio/admin/v3/"+target, nil), 403, "AccessDenied")
	}
	wantAdminError(t, stage.ask(testRoot, "DELETE", "/minio/admin/v3/remove-user?accessKey="+testPair, nil), 403, "AccessDenied")
	wantUpstream(t, stage)
	// What is configured so may be made so.
	made := sealedFor(t, testRootSecret, `{"secretKey":"`+testPairSecret+`","status":"enabled"}`)
	if w := stage.ask(testRoot, "PUT", "/minio/admin/v3/add-user?accessKey="+testPair, made); w.Code != 200 {
		t.Errorf("the pair as it is configured: %d %s", w.Code, w.Body)
	}
	wantUpstream(t, stage, "PUT add-user?accessKey="+testPair)
}

func TestAScraperWithAPairAtMinIO(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, "minio_up 1\n"))
	stage.withPair()
	later := time.Now().Add(time.Hour).Unix()
	token := func(subject, secret string) string {
		return "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", subject, later}, secret)
	}
	if w := stage.scrape("/minio/metrics/v3", token(testOther, testOtherSecret)); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	claims, signed, mac, err := adminapi.ParseToken(strings.TrimPrefix(stage.requests()[0].Header.Get("Authorization"), "Bearer "))
	if err != nil || claims.Subject != testPair || string(mac) != string(adminapi.TokenMAC(signed, testPairSecret)) {
		t.Errorf("MinIO got a token of %+v, %v", claims, err)
	}
	if w := stage.scrape("/minio/metrics/v3", token(testPair, testPairSecret)); w.Code == 200 {
		t.Error("the pair at MinIO signs a token for the proxy")
	}
}
