package adminapi_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/adminapi"
)

func (a *adminStage) scrape(target, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://proxy.example"+target, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	a.server.ServeHTTP(w, r)
	return w
}

func TestScrapersTokenStaysAtTheProxy(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "minio_up 1\n")
	})
	century := time.Now().Add(100 * 365 * 24 * time.Hour).Unix()
	token := "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", testOther, century}, testOtherSecret)
	for _, path := range []string{"/minio/v2/metrics/cluster", "/minio/metrics/v3", "/minio/metrics/v3/api/requests?buckets=b", "/minio/prometheus/metrics"} {
		w := stage.scrape(path, token)
		if w.Code != 200 || w.Body.String() != "minio_up 1\n" {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, r := range stage.requests() {
		sent := r.Header.Get("Authorization")
		claims, signed, mac, err := adminapi.ParseToken(strings.TrimPrefix(sent, "Bearer "))
		if err != nil || sent == token || claims.Subject != testOther || string(mac) != string(adminapi.TokenMAC(signed, testOtherSecret)) {
			t.Fatalf("upstream got %q: %+v, %v", sent, claims, err)
		}
		if life := time.Until(time.Unix(claims.Expires, 0)); life > adminapi.MetricsTokenLife || life < adminapi.MetricsTokenLife/2 {
			t.Errorf("upstream's token is good for %v", life)
		}
	}
	// Whether metrics are for everybody is MinIO's to say.
	stage.reply = answering(403, denied)
	wantAdminError(t, stage.scrape("/minio/v2/metrics/cluster", ""), 403, "AccessDenied")
	if sent := stage.requests()[4].Header.Get("Authorization"); sent != "" {
		t.Errorf("a scraper without a token was passed on with %q", sent)
	}
}

func TestBadBearerTokensAreRefused(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(200, "minio_up 1\n"))
	later, now := time.Now().Add(time.Hour).Unix(), time.Now().Unix()
	good := adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", testRoot, later}, testRootSecret)
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	_, afterHead, _ := strings.Cut(good, ".")
	for name, token := range map[string]string{
		"another secret":   "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", testRoot, later}, testOtherSecret),
		"expired":          "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", testRoot, now}, testRootSecret),
		"no expiry":        "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", testRoot, 0}, testRootSecret),
		"nobody":           "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", "nobody", later}, ""),
		"no subject":       "Bearer " + adminapi.SignToken(&adminapi.ScrapeClaims{"prometheus", "", later}, ""),
		"altered":          "Bearer " + good[:len(good)-3] + "AAA",
		"algorithm none":   "Bearer " + part(`{"alg":"none"}`) + "." + strings.TrimSuffix(afterHead, afterHead[strings.LastIndexByte(afterHead, '.')+1:]),
		"weaker algorithm": "Bearer " + part(`{"alg":"HS256","typ":"JWT"}`) + "." + afterHead,
		"no parts":         "Bearer x",
		"two parts":        "Bearer a.b",
		"another scheme":   "Basic " + good,
		"long":             "Bearer " + strings.Repeat("x", adminapi.MaxToken+1),
	} {
		w := stage.scrape("/minio/v2/metrics/cluster", token)
		if w.Code != 403 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if len(stage.requests()) != 0 {
		t.Error("upstream was asked")
	}
}
