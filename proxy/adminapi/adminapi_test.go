package adminapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/adminapi"
)

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestAdminRequestsAreSignedAnewAsTheirCaller(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, `{"mode":"online"}`))
	body := []byte("sealed under the caller's secret")
	w := stage.ask(testOther, "PUT", "/minio/admin/v3/set-config-kv", body)
	if w.Code != 200 || w.Body.String() != `{"mode":"online"}` || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("answer %d %s %v", w.Code, w.Body, w.Header())
	}
	seen := stage.requests()
	if len(seen) != 1 {
		t.Fatalf("%d requests upstream", len(seen))
	}
	r := seen[0]
	if r.Method != "PUT" || r.URL.Path != "/minio/admin/v3/set-config-kv" || !strings.Contains(r.Header.Get("Authorization"), "Credential="+testOther+"/") {
		t.Errorf("upstream got %s %s as %s", r.Method, r.URL, r.Header.Get("Authorization"))
	}
	if r.Header.Get("X-Amz-Content-Sha256") != sha256Hex(body) || r.ContentLength != int64(len(body)) {
		t.Errorf("upstream got a body of %d bytes declared as %s", r.ContentLength, r.Header.Get("X-Amz-Content-Sha256"))
	}
}

func TestAdminRefusesWhatItsTableDoesNotHave(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, "{}"))
	for _, target := range []string{
		"/minio/admin/v3/unheard-of", "/minio/admin/v4/info", "/minio/admin/v3/info?unheard=of", "/minio/admin/v3/info?metrics=1&metrics=2",
		"/minio/admin/v3/info/", "/minio/admin//v3/info", "/minio/admin", "/minio/kms/v1/key/list", "/minio/kms/v1/key/create?key-id=k",
		"/minio/admin/v3/user-info", "/minio/kms/v1/policy/list?pattern=%2A", "/minio/admin/v3/heal/..%2Fadd-user", "/minio/admin/v3/tier/%2e%2e/add-user",
	} {
		if w := stage.ask(testRoot, "GET", target, nil); w.Code < 400 {
			t.Errorf("GET %s: %d %s", target, w.Code, w.Body)
		}
	}
	for _, row := range adminapi.RefusedRoutes() {
		target := "/minio/" + strings.Replace(row.Path, "*", "anything", 1) + "?any=parameter"
		w := stage.ask(testRoot, row.Method, target, []byte("x"))
		wantAdminError(t, w, http.StatusNotImplemented, "NotImplemented")
		if !strings.Contains(w.Body.String(), row.Why[:20]) {
			t.Errorf("%s does not say why: %s", row.Op, w.Body)
		}
	}
	w := stage.ask(testRoot, "GET", "/minio/admin/v3/get-config-kv?key=kms_secret_key", nil)
	wantAdminError(t, w, http.StatusNotImplemented, "NotImplemented")
	for _, r := range stage.requests() {
		t.Errorf("%s %s reached upstream", r.Method, r.URL)
	}
}

func TestAdminNeedsASignatureInTheHeader(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, "{}"))
	table := adminapi.Routes()
	for i := range table {
		if table[i].Bearer {
			continue
		}
		target := "/minio/" + strings.Replace(table[i].Path, "*", "x", 1)
		wantAdminError(t, stage.ask("", table[i].Method, target, nil), http.StatusForbidden, "AccessDenied")
	}
	if seen := stage.requests(); len(seen) != 0 {
		t.Errorf("%d requests of nobody reached upstream", len(seen))
	}
}

func TestAdminDoesNotKnowTheSystemBucket(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, "{}"))
	for _, r := range [][2]string{
		{"PUT", "/minio/admin/v3/set-bucket-quota?bucket=bucketseal-system"},
		{"PUT", "/minio/admin/v3/set-bucket-quota?bucket=bucketseal-system%2F"}, // as MinIO cleans it
		{"PUT", "/minio/admin/v3/set-bucket-quota?bucket=.%2Fbucketseal-system%2F%2F"},
		{"GET", "/minio/admin/v3/get-bucket-quota?bucket=Bucketseal-System"},
		{"GET", "/minio/admin/v3/export-bucket-metadata?bucket=bucketseal-system"},
		{"POST", "/minio/admin/v3/heal/bucketseal-system"},
		{"POST", "/minio/admin/v3/heal/bucketseal%2Dsystem/rules"},
	} {
		wantAdminError(t, stage.ask(testRoot, r[0], r[1], nil), http.StatusNotFound, "NoSuchBucket")
	}
	if seen := stage.requests(); len(seen) != 0 {
		t.Errorf("upstream was asked: %v", seen[0].URL)
	}
}

func TestAdminErrorsOfUpstreamComeBackAsTheyAre(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(404, `{"Code":"XMinioAdminNoSuchUser","Message":"The specified user does not exist."}`))
	wantAdminError(t, stage.ask(testRoot, "GET", "/minio/admin/v3/user-info?accessKey=u", nil), 404, "XMinioAdminNoSuchUser")
	stage.reply = answering(500, "no JSON at all")
	wantAdminError(t, stage.ask(testRoot, "GET", "/minio/admin/v3/user-info?accessKey=u", nil), 500, "InternalError")
	stage.reply = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://elsewhere.example/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	if w := stage.ask(testRoot, "GET", "/minio/admin/v3/info", nil); w.Code != 503 || w.Header().Get("Location") != "" {
		t.Errorf("a redirect is answered with %d %v", w.Code, w.Header())
	}
}

func TestAdminBodiesAreBounded(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, ""))
	w := stage.ask(testRoot, "PUT", "/minio/admin/v3/add-user?accessKey=u", make([]byte, adminapi.SecretBody+1))
	wantAdminError(t, w, http.StatusBadRequest, "EntityTooLarge")
	if len(stage.requests()) != 0 {
		t.Error("upstream was asked")
	}
}
