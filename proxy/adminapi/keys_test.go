package adminapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/adminapi"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
)

func TestKMSKeysAreCreatedTriedAndListed(t *testing.T) {
	t.Parallel()
	for _, paths := range []struct{ create, status string }{
		{"/minio/kms/v1/key/create?key-id=", "/minio/kms/v1/key/status?key-id="},
		{"/minio/admin/v3/kms/key/create?key-id=", "/minio/admin/v3/kms/key/status?key-id="},
	} {
		stage := newAdminStage(t, answering(501, noKMS))
		if w := stage.ask(testRoot, "POST", paths.create+"k2", nil); w.Code != 200 || w.Body.Len() != 0 {
			t.Fatalf("create: %d %s", w.Code, w.Body)
		}
		wantAdminError(t, stage.ask(testRoot, "POST", paths.create+"k2", nil), 409, "kms:KeyAlreadyExists")
		wantAdminError(t, stage.ask(testRoot, "POST", paths.create+"a+b", nil), 400, "InvalidArgument")
		info, err := stage.keys.DescribeKey(t.Context(), "k2")
		if err != nil || info.CreatedBy != testRoot {
			t.Errorf("the key is %+v, %v", info, err)
		}
		for name, want := range map[string]adminapi.KeyStatus{
			"k2": {KeyID: "k2"}, "": {KeyID: "default-key"},
			"nobody": {KeyID: "nobody", EncryptionError: "key with given key ID does not exist"},
		} {
			w := stage.ask(testRoot, "GET", paths.status+name, nil)
			var got adminapi.KeyStatus
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got != want {
				t.Errorf("status of %q: %d %s", name, w.Code, w.Body)
			}
		}
		for pattern, want := range map[string]string{"%2A": "default-key k2", "k%2A": "k2", "k2": "k2", "": "default-key k2", "k": ""} {
			w := stage.ask(testRoot, "GET", "/minio/kms/v1/key/list?pattern="+pattern, nil)
			var list []adminapi.ListedKey
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != 200 || list == nil {
				t.Fatalf("list %q: %d %s", pattern, w.Code, w.Body)
			}
			var names []string
			for _, k := range list {
				names = append(names, k.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("list %q: %s, want %s", pattern, got, want)
			}
		}
	}
}

func TestKMSStatusMetricsVersionAndAPIs(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(501, noKMS))
	_ = stage.ask(testRoot, "GET", "/minio/kms/v1/key/status?key-id=missing", nil)
	for _, r := range [][3]string{
		{"GET", "/minio/kms/v1/status", `"endpoints":{"bucketseal":"online"}`},
		{"POST", "/minio/admin/v3/kms/status", `"default-key-id":"default-key"`},
		{"GET", "/minio/kms/v1/metrics", `"kms_req_error":1`},
		{"GET", "/minio/kms/v1/version", `{"version":"v1"}`},
		{"GET", "/minio/kms/v1/apis", `"Path":"/minio/kms/v1/key/create"`},
	} {
		if w := stage.ask(testRoot, r[0], r[1], nil); w.Code != 200 || !strings.Contains(w.Body.String(), r[2]) {
			t.Errorf("%s %s: %d %s", r[0], r[1], w.Code, w.Body)
		}
	}
}

// keyRequests are one request for each thing that can be done with keys.
func keyRequests() [][2]string {
	return [][2]string{
		{"POST", "/minio/kms/v1/key/create?key-id=planted"},
		{"GET", "/minio/kms/v1/key/status?key-id=default-key"},
		{"GET", "/minio/kms/v1/key/list?pattern=%2A"},
		{"GET", "/minio/kms/v1/status"},
		{"GET", "/minio/kms/v1/metrics"},
		{"GET", "/minio/kms/v1/apis"},
		{"GET", "/minio/kms/v1/version"},
		{"POST", "/minio/admin/v3/kms/status"},
		{"POST", "/minio/admin/v3/kms/key/create?key-id=planted"},
		{"GET", "/minio/admin/v3/kms/key/status"},
	}
}

func TestUpstreamThatSaysYesGivesNobodyKeys(t *testing.T) {
	t.Parallel()
	for _, yes := range []func(http.ResponseWriter, *http.Request){answering(501, noKMS), answering(200, "{}")} {
		stage := newAdminStage(t, yes)
		for _, r := range keyRequests() {
			wantAdminError(t, stage.ask(testOther, r[0], r[1], nil), 403, "AccessDenied")
		}
		if len(stage.requests()) != 0 {
			t.Error("upstream was asked about a caller who may not")
		}
		if _, err := stage.keys.DescribeKey(t.Context(), "planted"); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("a key was planted: %v", err)
		}
	}
}

func TestOnlyNoKMSOfUpstreamCountsAsYes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   int
		code   string
	}{
		{403, denied, 403, "AccessDenied"},
		{200, `{}`, 502, "InternalError"}, // a MinIO with a KMS
		{500, `{"Code":"InternalError","Message":"key with given key ID already exits"}`, 502, "InternalError"},
		{501, "", 502, "InternalError"}, // something that is not MinIO
		{503, "", 503, "SlowDown"},
		{400, `{"Code":"BadRequest","Message":"x"}`, 400, "BadRequest"},
	} {
		stage := newAdminStage(t, answering(c.status, c.body))
		for _, r := range keyRequests() {
			wantAdminError(t, stage.ask(testRoot, r[0], r[1], nil), c.want, c.code)
		}
		if _, err := stage.keys.DescribeKey(t.Context(), "planted"); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("upstream answers %d and a key was created: %v", c.status, err)
		}
	}
}

func TestReservedKeysAreOutOfReach(t *testing.T) {
	t.Parallel()
	stage := newAdminStage(t, answering(501, noKMS))
	if err := stage.keys.CreateKey(t.Context(), lifecycle.SystemKey); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lifecycle.SystemKey, lifecycle.SystemReadyKey, "bucketseal-system-more"} {
		for _, r := range [][2]string{
			{"POST", "/minio/kms/v1/key/create?key-id="}, {"GET", "/minio/kms/v1/key/status?key-id="}, {"POST", "/minio/admin/v3/kms/key/create?key-id="},
		} {
			wantAdminError(t, stage.ask(testRoot, r[0], r[1]+name, nil), 403, "kms:NotAuthorized")
		}
	}
	for _, pattern := range []string{"%2A", lifecycle.SystemKey, "bucketseal%2A"} {
		if w := stage.ask(testRoot, "GET", "/minio/kms/v1/key/list?pattern="+pattern, nil); strings.Contains(w.Body.String(), lifecycle.SystemKey) {
			t.Errorf("list %s: %s", pattern, w.Body)
		}
	}
}
