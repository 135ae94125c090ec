package adminapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/adminpayload/payloadtest"
)

func sealedFor(t *testing.T, secret, content string) []byte {
	t.Helper()
	return payloadtest.Seal(t, payloadtest.AESGCM, secret, []byte(content))
}

func wantUpstream(t *testing.T, stage *adminStage, want ...string) {
	t.Helper()
	got := []string{}
	for _, r := range stage.requests() {
		got = append(got, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/minio/admin/v3/"))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("upstream got %v, want %v", got, want)
	}
}

func TestAccountPayloadsThatDoNotOpenStayHere(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, ""))
	fips := sealedFor(t, testRootSecret, "{}")
	fips[32] = 2
	for name, c := range map[string]struct {
		body   []byte
		status int
		code   string
	}{
		"nothing":        {nil, 400, "XMinioAdminConfigBadJSON"},
		"garbage":        {[]byte(strings.Repeat("g", 200)), 400, "XMinioAdminConfigBadJSON"},
		"another secret": {sealedFor(t, testOtherSecret, `{"secretKey":"new-secret"}`), 400, "XMinioAdminConfigBadJSON"},
		"no JSON":        {sealedFor(t, testRootSecret, "secretKey"), 400, "XMinioAdminConfigBadJSON"},
		"FIPS":           {fips, 501, "NotImplemented"},
	} {
		for _, r := range [][2]string{{"PUT", "add-user?accessKey=new-user"}, {"PUT", "add-service-account"}, {"POST", "update-service-account?accessKey=new-user"}} {
			w := stage.ask(testRoot, r[0], "/minio/admin/v3/"+r[1], c.body)
			wantAdminError(t, w, c.status, c.code)
			if strings.Contains(w.Body.String(), "secretKey") {
				t.Errorf("%s: the answer quotes the payload: %s", name, w.Body)
			}
		}
	}
	wantUpstream(t, stage)
}

func TestConfiguredAccessKeysGetNoOtherSecret(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, ""))
	for _, r := range [][3]string{
		{"PUT", "add-user?accessKey=" + testOther, `{"secretKey":"new-secret-123","status":"enabled"}`},
		{"PUT", "add-service-account", `{"accessKey":"` + testOther + `","secretKey":"new-secret-123"}`},
		{"POST", "update-service-account?accessKey=" + testOther, `{"newSecretKey":"new-secret-123"}`},
	} {
		wantAdminError(t, stage.ask(testRoot, r[0], "/minio/admin/v3/"+r[1], sealedFor(t, testRootSecret, r[2])), 403, "AccessDenied")
	}
	wantUpstream(t, stage)
	// What the configuration says may be said to MinIO too, and is not learned.
	same := sealedFor(t, testRootSecret, `{"secretKey":"`+testOtherSecret+`","status":"enabled"}`)
	if w := stage.ask(testRoot, "PUT", "/minio/admin/v3/add-user?accessKey="+testOther, same); w.Code != 200 {
		t.Errorf("the configured secret: %d %s", w.Code, w.Body)
	}
	wantUpstream(t, stage, "PUT add-user?accessKey="+testOther)
}

func TestWhatUpstreamRefusesIsNotLearned(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(403, denied))
	for _, r := range [][3]string{
		{"PUT", "add-user?accessKey=new-user", `{"secretKey":"new-secret-123"}`},
		{"PUT", "add-service-account", `{"accessKey":"new-user","secretKey":"new-secret-123"}`},
		{"POST", "update-service-account?accessKey=new-user", `{"newSecretKey":"new-secret-123"}`},
	} {
		wantAdminError(t, stage.ask(testOther, r[0], "/minio/admin/v3/"+r[1], sealedFor(t, testOtherSecret, r[2])), 403, "AccessDenied")
	}
}

// This stage's system bucket cannot be written: what MinIO accepts cannot be noted.
func TestAccountsThatCannotBeNotedAreAnError(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, ""))
	w := stage.ask(testRoot, "PUT", "/minio/admin/v3/add-user?accessKey=new-user", sealedFor(t, testRootSecret, `{"secretKey":"new-secret-123"}`))
	wantAdminError(t, w, 503, "ServiceUnavailable")
	if !strings.Contains(w.Body.String(), "Repeat the request") {
		t.Errorf("the error does not say what to do: %s", w.Body)
	}
	wantUpstream(t, stage, "PUT add-user?accessKey=new-user")

	made := `{"accessKey":"new-account","secretKey":"new-secret-123","expiration":"1970-01-01T00:00:00Z"}`
	stage = newAdminStage(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = w.Write(sealedFor(t, testRootSecret, `{"credentials":`+made+`}`))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	w = stage.ask(testRoot, "PUT", "/minio/admin/v3/add-service-account", sealedFor(t, testRootSecret, made))
	wantAdminError(t, w, 503, "ServiceUnavailable")
	wantUpstream(t, stage, "PUT add-service-account", "DELETE delete-service-account?accessKey=new-account")
}

func TestAnswersThatNameAnotherAccountAreRefused(t *testing.T) {
	t.Parallel()
	const asked = `{"accessKey":"new-account","secretKey":"new-secret-123"}`
	for name, c := range map[string]struct{ asked, answer string }{
		"another key":              {asked, `{"accessKey":"other-account","secretKey":"new-secret-123"}`},
		"another secret":           {asked, `{"accessKey":"new-account","secretKey":"other-secret-123"}`},
		"a configured key":         {`{}`, `{"accessKey":"` + testOther + `","secretKey":"other-secret-123"}`},
		"the caller's own":         {`{}`, `{"accessKey":"` + testRoot + `","secretKey":"other-secret-123"}`},
		"nothing":                  {asked, `{}`},
		"nothing for no wish":      {`{}`, `{}`},
		"no JSON in a good answer": {asked, `"`},
	} {
		stage := newAdminStage(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				_, _ = w.Write(sealedFor(t, testRootSecret, `{"credentials":`+c.answer+`}`))
			}
		})
		w := stage.ask(testRoot, "PUT", "/minio/admin/v3/add-service-account", sealedFor(t, testRootSecret, c.asked))
		var e struct{ Code string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code < 500 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret-123") {
			t.Errorf("%s: the answer shows a secret: %s", name, w.Body)
		}
	}
}
